package bearerd

import (
	"context"
	"log/slog"
	"testing"

	"github.com/bearerd/bearerd/clients/go/internal/fake"
)

// benchmarked returns a client that has its token in memory.
func benchmarked(b *testing.B) *Client {
	b.Helper()
	daemon, stop, err := fake.Demo()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	broker := New(WithSocket(daemon.Socket), WithLogger(slog.New(slog.DiscardHandler)))
	b.Cleanup(func() { _ = broker.Close() })
	c := broker.Client("demo")
	if _, err := c.Token(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return c
}

func BenchmarkToken(b *testing.B) {
	c, ctx := benchmarked(b), context.Background()
	for b.Loop() {
		if _, err := c.Token(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenInParallel(b *testing.B) {
	c, ctx := benchmarked(b), context.Background()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Token(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkTokenSource(b *testing.B) {
	source := benchmarked(b).TokenSource(context.Background())
	for b.Loop() {
		if _, err := source.Token(); err != nil {
			b.Fatal(err)
		}
	}
}
