package call

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// fresh is a Memory in which nothing is fixed.
func newOffice(t *testing.T, cfg MemoryConfig) *desk {
	cfg.Rand = half
	return &desk{Memory: NewMemory(cfg), t: t, now: start}
}

// answers tells whose a credential is, with ample limits.
func ofOrganization(org string) limit.Response {
	return limit.Response{Status: 200, At: start, Organization: org}
}

// finish settles a ticket as a good answer of no known usage.
func (d *desk) finish(tk Ticket) {
	d.Settle(ctx, d.now, tk, End{Verdict: good, Call: Succeeded})
}

// callers plays calls that come only when their hold is over or their channel closes.
type callers struct {
	d       *desk
	calls   map[ID]*caller
	fly     []landing
	hold    time.Duration
	admits  int
	granted func(Need)
	later   []func()
	closed  bool
}

type caller struct {
	n     Need
	until time.Time
	wake  <-chan struct{}
}

type landing struct {
	end time.Time
	tk  Ticket
}

func newCallers(d *desk) *callers { return &callers{d: d, calls: map[ID]*caller{}} }

func (w *callers) ask(n Need) {
	w.admits++
	x := w.d.admit(n)
	switch {
	case x.Ticket.ID != 0:
		delete(w.calls, n.Call)
		w.d.Content(ctx, w.d.now, x.Ticket, claude.Usage{})
		w.fly = append(w.fly, landing{w.d.now.Add(w.hold), x.Ticket})
		if w.granted != nil {
			w.granted(n)
		}
	case x.Hold.Refuse:
		delete(w.calls, n.Call)
		w.d.Leave(w.d.now, n, Uncounted)
	default:
		u := x.Hold.Until
		if s := w.d.now.Add(10 * time.Millisecond); u.Before(s) {
			u = s
		}
		w.calls[n.Call] = &caller{n, u, x.Hold.Wake}
	}
}

func (w *callers) run(until time.Time) {
	for w.d.now.Before(until) && (len(w.calls) > 0 || len(w.fly) > 0) {
		woken := false
		for _, c := range w.calls {
			if isClosed(c.wake) || !c.until.After(w.d.now) {
				w.ask(c.n)
				woken = true
			}
		}
		for len(w.later) > 0 {
			f := w.later[0]
			w.later = w.later[1:]
			f()
			woken = true
		}
		if woken {
			continue
		}
		next := until
		for _, c := range w.calls {
			if c.until.Before(next) {
				next = c.until
			}
		}
		for _, f := range w.fly {
			if f.end.Before(next) {
				next = f.end
			}
		}
		w.d.now = next
		kept := w.fly[:0]
		for _, f := range w.fly {
			if f.end.After(next) {
				kept = append(kept, f)
			} else {
				w.d.finish(f.tk)
			}
		}
		w.fly = kept
	}
}

// trip opens the breaker of the usual key.
func (d *desk) trip() {
	for range 25 {
		n := d.need()
		if x := d.admit(n); x.Ticket.ID != 0 {
			d.Settle(ctx, d.now, x.Ticket, End{Verdict: overloaded, Call: GaveUp})
		} else {
			d.Leave(d.now, n, Uncounted)
		}
	}
}

// ofScope is a call of one credential that may wait for so long.
func (d *desk) ofScope(scope string, wait time.Duration) Need {
	n := d.need()
	n.Scope, n.Caller.Flow = scope, scope
	n.Deadline = d.now.Add(wait)
	return n
}

// newAcme is a desk where credentials a and b are known to be one
// organisation's, with a request a second.
func newAcme(t *testing.T) *desk {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true, Organizations: map[string]map[string]Rates{"acme": {"*": {RPM: 60}}}}})
	for _, s := range []string{"a", "b"} {
		tk := d.mustAdmit(d.ofScope(s, time.Minute))
		d.Answered(ctx, d.now, tk, ofOrganization("acme"))
		d.finish(tk)
	}
	return d
}
