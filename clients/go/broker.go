package bearerd

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Broker is a connection to the daemon, made when a token is first asked for.
// One is enough for a program. It is safe for concurrent use.
type Broker struct {
	options options
	// context ends with Close.
	context context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	link    *link
	clients map[string]*Client
}

// Option changes what New does by default.
type Option func(*options)

type options struct {
	socket    string
	logger    *slog.Logger
	patience  time.Duration
	allowHTTP bool
	// answerLimit is how long an attempt to reach the daemon may take.
	answerLimit time.Duration
}

// WithSocket names the daemon's socket. Without it, or with "", the socket is
// looked for at each attempt to connect: $BEARERD_SOCKET, else
// /run/bearerd/bearerd.sock if it exists, else the user's
// ($XDG_RUNTIME_DIR/bearerd/bearerd.sock, or $HOME/.bearerd/bearerd/bearerd.sock
// without that variable) if it exists, else /run/bearerd/bearerd.sock.
func WithSocket(path string) Option {
	return func(o *options) { o.socket = path }
}

// WithLogger sets where changes of state are logged: at level debug, and at
// level warn when a watch is lost or the report of a 401 fails. Tokens are never
// logged. The default is what [slog.Default] returns at the time.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

// WithPatience sets how long calls wait for a token whose context has no
// deadline; 10 s by default. A context with a deadline overrides it.
func WithPatience(patience time.Duration) Option {
	return func(o *options) { o.patience = patience }
}

// WithAllowHTTP has [Client.Transport] send tokens over plain http to any host,
// not only to loopback addresses. Everybody on the way can then read them.
func WithAllowHTTP() Option {
	return func(o *options) { o.allowHTTP = true }
}

// New returns a Broker. It does not connect, and so cannot fail.
func New(opts ...Option) *Broker {
	b := &Broker{clients: make(map[string]*Client), options: options{patience: defaultPatience, answerLimit: answerLimit}}
	for _, option := range opts {
		option(&b.options)
	}
	b.context, b.cancel = context.WithCancel(context.Background())
	return b
}

// Client returns the client of that name, the same one each time. It does not
// ask the daemon whether there is such a client; reading its token does.
func (b *Broker) Client(name string) *Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[name]
	if c == nil {
		c = newClient(b, name)
		c.state.closed = b.closed
		b.clients[name] = c
	}
	return c
}

// Close ends the streams and the connection. Those who wait for a token get an
// Error with [ReasonClosed], and so do later calls. It may be called again, and
// always returns nil. A program that ends need not call it.
func (b *Broker) Close() error {
	b.mu.Lock()
	clients := make([]*Client, 0, len(b.clients))
	if !b.closed {
		b.closed = true
		for _, c := range b.clients {
			clients = append(clients, c)
		}
	}
	b.mu.Unlock()

	for _, c := range clients {
		c.change(func(s *state) { s.closed, s.held = true, nil })
	}
	b.cancel()
	b.running.Wait()
	if l := b.current(); l != nil {
		b.replace(l)
	}
	return nil
}

func (b *Broker) current() *link {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.link
}

// run starts what Close waits for. After Close it starts nothing.
func (b *Broker) run(task func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.running.Add(1)
		go func() {
			defer b.running.Done()
			task()
		}()
	}
}

func (b *Broker) socket() string {
	if b.options.socket != "" {
		return b.options.socket
	}
	return findSocket(os.Getenv, exists)
}

func (b *Broker) logger() *slog.Logger {
	if b.options.logger != nil {
		return b.options.logger
	}
	return slog.Default()
}

// await returns a context that ends at the caller's deadline, or without one
// when the default patience does.
func (b *Broker) await(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, b.options.patience)
}

const defaultPatience = 10 * time.Second
