package bearerd

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// SignProof returns the value of the DPoP header (RFC 9449) of one API call,
// with the token that it goes with: for tokens with ProofRequired. nonce is what
// the API gave in its DPoP-Nonce header last, or "". A proof is good for one
// use, within seconds. [Client.Transport] does this by itself.
func (c *Client) SignProof(ctx context.Context, method, url, nonce string) (Token, string, error) {
	h, proof, err := c.sign(ctx, &bearerdv1.SignProofRequest{Client: c.name, Method: method, Url: url, Nonce: nonce})
	if err != nil {
		return Token{}, "", err
	}
	return h.token, proof, nil
}

func (c *Client) sign(ctx context.Context, request *bearerdv1.SignProofRequest) (*held, string, error) {
	ctx, cancel := c.broker.await(ctx)
	defer cancel()
	var signed *bearerdv1.SignProofResponse
	why := c.broker.call(func(daemon bearerdv1.TokenBrokerClient) (err error) {
		signed, err = daemon.SignProof(ctx, request)
		return err
	})
	if why != nil && ctx.Err() != nil {
		return nil, "", c.impatient(ctx, pending)
	}
	if why != nil {
		return nil, "", why.at(time.Now())
	}
	return hold(tokenOf(signed.GetToken())), signed.GetProof(), nil
}

// proofURL is the URL that a proof is for, without what is left out of it
// (RFC 9449 section 4.2) and is nobody's business.
func proofURL(r *http.Request) string {
	u := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	if r.Host != "" {
		u.Host = r.Host
	}
	return u.String()
}

// nonces are the newest DPoP-Nonce headers (RFC 9449 section 9), by origin.
type nonces struct {
	newest sync.Map // origin: string
}

func (n *nonces) of(o origin) string {
	nonce, _ := n.newest.Load(o)
	text, _ := nonce.(string)
	return text
}

// learn keeps the nonce of a response, if it has one.
func (n *nonces) learn(o origin, response *http.Response) {
	if nonce := response.Header.Get("DPoP-Nonce"); nonce != "" {
		n.newest.Store(o, nonce)
	}
}

// wantsNonce reports whether a response only asks for the same call with the
// nonce that it gives.
func wantsNonce(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized || response.Header.Get("DPoP-Nonce") == "" {
		return false
	}
	for _, field := range response.Header.Values("WWW-Authenticate") {
		if dpopError(field) == "use_dpop_nonce" {
			return true
		}
	}
	return false
}

// dpopError returns the error parameter of the DPoP challenge in a field that
// may have several challenges (RFC 9110 section 11.6.1).
func dpopError(field string) string {
	scheme := ""
	for _, part := range splitUnquoted(field) {
		// "Scheme", "Scheme name=value" or "name=value".
		word, rest, more := strings.Cut(part, " ")
		if !strings.Contains(word, "=") && !strings.HasPrefix(strings.TrimSpace(rest), "=") {
			scheme, part = word, rest
			if !more {
				continue
			}
		}
		name, value, _ := strings.Cut(part, "=")
		if strings.EqualFold(scheme, "DPoP") && strings.EqualFold(strings.TrimSpace(name), "error") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// splitUnquoted splits at the commas that are in no quoted string.
func splitUnquoted(field string) []string {
	quoted, escaped := false, false
	parts := strings.FieldsFunc(field, func(c rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		return c == ',' && !quoted
	})
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
