package bearerd

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// TokenSource is an [oauth2.TokenSource] of a client's tokens, for code that
// wants one.
//
// It is cheap to ask for each call, and must be asked: who keeps a token does
// not notice that it was retired. So do not wrap it in
// [oauth2.ReuseTokenSource], which [oauth2.NewClient] does by itself. Use an
// [oauth2.Transport] with it as Source, or better [TokenSource.HTTPClient], which
// does what oauth2.Transport cannot: it replaces a token that an API answers 401
// to, and makes proofs for tokens that are bound to a key.
type TokenSource struct {
	// MinValidity is how long tokens must at least be valid from now. Zero: as
	// [Client.Token] says. Set it before the first use.
	MinValidity time.Duration

	client  *Client
	context context.Context
}

var _ oauth2.TokenSource = (*TokenSource)(nil)

// TokenSource returns a TokenSource. Tokens are waited for until the deadline of
// ctx; see [WithPatience] for a ctx without one.
func (c *Client) TokenSource(ctx context.Context) *TokenSource {
	return &TokenSource{client: c, context: ctx}
}

// Token implements [oauth2.TokenSource]. Extra([ExtraToken]) of the token is the
// [Token] that it was made of. All callers share one oauth2.Token, as those of
// [oauth2.ReuseTokenSource] do: do not change it. Unlike a Token, it shows the
// access token when it is printed.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	h, err := s.client.read(s.context, s.MinValidity)
	if err != nil {
		return nil, err
	}
	return h.oauth2, nil
}

func oauth2Token(t Token) *oauth2.Token {
	token := &oauth2.Token{AccessToken: t.AccessToken(), TokenType: t.Type, Expiry: t.ExpiresAt}
	return token.WithExtra(map[string]any{ExtraToken: t, "scope": t.Scope})
}

// HTTPClient returns an http.Client with [Client.Transport], in place of what
// [oauth2.NewClient] would return. Like that, it builds on the http.Client that
// the context of the TokenSource has for [oauth2.HTTPClient], if any.
func (s *TokenSource) HTTPClient() *http.Client {
	client := &http.Client{}
	if base, ok := s.context.Value(oauth2.HTTPClient).(*http.Client); ok && base != nil {
		*client = *base
	}
	client.Transport = s.client.Transport(client.Transport)
	return client
}

// ExtraToken is the key of the [Token] in [oauth2.Token.Extra]: its ID is what
// [Client.Reject] wants.
const ExtraToken = "bearerd"
