package breaker

import "time"

// Result is what an attempt, or the call that ended with it, says about the
// upstream.
type Result uint8

// The results.
const (
	Ignored  Result = iota // nothing: refused for its own faults, limited, or given up early
	Good                   // the upstream answered
	Failure                // the call has ended without an answer, for the upstream's reasons
	Retrying               // the attempt failed so, but its call goes on
)

// Early tells that the attempt has been in flight for five seconds. Answers
// take minutes while failures are quick, so counting only what has ended would
// see the failures first: the attempt is booked as good now, and a failure
// later takes that back. Booking is done once per ticket. A probe is not booked,
// as it is never of an epoch in which the breaker is closed.
func (b *Breaker) Early(now time.Time, t *Ticket) {
	b.tick(now)
	if b.state != Closed || !b.current(t) || t.early {
		return
	}
	t.slot = b.window.slot(now)
	t.early = true
	b.window.add(t.slot, +1, 0)
}

// Content tells that the attempt has brought its first content, or its whole
// answer. A probe is good from here on, however it ends. Other attempts are
// judged by their end.
func (b *Breaker) Content(now time.Time, t *Ticket) {
	if t.Probe {
		b.Report(now, t, Good)
	}
}

// Report tells how an attempt ended. A report counts once per ticket, and only
// in the ticket's epoch; except that after Retrying the end of the call may be
// reported on the same ticket, should no further attempt follow.
//
// A probe that is heard of after its lease has expired still counts: an answer
// that took longer than the lease is as good a sign as any.
func (b *Breaker) Report(now time.Time, t *Ticket, r Result) {
	b.tick(now)
	switch {
	case !b.current(t):
	case t.Probe:
		t.told = true
		b.reportProbe(now, t, r)
	default:
		t.told = r != Retrying
		b.reportCall(now, t, r)
	}
}

// current says whether a report on t still counts.
func (b *Breaker) current(t *Ticket) bool {
	return !t.told && t.epoch == b.epoch && !b.cfg.Off
}

// reportCall books a result of the current epoch; the state is Closed, as
// tickets that are no probes are given in no other.
func (b *Breaker) reportCall(now time.Time, t *Ticket, r Result) {
	s := b.window.slot(now)
	if r == Good && t.early {
		return // booked already
	}
	if t.early {
		b.window.add(t.slot, -1, 0)
		t.early = false
	}
	b.book(now, s, r)
}

func (b *Breaker) book(now time.Time, s int64, r Result) {
	switch r {
	case Good:
		b.window.add(s, +1, 0)
	case Failure:
		b.window.add(s, 0, +1)
		b.tripIfDue(now)
	case Ignored, Retrying:
	}
}

// tripIfDue compares as exactly as it can: the quotient of two whole numbers
// and the literal 0.20 round to the same float64 if they are equal, so that
// 20 of 100 is not more than 20 %. Their product with 0.29, say, would not.
func (b *Breaker) tripIfDue(now time.Time) {
	bad, all := b.window.sum.bad, b.window.sum.good+b.window.sum.bad
	if all >= b.cfg.MinCalls && float64(bad)/float64(all) > b.cfg.ErrorRate {
		b.open(now)
	}
}

// reportProbe takes the result of a probe of the current epoch.
func (b *Breaker) reportProbe(now time.Time, t *Ticket, r Result) {
	held := b.release(t.lease)
	switch r {
	case Failure, Retrying:
		if b.state == HalfOpen {
			b.open(now)
		}
	case Ignored:
		if held && b.state == Open {
			b.probeAt = now // nothing was learned: the turn passes on
		}
	case Good:
		b.goodProbe(now)
	}
}

func (b *Breaker) goodProbe(now time.Time) {
	if b.state == Open {
		b.halfOpen()
		return
	}
	if b.good++; b.good >= b.cfg.Probes {
		b.close(now)
	}
}

// release gives a lease back, and says whether it was still held.
func (b *Breaker) release(id uint64) bool {
	for i, l := range b.leases {
		if l.id == id {
			b.leases = append(b.leases[:i], b.leases[i+1:]...)
			b.freed++
			return true
		}
	}
	return false
}

// Count books the end of a call that holds no ticket: it was between two
// attempts, or waiting for its first. Where the ticket of its last attempt is
// at hand, Report is more exact, for it knows the epoch.
//
// During the ramp nothing is booked: those who give up then mostly waited for
// the breaker, and what made them wait happened in an earlier epoch.
func (b *Breaker) Count(now time.Time, r Result) {
	b.tick(now)
	if b.cfg.Off || b.state != Closed || b.ramping(now) {
		return
	}
	b.book(now, b.window.slot(now), r)
}
