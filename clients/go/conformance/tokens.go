package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	bearerd "github.com/bearerd/bearerd/clients/go"
)

// obtain reads a token the way that the mode says.
func (d *driver) obtain(ctx context.Context, client *bearerd.Client, minValidity time.Duration) (bearerd.Token, error) {
	switch {
	case d.oauth2:
		source := client.TokenSource(ctx)
		source.MinValidity = minValidity
		token, err := source.Token()
		if err != nil {
			return bearerd.Token{}, err
		}
		return token.Extra(bearerd.ExtraToken).(bearerd.Token), nil
	case minValidity > 0:
		return client.TokenFor(ctx, minValidity)
	default:
		return client.Token(ctx)
	}
}

func (d *driver) token(c command) (answer, error) {
	ctx := context.Background()
	if c.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(*c.Timeout))
		defer cancel()
	}
	var minValidity time.Duration
	if c.MinValidity != nil {
		minValidity = seconds(*c.MinValidity)
	}
	token, err := d.obtain(ctx, d.broker.Client(c.Client), minValidity)
	if err != nil {
		return nil, err
	}
	return answer{"token": describeToken(token)}, nil
}

func (d *driver) read(c command) (answer, error) {
	var mu sync.Mutex
	var readers sync.WaitGroup
	reads, seen, failures := 0, map[string]bool{}, map[string]int{}
	for range c.Readers {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for range c.Times {
				token, err := d.obtain(context.Background(), d.broker.Client(c.Client), 0)
				mu.Lock()
				reads++
				if err != nil {
					failures[reason(err)]++
				} else {
					seen[token.ID] = true
				}
				mu.Unlock()
			}
		}()
	}
	readers.Wait()
	ids := make([]string, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	return answer{"reads": reads, "ids": ids, "failures": failures}, nil
}

func (d *driver) report(c command) (answer, error) {
	token, rejection, err := d.broker.Client(c.Client).Reject(context.Background(), c.ID)
	if err != nil {
		return nil, err
	}
	return answer{"rejection": rejection.String(), "token": describeToken(token)}, nil
}

// describe prints the token in every way that a program might.
func (d *driver) describe(c command) (answer, error) {
	client := d.broker.Client(c.Client)
	token, err := d.obtain(context.Background(), client, 0)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, value := range []any{
		token, &token, struct{ token bearerd.Token }{token}, map[string]any{"token": token}, []*bearerd.Token{&token},
		client, d.broker, client.TokenSource(context.Background()),
	} {
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %d") {
			fmt.Fprintf(&text, verb+"\n", value)
		}
	}
	encoded, err := json.Marshal(map[string]any{"value": token, "pointer": &token})
	if err != nil {
		return nil, err
	}
	text.Write(encoded)
	slog.New(slog.NewTextHandler(&text, nil)).Info("text", "token", token)
	slog.New(slog.NewJSONHandler(&text, nil)).Info("json", "token", &token)
	return answer{"text": text.String()}, nil
}

func (d *driver) bench(c command) (answer, error) {
	ctx := context.Background()
	client := d.broker.Client(c.Client)
	read := func() error {
		_, err := client.Token(ctx)
		return err
	}
	if d.oauth2 {
		source := client.TokenSource(ctx)
		read = func() error {
			_, err := source.Token()
			return err
		}
	}
	for range 1000 {
		if err := read(); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	for range c.Reads {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return answer{"ns_per_read": float64(time.Since(began).Nanoseconds()) / float64(c.Reads)}, nil
}
