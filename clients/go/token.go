package bearerd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
)

// Token is an access token and what an API call needs beside it.
//
// Its text forms (every verb of package fmt, encoding/json, log/slog) show
// neither the access token nor the Authorization value.
type Token struct {
	// Client is the name of the client that the token belongs to.
	Client string
	// ID tells two tokens apart. It is opaque and safe to log.
	ID string
	// Type is the scheme of the Authorization header, normally "Bearer" (RFC 6750).
	Type string
	// Scope is the granted scope, space separated (RFC 6749 section 3.3). It is
	// empty when the issuer did not say.
	Scope string
	// IssuedAt is when the request that brought the token was sent.
	IssuedAt time.Time
	// ExpiresAt is when the token stops being valid.
	ExpiresAt time.Time
	// ProofRequired says that the token is bound to a key (RFC 9449): each API
	// call needs a proof of its own, see [Client.SignProof].
	ProofRequired bool

	headers []RequestHeader
	secret  concealed
}

// RequestHeader is a header that the API wants on each call beside
// Authorization, as the daemon's configuration declares it.
type RequestHeader struct {
	// Name as configured.
	Name string `json:"name"`
	// Value is the fixed value; empty if PerCall is set.
	Value string `json:"value"`
	// PerCall says that the caller supplies the value, anew for each call.
	PerCall bool `json:"per_call"`
	// Pattern is a regular expression that a per-call value must match as a
	// whole. Empty: any value.
	Pattern string `json:"pattern"`
}

// concealed gives what must not be printed. Package fmt calls no methods on what
// it finds in unexported fields of other types, and follows pointers there when
// a verb does not fit; what a function returns nobody sees by reflection.
type concealed func() (accessToken, authorization string)

// AccessToken returns the access token itself. It is secret.
func (t Token) AccessToken() string {
	if t.secret == nil {
		return ""
	}
	accessToken, _ := t.secret()
	return accessToken
}

// Authorization returns the complete value of the Authorization header. It is
// secret.
func (t Token) Authorization() string {
	if t.secret == nil {
		return ""
	}
	_, authorization := t.secret()
	return authorization
}

// Headers returns what each API call must carry beside Authorization.
func (t Token) Headers() []RequestHeader {
	return slices.Clone(t.headers)
}

// String describes the token without its secret parts.
func (t Token) String() string {
	return fmt.Sprintf("bearerd token %s of client %s, valid until %s", t.ID, t.Client, t.ExpiresAt.Format(time.RFC3339))
}

// GoString describes the token without its secret parts.
func (t Token) GoString() string { return t.String() }

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(t.String()))
}

// LogValue implements [slog.LogValuer] without the secret parts.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("client", t.Client),
		slog.String("id", t.ID),
		slog.Time("expires_at", t.ExpiresAt),
	)
}

// MarshalJSON implements [json.Marshaler] without the secret parts.
func (t Token) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Client        string          `json:"client"`
		ID            string          `json:"id"`
		Type          string          `json:"token_type"`
		Scope         string          `json:"scope"`
		IssuedAt      time.Time       `json:"issued_at"`
		ExpiresAt     time.Time       `json:"expires_at"`
		ProofRequired bool            `json:"proof_required"`
		Headers       []RequestHeader `json:"headers"`
	}{t.Client, t.ID, t.Type, t.Scope, t.IssuedAt, t.ExpiresAt, t.ProofRequired, t.headers})
}

// tokenOf converts the daemon's message.
func tokenOf(m *bearerdv1.Token) Token {
	token := Token{
		Client:        m.GetClient(),
		ID:            m.GetId(),
		Type:          m.GetTokenType(),
		Scope:         m.GetScope(),
		IssuedAt:      m.GetIssuedAt().AsTime(),
		ExpiresAt:     m.GetExpiresAt().AsTime(),
		ProofRequired: m.GetProofRequired(),
		headers:       make([]RequestHeader, 0, len(m.GetHeaders())),
		secret:        conceal(m.GetAccessToken(), m.GetAuthorization()),
	}
	for _, h := range m.GetHeaders() {
		token.headers = append(token.headers, RequestHeader{
			Name: h.GetName(), Value: h.GetValue(), PerCall: h.GetPerCall(), Pattern: h.GetPattern(),
		})
	}
	return token
}

func conceal(accessToken, authorization string) concealed {
	return func() (string, string) { return accessToken, authorization }
}
