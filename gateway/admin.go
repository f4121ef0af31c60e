package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// Admin returns the handler of the admin port:
//
//	GET  /healthz         200 while the process lives, draining or not: it never asks the upstream
//	GET  /readyz          200, or 503 from the beginning of a drain; an overloaded API makes nobody unready
//	GET  /api/v1/state    what is going on, as JSON
//	GET  /debug/pprof/    profiles, without the command line
//	POST /-/drain         begins a drain and answers when it is over
//
// It has the same rules for Host, Origin and Sec-Fetch-Site as the gateway,
// and refuses in the same shape. It asks for no token: bind it to loopback,
// or to a network of operators.
func (g *Gateway) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", g.readyz)
	mux.HandleFunc("GET /api/v1/state", g.state)
	mux.HandleFunc("POST /-/drain", g.drainNow)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound) // flags may hold a key
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := g.settings.Load()
		if no := s.guard(r); no != nil {
			g.log.add(r.Context(), s.Log, no, "")
			no.write(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) {
	if !g.drain.ready() {
		say(w, http.StatusServiceUnavailable, "draining\n")
		return
	}
	say(w, http.StatusOK, "ok\n")
}

// drainNow is what a preStop hook calls. The process goes on: whoever started
// it ends it.
func (g *Gateway) drainNow(w http.ResponseWriter, r *http.Request) {
	left := g.drain.run(r.Context(), g.settings.Load().Drain)
	writeJSON(w, struct {
		InFlight int `json:"in_flight"`
	}{left})
}

func (g *Gateway) state(w http.ResponseWriter, _ *http.Request) {
	v := stateOf(g.settings.Load().State())
	v.Draining, v.Calls = !g.drain.ready(), g.drain.calls()
	writeJSON(w, v)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // whom it does not reach has gone
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(errors.Join(errors.New("gateway: plain values do not marshal"), err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(b, '\n')) // whom it does not reach has gone
}

// State is what /api/v1/state answers. Its names are stable; fields may be
// added. Times that do not apply are left out.
type State struct {
	Time     time.Time      `json:"time"`
	Draining bool           `json:"draining"`
	Calls    int            `json:"calls"`        // in the gateway: queued, waiting, being answered
	InFlight int            `json:"in_flight"`    // attempts being served by the upstream
	Waiting  int            `json:"waiting"`      // calls that wait
	Bodies   int64          `json:"bodies_bytes"` // kept for retries
	Dropped  uint64         `json:"events_dropped"`
	Breakers []StateBreaker `json:"breakers"`
	Limits   []StateLimit   `json:"limits"`               // the latest used first, a hundred at most
	Store    *StateStore    `json:"store,omitempty"`      // that a fleet shares; left out if there is none
	PassedOn []string       `json:"sent_plain,omitempty"` // models whose streams cannot be assembled
	Live     []StateCall    `json:"live"`                 // oldest first
}

// StateStore is how it stands with the store that a fleet shares.
type StateStore struct {
	Kind      string    `json:"kind"`
	Local     bool      `json:"local"` // it does not answer: this process goes on with its own share of the limits
	Cause     string    `json:"cause,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	NextTry   time.Time `json:"next_try,omitzero"`
	Processes int       `json:"processes"` // that share the limits, as far as is known
	Errors    int       `json:"errors"`
	Owners    int       `json:"owners_local"`  // organisations that this process decides alone for, though the store answers
	Alone     int       `json:"decided_alone"` // questions that were answered here instead
	Pending   int       `json:"pending"`       // ends that it has yet to hear of
	Lost      int       `json:"lost"`          // ends that it will never hear of
	Warnings  []string  `json:"warnings,omitempty"`
}

// StateBreaker is one circuit breaker in a State.
type StateBreaker struct {
	Upstream  string    `json:"upstream"`
	Path      string    `json:"path"`
	Model     string    `json:"model"`
	State     string    `json:"state"`
	Failures  int       `json:"failures"`
	Calls     int       `json:"calls"`
	NextProbe time.Time `json:"next_probe,omitzero"`
	Budget    int       `json:"retry_budget"`
	InFlight  int       `json:"in_flight"`
	Most      int       `json:"concurrency,omitempty"` // in force while the upstream is overloaded
}

// StateLimit is what one organisation may still use of one class of models.
type StateLimit struct {
	Of        string        `json:"of"` // organization, workspace, client; credential until its organisation is known
	Owner     string        `json:"owner"`
	Workspace string        `json:"workspace,omitempty"`
	Class     string        `json:"class"`
	Fast      bool          `json:"fast,omitempty"`
	InFlight  int           `json:"in_flight"`
	Learning  int           `json:"learning,omitempty"` // nothing is known yet: so many may fly
	Paused    time.Time     `json:"paused_until,omitzero"`
	Buckets   []StateBucket `json:"buckets"`
}

// StateBucket is one bucket of a StateLimit.
type StateBucket struct {
	Kind      string `json:"kind"`
	PerMinute int64  `json:"per_minute"`
	Burst     int64  `json:"burst"`
	Level     int64  `json:"level"`
	Reserved  int64  `json:"reserved"`
	From      string `json:"from"`
}

// StateCall is one live call in a State.
type StateCall struct {
	ID       string    `json:"id"`
	Model    string    `json:"model"`
	Fallback string    `json:"fallback,omitempty"` // the model that attempts go to instead
	Tag      string    `json:"tag,omitempty"`
	Phase    string    `json:"phase"`
	Reason   string    `json:"reason,omitempty"`
	Arrived  time.Time `json:"arrived"`
	Until    time.Time `json:"until,omitzero"`
	Attempt  int       `json:"attempt"`
}

func stateOfLimit(l observe.Limit) StateLimit {
	v := StateLimit{
		Of: l.Of, Owner: l.Owner, Workspace: l.Workspace, Class: l.Class, Fast: l.Fast,
		InFlight: l.InFlight, Learning: l.Learning, Paused: l.Paused, Buckets: make([]StateBucket, 0, len(l.Buckets)),
	}
	for _, b := range l.Buckets {
		v.Buckets = append(v.Buckets, StateBucket{
			Kind: b.Kind, PerMinute: b.PerMinute, Burst: int64(b.Burst), Level: int64(b.Level), Reserved: int64(b.Reserved), From: b.From,
		})
	}
	return v
}

// stateOf spells a snapshot for the outside. Lists are never null.
func stateOf(s observe.Snapshot) State {
	v := State{
		Time: s.Time, InFlight: s.InFlight, Waiting: s.Waiting, Bodies: s.Bodies, Dropped: s.Dropped,
		Limits: make([]StateLimit, 0, len(s.Limits)), PassedOn: s.PassedOn,
		Breakers: make([]StateBreaker, 0, len(s.Breakers)), Live: make([]StateCall, 0, len(s.Calls)),
	}
	if s.Store != nil {
		store := StateStore(*s.Store)
		v.Store = &store
	}
	for _, b := range s.Breakers {
		v.Breakers = append(v.Breakers, StateBreaker{
			Upstream: b.Upstream, Path: b.Path, Model: b.Model, State: b.State,
			Failures: b.Failures, Calls: b.Calls, NextProbe: b.NextProbe, Budget: b.Budget,
			InFlight: b.InFlight, Most: b.Most,
		})
	}
	for _, l := range s.Limits {
		v.Limits = append(v.Limits, stateOfLimit(l))
	}
	for _, c := range s.Calls {
		v.Live = append(v.Live, StateCall{
			ID: c.ID, Model: c.Model, Fallback: c.Fallback, Tag: c.Tag, Phase: c.Phase, Reason: c.Reason,
			Arrived: c.Arrived, Until: c.Until, Attempt: c.Attempt,
		})
	}
	return v
}
