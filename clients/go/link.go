package bearerd

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// link is one gRPC channel to the daemon.
//
// A channel that has failed is in a backoff of its own, during which it answers
// calls with the old failure. So a failed one is replaced: an attempt to reach
// the daemon is always a real one, and the only backoff is that of the watch.
type link struct {
	channel *grpc.ClientConn
	daemon  bearerdv1.TokenBrokerClient
	// dialed is why the daemon could not be reached, in words for a person.
	dialed atomic.Pointer[string]

	// Both are guarded by Broker.mu. A replaced link is closed when the last
	// call on it has ended.
	calls    int
	replaced bool
}

func newLink(socket func() string) (*link, error) {
	l := &link{}
	channel, err := grpc.NewClient(
		// The dialer knows the address. The unix scheme would have it parsed as a
		// URL, and spaces and percent signs are a matter of luck there.
		"passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			connection, err := dial(ctx, socket())
			if err != nil {
				text := err.Error()
				l.dialed.Store(&text)
				return nil, err
			}
			l.dialed.Store(nil)
			return connection, nil
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: time.Second, Multiplier: 2, Jitter: 0.2, MaxDelay: backoffLimit},
			MinConnectTimeout: answerLimit,
		}),
		grpc.WithUserAgent(userAgent),
	)
	if err != nil {
		return nil, err
	}
	l.channel, l.daemon = channel, bearerdv1.NewTokenBrokerClient(channel)
	return l, nil
}

// call makes a call to the daemon, which has ended when use returns.
func (b *Broker) call(use func(bearerdv1.TokenBrokerClient) error) *failure {
	l, failed := b.acquire()
	if failed != nil {
		return failed
	}
	defer b.release(l)
	err := use(l.daemon)
	if err == nil {
		return nil
	}
	f := failureOf(err, time.Now())
	if f.reason == ReasonDaemonUnreachable {
		if text := l.dialed.Load(); text != nil {
			f.message = *text
		} else {
			f.message = b.socket() + ": the connection to the daemon was lost: " + f.message
		}
		b.replace(l)
	}
	if b.context.Err() != nil {
		return closed
	}
	return f
}

func (b *Broker) acquire() (*link, *failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, closed
	}
	if b.link == nil {
		l, err := newLink(b.socket)
		if err != nil {
			return nil, failureOf(err, time.Now())
		}
		b.link = l
	}
	b.link.calls++
	return b.link, nil
}

func (b *Broker) release(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.calls--
	l.closeIfUnused()
}

// replace has the next call use a new channel.
func (b *Broker) replace(l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.replaced = true
	if b.link == l {
		b.link = nil
	}
	l.closeIfUnused()
}

func (l *link) closeIfUnused() {
	if l.replaced && l.calls == 0 {
		_ = l.channel.Close()
	}
}

const (
	answerLimit = 10 * time.Second
	userAgent   = "bearerd-go/0.1.0"
)
