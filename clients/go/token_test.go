package bearerd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

func TestNoTextFormShowsTheToken(t *testing.T) {
	token := tokenOf(fake.Token("1", time.Hour))
	type inside struct {
		token   Token
		pointer *Token
		any     any
	}
	var text bytes.Buffer
	for _, value := range []any{
		token, &token, inside{token, &token, token}, &inside{token, &token, token}, []Token{token}, map[string]Token{"t": token},
		fmt.Errorf("with %v", token),
	} {
		for _, verb := range "vsqdxXTpbcoOUeEfFgGtw" {
			for _, flags := range []string{"", "+", "#", " ", "-40"} {
				fmt.Fprintf(&text, "%"+flags+string(verb)+"\n", value)
			}
		}
		slog.New(slog.NewTextHandler(&text, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&text, nil)).Info("json", "value", value)
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(encoded)
	}
	for _, secret := range []string{"secret-1", fmt.Sprint([]byte("secret-1")), hex.EncodeToString([]byte("secret-1"))} {
		if strings.Contains(strings.ToLower(text.String()), secret) {
			t.Errorf("%q is shown", secret)
		}
	}
	for _, want := range []string{"client demo", `"id":"1"`, "id=1"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("nothing says %q", want)
		}
	}
}

func TestATokenIsWhatTheDaemonSaid(t *testing.T) {
	said := fake.Token("1", time.Hour)
	said.ProofRequired, said.TokenType = true, "DPoP"
	said.Headers = []*bearerdv1.RequestHeader{{Name: "Requestor-ID", PerCall: true, Pattern: "[0-9]+"}, {Name: "X-Partner", Value: "acme"}}
	token := tokenOf(said)
	if token.Client != "demo" || token.ID != "1" || token.Type != "DPoP" || token.Scope != "payments" || !token.ProofRequired ||
		!token.IssuedAt.Equal(said.GetIssuedAt().AsTime()) || token.ExpiresAt.Sub(token.IssuedAt) != time.Hour {
		t.Errorf("%v", token)
	}
	want := []RequestHeader{{Name: "Requestor-ID", PerCall: true, Pattern: "[0-9]+"}, {Name: "X-Partner", Value: "acme"}}
	headers := token.Headers()
	if fmt.Sprint(headers) != fmt.Sprint(want) {
		t.Errorf("%v", headers)
	}
	headers[0].Pattern = ""
	if fmt.Sprint(token.Headers()) != fmt.Sprint(want) {
		t.Error("who got the headers changed those of the token")
	}
	var none Token
	if none.AccessToken() != "" || none.Authorization() != "" {
		t.Error("a zero Token has a secret")
	}
}
