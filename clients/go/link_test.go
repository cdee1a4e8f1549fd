package bearerd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

func TestADaemonThatComesBackIsFound(t *testing.T) {
	socket := socketIn(t)
	c := demo(t, socket)
	_, err := c.Token(deadline(t))
	if reasonOf(err) != ReasonDaemonUnreachable || !strings.Contains(err.Error(), socket) || !strings.Contains(err.Error(), "BEARERD_SOCKET") {
		t.Errorf("without a daemon: %v", err)
	}
	daemon := start(t, socket, fake.Says(fake.Token("1", time.Hour)))
	readUntil(t, c, func(token Token, _ error) bool { return token.ID == "1" })

	daemon.Stop()
	if token, err := c.Token(deadline(t)); token.ID != "1" || err != nil {
		t.Errorf("from memory: %v, %v", token, err)
	}
	start(t, socket, fake.Says(fake.Token("2", time.Hour)))
	readUntil(t, c, func(token Token, _ error) bool { return token.ID == "2" })
}

func TestADaemonThatSaysNothingIsNotWaitedForForEver(t *testing.T) {
	daemon := start(t, socketIn(t), nil)
	c := demo(t, daemon.Socket, func(o *options) { o.answerLimit = 20 * time.Millisecond })
	if _, err := c.Token(deadline(t)); reasonOf(err) != ReasonDaemonUnreachable || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	daemon.Say(fake.Says(fake.Token("1", time.Hour)))
	readUntil(t, c, func(token Token, _ error) bool { return token.ID == "1" })
	if daemon.Streams() < 2 {
		t.Error("the stream that said nothing was kept")
	}
}

func TestACallAfterOneThatFailedConnectsAnew(t *testing.T) {
	socket := socketIn(t)
	c := demo(t, socket)
	if _, _, err := c.SignProof(deadline(t), "GET", "https://a/", ""); reasonOf(err) != ReasonDaemonUnreachable {
		t.Fatal(err)
	}
	start(t, socket, fake.Says(fake.Token("1", time.Hour)))
	// gRPC itself would answer with the old failure for a second.
	if _, _, err := c.SignProof(deadline(t), "GET", "https://a/", ""); err != nil {
		t.Error(err)
	}
}

func TestWhoIsNotAllowedAnyMoreGetsNothing(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	if _, err := c.Token(deadline(t)); err != nil {
		t.Fatal(err)
	}
	daemon.End(status.Error(codes.PermissionDenied, "not you"))
	readUntil(t, c, func(_ Token, err error) bool { return reasonOf(err) == "PERMISSION_DENIED" })
	daemon.End(nil)
	readUntil(t, c, func(_ Token, err error) bool { return err == nil })
}
