package call

import (
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/concurrency"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// answering is how recently an upstream must have answered anyone for a call
// that the budget will not let retry to say nothing about it. It is the
// budget's floor: in that time one retry is always tried.
const answering = retry.DefaultFloor

// lane is what belongs to one key: its breaker, its part of the budget, and
// how many may be in flight.
type lane struct {
	name     string // in the queue; no two lanes that ever were have the same
	strand   strand // the last one that was named
	breaker  *breaker.Breaker
	slots    *concurrency.Limit
	moved    uint64 // breaker.Changed as last told in a State
	woken    uint64 // breaker.Wakes as of the last pump for it
	budget   *retry.Budget
	inFlight int
	lost     time.Time // when a connection last died under an attempt
	good     time.Time // start of the last attempt that brought content, or flew for earlyGood
	probed   time.Time // when a probe was last let out
	waiting  lineup
	granted  uint64      // turns, ever
	short    bool        // somebody was told since the last round that there is no place
	places   []time.Time // in the ramp, earliest first: one for each call that waits
	ramp     uint64      // the breaker's Changed when places were given
	forMoney []*holding  // longest wait first; may name calls that have gone
	roused   uint64      // how often the breaker of those who share the limits has moved
}

func (m *Memory) lane(k Key) *lane {
	if l, ok := m.lanes.get(k); ok {
		return l
	}
	b := m.cfg.Breaker
	m.laneCount++
	l := &lane{
		name: strconv.FormatUint(m.laneCount, 36),
		breaker: breaker.New(breaker.Config{
			Off: b.Off, ErrorRate: b.ErrorRate, Window: b.Window, MinCalls: b.MinCalls, OpenFor: b.OpenFor,
			ProbeEvery: b.ProbeEvery, Probes: b.Probes, Ramp: b.Ramp,
		}),
		slots:   concurrency.New(m.slotsOf(k)),
		budget:  retry.New(retry.Config{Tokens: m.cfg.RetryBudget}),
		waiting: lineup{groups: make(map[string]waiters)},
	}
	m.lanes.put(k, l)
	return l
}

// slotsOf is how many of a key may be in flight. Only messages are so much work
// that it matters; what is relayed may be a stream of events that is open for
// hours.
func (m *Memory) slotsOf(k Key) concurrency.Config {
	if k.Path != claude.Messages {
		return concurrency.Config{Fixed: true}
	}
	return m.cfg.Concurrency
}

// mayProbe: the lane's own calls probe it. For messages that is a real call of
// a caller who waits; so it is for the others, whose lanes no message reaches.
const mayProbe = true

// closedBefore says how long the breaker holds a call of the lane back that is
// next; 0 if it may go. Nothing is taken.
func (l *lane) closedBefore(now time.Time) (wait time.Duration, why HoldReason) {
	switch l.breaker.State(now) {
	case breaker.Closed:
		if len(l.places) == 0 || l.inFlight == 0 { // a ramp has nothing to protect from a single call
			return 0, HoldNone
		}
		return max(l.places[0].Sub(now), 0), HoldRamp
	default:
		at := l.breaker.NextProbe(now)
		if ripe := l.probed.Add(earlyGood); ripe.After(now) && ripe.Before(at) {
			at = ripe // a probe that still flies then is good, and nobody else would look
		}
		return max(at.Sub(now), 0), HoldBreaker
	}
}

// pass takes what closedBefore has found to be free.
func (l *lane) pass(now time.Time) (t breaker.Ticket, free, ok bool) {
	d := l.breaker.AdmitSlot(now, mayProbe)
	if !d.OK {
		return t, false, false
	}
	if len(l.places) > 0 {
		l.places = l.places[1:]
		free = true
	}
	return d.Ticket, free || d.Ticket.Probe, true
}

// place gives a call that enters the queue, or is in it when the breaker
// closes, its place in the ramp. Places belong to the lane and not to calls:
// whoever is next takes the earliest.
func (l *lane) place(now time.Time, waited bool, random float64) {
	if !l.breaker.Ramping(now) {
		return
	}
	d := l.breaker.Admit(now, mayProbe, waited, random)
	at := now
	if d.Ramp {
		at = d.Until
	}
	i, _ := slices.BinarySearchFunc(l.places, at, time.Time.Compare)
	l.places = slices.Insert(l.places, i, at)
}

// ramps gives everyone who waits a place when the breaker has closed, and
// takes places back when it opens or the ramp is over.
func (m *Memory) ramps(now time.Time, l *lane) {
	ramping := l.breaker.Ramping(now)
	changed := l.breaker.Changed()
	if !ramping || l.ramp != changed {
		l.places = l.places[:0]
	}
	if ramping && l.ramp != changed {
		for range l.waiting.calls {
			l.place(now, true, m.cfg.Rand())
		}
	}
	l.ramp = changed
}

// result says what the breaker is told of an attempt's end.
func (m *Memory) result(now time.Time, f *flight, end End, s Settled) breaker.Result {
	v := end.Verdict
	switch {
	case end.Call == Succeeded:
		f.lane.answers(f)
		return breaker.Good
	case v.Health != classify.Failure:
		return breaker.Ignored
	case end.Call == Continues && !s.Counted, f.need.Counted:
		return breaker.Retrying // a call is one failure at most
	}
	// One connection can carry a hundred streams. When it dies it is one
	// failure, not a hundred.
	if v.Reason == classify.ConnectionLost || v.Reason == classify.StreamCut {
		if now.Sub(f.lane.lost) < 100*time.Millisecond {
			return breaker.Ignored
		}
		f.lane.lost = now
	}
	return breaker.Failure
}

// capacity says what an attempt's end tells of the upstream's capacity. A
// timeout of ours tells nothing: hangs that have nothing to do with our load
// would be found out only after minutes, in which calls are held back for nothing
// (decision 0011).
func capacity(v classify.Verdict) concurrency.Outcome {
	switch {
	case v.Health == classify.Good:
		return concurrency.Served
	case v.Reason == classify.OverloadedReason, v.Reason == classify.TimeoutReason:
		return concurrency.Overloaded
	}
	return concurrency.Other
}

// answers notes that the upstream took an attempt on. What counts is when the
// attempt began: an answer of a minute that ends in an outage tells of the
// minute before.
func (l *lane) answers(f *flight) {
	if f.start.After(l.good) {
		l.good = f.start
	}
}
