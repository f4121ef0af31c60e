package evenkeel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// Transport is an [http.RoundTripper] that knows how the Claude API fails.
// Make one with [New]; it is safe for concurrent use. It performs what package
// call decides: it keeps the time, makes the attempts, holds bodies and
// passes answers on, and takes no decision about a call itself.
type Transport struct {
	settings atomic.Pointer[settings]
	memory   atomic.Pointer[call.Memory] // nil if the configuration brought an Admission
	bodies   ledger
	log      atomic.Pointer[observe.Log]
	swap     sync.Mutex // one Reconfigure at a time

	mu         sync.Mutex
	live       exchange                     // ring of the calls that live: a list costs less than a map
	estimators map[string]*tokens.Estimator // by upstream; at most maxEstimators

	tags map[string]int // live calls of each tag; at most maxTags tags

	passedOn map[string]struct{} // models whose streams cannot be assembled; at most maxPassedOn
}

// What Transports of a process share, because they may share an Admission: the
// names of calls, and the salt of the hashes of credentials.
var (
	lastID atomic.Uint64
	seed   = maphash.MakeSeed()
)

// settings is one configuration, immutable once stored. A call reads it once.
type settings struct {
	Config
	policy    call.Policy
	admission call.Admission
	base      http.RoundTripper
	observers []observe.Observer
}

// New returns a Transport that behaves as cfg says. An unusable cfg yields
// one error that names every field at fault.
func New(cfg Config) (*Transport, error) {
	t := &Transport{tags: make(map[string]int)}
	t.live.next, t.live.prev = &t.live, &t.live
	if err := t.Reconfigure(cfg); err != nil {
		return nil, err
	}
	return t, nil
}

// Reconfigure makes calls that begin from now on behave as cfg says. Calls
// under way keep what they began with. What was learned stays, except that a
// changed breaker or budget starts afresh. On an error nothing changes.
func (t *Transport) Reconfigure(cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	t.swap.Lock()
	defer t.swap.Unlock()
	old := t.settings.Load()
	cfg = cfg.withDefaults()
	s := &settings{Config: cfg, base: cfg.Base, admission: cfg.Admission}
	s.policy = call.Policy{
		MaxAttempts: cfg.MaxAttempts, Backoff: cfg.Backoff,
		LongestWait: cfg.LongestWait, RefuseOpen: cfg.Breaker.Refuse,
	}
	if s.base == nil {
		if old != nil && old.Config.Base == nil && old.Timeouts.Connect == cfg.Timeouts.Connect {
			s.base = old.base // keeps its connections
		} else {
			s.base = newBase(cfg.Timeouts.Connect)
		}
	}
	if s.admission == nil {
		m := call.MemoryConfig{
			Breaker: cfg.Breaker, RetryBudget: cfg.RetryBudget, QueueDepth: cfg.Queue.Depth,
			Limits: cfg.Limits, Concurrency: cfg.Concurrency,
		}
		memory := t.memory.Load()
		if memory == nil {
			memory = call.NewMemory(m)
			t.memory.Store(memory)
		} else {
			memory.Configure(m)
		}
		s.admission = memory
	}
	t.setLog(s, old)
	t.settings.Store(s)
	return nil
}

// setLog attaches the observers. The log's goroutine starts with the first
// logger that is given, and a changed one is swapped in place.
func (t *Transport) setLog(s, old *settings) {
	if s.Log != nil {
		log := t.log.Load()
		switch {
		case log == nil:
			log = observe.NewLog(s.Log)
			t.log.Store(log)
		case old == nil || old.Log != s.Log:
			log.SetLogger(s.Log)
		}
		s.observers = append(s.observers, log)
	}
	if s.Observer != nil {
		s.observers = append(s.observers, s.Observer)
	}
}

// TellLimits takes over an answer of the Rate Limits API (GET
// /v1/organizations/rate_limits, with an Admin key) about an organisation, so
// that its limits are known before any answer shows them. It returns the page
// to ask for next, "" if that was all. With an Admission that keeps no such
// limits it does nothing.
func (t *Transport) TellLimits(organization string, answer []byte) (page string, err error) {
	if a, ok := t.settings.Load().admission.(call.Shower); ok {
		return a.TellLimits(time.Now(), organization, answer)
	}
	return "", nil
}

// Close waits until what has happened so far is logged, at most a second, and
// ends the Transport's one goroutine. Calls made afterwards still work, and
// are no longer logged. It does not end calls under way.
func (t *Transport) Close() error {
	if log := t.log.Load(); log != nil {
		log.Close(time.Second)
	}
	t.CloseIdleConnections()
	return nil
}

// CloseIdleConnections closes connections that no call uses, as
// [http.Client.CloseIdleConnections] expects.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.settings.Load().base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper]. The request is not changed. The
// error, if any, is the context's when the caller has left, and else an
// [*Error].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, errors.New("evenkeel: request has no URL")
	}
	x := &exchange{t: t, s: t.settings.Load(), req: r, arrived: time.Now()}
	x.answer.x = x
	x.id = call.ID(lastID.Add(1))
	x.name = newName()
	if err := x.open(); err != nil {
		x.refused(err)
		return nil, err
	}
	t.enter(x)
	resp, err := x.run()
	if err != nil {
		x.end(time.Now(), err)
		return nil, err
	}
	return resp, nil
}

// maxTags bounds the tags of live calls that logs and metrics tell apart.
// What comes beyond is "other": tags are for naming routes, not requests.
const maxTags = 256

func (t *Transport) enter(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.prev, x.next = t.live.prev, &t.live
	x.prev.next, x.next.prev = x, x
	if tag := x.desc.tag; tag != "" {
		if t.tags[tag] == 0 && len(t.tags) >= maxTags {
			x.desc.tag = "other"
		}
		t.tags[x.desc.tag]++
	}
}

func (t *Transport) exit(x *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x.prev.next, x.next.prev = x.next, x.prev
	x.prev, x.next = nil, nil
	if tag := x.desc.tag; tag != "" {
		if t.tags[tag]--; t.tags[tag] == 0 {
			delete(t.tags, tag)
		}
	}
}

// check names every field that cannot be used.
func (c Config) check() error {
	var errs []error
	atLeast := func(name string, v, least int64, want string) {
		if v < least {
			errs = append(errs, fmt.Errorf("evenkeel: Config.%s is %d, want %s", name, v, want))
		}
	}
	atLeast("MaxAttempts", int64(c.MaxAttempts), 0, "0 or more")
	atLeast("RetryBudget", int64(c.RetryBudget), -1, "-1 or more")
	atLeast("Queue.Depth", int64(c.Queue.Depth), 0, "0 or more")
	atLeast("Memory.Body", c.Memory.Body, 0, "0 or more")
	atLeast("Memory.Bodies", c.Memory.Bodies, 0, "0 or more")
	for name, d := range map[string]time.Duration{
		"LongestWait": c.LongestWait, "Queue.MaxWait": c.Queue.MaxWait,
		"Timeouts.Connect": c.Timeouts.Connect, "Timeouts.FirstByte": c.Timeouts.FirstByte,
		"Timeouts.Idle": c.Timeouts.Idle, "Timeouts.Total": c.Timeouts.Total,
		"Breaker.Window": c.Breaker.Window, "Breaker.OpenFor": c.Breaker.OpenFor,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("evenkeel: Config.%s is %v, want 0s or more", name, d))
		}
	}
	if r := c.Breaker.ErrorRate; r < 0 || r >= 1 {
		errs = append(errs, fmt.Errorf("evenkeel: Config.Breaker.ErrorRate is %v, want 0 or more and less than 1", r))
	}
	atLeast("Breaker.MinCalls", int64(c.Breaker.MinCalls), 0, "0 or more")
	atLeast("Breaker.Probes", int64(c.Breaker.Probes), 0, "0 or more")
	for i, f := range c.Fallback {
		errs = append(errs, f.mistakes(fmt.Sprintf("Fallback[%d]", i))...)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Fallback = slices.Clone(c.Fallback)
	c.LongestWait = cmp.Or(c.LongestWait, time.Minute)
	c.Queue.MaxWait = cmp.Or(c.Queue.MaxWait, 30*time.Second)
	c.Memory.Body = cmp.Or(c.Memory.Body, 32<<20)
	c.Memory.Bodies = cmp.Or(c.Memory.Bodies, 512<<20)
	t := &c.Timeouts
	t.Connect = cmp.Or(t.Connect, 5*time.Second)
	t.FirstByte = cmp.Or(t.FirstByte, 2*time.Minute)
	t.Idle = cmp.Or(t.Idle, 3*time.Minute)
	t.Total = cmp.Or(t.Total, 10*time.Minute)
	return c
}

// leftError is what a caller that has left gets, as from any RoundTripper.
func leftError(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.Canceled
}

// redacted is an error of the base transport without the URL it may carry.
func redacted(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
