//go:build !linux

package bearerd

import (
	"errors"
	"net"
)

// The daemon runs on Linux only; elsewhere programs that use this package
// compile, and get this error.
func peerUID(*net.UnixConn) (int, error) {
	return 0, errors.New("bearerd runs on Linux only")
}

func trusted(int, int, string) bool { return false }
