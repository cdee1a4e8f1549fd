// Package fake is a daemon for tests, which says what it is told to say on a
// socket of its own.
package fake

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// Daemon serves the TokenBroker. It says the same of every client.
type Daemon struct {
	bearerdv1.UnimplementedTokenBrokerServer

	// Socket is where it listens.
	Socket string
	// GetTokenCalls has a call for each GetToken that is waiting for Answers.
	GetTokenCalls chan *bearerdv1.GetTokenRequest
	// Answers has the answers to them.
	Answers chan Answer
	// Proofs has the requests that were signed, if there is room.
	Proofs chan *bearerdv1.SignProofRequest

	server *grpc.Server

	mu      sync.Mutex
	state   *bearerdv1.WatchTokenResponse
	end     error
	changed chan struct{}
	streams int
}

// Answer is what a GetToken call ends with.
type Answer struct {
	Response *bearerdv1.GetTokenResponse
	Err      error
}

// Directory makes a directory for a socket. Those of package testing may have
// names too long for one.
func Directory() (string, error) { return os.MkdirTemp("", "bearerd-go-") }

// Start starts a daemon that says state to those who watch; nil: nothing yet.
func Start(socket string, state *bearerdv1.WatchTokenResponse) (*Daemon, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		Socket:        socket,
		GetTokenCalls: make(chan *bearerdv1.GetTokenRequest),
		Answers:       make(chan Answer),
		Proofs:        make(chan *bearerdv1.SignProofRequest, 16),
		server:        grpc.NewServer(),
		state:         state,
		changed:       make(chan struct{}),
	}
	bearerdv1.RegisterTokenBrokerServer(d.server, d)
	go func() { _ = d.server.Serve(listener) }()
	return d, nil
}

// Demo starts a daemon in a directory of its own, with a token that lives for an
// hour. stop ends it and removes the directory.
func Demo(headers ...*bearerdv1.RequestHeader) (d *Daemon, stop func(), err error) {
	directory, err := Directory()
	if err != nil {
		return nil, nil, err
	}
	token := Token("1", time.Hour)
	token.Headers = headers
	d, err = Start(filepath.Join(directory, "b.sock"), Says(token))
	if err != nil {
		return nil, nil, err
	}
	return d, func() { d.Stop(); _ = os.RemoveAll(directory) }, nil
}

// Stop ends everything as a crash would.
func (d *Daemon) Stop() { d.server.Stop() }

// Say says a state to all who watch, and to all who will.
func (d *Daemon) Say(state *bearerdv1.WatchTokenResponse) {
	d.change(func() { d.state = state })
}

// End ends all streams, and those that begin later; nil: the latter stand again.
func (d *Daemon) End(err error) {
	d.change(func() { d.end = err })
}

func (d *Daemon) change(how func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
	close(d.changed)
	d.changed = make(chan struct{})
}

// Streams returns how many streams have begun so far.
func (d *Daemon) Streams() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.streams
}

// WatchToken implements the service.
func (d *Daemon) WatchToken(_ *bearerdv1.WatchTokenRequest, stream grpc.ServerStreamingServer[bearerdv1.WatchTokenResponse]) error {
	d.mu.Lock()
	d.streams++
	d.mu.Unlock()
	var told *bearerdv1.WatchTokenResponse
	for {
		d.mu.Lock()
		state, end, changed := d.state, d.end, d.changed
		d.mu.Unlock()
		if end != nil {
			return end
		}
		if state != nil && state != told {
			if err := stream.Send(state); err != nil {
				return err
			}
			told = state
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// GetToken implements the service.
func (d *Daemon) GetToken(ctx context.Context, r *bearerdv1.GetTokenRequest) (*bearerdv1.GetTokenResponse, error) {
	select {
	case d.GetTokenCalls <- r:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-d.Answers:
		return a.Response, a.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// SignProof implements the service with the token that those who watch are told
// of and a proof that names its nonce.
func (d *Daemon) SignProof(_ context.Context, r *bearerdv1.SignProofRequest) (*bearerdv1.SignProofResponse, error) {
	select {
	case d.Proofs <- r:
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.GetToken() == nil {
		return nil, status.Error(codes.Unavailable, "no token")
	}
	return &bearerdv1.SignProofResponse{Token: d.state.GetToken(), Proof: fmt.Sprintf("proof(%s)", r.GetNonce())}, nil
}

// Token returns a token that was issued now and lives so long. It is "secret-"
// and its id.
func Token(id string, lifetime time.Duration) *bearerdv1.Token {
	now := time.Now()
	return &bearerdv1.Token{
		Client:        "demo",
		AccessToken:   "secret-" + id,
		TokenType:     "Bearer",
		Authorization: "Bearer secret-" + id,
		Id:            id,
		IssuedAt:      timestamppb.New(now),
		ExpiresAt:     timestamppb.New(now.Add(lifetime)),
		Scope:         "payments",
	}
}

// Says is the state with this token.
func Says(token *bearerdv1.Token) *bearerdv1.WatchTokenResponse {
	return &bearerdv1.WatchTokenResponse{State: &bearerdv1.WatchTokenResponse_Token{Token: token}}
}

// SaysNo is the state without a token, for this reason.
func SaysNo(code codes.Code, reason string, next time.Time) *bearerdv1.WatchTokenResponse {
	no := &bearerdv1.Unavailable{Code: int32(code), Reason: reason, Message: "no token, says the test"}
	if !next.IsZero() {
		no.NextAttemptAt = timestamppb.New(next)
	}
	return &bearerdv1.WatchTokenResponse{State: &bearerdv1.WatchTokenResponse_Unavailable{Unavailable: no}}
}
