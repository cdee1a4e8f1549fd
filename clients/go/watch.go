package bearerd

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// watch keeps one WatchToken stream until the Broker is closed.
func (c *Client) watch() {
	log := c.broker.logger().With("client", c.name)
	failures := 0
	for {
		c.begin()
		began := time.Now()
		stood, why := c.follow()
		c.change(func(s *state) { s.lost(why, time.Now()) })
		if c.broker.context.Err() != nil {
			return
		}
		// A stream that ends as soon as it stands is a failure too.
		if stood && time.Since(began) > backoffLimit {
			failures = 0
		}
		failures++
		limit := backoffLimit
		if why.final() {
			limit = backoffFinal
		}
		delay := backoff(failures, limit, rand.Float64())
		level := log.Debug
		if stood || failures == 1 {
			level = log.Warn
		}
		level("bearerd: watch lost", "reason", why.reason, "error", why.message, "again_in", delay)
		if !c.pause(delay) {
			return
		}
	}
}

// begin notes that an attempt begins; orders to begin one are thereby carried out.
func (c *Client) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.wake:
	default:
	}
	c.changeLocked((*state).begun)
}

// pause waits for the time to pass or a reader to want an attempt; false when
// the Broker is closed.
func (c *Client) pause(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.wake:
		return true
	case <-c.broker.context.Done():
		return false
	}
}

// follow opens the stream and takes over what it says until it ends, and
// returns why it did. stood: it said something.
func (c *Client) follow() (stood bool, why *failure) {
	ctx, cancel := context.WithCancelCause(c.broker.context)
	defer cancel(nil)
	silence := time.AfterFunc(c.broker.options.answerLimit, func() { cancel(errSilent) })
	defer silence.Stop()
	why = c.broker.call(func(daemon bearerdv1.TokenBrokerClient) error {
		stream, err := daemon.WatchToken(ctx, &bearerdv1.WatchTokenRequest{Client: c.name})
		if err != nil {
			return err
		}
		for {
			message, err := stream.Recv()
			switch {
			case errors.Is(context.Cause(ctx), errSilent), errors.Is(err, io.EOF):
				return errSilent
			case err != nil:
				return err
			}
			if silence.Stop() {
				c.broker.logger().Debug("bearerd: watch began", "client", c.name)
			}
			stood = true
			c.take(message)
		}
	})
	return stood, why
}

// take takes over a message of the stream.
func (c *Client) take(message *bearerdv1.WatchTokenResponse) {
	log := c.broker.logger().With("client", c.name)
	switch news := message.GetState().(type) {
	case *bearerdv1.WatchTokenResponse_Token:
		token := hold(tokenOf(news.Token))
		log.Debug("bearerd: token changed", "id", token.token.ID, "expires_at", token.token.ExpiresAt)
		c.change(func(s *state) { s.told(token, nil) })
	case *bearerdv1.WatchTokenResponse_Unavailable:
		why := unavailable(news.Unavailable)
		log.Debug("bearerd: no token", "reason", why.reason, "error", why.message)
		c.change(func(s *state) { s.told(nil, why) })
	}
}

func unavailable(m *bearerdv1.Unavailable) *failure {
	f := &failure{reason: m.GetReason(), code: codes.Code(m.GetCode()), message: m.GetMessage()}
	if m.GetNextAttemptAt() != nil {
		f.next = m.GetNextAttemptAt().AsTime()
	}
	return f
}

var errSilent = status.Error(codes.Unavailable, "the daemon did not answer in time, or ended the stream")
