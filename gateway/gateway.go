// Package gateway puts a [evenkeel.Transport] behind an address, for every
// client that is not a Go program: export ANTHROPIC_BASE_URL and the calls go
// through it.
//
//	caller ── guard ── who calls ── ReverseProxy ── Transport ──► upstream
//	            │          │              │
//	            └──────────┴── answer ────┘   answers of our own, in the API's shape
//
// It is transparent for everything below /: methods, paths and queries byte
// for byte, unknown headers and fields, uploads of any size, event streams,
// trailers. Only hop-by-hop fields are removed, and nothing is added but the
// evenkeel- fields of the answer. What may be retried, and when, is decided
// in package call; how a request is judged safe is decided here.
//
// It speaks HTTP/1.1 and HTTP/1.0. Cleartext HTTP/2 is left out on purpose:
// no Claude SDK speaks it to an http:// address, and the limits against slow
// callers below are limits of HTTP/1 connections.
//
// Refused, with an answer of our own that says what, why and what to do:
//
//	absolute-form and asterisk-form targets, Upgrade   400
//	CONNECT                                            405
//	a Host that is not ours (DNS rebinding)            403
//	a foreign Origin, Sec-Fetch-Site: cross-site       403
//	more header than Config.MaxHeader                  431
//	no valid client token, where Clients are set       401
//	a path that a client may not use                   403
//	a body that cannot be read, or stops coming        400, 408
//	while draining                                     503
//
// What is not HTTP at all (a malformed request line, two Content-Lengths, a
// header of several megabytes) is refused by net/http in plain text.
package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
)

// Gateway is an [http.Handler] in front of a Transport. It is safe for
// concurrent use.
type Gateway struct {
	settings atomic.Pointer[settings]
	drain    drain
	log      refusals

	mu      sync.Mutex // guards exposed and every change of settings
	exposed net.Addr   // an address Serve listens on that others can reach; nil if there is none
}

// settings is a Config, checked and prepared. It never changes: a call reads
// it once, so that Reconfigure does not touch the calls in flight.
type settings struct {
	Config
	hosts   map[string]bool
	origins map[string]bool
	clients []client
	prefix  string // escaped path in front of every path, without a slash at its end
	proxy   *httputil.ReverseProxy
}

// New returns a Gateway that behaves as cfg says. An unusable cfg yields one
// error that names every field at fault.
func New(cfg Config) (*Gateway, error) {
	g := &Gateway{}
	g.drain.init()
	if err := g.Reconfigure(cfg); err != nil {
		return nil, err
	}
	return g, nil
}

// Reconfigure replaces the configuration. Calls in flight keep the one they
// came in with. The Timeouts Header and Idle apply to listeners served
// afterwards, as does a MaxHeader raised by megabytes; everything else applies
// to the next call. An unusable cfg, or one that is unsafe on an address already served,
// changes nothing.
func (g *Gateway) Reconfigure(cfg Config) error {
	s, err := prepare(cfg)
	if err != nil {
		return err
	}
	s.proxy = g.newProxy(s.Transport)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.exposed != nil && s.open() {
		return fmt.Errorf("gateway: %w", &OpenError{Addr: g.exposed})
	}
	g.settings.Store(s)
	return nil
}

// open tells whether anyone who reaches the gateway may spend our key.
func (s *settings) open() bool { return s.APIKey != "" && len(s.clients) == 0 }

// OpenError reports a listener that others can reach, with an upstream key of
// ours and no Clients: everyone on that network could spend the key.
type OpenError struct {
	Addr net.Addr
}

// Error says what, why, and what to do.
func (e *OpenError) Error() string {
	return fmt.Sprintf("%s can be reached from other machines, and with APIKey set and no Clients everyone there could spend the key: "+
		"listen on 127.0.0.1, name Clients, or leave APIKey empty so that callers bring their own", e.Addr)
}

// ServeHTTP relays one call, or answers it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := g.settings.Load()
	c := newCall(g, s, w, r)
	defer c.w.renew() // what net/http writes after us has its time too
	defer c.body.leave()
	if no := c.refusal(r); no != nil {
		c.refuse(r, no)
		return
	}
	if !g.drain.enter() {
		c.refuse(r, draining())
		return
	}
	defer g.drain.leave()
	c.forward(r)
}
