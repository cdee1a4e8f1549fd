// Command benchmark prints what reading a token costs while the stream to the
// daemon is up. It wants a daemon; its argument is the name of a client, without
// one `demo` as `bearerd dev` has it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"

	bearerd "github.com/bearerd/bearerd/clients/go"
)

func main() {
	name := "demo"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	broker := bearerd.New()
	defer broker.Close()
	client := broker.Client(name)
	ctx := context.Background()
	if _, err := client.Token(ctx); err != nil {
		log.Fatal(err)
	}
	source := client.TokenSource(ctx)
	measure("read", func() error {
		_, err := client.Token(ctx)
		return err
	})
	measure("oauth2.TokenSource", func() error {
		_, err := source.Token()
		return err
	})
}

func measure(what string, read func() error) {
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := read(); err != nil {
				b.Fatal(err)
			}
		}
	})
	fmt.Printf("%s %d ns, %d allocations\n", what, result.NsPerOp(), result.AllocsPerOp())
}
