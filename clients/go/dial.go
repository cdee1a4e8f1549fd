package bearerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// dial connects to the daemon's socket, and returns only connections to a
// daemon that is to be trusted.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	if len(socket) > longestSocket {
		return nil, fmt.Errorf("%s: a socket's path has at most %d bytes; choose a shorter one", socket, longestSocket)
	}
	connection, err := connect(ctx, socket)
	if err != nil {
		return nil, explain(socket, err)
	}
	server, err := peerUID(connection)
	if err == nil && !trusted(server, os.Geteuid(), socket) {
		err = fmt.Errorf("%s: whoever listens there is uid %d, neither root nor this user nor the owner of a directory "+
			"that only it can write; its answer is not asked for. Find out who that is, and keep others from writing "+
			"to the directory", socket, server)
	}
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}

// connect waits for a place in a full queue of those who connect. A Unix socket
// does not tell when there is one: connect(2) on a non-blocking socket ends
// with EAGAIN, and there is nothing to poll.
func connect(ctx context.Context, socket string) (*net.UnixConn, error) {
	var dialer net.Dialer
	var full error
	for {
		connection, err := dialer.DialContext(ctx, "unix", socket)
		switch {
		case err == nil:
			return connection.(*net.UnixConn), nil
		case errors.Is(err, syscall.EAGAIN):
			full = err
		case full != nil && errors.Is(err, context.DeadlineExceeded):
			return nil, full
		default:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, full
		case <-time.After(queueInterval):
		}
	}
}

// explain says what to do.
func explain(socket string, err error) error {
	switch info, statErr := os.Stat(socket); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no daemon: there is no socket at %s; start it (`systemctl start bearerd`, or `bearerd dev` "+
			"to try it out), or name the socket in BEARERD_SOCKET", socket)
	case statErr == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is not a socket; name the daemon's socket in BEARERD_SOCKET", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon: nobody listens on %s, it was left behind; start the daemon (`systemctl start "+
			"bearerd`), or name another socket in BEARERD_SOCKET", socket)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%s: the daemon takes no connection: others fill its queue, or it hangs; see `systemctl "+
			"status bearerd`", socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: this user may not connect; an administrator can change [server] mode or the "+
			"directory's mode", socket)
	default:
		return fmt.Errorf("%s: cannot connect: %w", socket, err)
	}
}

const (
	// longestSocket is the length of sun_path less its final zero (unix(7)).
	longestSocket = 107
	queueInterval = 20 * time.Millisecond
)
