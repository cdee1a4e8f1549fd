package main

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"

	bearerd "github.com/bearerd/bearerd/clients/go"
)

// outcome completes an answer, or describes an error.
func outcome(a answer, err error) answer {
	if err == nil {
		a["ok"] = true
		return a
	}
	var e *bearerd.Error
	if !errors.As(err, &e) {
		return answer{"ok": false, "reason": "OTHER", "code": nil, "message": err.Error(), "retry_after_s": nil}
	}
	a = answer{"ok": false, "reason": e.Reason, "code": code.Code(e.Code).String(), "message": e.Message, "retry_after_s": nil}
	if e.RetryAfter > 0 {
		a["retry_after_s"] = e.RetryAfter.Seconds()
	}
	return a
}

func reason(err error) string {
	text, _ := outcome(nil, err)["reason"].(string)
	return text
}

func describeToken(t bearerd.Token) answer {
	return answer{
		"id":             t.ID,
		"access_token":   t.AccessToken(),
		"authorization":  t.Authorization(),
		"token_type":     t.Type,
		"issued_at":      unix(t.IssuedAt),
		"expires_at":     unix(t.ExpiresAt),
		"scope":          t.Scope,
		"proof_required": t.ProofRequired,
		"headers":        t.Headers(),
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
