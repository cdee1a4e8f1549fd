// Package bearerd reads access tokens from bearerd, the token broker of this
// host, and makes API calls with them.
//
//	broker := bearerd.New()
//	defer broker.Close()
//	api := broker.Client("wawex").HTTPClient()
//
//	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.wawex.ai/accounts", nil)
//	r.Header.Set("Requestor-ID", "4711")
//	response, err := api.Do(r)
//
// [Client.HTTPClient] and [Client.Transport] do all that an API call needs:
// Authorization, fixed headers, a check of those that the configuration declares
// as given per call, the report of a 401 and one more try with the token that
// replaces the refused one, and proofs for tokens that are bound to a key
// (RFC 9449).
//
// [Client.Token] gives the token itself. A background stream keeps it current,
// so that reading it costs about 0.1 µs, no lock and no allocation:
// keep no token, ask for it at each call. While the daemon is away, the token in
// memory is given out as long as it is valid; the stream comes back by itself.
//
// Errors are of type [*Error], with a stable reason.
package bearerd
