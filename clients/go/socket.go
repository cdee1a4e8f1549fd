package bearerd

import (
	"os"
	"path/filepath"
)

// findSocket returns where the daemon listens if nobody says so: what
// BEARERD_SOCKET names, else the system service's socket if it is there, else
// the user's if that is there, else the system service's, whose absence is what
// to report. The daemon's own command line does the same.
func findSocket(environ func(string) string, exists func(string) bool) string {
	if named := environ("BEARERD_SOCKET"); named != "" {
		return named
	}
	if own := userSocket(environ); own != "" && !exists(systemSocket) && exists(own) {
		return own
	}
	return systemSocket
}

// userSocket returns the user's socket: in the runtime directory of the
// session, or without one below the home directory; "" without either.
func userSocket(environ func(string) string) string {
	if base := environ("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		return filepath.Join(base, "bearerd", "bearerd.sock")
	}
	if home := environ("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".bearerd", "bearerd", "bearerd.sock")
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// systemSocket is the socket of the system service.
const systemSocket = "/run/bearerd/bearerd.sock"
