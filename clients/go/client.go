package bearerd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Client hands out the tokens of one client of the daemon's configuration.
//
// At the first read it begins to watch the client's token; from then on reads
// are answered from memory. It is safe for concurrent use.
type Client struct {
	name   string
	broker *Broker

	// current is the token that is handed out; nil: ask state.
	current atomic.Pointer[held]
	// declared is what the newest token said of headers, also after its end.
	declared atomic.Pointer[[]rule]
	nonces   nonces

	watching sync.Once
	// wake has the watch begin an attempt now.
	wake chan struct{}

	mu    sync.Mutex
	state state
	// changed is closed at each change of state, and replaced.
	changed chan struct{}
	flights map[question]*flight
}

func newClient(b *Broker, name string) *Client {
	return &Client{
		name:    name,
		broker:  b,
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
		flights: make(map[question]*flight),
	}
}

// Name returns the name of the client.
func (c *Client) Name() string { return c.name }

// Token returns a token that is valid now, and for a little longer: the smaller
// of 30 s and a tenth of its life. While the daemon is there this is a read from
// memory. Keep no token: ask again for each API call.
//
// It waits only while the first answer or the first token is on its way, until
// the deadline of ctx; see [WithPatience] for a ctx without one.
func (c *Client) Token(ctx context.Context) (Token, error) {
	return c.TokenFor(ctx, 0)
}

// TokenFor returns a token that is valid for at least minValidity from now. If
// the one in memory is not, the daemon is asked for another. Less than what
// [Client.Token] gives is not asked for.
func (c *Client) TokenFor(ctx context.Context, minValidity time.Duration) (Token, error) {
	h, err := c.read(ctx, max(minValidity, 0))
	if err != nil {
		return Token{}, err
	}
	return h.token, nil
}

func (c *Client) read(ctx context.Context, minValidity time.Duration) (*held, error) {
	if h := c.current.Load(); h != nil && h.serves(time.Now(), minValidity) {
		return h, nil
	}
	return c.await(ctx, minValidity)
}

// await waits until the state has an answer for a reader.
func (c *Client) await(ctx context.Context, minValidity time.Duration) (*held, error) {
	ctx, cancel := c.broker.await(ctx)
	defer cancel()
	c.watching.Do(func() { c.broker.run(c.watch) })
	var since uint64
	for {
		v, h, why, changed := c.judge(minValidity, &since)
		switch v {
		case serve:
			return h, nil
		case fail:
			return nil, why.at(time.Now())
		case ask:
			answer, err := c.ask(ctx, question{minValidity: minValidity})
			if err == nil {
				return answer.held, nil
			}
			// Others may have begun to wait for that answer long ago.
			if e := (*Error)(nil); ctx.Err() != nil || !errors.As(err, &e) || e.Reason != ReasonTokenPending {
				return nil, err
			}
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return nil, c.impatient(ctx, why)
			}
		}
	}
}

// judge is state.judge under the lock, and wakes the watch if that is what it
// comes to.
func (c *Client) judge(minValidity time.Duration, since *uint64) (verdict, *held, *failure, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, why := c.state.judge(time.Now(), minValidity, *since)
	if v == begin {
		select {
		case c.wake <- struct{}{}:
		default: // another reader did
		}
	}
	if *since == 0 && !c.state.standing {
		*since = c.state.attempt
		if v == begin {
			*since++
		}
	}
	return v, c.state.held, why, c.changed
}

// change changes the state, and tells all who wait for that.
func (c *Client) change(how func(*state)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changeLocked(how)
}

func (c *Client) changeLocked(how func(*state)) {
	how(&c.state)
	c.current.Store(c.state.handed())
	if h := c.state.held; h != nil {
		c.declared.Store(&h.rules)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// impatient is what a reader gets whose time is over while it waits for the
// reason that why says.
func (c *Client) impatient(ctx context.Context, why *failure) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	e := why.at(time.Now())
	if why == silent {
		e.Message = c.broker.socket() + ": " + e.Message
	}
	e.cause = ctx.Err()
	return e
}

var (
	pending = &failure{
		reason:  ReasonTokenPending,
		code:    codes.Unavailable,
		message: "the time to wait is over before the token came; wait longer, or see `bearerd status`",
	}
	silent = &failure{
		reason:  ReasonDaemonUnreachable,
		code:    codes.Unavailable,
		message: "the daemon does not answer; is it stopped? See `systemctl status bearerd`, or name another socket in BEARERD_SOCKET",
	}
)
