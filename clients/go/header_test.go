package bearerd

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

// wants returns a token whose API wants these headers beside X-Partner: acme.
func wants(headers ...RequestHeader) *held {
	return hold(Token{
		Client: "wawex", headers: append(headers, RequestHeader{Name: "X-Partner", Value: "acme"}), secret: conceal("s", "Bearer s"),
	})
}

func perCall(pattern string) RequestHeader {
	return RequestHeader{Name: "Requestor-ID", PerCall: true, Pattern: pattern}
}

func TestValuesOfPerCallHeaders(t *testing.T) {
	const digits = "[0-9]{1,4}"
	for _, c := range []struct {
		pattern string
		values  []string
		want    string
	}{
		{digits, []string{"4711"}, ""},
		{"", []string{"anything at all"}, ""},
		{digits, nil, ReasonHeaderMissing},
		{"", nil, ReasonHeaderMissing},
		{digits, []string{"47111"}, ReasonHeaderInvalid},
		{digits, []string{"x4711"}, ReasonHeaderInvalid},
		{digits, []string{"4711\n"}, ReasonHeaderInvalid},
		{"(?m)[0-9]+", []string{"4711"}, ""},
		{"(?s).*", []string{"47\n11"}, ReasonHeaderInvalid},
		{".*", []string{"47\t11"}, ReasonHeaderInvalid},
		{".*", []string{"47\x7f11"}, ReasonHeaderInvalid},
		{".*", []string{""}, ReasonHeaderInvalid},
		{".*", []string{"  "}, ReasonHeaderInvalid},
		{".*", []string{"1", "2"}, ReasonHeaderInvalid},
		{"a|b", []string{"bx"}, ReasonHeaderInvalid},
		{"a|ab", []string{"ab"}, ""},
		// No patterns: neither alone, nor between the parentheses that are put around one.
		{"[", []string{"["}, ReasonHeaderInvalid},
		{"x)|(?:.*", []string{"anything"}, ReasonHeaderInvalid},
		{"(?=x)x", []string{"x"}, ReasonHeaderInvalid},
	} {
		headers := http.Header{}
		if c.values != nil {
			headers["Requestor-Id"] = c.values
		}
		err := wants(perCall(c.pattern)).complete(headers)
		if reasonOf(err) != c.want {
			t.Errorf("%q for %q: %v, want %q", c.values, c.pattern, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), "Requestor-ID") || !strings.Contains(err.Error(), "wawex")) {
			t.Errorf("%v does not say what is meant", err)
		}
	}
}

func TestNamesAreTheSameInAnyCase(t *testing.T) {
	headers := http.Header{
		"requestor-id": {"4711"}, "AUTHORIZATION": {"Bearer mine"}, "Authorization": {"Bearer mine"}, "x-partner": {"other"}, "Accept": {"a"},
	}
	if err := wants(perCall("[0-9]+")).complete(headers); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Authorization": "Bearer s", "X-Partner": "acme", "Requestor-ID": "4711", "Accept": "a"} {
		if got := valuesOf(headers, name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestHeadersOfACall(t *testing.T) {
	daemon, stop, err := fake.Demo(&bearerdv1.RequestHeader{Name: "Requestor-ID", PerCall: true, Pattern: "[0-9]+"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c := demo(t, daemon.Socket)
	headers, err := c.Headers(deadline(t), map[string]string{"requestor-id": "4711", "Accept": "a"})
	if err != nil || headers.Get("Requestor-ID") != "4711" || headers.Get("Authorization") != "Bearer secret-1" || headers.Get("Accept") != "a" {
		t.Errorf("%v, %v", headers, err)
	}
	for reason, set := range map[string]map[string]string{
		ReasonHeaderMissing: {"Accept": "a"},
		ReasonHeaderInvalid: {"Requestor-ID": "4711", "Accept": "a\r\nX: y"},
	} {
		if headers, err := c.Headers(deadline(t), set); reasonOf(err) != reason || headers != nil {
			t.Errorf("%v: %v, %v", set, headers, err)
		}
	}

	bound := fake.Token("2", time.Hour)
	bound.ProofRequired = true
	daemon.Say(fake.Says(bound))
	readUntil(t, c, func(token Token, _ error) bool { return token.ID == "2" })
	if _, err := c.Headers(context.Background(), map[string]string{}); reasonOf(err) != ReasonProofRequired {
		t.Errorf("of a bound token: %v", err)
	}
}
