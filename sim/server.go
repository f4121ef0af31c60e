package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers HTTP on l until ctx ends, then breaks off what is in flight.
// When it returns, every request has been let go; the end of ctx is a nil
// error.
func (a *API) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	g := &door{api: a}
	srv := &http.Server{
		Handler: g, ReadHeaderTimeout: 10 * time.Second, // guess
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer func() {
		stop()
		cancel()
		_ = srv.Close() // also where the listener has failed
		g.close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// door counts the requests that are being answered, because [http.Server.Close]
// does not wait for them.
type door struct {
	api *API

	mu     sync.Mutex // guards closed, and inside against a late Add
	closed bool
	inside sync.WaitGroup
}

// ServeHTTP implements [http.Handler].
func (g *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	g.inside.Add(1)
	g.mu.Unlock()
	defer g.inside.Done()
	g.api.ServeHTTP(w, r)
}

// close lets nobody in, and waits for those who are.
func (g *door) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// A Server is a simulated API on a port of the loopback interface, for tests of
// clients that want a real connection. All that an [API] does can be asked of
// it; its RoundTrip needs no port.
type Server struct {
	*API
	URL string // http://127.0.0.1:port, without a slash at the end

	client *http.Client
	cancel context.CancelFunc
	served chan struct{}
}

// NewServer starts a server that behaves as cfg says. Its caller closes it. It
// panics if it gets no port, as httptest does.
func NewServer(cfg Config) *Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("sim: no port to listen on: " + err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		API: New(cfg), URL: "http://" + l.Addr().String(),
		client: &http.Client{Transport: &http.Transport{}}, cancel: cancel, served: make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		_ = s.Serve(ctx, l) // ends with Close; a listener on loopback has no other end
	}()
	return s
}

// Client returns a client with connections of its own, which Close closes.
func (s *Server) Client() *http.Client { return s.client }

// Close breaks off what is in flight and returns when every request has been
// let go. It may be called more than once.
func (s *Server) Close() {
	s.cancel()
	<-s.served
	s.client.CloseIdleConnections()
}
