package limit

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Outcome says what became of a reservation.
type Outcome uint8

// The outcomes.
const (
	Kept     Outcome = iota // whether it counted is not known: it stays charged
	Settled                 // Usage is all of it
	Broken                  // Usage is what had been told when it broke off
	Refunded                // it surely never counted
	Refused                 // a 429: it never counted, and others have to wait
)

// End is how an attempt ended.
type End struct {
	Outcome Outcome
	Usage   claude.Usage

	// Of Refused:
	RetryAfter time.Duration // nobody of the group is sent before; 0 if it was not told
	Credential bool          // it concerns this credential alone: a plan of a subscription login
	Ramp       bool          // use grew too fast
	Empty      Kind          // that the answer shows at 0; only with IsEmpty
	IsEmpty    bool
	Rejected   bool // 401: the credential is nobody's
}

// longestPause bounds what one answer can ask of all others: a plan's window
// may be hours away, and once in an hour somebody may look.
const longestPause = time.Hour

// Correct replaces the input of an attempt by what its answer has begun with.
// A stream tells it in its first event, long before it ends.
func (b *Book) Correct(now time.Time, id ID, u claude.Usage) {
	r := b.reservation(id)
	if r == nil || u.Input+u.CacheWrite+u.CacheRead == 0 {
		return
	}
	t := b.tick(now)
	for i, g := range r.groups {
		if g == nil {
			break
		}
		g = g.final()
		r.correct(t, g, i, Input, g.input(u))
	}
}

// correct changes what is held of a kind.
func (r *reservation) correct(t tick, g *group, i int, k Kind, actual float64) {
	u := &g.buckets[k]
	u.correct(t, r.start, r.held[i][k], actual, r.seen[i][k] || r.start < u.anchor)
	r.held[i][k] = actual
}

// input is what an answer's input counts here.
func (g *group) input(u claude.Usage) float64 {
	n := u.Input + u.CacheWrite
	if g.reads {
		n += u.CacheRead
	}
	return float64(n)
}

// Settle ends a reservation. Only the first call for an ID counts, and an ID
// that is not known changes nothing.
func (b *Book) Settle(now time.Time, id ID, e End) {
	r := b.reservation(id)
	if r == nil {
		return
	}
	t := b.tick(now)
	r.scope.flying--
	for i, g := range r.groups {
		if g == nil {
			break
		}
		g = g.final()
		g.inFlight--
		for k := range g.buckets {
			b.end(t, r, g, i, Kind(k), e)
		}
	}
	if e.Outcome == Refused {
		b.refuse(t, r, e)
	}
	if e.Rejected {
		b.forget(r)
	}
	b.close(id, r)
}

// end settles one bucket.
func (b *Book) end(t tick, r *reservation, g *group, i int, k Kind, e End) {
	u := &g.buckets[k]
	if k == Output {
		u.settleOutput(t, r, r.held[i][k], g.produced(t, r, r.held[i][k], e))
		return
	}
	actual := r.held[i][k]
	switch {
	case e.Outcome == Refunded || e.Outcome == Refused:
		actual = 0
	case k == Requests || e.Outcome == Kept:
	case k == Input && e.Usage.Input+e.Usage.CacheWrite+e.Usage.CacheRead > 0:
		actual = g.input(e.Usage)
	case k == Tokens && e.Outcome == Settled:
		actual = g.input(e.Usage) + float64(e.Usage.Output)
	}
	r.correct(t, g, i, k, actual)
	u.close(actual)
}

// produced is what an attempt is taken to have produced.
func (g *group) produced(t tick, r *reservation, reserved float64, e End) float64 {
	switch e.Outcome {
	case Settled:
		return float64(e.Usage.Output)
	case Broken: // what was told, or what it had time for
		return max(float64(e.Usage.Output), min(reserved, r.cost.pace*(t-r.start).Seconds()))
	case Refunded, Refused:
		return 0
	}
	return reserved
}

// refuse learns from a 429: everyone who shares what it was about waits as
// long as it said, and what we took for left was not.
func (b *Book) refuse(t tick, r *reservation, e End) {
	until := t + min(e.RetryAfter, longestPause)
	if e.Credential {
		r.scope.paused = max(r.scope.paused, until)
		return
	}
	g := r.groups[0]
	if g == nil {
		return
	}
	g = g.final()
	if e.RetryAfter > 0 {
		g.paused = max(g.paused, until)
	}
	if e.Ramp {
		in := &g.buckets[Input]
		in.refill(t)
		in.ramp.refuse(t)
		in.level = min(in.level, 0)
	}
	if e.IsEmpty && e.Empty < kinds {
		if u := &g.buckets[e.Empty]; u.limited() {
			u.level = min(u.level, 0)
		}
	}
	if e.RetryAfter > 0 || e.IsEmpty {
		g.wary = t + wariness
	}
}

// forget drops a credential that was not accepted, if nobody else has been
// answered under it.
func (b *Book) forget(r *reservation) {
	s := r.scope
	if s.accepted || s.flying > 0 || b.strangers.byKey[s.key] != s {
		return
	}
	b.strangers.remove(s)
	for _, g := range s.alone {
		if b.groups.byKey[g.key] == g {
			b.groups.remove(g)
		}
	}
	s.alone = nil
}
