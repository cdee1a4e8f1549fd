package bearerd

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestStrayed(t *testing.T) {
	for _, c := range []struct {
		hops []string
		want bool
	}{
		{[]string{"https://a/"}, false},
		{[]string{"https://a/", "https://a/b"}, false},
		{[]string{"https://a/", "https://A:443/b"}, false},
		{[]string{"http://a:80/", "http://a/b"}, false},
		{[]string{"https://a/", "https://a:444/"}, true},
		{[]string{"https://a/", "http://a/"}, true},
		{[]string{"https://a/", "https://b.a/"}, true},
		{[]string{"https://a/", "https://b/", "https://b/"}, true},
		{[]string{"https://a/", "https://b/", "https://a/"}, true},
	} {
		var r *http.Request
		for _, hop := range c.hops {
			next := httptest.NewRequest("GET", hop, nil)
			if r != nil {
				next.Response = &http.Response{Request: r}
			}
			r = next
		}
		if got := strayed(r); got != c.want {
			t.Errorf("%v: %v", c.hops, got)
		}
	}
}

func TestSecure(t *testing.T) {
	for text, want := range map[string]bool{
		"https://a/": true, "http://localhost/": true, "http://127.0.0.1:9/": true, "http://127.9.9.9/": true, "http://[::1]/": true,
		"http://a/": false, "http://localhost.a/": false, "http://128.0.0.1/": false, "http://0.0.0.0/": false,
		"http://127.0.0.1@a/": false, "http://[fe80::1]/": false, "http://2130706433/": false, "ws://localhost/": false, "//localhost/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := secure(u); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestErrorOfADPoPChallenge(t *testing.T) {
	for field, want := range map[string]string{
		`DPoP error="use_dpop_nonce"`:                                       "use_dpop_nonce",
		`dpop algs="ES256 PS256", Error = use_dpop_nonce`:                   "use_dpop_nonce",
		`Bearer realm="a, b", DPoP algs="ES256",error="use_dpop_nonce"`:     "use_dpop_nonce",
		`DPoP, Bearer error="use_dpop_nonce"`:                               "",
		`DPoP algs="ES256", Bearer error="use_dpop_nonce"`:                  "",
		`Bearer error="invalid_token"`:                                      "",
		`Bearer realm="DPoP error=use_dpop_nonce"`:                          "",
		`Bearer realm="\", DPoP error=use_dpop_nonce"`:                      "",
		`DPoP error="invalid_token", error_description="use_dpop_nonce, x"`: "invalid_token",
		``: "",
	} {
		if got := dpopError(field); got != want {
			t.Errorf("%s: %q", field, got)
		}
	}
}
