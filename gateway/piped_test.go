package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// pipes is a listener without a socket: it works in a bubble, where time is
// simulated.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (*pipes) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipes"} }

// dial makes a connection to whoever accepts.
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// piped is a gateway behind pipes, and a caller of it.
type piped struct {
	*Gateway
	caller *http.Client
	stop   context.CancelFunc
	done   chan error // what Serve returned
}

// startPiped serves a gateway in front of tr until stop is called. It is for
// bubbles: the test must see Serve return.
func startPiped(t *testing.T, tr http.RoundTripper, d Drain) *piped {
	t.Helper()
	g, err := New(Config{Transport: tr, Upstream: &url.URL{Scheme: "http", Host: "api.test"}, Drain: d})
	if err != nil {
		t.Fatal(err)
	}
	l := newPipes()
	ctx, stop := context.WithCancel(context.Background())
	p := &piped{
		Gateway: g, stop: stop, done: make(chan error, 1),
		caller: &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableCompression: true}},
	}
	t.Cleanup(p.caller.CloseIdleConnections)
	go func() { p.done <- g.Serve(ctx, l) }()
	return p
}

func (p *piped) request(ctx context.Context, method, path, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	return r
}

// call makes a call and reads its answer. It may be used on any goroutine: an
// answer that does not come is an error of the test and an empty reply.
func (p *piped) call(t *testing.T, method, path, body string) reply {
	t.Helper()
	resp, err := p.caller.Do(p.request(t.Context(), method, path, body))
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return reply{Response: &http.Response{}}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return reply{resp, b}
}
