package bearerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reasons of this package. Those of the daemon, like "CLIENT_UNKNOWN" or
// "ISSUER_UNREACHABLE", are listed in token_broker.proto; the daemon and this
// package share [ReasonTokenPending].
const (
	// ReasonDaemonUnreachable: nobody answers on the socket, or somebody who is
	// not to be trusted.
	ReasonDaemonUnreachable = "DAEMON_UNREACHABLE"
	// ReasonTokenPending: the time to wait passed before the token came.
	ReasonTokenPending = "TOKEN_PENDING"
	// ReasonClosed: the Broker has been closed.
	ReasonClosed = "CLOSED"
	// ReasonHeaderMissing: the API wants a header that the call does not have.
	ReasonHeaderMissing = "HEADER_MISSING"
	// ReasonHeaderInvalid: the value of a header is not what the API wants.
	ReasonHeaderInvalid = "HEADER_INVALID"
	// ReasonURLInsecure: the call would send the token unencrypted over a network.
	ReasonURLInsecure = "URL_INSECURE"
	// ReasonProofRequired: the token is of use only with a proof for the call's
	// method and URL.
	ReasonProofRequired = "PROOF_REQUIRED"
)

// Error is why there is no token, or why a call was not sent. All methods of
// this package that fail return one, except that they return the context's
// error when the caller's context is cancelled.
type Error struct {
	// Reason is stable and made for programs.
	Reason string
	// Code is the gRPC status code.
	Code codes.Code
	// Message says what is wrong and what to do, for a person. It never
	// contains a token.
	Message string
	// RetryAfter is when it makes sense to try again, counted from the return
	// of the error. Zero: not known.
	RetryAfter time.Duration

	cause error
}

// Error returns reason and message.
func (e *Error) Error() string {
	return "bearerd: " + e.Reason + ": " + e.Message
}

// Unwrap returns [context.DeadlineExceeded] when it was the caller's patience
// that ended.
func (e *Error) Unwrap() error { return e.cause }

// Timeout reports whether it was the caller's patience that ended, as
// [net/url.Error] asks.
func (e *Error) Timeout() bool { return errors.Is(e.cause, context.DeadlineExceeded) }

// GRPCStatus lets [status.FromError] see code and message.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// failure is an Error at rest: it knows the point in time of the next attempt.
type failure struct {
	reason  string
	code    codes.Code
	message string
	// next is when the issuer is asked next; zero if that is not known.
	next time.Time
	// transport: it did not come from the daemon but from the way there.
	transport bool
}

// at returns the Error that a caller gets now.
func (f *failure) at(now time.Time) *Error {
	e := &Error{Reason: f.reason, Code: f.code, Message: f.message}
	if !f.next.IsZero() {
		// Zero would mean that it is not known.
		e.RetryAfter = max(f.next.Sub(now), time.Millisecond)
	}
	return e
}

// final says that trying again soon is no use: the token must not be used any
// more, because the daemon does not let this process have it.
func (f *failure) final() bool {
	switch f.code {
	case codes.NotFound, codes.PermissionDenied, codes.InvalidArgument,
		codes.FailedPrecondition, codes.ResourceExhausted, codes.Unimplemented:
		return true
	default:
		return false
	}
}

// failureOf reads what a gRPC call ended with.
func failureOf(err error, now time.Time) *failure {
	s := status.Convert(err)
	f := &failure{code: s.Code(), message: s.Message(), transport: true}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				f.reason, f.transport = d.GetReason(), false
			}
		case *errdetails.RetryInfo:
			if d.GetRetryDelay() != nil {
				f.next = now.Add(d.GetRetryDelay().AsDuration())
			}
		}
	}
	if f.reason != "" {
		return f
	}
	switch f.code {
	case codes.Unavailable:
		f.reason = ReasonDaemonUnreachable
	case codes.DeadlineExceeded:
		f.reason, f.code = ReasonTokenPending, codes.Unavailable
	default:
		f.reason = code.Code(f.code).String()
	}
	return f
}

var closed = &failure{reason: ReasonClosed, code: codes.Canceled, message: "the Broker has been closed"}

// refusal is an error of a call that was not sent.
func refusal(reason string, code codes.Code, format string, values ...any) *Error {
	return &Error{Reason: reason, Code: code, Message: fmt.Sprintf(format, values...)}
}

// errorDomain is the domain of the daemon's google.rpc.ErrorInfo.
const errorDomain = "bearerd"
