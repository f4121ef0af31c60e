package evenkeel

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
)

// CodeGaveUp marks, in evenkeel-reason, an upstream answer that was returned
// because no further attempt was allowed or would have fit.
const CodeGaveUp Code = "EK-GAVE-UP"

// emit sends an event to every observer, filled in with what is the same in
// all events of a call.
func (x *exchange) emit(e observe.Event) {
	if len(x.s.observers) == 0 {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Call, e.Upstream, e.Path = x.name, x.desc.upstream, x.desc.path.String()
	e.Model, e.Tag, e.Stream = cmp.Or(e.Model, x.desc.body.Model), x.desc.tag, x.desc.body.Stream
	if x.other.on {
		e.Fallback = x.other.to
	}
	e.MaxAttempts = cmp.Or(x.s.MaxAttempts, 6)
	e.RequestID = x.requestID
	for _, o := range x.s.observers {
		o.Observe(e)
	}
}

// tellNews tells of a breaker that has moved under this call.
func (x *exchange) tellNews() {
	if key, state, moved := x.machine.News(); moved {
		x.emit(observe.Event{Kind: observe.BreakerMoved, Model: key.Model, State: state})
	}
}

// show sets what a snapshot tells of this call.
func (x *exchange) show(phase, reason string, until time.Time) {
	x.mu.Lock()
	x.phase, x.reason, x.until, x.attempts, x.instead = phase, reason, until, len(x.trail), ""
	if x.other.on {
		x.instead = x.other.to
	}
	x.mu.Unlock()
}

// Snapshot returns the state of the path now. It is meant for people and
// gauges: it costs time in proportion to the calls that are live.
func (t *Transport) Snapshot() observe.Snapshot {
	s := observe.Snapshot{Time: time.Now(), Bodies: t.bodies.used.Load()}
	if log := t.log.Load(); log != nil {
		s.Dropped = log.Dropped()
	}
	t.mu.Lock()
	s.PassedOn = slices.Sorted(maps.Keys(t.passedOn))
	var live []*exchange // oldest first, as they entered
	for x := t.live.next; x != &t.live; x = x.next {
		live = append(live, x)
	}
	t.mu.Unlock()
	for _, x := range live {
		c := x.snapshot()
		if c.Phase == "waiting" {
			s.Waiting++
		} else {
			s.InFlight++
		}
		s.Calls = append(s.Calls, c)
	}
	admission := t.settings.Load().admission
	if a, ok := admission.(call.Shower); ok {
		s.Breakers, s.Limits = a.Lanes(s.Time), a.Limits(s.Time)
	}
	if a, ok := admission.(call.Storer); ok {
		s.Store = a.Store()
	}
	return s
}

func (x *exchange) snapshot() observe.Call {
	x.mu.Lock()
	defer x.mu.Unlock()
	return observe.Call{
		ID: x.name, Model: x.desc.body.Model, Fallback: x.instead, Tag: x.desc.tag, Phase: x.phase, Reason: x.reason,
		Arrived: x.arrived, Until: x.until, Attempt: x.attempts,
	}
}

// refuse fills in what kind of end it is: which code, and which answer a
// gateway gives for it. last is the fault of the last attempt, if one was made.
func (e *Error) refuse(a call.Action, last classify.Fault) {
	if e.Attempts > 0 && a.Hold == call.HoldNone {
		e.fail(last)
		return
	}
	e.Kind, e.Status = claude.RateLimit, 429
	switch a.Hold {
	case call.HoldBreaker, call.HoldRamp:
		e.Code, e.Kind, e.Status, e.Err = CodeBreaker, claude.Overloaded, 529, ErrBreakerOpen
	case call.HoldQueue:
		e.Code, e.Err = CodeQueueFull, ErrQueueFull
	case call.HoldPause:
		e.Code, e.Err = CodePaused, ErrPaused
	case call.HoldLimit, call.HoldLearn, call.HoldTurn:
		e.Code, e.Err = CodeLimit, ErrLimit
	case call.HoldSize:
		e.Code, e.Kind, e.Status, e.Err = CodeLimitSize, claude.InvalidRequest, 400, ErrLimitSize
	case call.HoldSlot:
		e.Code, e.Kind, e.Status, e.Err = CodeCrowded, claude.Overloaded, 529, ErrCrowded
	case call.HoldBudget, call.HoldBackoff:
		e.Code, e.Err = CodeMaxWait, ErrMaxWait
	default:
		e.Code, e.Err = CodeDeadline, ErrDeadline
	}
}

// fail fills in the end of a call whose attempts were made and brought nothing.
// An upstream that was reached and broke off is not one that is out of reach:
// whoever is told so looks for the fault in the wrong place.
func (e *Error) fail(last classify.Fault) {
	switch {
	case timeout(last):
		e.Code, e.Kind, e.Status = CodeTimeout, claude.Timeout, 504
	case last == classify.FaultCut:
		e.Code, e.Kind, e.Status = CodeStreamCut, claude.API, 502
	default:
		e.Code, e.Kind, e.Status = CodeUnreachable, claude.API, 502
	}
}
