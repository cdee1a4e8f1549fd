package bearerd

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// Rejection is what became of the report that an API answered 401 to a token.
type Rejection int

const (
	// RejectionUnspecified: nothing was reported.
	RejectionUnspecified Rejection = iota
	// RejectionReplaced: the token was retired, and replaced.
	RejectionReplaced
	// RejectionAlreadyReplaced: there was a newer token already.
	RejectionAlreadyReplaced
	// RejectionTooYoung: the token is less than 5 s old, so that clocks may
	// differ. It stays; try again.
	RejectionTooYoung
	// RejectionRateLimited: too many renewals were forced. The token stays.
	RejectionRateLimited
	// RejectionSameToken: the issuer returned the very same token. It stays.
	RejectionSameToken
)

// String returns the name, like "ALREADY_REPLACED".
func (r Rejection) String() string {
	return strings.TrimPrefix(bearerdv1.Rejection(r).String(), "REJECTION_")
}

// Reject reports that an API answered 401 to the token with this id, and returns
// the token to use from now on. If there is another one already, nothing is
// asked. Otherwise the daemon is, once for all who report the token at the time,
// and until it has answered nobody gets the rejected token. The same token comes
// back if the daemon does not believe that another one would be better; see
// [Rejection].
//
// [Client.Transport] does this by itself. 400 and 403 are not token problems.
func (c *Client) Reject(ctx context.Context, tokenID string) (Token, Rejection, error) {
	if tokenID == "" {
		return Token{}, 0, refusal("REQUEST_INVALID", codes.InvalidArgument, "there is no token without an id")
	}
	ctx, cancel := c.broker.await(ctx)
	defer cancel()
	c.watching.Do(func() { c.broker.run(c.watch) })
	a, err := c.ask(ctx, question{rejected: tokenID})
	if err != nil {
		return Token{}, 0, err
	}
	return a.held.token, a.rejection, nil
}

// question is a GetToken call that the same question at the same time shares.
type question struct {
	minValidity time.Duration
	rejected    string
}

// flight is a call under way.
type flight struct {
	done chan struct{}
	// Set when done is closed.
	answer answer
	why    *failure
}

type answer struct {
	held      *held
	rejection Rejection
}

// ask asks the daemon, or waits for the answer that somebody else is waiting
// for. Who gives up does not end the call for the others.
func (c *Client) ask(ctx context.Context, q question) (answer, error) {
	f := c.join(q)
	select {
	case <-f.done:
	case <-ctx.Done():
		return answer{}, c.impatient(ctx, pending)
	case <-c.broker.context.Done():
		return answer{}, closed.at(time.Now())
	}
	if f.why != nil {
		return answer{}, f.why.at(time.Now())
	}
	return f.answer, nil
}

// join returns the call to wait for, which may be over: memory has the answer.
func (c *Client) join(q question) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[q]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if known, ok := c.state.answer(q, time.Now()); ok || c.state.closed {
		f.answer = known
		if c.state.closed {
			f.why = closed
		}
		close(f.done)
		return f
	}
	c.flights[q] = f
	if h := c.state.held; h != nil && h.token.ID == q.rejected {
		c.changeLocked(func(s *state) { s.rejected = q.rejected })
	}
	c.broker.run(func() { c.fly(q, f) })
	return f
}

// answer answers from memory.
func (s *state) answer(q question, now time.Time) (answer, bool) {
	h := s.handed()
	if h == nil || h.token.ID == q.rejected || !h.serves(now, q.minValidity) {
		return answer{}, false
	}
	if q.rejected != "" {
		return answer{h, RejectionAlreadyReplaced}, true
	}
	return answer{h, RejectionUnspecified}, true
}

// fly makes the call and takes over its answer.
func (c *Client) fly(q question, f *flight) {
	ctx, cancel := context.WithTimeout(c.broker.context, c.broker.options.patience)
	defer cancel()
	request := &bearerdv1.GetTokenRequest{Client: c.name, RejectedTokenId: q.rejected}
	if q.minValidity > 0 {
		request.MinValidity = durationpb.New(q.minValidity)
	}
	f.why = c.broker.call(func(daemon bearerdv1.TokenBrokerClient) error {
		response, err := daemon.GetToken(ctx, request)
		if err == nil {
			f.answer = answer{hold(tokenOf(response.GetToken())), Rejection(response.GetRejection())}
		}
		return err
	})
	if q.rejected != "" {
		c.logReport(q.rejected, f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, q)
	c.changeLocked(func(s *state) { s.landed(q, f) })
	close(f.done)
}

func (c *Client) logReport(rejected string, f *flight) {
	log := c.broker.logger().With("client", c.name, "rejected", rejected)
	if f.why != nil {
		log.Warn("bearerd: token reported", "reason", f.why.reason, "error", f.why.message)
		return
	}
	log.Debug("bearerd: token reported", "rejection", f.answer.rejection, "id", f.answer.held.token.ID)
}

// landed takes over the outcome of a call.
func (s *state) landed(q question, f *flight) {
	reported := q.rejected != "" && q.rejected == s.rejected
	if reported {
		s.rejected = ""
	}
	kept := s.held != nil && s.held.token.ID == q.rejected
	switch {
	case s.closed:
	case f.why == nil && kept && f.answer.held.token.ID != q.rejected:
		// Also if the clock was set back, so that it looks older.
		s.keep(f.answer.held, nil)
	case f.why == nil:
		s.answered(f.answer.held)
	case reported && kept && f.why.retired():
		// The watch is about to say the same.
		s.held, s.unavailable = nil, f.why
	}
}

// retired says that a report that ended so was taken: the daemon has no other
// token, but does not give the old one any more either.
func (f *failure) retired() bool {
	return !f.transport && f.reason != reasonDraining && f.code != codes.ResourceExhausted
}

// reasonDraining: the daemon is shutting down.
const reasonDraining = "DRAINING"
