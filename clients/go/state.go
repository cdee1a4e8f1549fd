package bearerd

import (
	"time"

	"golang.org/x/oauth2"
)

// held is a token in memory, with what its readers would otherwise compute at
// each read. It never changes.
type held struct {
	token Token
	// usableUntil is when it stops being handed out: expires less margin. Both
	// are in Unix nanoseconds of the wall clock.
	usableUntil, expires int64
	rules                []rule
	// oauth2 is the same token for those who want it so.
	oauth2 *oauth2.Token
}

func hold(token Token) *held {
	return &held{
		token:       token,
		usableUntil: token.ExpiresAt.Add(-margin(token)).UnixNano(),
		expires:     token.ExpiresAt.UnixNano(),
		rules:       rulesOf(token.headers),
		oauth2:      oauth2Token(token),
	}
}

// margin is how long before its expiry a token is not handed out any more: the
// smaller of 30 s and a tenth of its life.
func margin(token Token) time.Duration {
	return max(min(longestMargin, token.ExpiresAt.Sub(token.IssuedAt)/10), 0)
}

// serves reports whether the token is valid for long enough.
func (h *held) serves(now time.Time, minValidity time.Duration) bool {
	wall := now.UnixNano()
	return wall < h.usableUntil && wall < h.expires-int64(minValidity)
}

// state is what is known of one client. Its rules are functions of what is
// known and of the time.
type state struct {
	// held is the newest token, however long it is still valid.
	held *held
	// newest is when the newest token of all was issued.
	newest time.Time
	// unavailable is why the daemon has no token.
	unavailable *failure
	// standing: the watch stream has brought the present state.
	standing bool
	// rejected is the id of a token about whose rejection the daemon is being told.
	rejected string
	closed   bool

	// attempts to watch, counted from 1: the newest that began, and whether it
	// is still under way.
	attempt    uint64
	attempting bool
	// failed is the newest one that failed, with why and when; nil why: none
	// since the watch stood last.
	failed   uint64
	why      *failure
	failedAt time.Time
}

// verdict is what a reader gets.
type verdict int

const (
	// serve: the token in memory.
	serve verdict = iota
	// fail: an error.
	fail
	// wait: until the state changes.
	wait
	// ask: the daemon, with a call.
	ask
	// begin: an attempt to watch, and wait.
	begin
)

// judge decides what a reader gets that wants a token valid for so long. since
// is the attempt to watch whose outcome it has waited for; 0: none.
func (s *state) judge(now time.Time, minValidity time.Duration, since uint64) (verdict, *failure) {
	switch {
	case s.closed:
		return fail, closed
	case s.held != nil && s.held.token.ID == s.rejected && s.rejected != "":
		return wait, pending
	case s.held != nil && s.held.serves(now, minValidity):
		return serve, nil
	case !s.standing:
		return s.judgeAttempt(now, since)
	case s.unavailable != nil && s.unavailable.reason == ReasonTokenPending:
		return wait, s.unavailable
	case s.unavailable != nil:
		return fail, s.unavailable
	default:
		return ask, nil
	}
}

// judgeAttempt decides what a reader gets while the watch does not stand.
func (s *state) judgeAttempt(now time.Time, since uint64) (verdict, *failure) {
	switch {
	case s.why != nil && since != 0 && since <= s.failed:
		return fail, s.why
	case s.attempting:
		return wait, silent
	case s.why != nil && now.Sub(s.failedAt) < attemptInterval:
		return fail, s.why
	default:
		return begin, silent
	}
}

// begun notes that an attempt to watch begins.
func (s *state) begun() {
	s.attempt++
	s.attempting = true
}

// told takes over what the daemon says on the watch stream: a token, or why
// there is none.
func (s *state) told(token *held, unavailable *failure) {
	s.attempting, s.standing, s.why = false, true, nil
	s.keep(token, unavailable)
}

func (s *state) keep(token *held, unavailable *failure) {
	s.held, s.unavailable = token, unavailable
	if token != nil && token.token.IssuedAt.After(s.newest) {
		s.newest = token.token.IssuedAt
	}
}

// lost notes that an attempt failed, or that the watch that stood has ended.
func (s *state) lost(why *failure, now time.Time) {
	if s.attempting {
		s.failed, s.why, s.failedAt = s.attempt, why, now
	}
	s.attempting, s.standing, s.unavailable = false, false, nil
	if why.final() {
		s.held = nil
	}
}

// answered takes over the token of an answer if it is newer than all before:
// what the watch says meanwhile counts more.
func (s *state) answered(token *held) {
	if token.token.IssuedAt.After(s.newest) {
		s.keep(token, nil)
	}
}

// handed returns the token that is handed out without a look at the rest.
func (s *state) handed() *held {
	if s.closed || s.held == nil || s.held.token.ID == s.rejected {
		return nil
	}
	return s.held
}

const (
	longestMargin = 30 * time.Second
	// attemptInterval is how long the outcome of an attempt to watch is given to
	// readers before one of them starts another.
	attemptInterval = time.Second
)
