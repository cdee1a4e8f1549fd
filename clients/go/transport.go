package bearerd

import (
	"io"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// Transport returns a RoundTripper that makes API calls with the client's token
// over base; nil: over [http.DefaultTransport].
//
// It sets Authorization and the fixed headers, and sends nothing if a per-call
// header that the API wants is missing from the request or wrong, or if the URL
// is neither https nor on a loopback address (see [WithAllowHTTP]). When the API
// answers 401, it reports the token, and sends the request once more if that
// brought another token and the body can be read again: there is none, or the
// request has GetBody, as [http.NewRequest] sets it for bytes and strings. For
// tokens that are bound to a key it adds proofs (RFC 9449) and repeats what the
// API wants repeated with a nonce.
//
// Redirects that leave the origin of the first request get none of all that.
func (c *Client) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{client: c, base: base}
}

// HTTPClient returns an http.Client with [Client.Transport] over the default
// transport.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: c.Transport(nil)}
}

type transport struct {
	client *Client
	base   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if strayed(r) {
		return t.relayed(r)
	}
	if !secure(r.URL) && !t.client.broker.options.allowHTTP {
		return nil, unsent(r, refusal(ReasonURLInsecure, codes.InvalidArgument, "a token is sent over https, or to this "+
			"machine, not to %s; use https, or allow it with WithAllowHTTP", originOf(r.URL)))
	}
	attempt, h, err := t.prepare(r, r.Body)
	if err != nil {
		return nil, unsent(r, err)
	}
	response, err := t.base.RoundTrip(attempt)
	if err != nil {
		return nil, err
	}
	response, h, err = t.withNonce(r, response, h)
	if err != nil {
		return nil, err
	}
	response, err = t.withReplacement(r, response, h)
	if err != nil {
		return nil, err
	}
	t.learn(r, response, h)
	// The caller's request, not the one with the token.
	response.Request = r
	return response, nil
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// relayed makes a call to another origin. The caller's headers came along, but
// not those that were added; what the caller set in their place is removed too.
func (t *transport) relayed(r *http.Request) (*http.Response, error) {
	bare := r.Clone(r.Context())
	deleteHeader(bare.Header, "Authorization")
	deleteHeader(bare.Header, "DPoP")
	if rules := t.client.declared.Load(); rules != nil {
		for _, rule := range *rules {
			if !rule.header.PerCall {
				deleteHeader(bare.Header, rule.header.Name)
			}
		}
	}
	return t.base.RoundTrip(bare)
}

// prepare returns the request with all that the API wants, and what it was made
// with.
func (t *transport) prepare(r *http.Request, body io.ReadCloser) (*http.Request, *held, error) {
	h, err := t.client.read(r.Context(), 0)
	if err != nil {
		return nil, nil, err
	}
	prepared := r.Clone(r.Context())
	prepared.Body = body
	if prepared.Header == nil {
		prepared.Header = make(http.Header)
	}
	deleteHeader(prepared.Header, "DPoP")
	// Before the proof is asked for, since that costs a call.
	if err := h.complete(prepared.Header); err != nil {
		return nil, nil, err
	}
	if !h.token.ProofRequired {
		return prepared, h, nil
	}
	h, proof, err := t.client.sign(r.Context(), &bearerdv1.SignProofRequest{
		Client: t.client.name,
		Method: methodOf(r),
		Url:    proofURL(r),
		Nonce:  t.client.nonces.of(originOf(r.URL)),
	})
	if err != nil {
		return nil, nil, err
	}
	if err := h.complete(prepared.Header); err != nil {
		return nil, nil, err
	}
	replaceHeader(prepared.Header, "DPoP", proof)
	return prepared, h, nil
}

// withNonce repeats a call that the API wants with the nonce that it gave.
func (t *transport) withNonce(r *http.Request, response *http.Response, h *held) (*http.Response, *held, error) {
	t.learn(r, response, h)
	if !h.token.ProofRequired || !wantsNonce(response) || !replayable(r) {
		return response, h, nil
	}
	return t.replay(r, response, h)
}

// withReplacement reports the token of a call that was answered 401, and repeats
// the call if that brought another one.
func (t *transport) withReplacement(r *http.Request, response *http.Response, h *held) (*http.Response, error) {
	if response.StatusCode != http.StatusUnauthorized || h.token.ProofRequired && wantsNonce(response) {
		return response, nil
	}
	replacement, _, err := t.client.Reject(r.Context(), h.token.ID)
	if err != nil {
		t.client.broker.logger().Warn("bearerd: a 401 could not be reported",
			"client", t.client.name, "id", h.token.ID, "error", err)
		return response, nil
	}
	if replacement.ID == h.token.ID || !replayable(r) {
		return response, nil
	}
	response, _, err = t.replay(r, response, h)
	return response, err
}

// replay makes the call again in place of a response. If it cannot be made, the
// response stays.
func (t *transport) replay(r *http.Request, instead *http.Response, used *held) (*http.Response, *held, error) {
	body := r.Body
	if body != nil && body != http.NoBody {
		var err error
		if body, err = r.GetBody(); err != nil {
			return instead, used, nil
		}
	}
	again, h, err := t.prepare(r, body)
	if err != nil {
		if body != nil {
			_ = body.Close()
		}
		return instead, used, nil
	}
	// What was read to the end leaves the connection for the next call.
	_, _ = io.CopyN(io.Discard, instead.Body, drainLimit)
	_ = instead.Body.Close()
	response, err := t.base.RoundTrip(again)
	return response, h, err
}

func (t *transport) learn(r *http.Request, response *http.Response, h *held) {
	if h.token.ProofRequired {
		t.client.nonces.learn(originOf(r.URL), response)
	}
}

// unsent closes the body of a request that is not sent, as a RoundTripper must.
func unsent(r *http.Request, err error) error {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return err
}

func replayable(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
}

func methodOf(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// drainLimit is how much of a response is read for the sake of its connection.
const drainLimit = 64 << 10
