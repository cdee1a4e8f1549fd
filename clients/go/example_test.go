package bearerd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	bearerd "github.com/bearerd/bearerd/clients/go"
	"github.com/bearerd/bearerd/clients/go/bearerdv1"
	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

// world returns a socket on which the client demo has the token with id 1, and
// the URL of its API, which wants Requestor-ID.
func world() (socket, url string, stop func()) {
	daemon, stopDaemon, err := fake.Demo(&bearerdv1.RequestHeader{Name: "Requestor-ID", PerCall: true, Pattern: "[0-9]{1,20}"})
	if err != nil {
		log.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret-1" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprintf(w, "accounts of %s", r.Header.Get("Requestor-ID"))
	}))
	return daemon.Socket, api.URL, func() { api.Close(); stopDaemon() }
}

func Example() {
	socket, url, stop := world()
	defer stop()

	// Without WithSocket it finds the daemon of this host.
	broker := bearerd.New(bearerd.WithSocket(socket))
	defer broker.Close()
	api := broker.Client("demo").HTTPClient()

	request, err := http.NewRequest(http.MethodGet, url+"/accounts", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Requestor-ID", "4711")
	response, err := api.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	fmt.Println(response.Status, string(text), err)
	// Output: 200 OK accounts of 4711 <nil>
}

func ExampleClient_Token() {
	socket, _, stop := world()
	defer stop()
	broker := bearerd.New(bearerd.WithSocket(socket))
	defer broker.Close()

	token, err := broker.Client("demo").Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	// Printing the token itself shows no secret.
	fmt.Println(token.ID, token.Type, token.Scope)
	// Output: 1 Bearer payments
}

func ExampleClient_Headers() {
	socket, _, stop := world()
	defer stop()
	broker := bearerd.New(bearerd.WithSocket(socket))
	defer broker.Close()
	client := broker.Client("demo")

	headers, err := client.Headers(context.Background(), map[string]string{"Requestor-ID": "4711"})
	fmt.Println(len(headers), headers.Get("Requestor-ID"), err)
	_, err = client.Headers(context.Background(), map[string]string{"Requestor-ID": "me"})
	fmt.Println(err)
	// Output:
	// 2 4711 <nil>
	// bearerd: HEADER_INVALID: header Requestor-ID of client demo does not match its pattern [0-9]{1,20}
}

func ExampleClient_Transport() {
	socket, url, stop := world()
	defer stop()
	broker := bearerd.New(bearerd.WithSocket(socket))
	defer broker.Close()

	// Over a transport of your own.
	api := &http.Client{Transport: broker.Client("demo").Transport(&http.Transport{MaxIdleConnsPerHost: 10})}
	_, err := api.Get(url + "/accounts")
	var e *bearerd.Error
	if errors.As(err, &e) {
		fmt.Println(e.Reason)
	}
	// Output: HEADER_MISSING
}

func ExampleClient_TokenSource() {
	socket, url, stop := world()
	defer stop()
	broker := bearerd.New(bearerd.WithSocket(socket))
	defer broker.Close()
	source := broker.Client("demo").TokenSource(context.Background())

	// Not oauth2.NewClient: it keeps tokens, and does not notice that one was retired.
	api := &http.Client{Transport: &oauth2.Transport{Source: source}}
	response, err := api.Get(url + "/accounts")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	// Output: 200 OK
}

func ExampleError() {
	broker := bearerd.New(bearerd.WithSocket("/nowhere/b.sock"))
	defer broker.Close()
	_, err := broker.Client("demo").Token(context.Background())
	var e *bearerd.Error
	if errors.As(err, &e) {
		fmt.Println(e.Reason, e.Code, e.RetryAfter)
	}
	// Output: DAEMON_UNREACHABLE Unavailable 0s
}
