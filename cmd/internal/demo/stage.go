package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/gateway"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// The keys of the two sides: two, so that each has a limit of its own.
const (
	keyDirect   = "sk-demo-direct"
	keyEvenkeel = "sk-demo-evenkeel"
)

// headerCall says which call an attempt is for, as "phase.number". The
// gateway passes it on as it passes every field it does not know.
const headerCall = "Sim-Call"

// stage is what stands while the demo plays: the API behind its door, the
// gateway, and a client for each side.
type stage struct {
	api        *sim.API
	transport  *evenkeel.Transport
	apiURL     string
	gatewayURL string
	clients    [sides]*client

	endGateway, endAPI context.CancelFunc

	servers sync.WaitGroup
	broken  chan error // why a server has stopped
}

// openStage builds it. Nothing of ctx but its values reaches the servers:
// they outlive the calls.
func openStage(ctx context.Context, opts Options, counts *tally) (*stage, error) {
	apiListener, err := listen(opts.APIAddr)
	if err != nil {
		return nil, fmt.Errorf("simulated API: %w", err)
	}
	gatewayListener, err := listen(opts.GatewayAddr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gateway: %w", err), apiListener.Close())
	}
	s := &stage{apiURL: urlOf(apiListener), gatewayURL: urlOf(gatewayListener), broken: make(chan error, 2)}
	s.api = sim.New(sim.Config{
		Seed: opts.Seed, FirstToken: firstToken, TokenTime: tokenTime, OutputTokens: outputTokens,
		KeepAttempts: 1, // the door counts
	})
	limits := patienceFor(opts.For)
	g, err := s.gateway(limits.firstByte)
	if err != nil {
		return nil, errors.Join(err, apiListener.Close(), gatewayListener.Close())
	}
	s.clients[direct] = newClient(s.apiURL, keyDirect, limits.sdk)
	s.clients[viaEvenkeel] = newClient(s.gatewayURL, keyEvenkeel, limits.sdk)

	base := context.WithoutCancel(ctx)
	var apiCtx, gatewayCtx context.Context
	apiCtx, s.endAPI = context.WithCancel(base)
	gatewayCtx, s.endGateway = context.WithCancel(base)
	d := &door{api: s.api, counts: counts}
	s.servers.Go(func() { s.broken <- d.serve(apiCtx, apiListener) })
	s.servers.Go(func() { s.broken <- g.Serve(gatewayCtx, gatewayListener) })
	return s, nil
}

// gateway puts evenkeel as it comes, but for its first-byte limit, in front
// of the API.
func (s *stage) gateway(firstByte time.Duration) (*gateway.Gateway, error) {
	upstream, err := url.Parse(s.apiURL)
	if err != nil {
		return nil, err
	}
	s.transport, err = evenkeel.New(evenkeel.Config{Timeouts: evenkeel.Timeouts{FirstByte: firstByte}})
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{
		Transport: s.transport, State: s.transport.Snapshot, Upstream: upstream,
		Drain: gateway.Drain{Grace: -1}, // the demo has given its calls their time
	})
}

// close takes it down, the gateway first. The calls of the demo are over by
// then; those of a reader who tries it too are cut off.
func (s *stage) close() {
	s.endGateway()
	s.endAPI()
	s.servers.Wait()
	for _, c := range s.clients {
		c.http.CloseIdleConnections()
	}
	_ = s.transport.Close() // nothing is logged, nothing can be lost
}

// listen opens addr, or a free port of this machine if it is taken.
func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	return l, err
}

func urlOf(l net.Listener) string { return "http://" + l.Addr().String() }

// door counts the attempts that arrive at the simulated API.
type door struct {
	api    *sim.API
	counts *tally
	inside sync.WaitGroup
}

// ServeHTTP implements [http.Handler].
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if phase, ok := phaseOf(r.Header.Get(headerCall), len(d.counts.names)); ok {
		switch r.Header.Get(claude.HeaderAPIKey) {
		case keyDirect:
			d.counts.attempt(phase, direct)
		case keyEvenkeel:
			d.counts.attempt(phase, viaEvenkeel)
		}
	}
	d.api.ServeHTTP(w, r)
}

// serve answers until ctx ends, then breaks off what is in flight. It returns
// when every handler has.
func (d *door) serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.inside.Add(1)
			defer d.inside.Done()
			d.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // nobody is left to hear
	defer stop()
	err := srv.Serve(l)
	d.inside.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// callName names call n of a phase in headerCall.
func callName(phase, n int) string { return strconv.Itoa(phase) + "." + strconv.Itoa(n) }

// phaseOf reads it back. A reader's own client may send anything.
func phaseOf(name string, phases int) (int, bool) {
	text, _, ok := strings.Cut(name, ".")
	phase, err := strconv.Atoi(text)
	return phase, ok && err == nil && phase >= 0 && phase < phases
}
