package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// headerSlack is how much header beyond MaxHeader is read, so that it can be
// refused in the API's shape. Beyond that net/http hangs up with a line of
// plain text.
const headerSlack = 2 << 20

// lastWords is how long a caller has to take the end of its answer, and a
// call that was cut to end, before connections are closed.
const lastWords = 5 * time.Second

// Serve accepts connections on l until ctx ends, then drains: from that moment
// /readyz fails and every answer closes its connection; after Drain.Delay new
// calls are answered 503, on new connections too; calls that are open, queued
// or waiting have Drain.Grace to finish. Serve returns as soon as none is left,
// with nil, or with a [*CutError] if it had to cut some off. A queued call
// that is cut is answered 503; a stream that is cut breaks, so that it does
// not look whole.
//
// l is closed when Serve returns. Serve refuses with an [*OpenError] a
// listener that others can reach, if there is an APIKey and no Clients.
// Several listeners may be served at a time. A Gateway drains once.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	s, err := g.admit(l.Addr())
	if err != nil {
		_ = l.Close() // the refusal is the error that matters
		return err
	}
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	active := newConns()
	srv := g.server(s, base, active)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		cut(errCut)
		active.wait(lastWords)
		_ = srv.Close() // the listener is what failed
		return fmt.Errorf("gateway: accept on %v: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	left := g.drain.run(base, g.settings.Load().Drain)
	if left > 0 {
		cut(errCut)
		g.drain.wait(lastWords)
	}
	active.wait(lastWords) // what handlers wrote last is still on its way
	_ = srv.Close()        // idle connections, whose errors nobody is left to hear
	err = <-served
	switch {
	case left > 0:
		return &CutError{Calls: left, Grace: g.settings.Load().Drain.Grace}
	case !errors.Is(err, http.ErrServerClosed):
		return fmt.Errorf("gateway: accept on %v: %w", l.Addr(), err)
	}
	return nil
}

// admit tells whether addr may be served with the settings in force.
func (g *Gateway) admit(addr net.Addr) (*settings, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.settings.Load()
	if calls(s, addr) {
		return nil, fmt.Errorf("gateway: Config.Upstream is %v, the address served: calls would go round in circles", addr)
	}
	if private(addr) {
		return s, nil
	}
	if s.open() {
		return nil, fmt.Errorf("gateway: %w", &OpenError{Addr: addr})
	}
	g.exposed = addr
	return s, nil
}

// calls tells whether the upstream is addr itself.
func calls(s *settings, addr net.Addr) bool {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil || s.Upstream.Port() != port {
		return false
	}
	host := s.Upstream.Hostname()
	ip, err := netip.ParseAddr(host)
	own, ownErr := netip.ParseAddrPort(addr.String())
	return host == "localhost" || err == nil && (ip.IsLoopback() || ownErr == nil && ip == own.Addr())
}

// private tells whether only this machine can reach addr.
func private(addr net.Addr) bool {
	if addr.Network() == "unix" {
		return true
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().IsLoopback()
}

func (g *Gateway) server(s *settings, base context.Context, active *conns) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           g,
		Protocols:         &protocols,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnState:         active.change,
		ReadHeaderTimeout: s.Timeouts.Header,
		IdleTimeout:       s.Timeouts.Idle,
		MaxHeaderBytes:    s.MaxHeader + headerSlack,
		ErrorLog:          log.New(&serverLog{log: s.Log}, "", 0),

		DisableGeneralOptionsHandler: true, // OPTIONS * is refused as every other target that is no path
	}
}

// serverLog passes what net/http reports to a slog.Logger without ever
// waiting for it: a line that comes while another is being written is lost.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex // held while a line is being written
}

// Write implements io.Writer.
func (s *serverLog) Write(p []byte) (int, error) {
	if line := string(p); s.mu.TryLock() {
		go func() {
			defer s.mu.Unlock()
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "server", slog.String("error", line))
		}()
	}
	return len(p), nil
}

// conns are the connections on which a request is being served. The call has
// left the gateway a moment before the end of its answer has left the server,
// and net/http's Shutdown would wait five seconds for connections on which
// nothing was ever sent, so they are counted here.
type conns struct {
	mu     sync.Mutex // guards active and idle
	active map[net.Conn]struct{}
	idle   chan struct{} // closed when active becomes empty; nil if nobody waits
}

func newConns() *conns { return &conns{active: map[net.Conn]struct{}{}} }

// change implements http.Server.ConnState.
func (c *conns) change(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateActive {
		c.active[conn] = struct{}{}
		return
	}
	delete(c.active, conn)
	if len(c.active) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// wait returns when no connection is active, or after limit.
func (c *conns) wait(limit time.Duration) {
	c.mu.Lock()
	if len(c.active) == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}
