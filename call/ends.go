package call

import (
	"context"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// lastWord ends a call with the answer of the attempt just judged, if it
// brought one. An error of another target than the call was made for is none.
func (m *Machine) lastWord(ctx context.Context, now time.Time, answered bool) Action {
	if !answered || m.Diverted() {
		return m.end(ctx, now, Hold{})
	}
	m.phase = over
	// A body that passes once is not ours to send again; the caller may.
	gaveUp := m.last.Action == classify.Again && !m.call.Once || m.last.Reason == classify.EffectsUnknown
	return Action{Kind: Deliver, Attempt: m.attempts, Ended: true, GaveUp: gaveUp}
}

func (m *Machine) endOf(v classify.Verdict) End {
	end := End{Verdict: v, Call: Uncounted}
	switch v.Health {
	case classify.Good:
		end.Call = Succeeded
	case classify.Failure:
		end.Call = GaveUp
	}
	return end
}

// giveUp ends a call that holds no ticket.
func (m *Machine) giveUp(ctx context.Context, now time.Time, h Hold) Action {
	m.leave(now, m.endWithout(h.Reason))
	return m.end(ctx, now, h)
}

// endWithout is how a call ends that waits for the given reason and may not
// any longer. What it gives up on while the breaker is open or a limit pauses
// it is known already, and so is what the budget ended; the rest is news.
func (m *Machine) endWithout(why HoldReason) CallEnd {
	switch why {
	case HoldBreaker, HoldRamp, HoldPause, HoldBudget, HoldLimit, HoldLearn, HoldSize, HoldSlot, HoldTurn:
		return Uncounted
	}
	if m.health != classify.Failure {
		return Uncounted
	}
	return GaveUp
}

func (m *Machine) leave(now time.Time, end CallEnd) {
	m.waited, m.waiting = m.Waited(now), time.Time{}
	m.adm.Leave(now, m.need(now), end)
	m.paid = false
}

// end ends a call that gets no answer where it is: one on a detour comes back.
func (m *Machine) end(ctx context.Context, now time.Time, h Hold) Action {
	if m.Diverted() {
		return m.comeBack(ctx, now)
	}
	return m.finalAction(now, h)
}

// finalAction is the last action of a call whose last attempt, if there was
// one, brought no answer: the stored answer if there is any, else a refusal.
func (m *Machine) finalAction(now time.Time, h Hold) Action {
	m.phase = over
	if m.stored {
		return Action{Kind: Return, Ended: true, GaveUp: true, Attempt: m.attempts, Hold: h.Reason}
	}
	a := Action{Kind: Refuse, Ended: true, Attempt: m.attempts}
	if m.attempts == m.elsewhere() { // the target itself has had none
		a.Hold = h.Reason
	}
	if h.Until.After(now) {
		a.RetryAt = h.Until
	}
	return a
}

// LimitEnd says in the words of package limit how an attempt has ended.
func LimitEnd(end End) limit.End {
	v := end.Verdict
	e := limit.End{Usage: end.Usage, RetryAfter: v.RetryAfter, Rejected: v.Known.Type == claude.Authentication}
	switch v.Settle {
	case classify.Refund:
		e.Outcome = limit.Refunded
	case classify.Empty, classify.Ramp:
		e.Outcome, e.Ramp = limit.Refused, v.Settle == classify.Ramp
	case classify.Settle:
		switch {
		case !end.Usage.Known():
			e.Outcome = limit.Kept
		case v.Health == classify.Good:
			e.Outcome = limit.Settled
		default:
			e.Outcome = limit.Broken
		}
	default:
		e.Outcome = limit.Kept
	}
	if v.Pause != classify.PauseNone && v.RetryAfter > 0 {
		e.Outcome, e.Credential = limit.Refused, v.Pause == classify.PauseCredential
	}
	return e
}
