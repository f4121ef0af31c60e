package gateway

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// callKey finds the call in the context of its request.
type callKey struct{}

// call is what the gateway knows about one request while it relays it.
type call struct {
	g         *Gateway
	s         *settings
	client    *client // nil without Clients
	preflight bool    // a browser's question, which carries no credential and gets none
	w         writer
	body      body
}

func newCall(g *Gateway, s *settings, w http.ResponseWriter, r *http.Request) *call {
	rc := http.NewResponseController(w)
	c := &call{g: g, s: s}
	c.body.init(r, rc, s.Timeouts.Body)
	c.w = writer{ResponseWriter: w, rc: rc, stall: s.Timeouts.Write, drain: &g.drain, body: &c.body, left: -1}
	return c
}

// refusal tells why the request may not pass, or nil. The body is not read.
func (c *call) refusal(r *http.Request) *refusal {
	if no := c.s.guard(r); no != nil {
		return no
	}
	if c.preflight = c.s.preflight(r); c.preflight {
		return nil
	}
	if len(c.s.clients) > 0 {
		if c.client = c.s.identify(r.Header); c.client == nil {
			return refuseClient
		}
		if no := c.client.readable(r.Header); no != nil {
			return no
		}
	}
	if allowed := c.paths(); len(allowed) > 0 && !may(allowed, r.URL.Path) {
		return refusePath(r.URL.Path)
	}
	return nil
}

// paths are those the caller may use; none means all.
func (c *call) paths() []string {
	switch {
	case c.client != nil && len(c.client.paths) > 0:
		return c.client.paths
	case c.s.APIKey != "":
		return DefaultPaths
	}
	return nil
}

// forward relays the request and its answer.
func (c *call) forward(r *http.Request) {
	r = r.WithContext(evenkeel.WithCaller(context.WithValue(r.Context(), callKey{}, c), c.caller(r)))
	if r.ContentLength != 0 {
		r.Body = &c.body
		// A body beyond what the Transport keeps is still being sent upstream
		// when the answer begins. Without this, net/http would take the rest
		// of it away then, and upstream's connection would break.
		_ = c.w.rc.EnableFullDuplex() // a ResponseWriter that cannot has no need to
	}
	c.w.message = claude.PathOf(r.Method, r.URL.Path) == claude.Messages
	defer c.w.end()
	c.s.proxy.ServeHTTP(&c.w, r)
}

// caller says for whom the request is made.
func (c *call) caller(r *http.Request) evenkeel.Caller {
	caller := evenkeel.Caller{Own: c.s.APIKey != ""}
	caller.Address, _, _ = net.SplitHostPort(r.RemoteAddr)
	if c.client != nil {
		caller.Name, caller.Weight = c.client.name, float64(c.client.weight)
	}
	return caller
}

// callOf returns the call that a request to or from the proxy belongs to.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// newProxy makes the proxy of one configuration. It has no FlushInterval: by
// itself a ReverseProxy flushes event streams, and whatever has no length,
// after every read, which is whole events. An answer whose length is known is
// flushed by writer while it is incomplete. An interval of -1 would do that
// too, and flush the header of every plain answer from a goroutine of its own
// just before the body follows: 20 µs a call.
func (g *Gateway) newProxy(t http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      t,
		BufferPool:     &buffers,
		ModifyResponse: modify,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { callOf(r.Context()).fail(r, err) },
		ErrorLog:       log.New(discard{}, "", 0), // a caller or an upstream that went away is a fact for observers
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// forwarded are fields that ReverseProxy removes. Here they are the caller's,
// as every other field is.
var forwarded = [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite turns the request to us into the one that goes on: another host,
// maybe another credential, and nothing else.
func rewrite(pr *httputil.ProxyRequest) {
	c := callOf(pr.In.Context())
	pr.Out.Host = ""
	pr.Out.Trailer = pr.In.Trailer // filled when the body has been read
	c.target(pr)
	h := pr.Out.Header
	for _, name := range forwarded {
		if v, ok := pr.In.Header[name]; ok {
			h[name] = v
		}
	}
	// ReverseProxy puts an offer to upgrade back, and an expectation of 100
	// Continue is met here, where the body is read.
	for _, name := range [...]string{"Connection", "Upgrade", "Expect"} {
		delete(h, name)
	}
	if c.client != nil {
		c.client.lower(h, c.s.MaxWait)
	}
	if c.s.APIKey != "" {
		delete(h, headerAuthorization)
		delete(h, headerKey)
		if !c.preflight {
			h[headerKey] = []string{string(c.s.APIKey)}
		}
	}
}

// target points the request at the upstream, with the bytes of path and query
// that the caller sent.
func (c *call) target(pr *httputil.ProxyRequest) {
	u, in := pr.Out.URL, pr.In.URL
	u.Scheme, u.Host = c.s.Upstream.Scheme, c.s.Upstream.Host
	u.RawQuery, u.ForceQuery = in.RawQuery, in.ForceQuery // ReverseProxy drops what url.ParseQuery cannot read
	path, _, _ := strings.Cut(pr.In.RequestURI, "?")
	if path == "" {
		path = in.EscapedPath() // a request that never was on a wire
	}
	// Path stays what the API calls it, because the Transport tells calls
	// apart by it. Opaque is what goes on the wire where that differs: with a
	// path in front, or with bytes that net/url would escape. (What begins
	// with two slashes cannot be said so, and is escaped.)
	if wire := c.s.prefix + path; wire != u.EscapedPath() && !strings.HasPrefix(wire, "//") {
		u.Opaque = wire
	}
}

// modify refuses what no caller has asked for. Everything else passes.
func modify(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("upstream switched protocols, which nobody asked for")
	}
	return nil
}

// fail ends a call that has no response.
func (c *call) fail(r *http.Request, err error) {
	switch c.body.failed() {
	case bodySlow:
		c.refuse(r, refuseSlowBody(c.s.Timeouts.Body))
		return
	case bodyBroken:
		c.refuse(r, refuseBody)
		return
	}
	if r.Context().Err() != nil {
		if errors.Is(context.Cause(r.Context()), errCut) {
			c.refuse(r, cutOff(r))
			return
		}
		c.abandon(r)
		return
	}
	if e, ok := errors.AsType[*evenkeel.Error](err); ok {
		c.answer(r, answerTo(e))
		return
	}
	c.refuse(r, unreachable(err))
}

// abandon ends a call whose caller has gone, without writing. Returning would
// make net/http write an empty 200.
func (c *call) abandon(r *http.Request) {
	if r.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler)
	}
}

// bufferSize is what ReverseProxy copies at a time.
const bufferSize = 32 << 10

// bufferPool lends buffers to copy answers with.
type bufferPool struct{ pool sync.Pool }

var buffers = bufferPool{sync.Pool{New: func() any { return new([bufferSize]byte) }}}

func (p *bufferPool) Get() []byte  { return p.pool.Get().(*[bufferSize]byte)[:] }
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }
