package breaker

import (
	"math"
	"time"
)

// glance is how long a held call waits before it asks again when nothing with
// a known time is due: while half-open the answer to a probe decides, and that
// comes in seconds. It is only a bound; [Breaker.Wakes] tells the moment.
const glance = time.Second

// Decision answers whether an attempt may be sent.
type Decision struct {
	OK     bool
	Ticket Ticket // if OK: to be passed to Early, Content and Report

	// Until is when to ask again, if not OK: the next probe, or the place in
	// the ramp. It is never before now, and later unless OK.
	Until time.Time

	// Ramp says that the breaker has closed and Until is this call's own place
	// in the ramp: ask again then with AdmitSlot, and not earlier.
	Ramp bool
}

// Ticket stands for one admitted attempt. Its owner keeps it and passes it
// back by reference, for it remembers what has been booked. The zero Ticket
// stands for none: reports on it are dropped.
type Ticket struct {
	Probe bool // the attempt tests whether the upstream has recovered

	told  bool   // no further report counts
	early bool   // booked as good before its end, at slot
	epoch uint64 // in which it was given
	lease uint64 // of a probe
	slot  int64
}

// Admit asks to send one attempt at time now.
//
// mayProbe says that the attempt can be a probe: a messages call, good at its
// first content. Others pass while closed; once OpenFor is over they may also
// probe, so that a breaker which only they use closes again.
//
// waited says that the call was held while the breaker was open or half-open,
// and has had no place in the ramp since. random is a draw from [0, 1).
//
// While the ramp lasts, t after closing, a new call passes with probability
// f(t) = 0.25 + 0.75 · t/Ramp. Calls that have waited, and new ones that do
// not pass, get a place each in what is left of the ramp, drawn with a density
// that grows as f does, so that they come neither all at the moment of closing
// nor all at the end. What was put off comes on top of what is new: a steady
// load starts at a quarter of itself and is, for the last moments of the ramp,
// just under twice itself. With the place comes the promise of
// [Breaker.AdmitSlot].
func (b *Breaker) Admit(now time.Time, mayProbe, waited bool, random float64) Decision {
	b.tick(now)
	switch {
	case b.cfg.Off:
		return b.pass()
	case b.state == Closed:
		return b.admitClosed(now, waited, random)
	case b.mayProbeAt(now, mayProbe):
		return b.probe(now)
	}
	return Decision{Until: b.askAgain(now)}
}

// AdmitSlot is [Breaker.Admit] for a call whose place in the ramp has come: it
// passes, unless the breaker has opened in the meantime. (Admit with waited
// false and random 0 does the same.)
func (b *Breaker) AdmitSlot(now time.Time, mayProbe bool) Decision {
	return b.Admit(now, mayProbe, false, 0)
}

func (b *Breaker) pass() Decision {
	return Decision{OK: true, Ticket: Ticket{epoch: b.epoch}}
}

func (b *Breaker) admitClosed(now time.Time, waited bool, random float64) Decision {
	if !b.ramping(now) {
		return b.pass()
	}
	t := now.Sub(b.rampStart)
	if !waited {
		f := 0.25 + 0.75*t.Seconds()/b.cfg.Ramp.Seconds()
		if random < f {
			return b.pass()
		}
		random = (random - f) / (1 - f) // given that it is above f: again uniform
	}
	at := b.rampStart.Add(place(t, b.cfg.Ramp, random))
	if !at.After(now) {
		return b.pass()
	}
	return Decision{Until: at, Ramp: true}
}

// Ramping tells that the breaker has closed and the load is still returning.
func (b *Breaker) Ramping(now time.Time) bool {
	b.tick(now)
	return b.state == Closed && b.ramping(now)
}

func (b *Breaker) ramping(now time.Time) bool {
	return !b.rampStart.IsZero() && now.Sub(b.rampStart) < b.cfg.Ramp
}

// place draws a time from [t, ramp] with a density that grows linearly from
// 0.25 at time 0 to 1 at ramp. With x = time/ramp, the area under the density
// is F(x) = x/4 + 3x²/8; place solves F(x) = F(t) + random · (F(1) − F(t)).
func place(t, ramp time.Duration, random float64) time.Duration {
	area := func(x float64) float64 { return x/4 + 3*x*x/8 }
	from := area(max(t.Seconds(), 0) / ramp.Seconds())
	y := from + random*(area(1)-from)
	x := (math.Sqrt(1+24*y) - 1) / 3
	return min(max(time.Duration(x*float64(ramp)), t), ramp)
}

// mayProbeAt says whether an attempt may take a lease; the state is not Closed.
func (b *Breaker) mayProbeAt(now time.Time, mayProbe bool) bool {
	if len(b.leases) >= b.cfg.Probes || !mayProbe && now.Before(b.periodEnd) {
		return false
	}
	return b.state == HalfOpen || b.cfg.ProbeEvery > 0 && !now.Before(b.probeAt)
}

func (b *Breaker) probe(now time.Time) Decision {
	b.lastLease++
	b.leases = append(b.leases, lease{b.lastLease, now.Add(b.cfg.Lease)})
	b.probeAt = now.Add(b.cfg.ProbeEvery)
	return Decision{OK: true, Ticket: Ticket{Probe: true, epoch: b.epoch, lease: b.lastLease}}
}

// NextProbe is the earliest time from now on at which a probe may be sent;
// now, if the breaker is closed.
func (b *Breaker) NextProbe(now time.Time) time.Time {
	b.tick(now)
	at := now
	switch {
	case b.state == Closed:
	case b.state == Open && b.cfg.ProbeEvery < 0:
		at = b.periodEnd
	case b.state == Open:
		at = earlier(later(b.probeAt, b.placeFree(now)), b.periodEnd)
	case b.state == HalfOpen:
		at = earlier(b.placeFree(now), now.Add(glance))
	}
	return later(at, now)
}

// askAgain is when a call that is held now should ask again, always later
// than now. A call that may not probe can find a probe due that nobody takes.
func (b *Breaker) askAgain(now time.Time) time.Time {
	if at := b.NextProbe(now); at.After(now) {
		return at
	}
	if at := now.Add(glance); !b.periodEnd.After(now) || at.Before(b.periodEnd) {
		return at
	}
	return b.periodEnd
}

// placeFree is when the next lease can be had, if no probe is heard of before.
func (b *Breaker) placeFree(now time.Time) time.Time {
	if len(b.leases) < b.cfg.Probes {
		return now
	}
	first := b.leases[0].end
	for _, l := range b.leases {
		first = earlier(first, l.end)
	}
	return first
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
