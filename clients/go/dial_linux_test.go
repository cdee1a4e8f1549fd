package bearerd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWhoIsTrusted(t *testing.T) {
	socket := socketIn(t)
	directory, me := filepath.Dir(socket), os.Geteuid()
	const stranger, other = 60001, 60002
	for mode, owner := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o775: false, 0o757: false, 0o777: false} {
		if err := os.Chmod(directory, mode); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name        string
			server, own int
			want        bool
		}{
			{"root", 0, stranger, true},
			{"this user", stranger, stranger, true},
			{"the owner of the directory", me, stranger, owner || me == 0},
			{"somebody else", other, stranger, false},
		} {
			if got := trusted(c.server, c.own, socket); got != c.want {
				t.Errorf("directory with mode %o, %s: %v", mode, c.name, got)
			}
		}
	}
	if trusted(other, stranger, filepath.Join(directory, "missing", "b.sock")) {
		t.Error("trusted in a directory that is not there")
	}
}

func TestWhoListensIsFoundOut(t *testing.T) {
	socket := socketIn(t)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := dial(deadline(t), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if uid, err := peerUID(connection.(*net.UnixConn)); uid != os.Geteuid() || err != nil {
		t.Errorf("%d, %v", uid, err)
	}
}

func TestWhyThereIsNoDaemon(t *testing.T) {
	socket := socketIn(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	file := filepath.Join(filepath.Dir(socket), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		socket:                                  "left behind",
		socket + "x":                            "BEARERD_SOCKET",
		file:                                    "not a socket",
		filepath.Dir(socket):                    "not a socket",
		"/" + strings.Repeat("x", 107):          "at most 107 bytes",
		filepath.Join(file, "b.sock"):           "cannot connect",
		filepath.Dir(socket) + "/nosuch/b.sock": "no socket at",
	} {
		_, err := dial(context.Background(), path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestAFullQueueIsWaitedFor(t *testing.T) {
	socket := socketIn(t)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := shortenQueue(listener.(*net.UnixListener)); err != nil {
		t.Fatal(err)
	}
	// Those who wait before; the last of them finds the queue full.
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 3*queueInterval)
		before, err := connect(ctx, socket)
		cancel()
		if err != nil {
			if !strings.Contains(explain(socket, err).Error(), "queue") {
				t.Errorf("a full queue is told as %v", explain(socket, err))
			}
			break
		}
		defer before.Close()
	}
	connected := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		connection, err := connect(ctx, socket)
		if err == nil {
			err = connection.Close()
		}
		connected <- err
	}()
	if accepted, err := listener.Accept(); err != nil {
		t.Fatal(err)
	} else {
		defer accepted.Close()
	}
	select {
	case err := <-connected:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("who waits was not let in")
	}
}

// shortenQueue lets as few wait to be accepted as possible.
func shortenQueue(listener *net.UnixListener) error {
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	return failed
}
