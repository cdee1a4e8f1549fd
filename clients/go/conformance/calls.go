package main

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// httpClient returns an http.Client made the way that the mode says.
func (d *driver) httpClient(c command) *http.Client {
	client := d.broker.Client(c.Client)
	var made *http.Client
	if d.oauth2 {
		made = client.TokenSource(context.Background()).HTTPClient()
	} else {
		made = client.HTTPClient()
	}
	if !c.Follow {
		made.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return made
}

func newRequest(c command) (*http.Request, error) {
	var body io.Reader
	if c.Body != nil {
		body = strings.NewReader(*c.Body)
		if c.StreamBody {
			// Of this type net/http does not know how to read it again.
			body = io.MultiReader(body)
		}
	}
	r, err := http.NewRequest(c.Method, c.URL, body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.Headers {
		r.Header.Set(name, value)
	}
	return r, nil
}

func (d *driver) request(c command) (answer, error) {
	r, err := newRequest(c)
	if err != nil {
		return nil, err
	}
	response, err := d.httpClient(c).Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	headers := make(map[string]string)
	for name, values := range response.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return answer{"status": response.StatusCode, "body": string(body), "headers": headers}, nil
}

func (d *driver) burst(c command) (answer, error) {
	client := d.httpClient(c)
	var mu sync.Mutex
	var calls sync.WaitGroup
	statuses, failures := map[string]int{}, map[string]int{}
	for range c.Count {
		calls.Add(1)
		go func() {
			defer calls.Done()
			r, err := newRequest(c)
			var response *http.Response
			if err == nil {
				response, err = client.Do(r)
			}
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures[reason(err)]++
			} else {
				statuses[strconv.Itoa(response.StatusCode)]++
			}
		}()
	}
	calls.Wait()
	return answer{"statuses": statuses, "failures": failures}, nil
}

func (d *driver) headers(c command) (answer, error) {
	headers, err := d.broker.Client(c.Client).Headers(context.Background(), c.Set)
	if err != nil {
		return nil, err
	}
	plain := make(map[string]string)
	for name, values := range headers {
		plain[name] = strings.Join(values, ", ")
	}
	return answer{"headers": plain}, nil
}
