package bearerd

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func statusOf(t *testing.T, code codes.Code, domain, reason string, retry time.Duration) error {
	t.Helper()
	s, err := status.New(code, "message").WithDetails(
		&errdetails.ErrorInfo{Domain: domain, Reason: reason},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestErrorsOfCalls(t *testing.T) {
	for _, c := range []struct {
		err       error
		code      codes.Code
		reason    string
		transport bool
	}{
		{statusOf(t, codes.NotFound, "bearerd", "CLIENT_UNKNOWN", 0), codes.NotFound, "CLIENT_UNKNOWN", false},
		{statusOf(t, codes.Unavailable, "bearerd", "ISSUER_BUSY", 0), codes.Unavailable, "ISSUER_BUSY", false},
		{statusOf(t, codes.Unavailable, "other", "ISSUER_BUSY", 0), codes.Unavailable, ReasonDaemonUnreachable, true},
		{status.Error(codes.Unavailable, "lost"), codes.Unavailable, ReasonDaemonUnreachable, true},
		{status.Error(codes.DeadlineExceeded, "late"), codes.Unavailable, ReasonTokenPending, true},
		{status.Error(codes.ResourceExhausted, "much"), codes.ResourceExhausted, "RESOURCE_EXHAUSTED", true},
		{errors.New("odd"), codes.Unknown, "UNKNOWN", true},
	} {
		f := failureOf(c.err, noon)
		if f.code != c.code || f.reason != c.reason || f.transport != c.transport {
			t.Errorf("%v: %+v", c.err, f)
		}
	}
}

func TestRetryAfterIsCountedFromTheReturn(t *testing.T) {
	f := failureOf(statusOf(t, codes.Unavailable, "bearerd", "ISSUER_BUSY", 5*time.Second), noon)
	for later, want := range map[time.Duration]time.Duration{
		0: 5 * time.Second, 2 * time.Second: 3 * time.Second,
		// Zero would say that it is not known.
		5 * time.Second: time.Millisecond, time.Hour: time.Millisecond,
	} {
		if got := f.at(noon.Add(later)).RetryAfter; got != want {
			t.Errorf("%v later: %v, want %v", later, got, want)
		}
	}
	if got := (&failure{}).at(noon).RetryAfter; got != 0 {
		t.Errorf("not known: %v", got)
	}
}

func TestErrorsAreFoundByAs(t *testing.T) {
	e := pending.at(noon)
	e.cause = context.DeadlineExceeded
	wrapped := fmt.Errorf("call: %w", e)
	var found *Error
	if !errors.As(wrapped, &found) || found != e || !errors.Is(wrapped, context.DeadlineExceeded) || !e.Timeout() {
		t.Errorf("%v", wrapped)
	}
	if errors.Is(closed.at(noon), context.DeadlineExceeded) || closed.at(noon).Timeout() {
		t.Error("a closed Broker counts as a timeout")
	}
	if got, want := e.Error(), "bearerd: TOKEN_PENDING: "+pending.message; got != want {
		t.Errorf("%q", got)
	}
}

func TestNamesOfRejections(t *testing.T) {
	for rejection, want := range map[Rejection]string{
		RejectionUnspecified: "UNSPECIFIED", RejectionReplaced: "REPLACED", RejectionAlreadyReplaced: "ALREADY_REPLACED",
		RejectionTooYoung: "TOO_YOUNG", RejectionRateLimited: "RATE_LIMITED", RejectionSameToken: "SAME_TOKEN",
		// Of a daemon that is newer than this package.
		77: "77",
	} {
		if got := rejection.String(); got != want {
			t.Errorf("%d: %q", rejection, got)
		}
	}
}
