package bearerd

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// peerUID returns the user that listens at the other end.
func peerUID(connection *net.UnixConn) (int, error) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *syscall.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		credentials, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, os.NewSyscallError("getsockopt", failed)
	}
	return int(credentials.Uid), nil
}

// trusted reports whether a daemon of this user is believed: root, the caller's
// own user, and the owner of the socket's directory if nobody else can write
// there, because then it was that user who put the socket there.
func trusted(server, own int, socket string) bool {
	if server == 0 || server == own {
		return true
	}
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil {
		return false
	}
	directory, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(directory.Uid) == server && info.Mode().Perm()&0o022 == 0
}
