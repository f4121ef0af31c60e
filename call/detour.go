package call

import (
	"context"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
)

// A call that cannot be answered in time where it was made for may go to
// another target: another Key at another Cost, which the performer knows and may
// only look for when it comes to that.
//
//	asking ── breaker open, or the wait does not fit ──┐
//	Judge ─── the wait does not fit ──► settled ───────┤
//	                                                   ▼
//	                                 Stay ◄──────── offering ────────► Redirect
//	                                   │            (Offer)                │
//	                                   ▼                                   ▼
//	                         as if never offered ◄── no answer ── asking, backing, sent
//	                                                  comeBack             │ answer
//	                                                                       ▼
//	                                                                    Deliver
//
// On the detour everything is as before: attempts, waits and deadlines count on,
// and a retry is paid for, at the target that gets it. What is not delivered from
// there is an error. A call that waited for a breaker goes on waiting for it when it
// comes back, and so loses nothing but the attempts; the others are over.

// offer is what a call has been offered another target instead of.
type offer struct {
	hold     Hold
	fits     bool // it could wait for that
	judged   bool // an attempt has just been judged
	answered bool // which has brought an answer
}

// detour is what a call at another target comes back to.
type detour struct {
	taken    bool // it is there
	attempts int  // made there, also once it is back
	offer    offer
	key      Key
	cost     Cost
	last     classify.Verdict
	counted  bool
}

// offers tells that another target may be asked instead of what the call would
// wait for. An open breaker is reason enough: the wait for its next probe is long,
// and what is let out then are calls that come new. Not so what all calls of ours
// have in common, such as a full queue or an empty budget: there another target
// would be a way around what protects it.
func (m *Machine) offers(now time.Time, why HoldReason, fits bool) bool {
	if !m.call.Spare || m.call.Once || m.attempts >= m.policy.MaxAttempts || m.late(now) {
		return false
	}
	switch why {
	case HoldBreaker:
		return true
	case HoldBackoff, HoldRamp, HoldPause, HoldLimit, HoldLearn, HoldSlot, HoldTurn:
		return !fits
	}
	return false
}

// propose asks the performer. It does so once in a call.
func (m *Machine) propose(o offer) Action {
	m.call.Spare = false
	m.phase, m.detour = offering, &detour{offer: o}
	return Action{Kind: Offer, Hold: o.hold.Reason, Attempt: m.attempts}
}

// Stay answers an Offer: there is no other target for this call.
func (m *Machine) Stay(ctx context.Context, now time.Time) Action {
	m.mustBe(offering)
	o := m.detour.offer
	if o.judged {
		return m.lastWord(ctx, now, o.answered)
	}
	m.phase = asking
	return m.held(ctx, now, o.hold)
}

// Redirect answers an Offer: the call goes to another target, where it costs
// something else. An answer that the attempt just judged has brought is stored
// now. The call may come back by itself: [Machine.Diverted] tells where it is.
func (m *Machine) Redirect(ctx context.Context, now time.Time, to Key, cost Cost) Action {
	m.mustBe(offering)
	o := m.detour.offer
	if !o.judged {
		m.leave(now, m.endWithout(o.hold.Reason))
	}
	m.stored = m.stored || o.answered
	*m.detour = detour{taken: true, offer: o, key: m.call.Key, cost: m.call.Cost, last: m.last, counted: m.counted}
	m.move(to, cost)
	m.counted = false // each breaker counts for itself
	return m.Next(ctx, now)
}

// Diverted tells that the attempts of the call, and the answer if one is being
// delivered, are those of the target that it was redirected to.
func (m *Machine) Diverted() bool { return m.detour != nil && m.detour.taken }

// elsewhere is how many attempts were made at another target.
func (m *Machine) elsewhere() int {
	if m.detour == nil {
		return 0
	}
	return m.detour.attempts
}

// move has the call ask for another target. If attempts were made the next is a
// retry wherever it goes, and has yet to be paid for.
func (m *Machine) move(to Key, cost Cost) {
	m.call.Key, m.call.Cost = to, cost
	m.price, m.purse = 0, classify.UpstreamPurse
	if m.attempts > 0 {
		m.price, m.purse = m.last.Price, m.last.Purse
	}
	m.health, m.budget = classify.Ignored, time.Time{}
	m.phase = asking
}

// worse tells that to wait at the other target is no better than to come back.
func (d *detour) worse(h Hold) bool {
	return h.Reason == HoldBreaker || d.offer.fits && h.Until.After(d.offer.hold.Until)
}

// comeBack ends a detour that brought no answer.
func (m *Machine) comeBack(ctx context.Context, now time.Time) Action {
	d := m.detour
	m.move(d.key, d.cost)
	m.last, m.counted = d.last, d.counted
	d.taken = false
	if d.offer.fits && m.attempts < m.policy.MaxAttempts && !m.late(now) {
		return m.Next(ctx, now)
	}
	if d.offer.judged {
		return m.finalAction(now, Hold{})
	}
	return m.finalAction(now, d.offer.hold)
}

// settleDown keeps the call where it is from now on: its caller has been told who
// answers.
func (m *Machine) settleDown() {
	m.call.Spare = false
	if m.detour != nil {
		m.detour.offer.fits = false
	}
}
