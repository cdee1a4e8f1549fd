package bearerd

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// living returns a token issued at noon.
func living(id string, lifetime time.Duration) *held {
	return hold(Token{ID: id, Client: "demo", IssuedAt: noon, ExpiresAt: noon.Add(lifetime), secret: conceal("s", "Bearer s")})
}

func because(code codes.Code, reason string) *failure {
	return &failure{code: code, reason: reason}
}

func TestMargin(t *testing.T) {
	for lifetime, want := range map[time.Duration]time.Duration{
		time.Hour:         30 * time.Second,
		300 * time.Second: 30 * time.Second,
		299 * time.Second: 29900 * time.Millisecond,
		30 * time.Second:  3 * time.Second,
		0:                 0,
		-time.Minute:      0,
	} {
		if got := margin(living("1", lifetime).token); got != want {
			t.Errorf("a token that lives %v has a margin of %v, want %v", lifetime, got, want)
		}
	}
}

func TestServes(t *testing.T) {
	h := living("1", 100*time.Second) // margin 10 s
	for _, c := range []struct {
		after, minValidity time.Duration
		want               bool
	}{
		{0, 0, true},
		{90*time.Second - 1, 0, true},
		{90 * time.Second, 0, false},
		{0, 100 * time.Second, false},
		{0, 100*time.Second - 1, true},
		{80 * time.Second, 15 * time.Second, true},
		{80 * time.Second, 20 * time.Second, false},
		{89 * time.Second, 5 * time.Second, true},
		// Less than the margin is not less than the margin.
		{91 * time.Second, 5 * time.Second, false},
	} {
		if got := h.serves(noon.Add(c.after), c.minValidity); got != c.want {
			t.Errorf("after %v for %v: %v", c.after, c.minValidity, got)
		}
	}
}

func TestJudge(t *testing.T) {
	token, refused := living("1", time.Hour), because(codes.FailedPrecondition, "CREDENTIALS_REFUSED")
	first, away := because(codes.Unavailable, ReasonTokenPending), because(codes.Unavailable, ReasonDaemonUnreachable)
	for _, c := range []struct {
		name        string
		state       state
		after       time.Duration
		minValidity time.Duration
		since       uint64
		want        verdict
		why         *failure
	}{
		{name: "at the beginning", want: begin, why: silent},
		{name: "first attempt under way", state: state{attempting: true, attempt: 1}, since: 1, want: wait, why: silent},
		{name: "token in memory", state: state{standing: true, held: token}, want: serve},
		{name: "token in memory, no watch", state: state{held: token, why: away, failedAt: noon}, want: serve},
		{name: "token expired, watch", state: state{standing: true, held: token}, after: time.Hour, want: ask},
		{name: "not long enough", state: state{standing: true, held: token}, minValidity: time.Hour, want: ask},
		{name: "not long enough, no watch", state: state{held: token, why: away, failedAt: noon}, minValidity: time.Hour, want: fail, why: away},
		{name: "token expired, watch just lost", state: state{held: token}, after: time.Hour, want: begin, why: silent},
		{name: "first token on its way", state: state{standing: true, unavailable: first}, want: wait, why: first},
		{name: "no token", state: state{standing: true, unavailable: refused}, want: fail, why: refused},
		{name: "failed just now", state: state{why: away, failedAt: noon}, after: time.Second - 1, want: fail, why: away},
		{name: "failed a second ago", state: state{why: away, failedAt: noon}, after: time.Second, want: begin, why: silent},
		{
			name:  "the outcome waited for, while the next attempt is under way",
			state: state{attempt: 3, attempting: true, failed: 2, why: away, failedAt: noon},
			after: time.Minute, since: 2, want: fail, why: away,
		},
		{
			name:  "an attempt under way, and an old outcome",
			state: state{attempt: 3, attempting: true, failed: 2, why: away, failedAt: noon},
			since: 3, want: wait, why: silent,
		},
		{name: "being reported", state: state{standing: true, held: token, rejected: "1"}, want: wait, why: pending},
		{name: "another is being reported", state: state{standing: true, held: token, rejected: "0"}, want: serve},
		{name: "closed", state: state{standing: true, held: token, closed: true}, want: fail, why: closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := c.state.judge(noon.Add(c.after), c.minValidity, c.since)
			if got != c.want || why != c.why {
				t.Errorf("judge = %v, %v; want %v, %v", got, why, c.want, c.why)
			}
		})
	}
}

func TestWhatIsLeftWhenTheWatchIsLost(t *testing.T) {
	for code, kept := range map[codes.Code]bool{
		codes.Unavailable: true, codes.Internal: true, codes.Canceled: true, codes.DeadlineExceeded: true, codes.Unknown: true,
		codes.NotFound: false, codes.PermissionDenied: false, codes.InvalidArgument: false,
		codes.FailedPrecondition: false, codes.ResourceExhausted: false, codes.Unimplemented: false,
	} {
		var s state
		s.begun()
		s.told(living("1", time.Hour), nil)
		s.lost(because(code, "X"), noon)
		if s.standing || (s.handed() != nil) != kept {
			t.Errorf("%v: standing %v, token kept %v", code, s.standing, s.handed() != nil)
		}
		if s.why != nil {
			t.Errorf("%v: the end of a watch that stood counts as a failed attempt", code)
		}
	}
}

func TestAnAnswerCountsOnlyIfItIsNewer(t *testing.T) {
	older, newer := living("1", time.Hour), living("2", time.Hour)
	newer.token.IssuedAt = noon.Add(time.Minute)

	var s state
	s.told(newer, nil)
	s.answered(older)
	if s.held != newer {
		t.Error("an older token took the place of a newer one")
	}
	refused := because(codes.Unavailable, "ISSUER_BUSY")
	s.told(nil, refused)
	s.answered(newer)
	if s.held != nil || s.unavailable != refused {
		t.Error("a token came back that the watch had withdrawn")
	}
	s = state{}
	s.told(older, nil)
	s.answered(newer)
	if s.held != newer {
		t.Error("a newer token was not kept")
	}
}

func TestOutcomesOfReports(t *testing.T) {
	token, next := living("1", time.Hour), living("2", time.Hour)
	next.token.IssuedAt = noon.Add(time.Minute)
	early := living("3", time.Hour)
	early.token.IssuedAt = noon.Add(-time.Hour)
	for _, c := range []struct {
		name    string
		outcome flight
		handed  *held
		why     string
	}{
		{"replaced", flight{answer: answer{held: next}}, next, ""},
		{"replaced after the clock was set back", flight{answer: answer{held: early}}, early, ""},
		{"the same stays", flight{answer: answer{held: living("1", time.Hour)}}, token, ""},
		{"retired, no other", flight{why: because(codes.Unavailable, "ISSUER_BUSY")}, nil, "ISSUER_BUSY"},
		{"retired, another on its way", flight{why: because(codes.Unavailable, ReasonTokenPending)}, nil, ReasonTokenPending},
		{"never arrived", flight{why: &failure{code: codes.Unavailable, reason: ReasonDaemonUnreachable, transport: true}}, token, ""},
		{"not taken", flight{why: because(codes.ResourceExhausted, "CALLER_LIMIT")}, token, ""},
		{"shutting down", flight{why: because(codes.Unavailable, "DRAINING")}, token, ""},
	} {
		s := state{rejected: "1"}
		s.told(token, nil)
		if s.handed() != nil {
			t.Fatal("handed out while it is reported")
		}
		s.landed(question{rejected: "1"}, &c.outcome)
		if s.handed() != c.handed {
			t.Errorf("%s: handed out %v, want %v", c.name, s.handed(), c.handed)
		}
		if c.why != "" && (s.unavailable == nil || s.unavailable.reason != c.why) {
			t.Errorf("%s: unavailable %v", c.name, s.unavailable)
		}
	}

	s := state{rejected: "1"}
	s.told(next, nil)
	s.landed(question{rejected: "1"}, &flight{why: because(codes.Unavailable, "ISSUER_BUSY")})
	if s.handed() != next {
		t.Error("a late error took away the token that the watch brought meanwhile")
	}
}

func TestBackoff(t *testing.T) {
	almost := 1 - 1e-12
	for failures, want := range map[int]time.Duration{
		0: 50 * time.Millisecond, 1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 6: 1600 * time.Millisecond,
		7: 2 * time.Second, 20: 2 * time.Second, 63: 2 * time.Second, 1 << 40: 2 * time.Second,
	} {
		if got := backoff(failures, backoffLimit, almost); got > want || got < want-time.Microsecond {
			t.Errorf("after %d failures at most %v, want %v", failures, got, want)
		}
		if got := backoff(failures, backoffLimit, 0); got != 0 {
			t.Errorf("after %d failures at least %v: not full jitter", failures, got)
		}
	}
	if got := backoff(1000, backoffFinal, almost); got < 29*time.Second || got > 30*time.Second {
		t.Errorf("a daemon that says no is asked again after %v at most", got)
	}
}
