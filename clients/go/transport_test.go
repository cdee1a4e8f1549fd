package bearerd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/bearerd/bearerd/clients/go/bearerdv1"
	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

// seen is a request as an API sees it.
type seen struct {
	authorization, dpop, partner, body string
}

// api is an HTTP server that answers what respond says and keeps what it saw.
type api struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

func serveAPI(t *testing.T, respond func(w http.ResponseWriter, r *http.Request, s seen)) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s := seen{r.Header.Get("Authorization"), r.Header.Get("DPoP"), r.Header.Get("X-Partner"), string(body)}
		a.mu.Lock()
		a.seen = append(a.seen, s)
		a.mu.Unlock()
		respond(w, r, s)
	}))
	t.Cleanup(a.Close)
	return a
}

// only answers 200 to one Authorization, and 401 to others.
func only(authorization string) func(http.ResponseWriter, *http.Request, seen) {
	return func(w http.ResponseWriter, _ *http.Request, s seen) {
		if s.authorization != authorization {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

// replaces answers one report with another token.
func replaces(daemon *fake.Daemon, token *bearerdv1.Token) {
	go func() {
		<-daemon.GetTokenCalls
		daemon.Answers <- fake.Answer{Response: &bearerdv1.GetTokenResponse{Token: token, Rejection: bearerdv1.Rejection_REJECTION_REPLACED}}
	}()
}

// body counts how often it was closed.
type body struct {
	io.Reader
	closed int
}

func (b *body) Close() error { b.closed++; return nil }

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(deadline(t), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestACallIsRepeatedOnceWithTheNextToken(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	server := serveAPI(t, only("Bearer secret-2"))
	replaces(daemon, fake.Token("2", time.Hour))
	r := newRequest(t, "POST", server.URL, strings.NewReader("data"))
	r.Header.Set("Authorization", "Bearer mine")
	response, err := c.HTTPClient().Do(r)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	want := []seen{{"Bearer secret-1", "", "", "data"}, {"Bearer secret-2", "", "", "data"}}
	if len(server.seen) != 2 || server.seen[0] != want[0] || server.seen[1] != want[1] {
		t.Errorf("the API saw %q", server.seen)
	}
	if len(r.Header) != 1 || r.Header.Get("Authorization") != "Bearer mine" {
		t.Errorf("the caller's request was changed: %v", r.Header)
	}
	if response.Request != r {
		t.Error("the response has a request that is not the caller's")
	}
}

func TestACallWhoseBodyIsGoneIsOnlyReported(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	server := serveAPI(t, func(w http.ResponseWriter, _ *http.Request, s seen) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no")
	})
	replaces(daemon, fake.Token("2", time.Hour))
	once := &body{Reader: strings.NewReader("data")}
	response, err := c.HTTPClient().Do(newRequest(t, "POST", server.URL, once))
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Fatal(response, err)
	}
	if text, err := io.ReadAll(response.Body); string(text) != "no" || err != nil {
		t.Errorf("the body of the answer is %q, %v", text, err)
	}
	if token, _ := c.Token(deadline(t)); token.ID != "2" || len(server.seen) != 1 {
		t.Errorf("the next call has %v; the API saw %q", token, server.seen)
	}
}

func TestAFailedReportLeavesTheAnswer(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	server := serveAPI(t, only("none"))
	if _, err := c.Token(deadline(t)); err != nil {
		t.Fatal(err)
	}
	daemon.Stop()
	response, err := c.HTTPClient().Do(newRequest(t, "GET", server.URL, nil))
	if err != nil || response.StatusCode != http.StatusUnauthorized || len(server.seen) != 1 {
		t.Errorf("%v, %v, the API saw %q", response, err, server.seen)
	}
}

func TestOnly401IsReported(t *testing.T) {
	daemon := start(t, socketIn(t), fake.Says(fake.Token("1", time.Hour)))
	c := demo(t, daemon.Socket)
	for _, code := range []int{200, 302, 400, 403, 404, 407, 500, 503} {
		server := serveAPI(t, func(w http.ResponseWriter, _ *http.Request, _ seen) { w.WriteHeader(code) })
		// Nobody answers reports: one would not return.
		response, err := c.Transport(nil).RoundTrip(newRequest(t, "GET", server.URL, nil))
		if err != nil || response.StatusCode != code {
			t.Errorf("%d: %v, %v", code, response, err)
		}
	}
}

func TestWhatIsNotSentIsClosed(t *testing.T) {
	daemon, stop, err := fake.Demo(&bearerdv1.RequestHeader{Name: "Requestor-ID", PerCall: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	transport := demo(t, daemon.Socket).Transport(sendsNothing{t})
	for url, reason := range map[string]string{
		"http://api.example/":          ReasonURLInsecure,
		"http://127.0.0.1.example/":    ReasonURLInsecure,
		"ftp://localhost/":             ReasonURLInsecure,
		"https://api.example/":         ReasonHeaderMissing,
		"http://[::1]:80/":             ReasonHeaderMissing,
		"http://[::ffff:127.0.0.1]:9/": ReasonHeaderMissing,
		"HTTP://LOCALHOST:80/":         ReasonHeaderMissing,
	} {
		b := &body{Reader: strings.NewReader("data")}
		_, err := transport.RoundTrip(newRequest(t, "POST", url, b))
		if reasonOf(err) != reason || b.closed != 1 {
			t.Errorf("%s: %v, closed %d times", url, err, b.closed)
		}
	}
	daemon.Say(fake.SaysNo(codes.Unavailable, ReasonTokenPending, time.Time{}))
	c := demo(t, daemon.Socket)
	readUntilPending(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := &body{Reader: strings.NewReader("data")}
	r, _ := http.NewRequestWithContext(ctx, "POST", "https://api.example/", b)
	if _, err := c.Transport(sendsNothing{t}).RoundTrip(r); err != context.Canceled || b.closed != 1 {
		t.Errorf("of a caller that gave up: %v, closed %d times", err, b.closed)
	}
}

type sendsNothing struct{ t *testing.T }

func (s sendsNothing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.t.Errorf("%s was sent", r.URL)
	return nil, errors.New("sent")
}

func TestRedirectsTakeNothingAlong(t *testing.T) {
	daemon, stop, err := fake.Demo(&bearerdv1.RequestHeader{Name: "X-Partner", Value: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var home *api
	foreign := serveAPI(t, func(w http.ResponseWriter, r *http.Request, _ seen) {
		if r.URL.Path == "/back" {
			http.Redirect(w, r, home.URL+"/end", http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	home = serveAPI(t, func(w http.ResponseWriter, r *http.Request, _ seen) {
		switch r.URL.Path {
		case "/near":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		case "/far":
			http.Redirect(w, r, foreign.URL+"/end", http.StatusTemporaryRedirect)
		case "/far-and-back":
			http.Redirect(w, r, foreign.URL+"/back", http.StatusTemporaryRedirect)
		}
	})
	full, none := seen{"Bearer secret-1", "", "acme", "data"}, seen{"", "", "", "data"}
	for path, want := range map[string][2][]seen{
		"/near":         {{full, full}, nil},
		"/far":          {{full}, {none}},
		"/far-and-back": {{full, none}, {none}},
	} {
		home.seen, foreign.seen = nil, nil
		r := newRequest(t, "POST", home.URL+path, strings.NewReader("data"))
		// What the caller sets in place of what is added does not go there either.
		r.Header.Set("Authorization", "Bearer mine")
		r.Header.Set("DPoP", "mine")
		r.Header.Set("X-Partner", "mine")
		if _, err := demo(t, daemon.Socket).HTTPClient().Do(r); err != nil {
			t.Fatal(err)
		}
		for i, saw := range [][]seen{home.seen, foreign.seen} {
			if len(saw) != len(want[i]) {
				t.Fatalf("%s: server %d saw %q", path, i, saw)
			}
			for j := range saw {
				if saw[j] != want[i][j] {
					t.Errorf("%s: server %d saw %q, want %q", path, i, saw[j], want[i][j])
				}
			}
		}
	}
}

func TestProofsAndNonces(t *testing.T) {
	bound := fake.Token("1", time.Hour)
	bound.ProofRequired, bound.Authorization = true, "DPoP secret-1"
	daemon := start(t, socketIn(t), fake.Says(bound))
	c := demo(t, daemon.Socket)
	server := serveAPI(t, func(w http.ResponseWriter, r *http.Request, s seen) {
		if r.URL.Path != "/never" && s.dpop == "proof(n1)" {
			w.Header().Set("DPoP-Nonce", "n2")
			return
		}
		w.Header().Set("DPoP-Nonce", "n1")
		w.Header().Set("WWW-Authenticate", `DPoP algs="ES256", error="use_dpop_nonce"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	client := c.HTTPClient()
	do := func(path string) int {
		response, err := client.Do(newRequest(t, "PUT", server.URL+path+"?q=1#f", strings.NewReader("data")))
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	if code := do("/a%2Fb"); code != http.StatusOK {
		t.Errorf("answered %d", code)
	}
	want := []seen{{"DPoP secret-1", "proof()", "", "data"}, {"DPoP secret-1", "proof(n1)", "", "data"}}
	if len(server.seen) != 2 || server.seen[0] != want[0] || server.seen[1] != want[1] {
		t.Errorf("the API saw %q", server.seen)
	}
	if p := <-daemon.Proofs; p.GetMethod() != "PUT" || p.GetUrl() != server.URL+"/a%2Fb" || p.GetClient() != "demo" {
		t.Errorf("signed %v", p)
	}
	server.seen = nil
	// Nobody answers reports: one would not return.
	if code := do("/never"); code != http.StatusUnauthorized || len(server.seen) != 2 || server.seen[0].dpop != "proof(n2)" {
		t.Errorf("answered %d, the API saw %q", code, server.seen)
	}
}
