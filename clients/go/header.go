package bearerd

import (
	"context"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
)

// Headers returns all headers of one API call: Authorization, the fixed ones,
// and those in perCall, whose names may be written in any case. It fails with
// [ReasonHeaderMissing] or [ReasonHeaderInvalid] when the API wants something
// else, and with [ReasonProofRequired] when the token is bound to a key: use
// [Client.Transport] or [Client.SignProof] then.
func (c *Client) Headers(ctx context.Context, perCall map[string]string) (http.Header, error) {
	h, err := c.read(ctx, 0)
	if err != nil {
		return nil, err
	}
	if h.token.ProofRequired {
		return nil, refusal(ReasonProofRequired, codes.FailedPrecondition, "each call with a token of client %s needs a "+
			"proof for its method and URL; use Transport or SignProof", c.name)
	}
	headers := make(http.Header, len(perCall)+len(h.rules)+1)
	for name, value := range perCall {
		if strings.ContainsFunc(value, control) {
			return nil, refusal(ReasonHeaderInvalid, codes.InvalidArgument, "header %s has a control character; leave it out", name)
		}
		headers.Add(name, value)
	}
	if err := h.complete(headers); err != nil {
		return nil, err
	}
	return headers, nil
}

// complete adds to the headers of a call what the token wants, or says what is
// wrong with them.
func (h *held) complete(headers http.Header) error {
	for _, r := range h.rules {
		if r.header.PerCall {
			if err := r.check(h.token.Client, valuesOf(headers, r.header.Name)); err != nil {
				return err
			}
		} else {
			replaceHeader(headers, r.header.Name, r.header.Value)
		}
	}
	replaceHeader(headers, "Authorization", h.token.Authorization())
	return nil
}

// rule is a declared header with its pattern compiled.
type rule struct {
	header RequestHeader
	// pattern is nil if any value will do, or if broken.
	pattern *regexp.Regexp
	// broken: the pattern is none for this language. No value matches it.
	broken bool
}

func rulesOf(headers []RequestHeader) []rule {
	rules := make([]rule, 0, len(headers))
	for _, h := range headers {
		r := rule{header: h}
		if h.Pattern != "" {
			// First on its own: what is wrong alone must not become right between
			// the parentheses.
			_, err := regexp.Compile(h.Pattern)
			if err == nil {
				r.pattern, err = regexp.Compile(`\A(?:` + h.Pattern + `)\z`)
			}
			r.broken = err != nil
		}
		rules = append(rules, r)
	}
	return rules
}

// check says what is wrong with what a call gives for a per-call header.
func (r *rule) check(client string, values []string) error {
	invalid := func(what string) error {
		return refusal(ReasonHeaderInvalid, codes.InvalidArgument, "header %s of client %s %s", r.header.Name, client, what)
	}
	switch {
	case len(values) == 0:
		return refusal(ReasonHeaderMissing, codes.InvalidArgument, "the API of client %s wants the header %s on each "+
			"call; add it to the call", client, r.header.Name)
	case len(values) > 1:
		return invalid("is there more than once; give it once")
	case strings.TrimSpace(values[0]) == "":
		return invalid("is empty; give it a value")
	case strings.ContainsFunc(values[0], control):
		return invalid("has a control character; leave it out")
	case r.broken:
		return invalid("cannot be checked: its pattern " + r.header.Pattern + " is not one for package regexp; change it " +
			"in the configuration")
	case r.pattern != nil && !r.pattern.MatchString(values[0]):
		return invalid("does not match its pattern " + r.header.Pattern)
	default:
		return nil
	}
}

// control says that no header's value may have the character (RFC 9110 section
// 5.5; the horizontal tab, which it allows, is no part of any sensible value).
func control(c rune) bool { return c < ' ' || c == 0x7f }

// valuesOf returns the values of a header, however the keys of the map are spelt.
func valuesOf(headers http.Header, name string) []string {
	var values []string
	for key, more := range headers {
		if strings.EqualFold(key, name) {
			values = append(values, more...)
		}
	}
	return values
}

func replaceHeader(headers http.Header, name, value string) {
	deleteHeader(headers, name)
	headers[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
}

func deleteHeader(headers http.Header, name string) {
	for key := range headers {
		if strings.EqualFold(key, name) {
			delete(headers, key)
		}
	}
}
