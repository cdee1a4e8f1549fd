package bearerd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

// patience is how long a test waits for what must come; more than enough, since
// it never passes unless the test fails.
const patience = 20 * time.Second

func socketIn(t *testing.T) string {
	t.Helper()
	directory, err := fake.Directory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	return filepath.Join(directory, "b %41 ü.sock")
}

func start(t *testing.T, socket string, state *bearerdv1.WatchTokenResponse) *fake.Daemon {
	t.Helper()
	daemon, err := fake.Start(socket, state)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(daemon.Stop)
	return daemon
}

// demo returns a client of a broker that is closed at the end of the test.
func demo(t *testing.T, socket string, options ...Option) *Client {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	b := New(append([]Option{WithSocket(socket), WithLogger(quiet)}, options...)...)
	t.Cleanup(func() { _ = b.Close() })
	return b.Client("demo")
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// readUntil reads until the outcome is what the test waits for.
func readUntil(t *testing.T, c *Client, done func(Token, error) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		token, err := c.Token(deadline(t))
		if done(token, err) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(end)):
			t.Fatalf("it ends with %v, %v", token, err)
		}
	}
}

func reasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestChangesAreSeenWithoutCalls(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	token, err := c.Token(deadline(t))
	if err != nil || token.ID != "1" || token.Authorization() != "Bearer secret-1" || token.AccessToken() != "secret-1" {
		t.Fatal(token, err)
	}
	daemon.Say(fake.Says(fake.Token("2", time.Hour)))
	readUntil(t, c, func(token Token, _ error) bool { return token.ID == "2" })

	next := time.Now().Add(time.Minute)
	daemon.Say(fake.SaysNo(codes.FailedPrecondition, "CREDENTIALS_REFUSED", next))
	var e *Error
	readUntil(t, c, func(_ Token, err error) bool { return errors.As(err, &e) })
	if e.Reason != "CREDENTIALS_REFUSED" || e.Code != codes.FailedPrecondition ||
		e.RetryAfter > time.Minute || e.RetryAfter < 30*time.Second {
		t.Errorf("%+v", e)
	}
	if got := status.Code(e); got != codes.FailedPrecondition {
		t.Errorf("package status sees %v", got)
	}
	if daemon.Streams() != 1 {
		t.Errorf("%d streams", daemon.Streams())
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	c := demo(t, start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour))).Socket)
	ctx := deadline(t)
	if _, err := c.Token(ctx); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Token(ctx) }); n != 0 {
		t.Errorf("a read allocates %v times", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.TokenFor(ctx, time.Minute) }); n != 0 {
		t.Errorf("a read with a wish allocates %v times", n)
	}
	source := c.TokenSource(ctx)
	if n := testing.AllocsPerRun(1000, func() { _, _ = source.Token() }); n != 0 {
		t.Errorf("a read as oauth2.Token allocates %v times", n)
	}
	token, err := source.Token()
	if err != nil || token.AccessToken != "secret-1" || token.Type() != "Bearer" || !token.Valid() || token.Extra("scope") != "payments" {
		t.Errorf("%v as oauth2.Token", err)
	}
	if from, ok := token.Extra(ExtraToken).(Token); !ok || from.ID != "1" || !token.Expiry.Equal(from.ExpiresAt) {
		t.Errorf("made of %v", from)
	}
}

func TestReadersOfAPendingTokenShareOneStream(t *testing.T) {
	daemon := start(t, socketIn(t), fake.SaysNo(codes.Unavailable, ReasonTokenPending, time.Time{}))
	c := demo(t, daemon.Socket)
	ctx := deadline(t)
	ids := make(chan string)
	for range 1000 {
		go func() {
			token, err := c.Token(ctx)
			ids <- token.ID + reasonOf(err)
		}()
	}
	readUntilPending(t, c)
	daemon.Say(fake.Says(fake.Token("1", time.Hour)))
	for range 1000 {
		if id := <-ids; id != "1" {
			t.Fatal(id)
		}
	}
	if daemon.Streams() != 1 {
		t.Errorf("%d streams", daemon.Streams())
	}
}

// readUntilPending reads with a deadline that has passed, until that is why.
func readUntilPending(t *testing.T, c *Client) {
	t.Helper()
	over, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, err := c.Token(over)
		if reasonOf(err) == ReasonTokenPending && errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
	t.Fatal("no reader is told TOKEN_PENDING")
}

func TestPatienceEnds(t *testing.T) {
	silentDaemon := start(t, socketIn(t), nil)
	c := demo(t, silentDaemon.Socket, WithPatience(50*time.Millisecond))
	_, err := c.Token(context.Background())
	if reasonOf(err) != ReasonDaemonUnreachable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of a daemon that says nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Token(ctx); err != context.Canceled {
		t.Errorf("of a caller that gave up: %v", err)
	}
}

func TestCloseWakesReadersAndIsFinal(t *testing.T) {
	daemon := start(t, socketIn(t), fake.SaysNo(codes.Unavailable, ReasonTokenPending, time.Time{}))
	c := demo(t, daemon.Socket)
	read := make(chan error)
	go func() {
		_, err := c.Token(deadline(t))
		read <- err
	}()
	readUntilPending(t, c)
	for range 2 {
		if err := c.broker.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-read; reasonOf(err) != ReasonClosed {
		t.Errorf("who waits gets %v", err)
	}
	if _, err := c.Token(deadline(t)); reasonOf(err) != ReasonClosed {
		t.Errorf("who comes later gets %v", err)
	}
	if _, err := c.broker.Client("other").Token(deadline(t)); reasonOf(err) != ReasonClosed {
		t.Errorf("a client made later gets %v", err)
	}
	if _, _, err := c.Reject(deadline(t), "1"); reasonOf(err) != ReasonClosed {
		t.Errorf("a report gets %v", err)
	}
	if _, _, err := c.SignProof(deadline(t), "GET", "https://a/", ""); reasonOf(err) != ReasonClosed {
		t.Errorf("who wants a proof gets %v", err)
	}
}

func TestMoreValidityIsAskedFor(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	if _, err := c.Token(deadline(t)); err != nil {
		t.Fatal(err)
	}
	tokens := make(chan Token, 2)
	for range 2 {
		go func() {
			token, _ := c.TokenFor(deadline(t), 2*time.Hour)
			tokens <- token
		}()
	}
	if r := <-daemon.GetTokenCalls; r.GetMinValidity().AsDuration() != 2*time.Hour || r.GetRejectedTokenId() != "" {
		t.Errorf("asked %v", r)
	}
	daemon.Answers <- fake.Answer{Response: &bearerdv1.GetTokenResponse{Token: fake.Token("2", 3*time.Hour)}}
	for range 2 {
		if token := <-tokens; token.ID != "2" {
			t.Errorf("got %v", token)
		}
	}
	if token, _ := c.Token(deadline(t)); token.ID != "2" {
		t.Errorf("the newer token was not kept: %v", token)
	}
}

func TestConcurrentReportsAreOneCall(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	if _, err := c.Token(deadline(t)); err != nil {
		t.Fatal(err)
	}
	givesUp, giveUp := context.WithCancel(context.Background())
	var outcomes, readers sync.WaitGroup
	report := func(ctx context.Context, check func(Token, Rejection, error)) {
		outcomes.Add(1)
		go func() {
			defer outcomes.Done()
			check(c.Reject(ctx, "1"))
		}()
	}
	report(givesUp, func(_ Token, _ Rejection, err error) {
		if err != context.Canceled {
			t.Errorf("who gave up gets %v", err)
		}
	})
	if r := <-daemon.GetTokenCalls; r.GetRejectedTokenId() != "1" {
		t.Errorf("reported %v", r)
	}
	giveUp()
	outcomes.Wait()
	for range 100 {
		report(deadline(t), func(token Token, _ Rejection, err error) {
			if token.ID != "2" || err != nil {
				t.Error(token, err)
			}
		})
		readers.Add(1)
		go func() {
			defer readers.Done()
			if token, err := c.Token(deadline(t)); token.ID != "2" || err != nil {
				t.Errorf("a reader got %v, %v", token, err)
			}
		}()
	}
	daemon.Answers <- fake.Answer{Response: &bearerdv1.GetTokenResponse{
		Token: fake.Token("2", time.Hour), Rejection: bearerdv1.Rejection_REJECTION_REPLACED,
	}}
	outcomes.Wait()
	readers.Wait()
	if token, rejection, err := c.Reject(deadline(t), "1"); token.ID != "2" || rejection != RejectionAlreadyReplaced || err != nil {
		t.Error(token, rejection, err)
	}
	if _, _, err := c.Reject(deadline(t), ""); reasonOf(err) != "REQUEST_INVALID" {
		t.Errorf("a report without id: %v", err)
	}
}

func TestLogsHaveIDsAndNoTokens(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	var log bytes.Buffer
	c := demo(t, daemon.Socket, WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	token, err := c.Token(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	c.broker.logger().Info("token", "token", token)
	daemon.End(status.Error(codes.Unavailable, "gone"))
	readUntil(t, c, func(Token, error) bool { return !c.stands() })
	_ = c.broker.Close()
	for _, want := range []string{"watch began", "token changed", "id=1", "watch lost"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log says nothing of %q: %s", want, &log)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Errorf("the log has the token: %s", &log)
	}
}

func (c *Client) stands() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.standing
}
