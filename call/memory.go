package call

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// earlyGood is how long an attempt must have been in flight to count as good
// until it fails. Answers take minutes; without counting early, an hour of
// healthy long calls would weigh less than a handful of quick failures, and
// the refunds of retries that are working would come too late to pay for the
// next.
const earlyGood = 5 * time.Second

// answering is how recently an upstream must have answered anyone for a call
// that the budget will not let retry to say nothing about it. It is the
// budget's floor: in that time one retry is always tried.
const answering = retry.DefaultFloor

// maxLanes and maxScopes bound what junk model names and keys can fill. The
// least recently used one is forgotten.
const (
	maxLanes  = 1_000
	maxScopes = 10_000
)

// MemoryConfig configures a [Memory]. Zero fields have the defaults named.
type MemoryConfig struct {
	Breaker     BreakerConfig
	RetryBudget int            // tokens per upstream and model; 0 means 500
	QueueDepth  int            // calls that may be held at once; 0 means 1,000
	Rand        func() float64 // in [0, 1); nil means math/rand/v2
}

// Memory is the [Admission] of one process: breaker and retry budget per
// upstream, path class and model; pauses and the budget of 429s per scope;
// and a bound on how many calls are held.
type Memory struct {
	mu      sync.Mutex // guards all below; nothing is waited for under it
	cfg     MemoryConfig
	lanes   bounded[Key, *lane]
	scopes  bounded[scopeKey, *scope]
	flights map[uint64]*flight
	young   []*flight // in order of start; those before ripe have landed, or count as good already
	ripe    int
	held    map[ID]*holding
	lastID  uint64
}

// scopeKey names who shares a limit. A wider pause has the empty string in
// the narrower fields.
type scopeKey struct {
	credential string
	class      string // model class
	fast       bool
}

// lane is what belongs to one key.
type lane struct {
	breaker  *breaker.Breaker
	moved    uint64 // breaker.Changed as last told in a State
	woken    uint64 // breaker.Wakes as of the last wake-up
	budget   *retry.Budget
	inFlight int
	lost     time.Time // when a connection last died under an attempt
	good     time.Time // start of the last attempt that brought content, or flew for earlyGood
	probed   time.Time // when a probe was last let out
	forProbe map[ID]*holding
	forMoney []*holding // longest wait first; may name calls that have gone
}

// scope is what belongs to those who share a limit.
type scope struct {
	budget   *retry.Budget // pays for retries of 429s
	floor    retry.Floor   // one retry now and then is owed to every scope, whoever emptied the budget
	forMoney []*holding
	paused   time.Time     // until
	told     time.Duration // the Retry-After behind it
}

// flight is one attempt that has been admitted and not yet settled.
type flight struct {
	id     uint64
	need   Need
	lane   *lane
	start  time.Time
	ticket breaker.Ticket
	early  int  // budget tokens deposited before the end was known
	landed bool // settled: skipped in young
}

// holding is one call that is held.
type holding struct {
	reason HoldReason
	wake   chan struct{} // nil once closed, or when the call has gone
	until  time.Time     // of the hold
	listed bool          // stands in a list for money, and keeps its place there
}

// NewMemory returns an Admission for one process.
func NewMemory(cfg MemoryConfig) *Memory {
	m := &Memory{
		flights: make(map[uint64]*flight),
		held:    make(map[ID]*holding),
	}
	m.lanes.limit, m.scopes.limit = maxLanes, maxScopes
	m.Configure(cfg)
	return m
}

// Configure changes queue depth and chance at once, and the rest for keys
// that are seen for the first time afterwards.
func (m *Memory) Configure(cfg MemoryConfig) {
	cfg.RetryBudget = cmp.Or(cfg.RetryBudget, 500)
	cfg.QueueDepth = cmp.Or(cfg.QueueDepth, 1000)
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.Breaker != cfg.Breaker || m.cfg.RetryBudget != cfg.RetryBudget {
		m.lanes.clear() // flights keep the lane they started in
		for _, h := range m.held {
			h.rouse()
			h.listed = false
		}
	}
	m.cfg = cfg
}

// Admit implements [Admission].
func (m *Memory) Admit(_ context.Context, now time.Time, need Need) Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripen(now)
	l := m.lane(need.Key)
	hold, ticket := m.decide(now, &need, l)
	if hold.Reason != HoldNone {
		return m.hold(now, need, l, hold)
	}
	m.unhold(need.Call, l)
	m.lastID++
	f := &flight{id: m.lastID, need: need, lane: l, start: now, ticket: ticket}
	m.flights[f.id] = f
	m.young = append(m.young, f)
	l.inFlight++
	if ticket.Probe {
		l.probed = now
	}
	return Decision{
		Ticket: Ticket{ID: f.id, Call: need.Call, Probe: ticket.Probe},
		State:  m.state(now, l),
	}
}

// decide asks everything that can hold an attempt back, and takes from none
// of it unless all agree. The breaker is asked before the budget: a call that
// waits for both waits for the breaker, which names a time, and what the
// breaker lets out one by one (a probe, a place in the ramp) is bounded by
// that and needs no paying.
func (m *Memory) decide(now time.Time, need *Need, l *lane) (Hold, breaker.Ticket) {
	if until, told := m.pausedUntil(*need); now.Before(until) {
		jitter := time.Duration(m.cfg.Rand() * float64(max(250*time.Millisecond, told/10)))
		return Hold{Reason: HoldPause, Until: until.Add(jitter)}, breaker.Ticket{}
	}
	d, placed := m.askBreaker(now, *need, l)
	if !d.OK {
		reason := HoldBreaker
		if d.Ramp {
			reason = HoldRamp
		}
		return Hold{Reason: reason, Until: d.Until}, breaker.Ticket{}
	}
	if need.Price == 0 || need.Paid {
		return Hold{}, d.Ticket
	}
	if placed || d.Ticket.Probe {
		need.Price, need.Repeat = 0, true // paid nothing, earns nothing
		return Hold{}, d.Ticket
	}
	if floor := m.floor(*need); !m.purse(*need, l).WithdrawFor(floor, now, need.Price) {
		return Hold{Reason: HoldBudget, Until: floor.Next(now)}, breaker.Ticket{}
	}
	return Hold{}, d.Ticket
}

// askBreaker asks the lane's breaker. A call whose place in the ramp has come
// has a promise; one that was held while the breaker was open gets a place.
func (m *Memory) askBreaker(now time.Time, need Need, l *lane) (d breaker.Decision, placed bool) {
	// The lane's own calls probe it. For messages that is a real call of a
	// caller who waits; so it is for the others, whose lanes no message reaches.
	const mayProbe = true
	h := m.held[need.Call]
	if h != nil && h.reason == HoldRamp && !now.Before(h.until) {
		return l.breaker.AdmitSlot(now, mayProbe), true
	}
	waited := h != nil && (h.reason == HoldBreaker || h.reason == HoldRamp)
	if d = l.breaker.Admit(now, mayProbe, waited, m.cfg.Rand()); d.Ramp && l.inFlight == 0 {
		return l.breaker.AdmitSlot(now, mayProbe), true // a ramp has nothing to protect from a single call
	}
	return d, waited
}

// hold enters a call among those that wait, or refuses it when too many do.
func (m *Memory) hold(now time.Time, need Need, l *lane, why Hold) Decision {
	h := m.held[need.Call]
	if h == nil {
		if len(m.held) >= m.cfg.QueueDepth {
			return Decision{Hold: Hold{Reason: HoldQueue, Refuse: true, Until: why.Until}, State: m.state(now, l)}
		}
		h = &holding{}
		m.held[need.Call] = h
	}
	if ripe := l.probed.Add(earlyGood); why.Reason == HoldBreaker && ripe.After(now) && ripe.Before(why.Until) {
		why.Until = ripe // a probe that still flies then is good, and nobody else would look
	}
	h.reason, h.until = why.Reason, why.Until
	h.wake = make(chan struct{})
	switch why.Reason {
	case HoldBreaker:
		l.forProbe[need.Call] = h
	case HoldBudget:
		m.line(need, l, h)
	}
	why.Wake = h.wake
	return Decision{Hold: why, State: m.state(now, l)}
}

// Content implements [Admission].
func (m *Memory) Content(_ context.Context, now time.Time, t Ticket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.flights[t.ID]; f != nil {
		f.lane.answers(f)
		f.lane.breaker.Content(now, &f.ticket)
		m.wakeForProbe(f.lane)
	}
}

// Settle implements [Admission].
func (m *Memory) Settle(_ context.Context, now time.Time, t Ticket, end End) Settled {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return Settled{}
	}
	m.ripen(now)
	delete(m.flights, t.ID)
	f.landed = true
	f.lane.inFlight--
	m.pay(f, end)
	if !end.PauseUntil.IsZero() {
		m.pause(now, f.need, end)
	}
	s := m.next(now, f, end)
	f.lane.breaker.Report(now, &f.ticket, m.result(now, f, end, s))
	s.State = m.state(now, f.lane)
	m.wakeForProbe(f.lane)
	return s
}

// next pays for the retry that follows, if one does and the budget can.
//
// If it cannot, the call may only wait, and is counted as a failure now, when
// the evidence is fresh, and not when it stops waiting: in an outage such
// calls are most that end, and must open the breaker. But an upstream that has
// just answered others is not to blame for what the budget does not allow.
// Counted regardless, such calls opened the breaker under partial failure and
// just after outages.
func (m *Memory) next(now time.Time, f *flight, end End) (s Settled) {
	if !end.Retry {
		return s
	}
	next := f.need
	next.Price, next.Purse = end.Verdict.Price, end.Verdict.Purse
	s.Paid = m.purse(next, f.lane).WithdrawFor(m.floor(next), now, next.Price)
	s.Counted = !s.Paid && !f.need.Counted && end.Verdict.Health == classify.Failure &&
		now.Sub(f.lane.good) > answering
	return s
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

// pay earns and returns what the end of an attempt is worth to the budget.
func (m *Memory) pay(f *flight, end End) {
	purse := m.purse(f.need, f.lane)
	switch {
	case end.Call == Succeeded && f.early == 0:
		m.deposit(f, f.income())
	case end.Verdict.Health == classify.Failure && f.early > 0:
		purse.Take(f.early)
	}
}

// answers notes that the upstream took an attempt on. What counts is when the
// attempt began: an answer of a minute that ends in an outage tells of the
// minute before.
func (l *lane) answers(f *flight) {
	if f.start.After(l.good) {
		l.good = f.start
	}
}

// income is what a success is worth: a retry gets its price back, a first
// try earns one token, a caller's own retry earns nothing.
func (f *flight) income() int {
	switch {
	case f.need.Price > 0:
		return f.need.Price
	case f.need.Repeat:
		return 0
	default:
		return 1
	}
}

func (m *Memory) deposit(f *flight, n int) {
	m.purse(f.need, f.lane).Deposit(n)
	m.wakeForMoney(f.need, f.lane)
}

// Leave implements [Admission].
func (m *Memory) Leave(now time.Time, need Need, end CallEnd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripen(now)
	l := m.lane(need.Key)
	m.unhold(need.Call, l)
	if need.Paid && need.Price > 0 {
		m.purse(need, l).Deposit(need.Price)
		m.wakeForMoney(need, l)
	}
	if end == GaveUp && !need.Counted {
		l.breaker.Count(now, breaker.Failure)
	}
	m.wakeForProbe(l)
}

// ripen counts attempts that have been in flight for earlyGood as good, probes
// too: a plain answer of a minute would else keep an upstream that has
// recovered shut for a minute and more.
func (m *Memory) ripen(now time.Time) {
	for ; m.ripe < len(m.young); m.ripe++ {
		f := m.young[m.ripe]
		if f.landed {
			continue
		}
		if now.Sub(f.start) < earlyGood {
			break
		}
		f.lane.answers(f)
		if f.ticket.Probe {
			f.lane.breaker.Content(now, &f.ticket)
			m.wakeForProbe(f.lane)
		} else {
			f.lane.breaker.Early(now, &f.ticket)
		}
		if f.early = f.income(); f.early > 0 {
			m.deposit(f, f.early)
		}
	}
	if m.ripe > 64 && m.ripe > len(m.young)/2 { // moved rarely, so that a call costs the same at any rate
		m.young = slices.Delete(m.young, 0, m.ripe)
		m.ripe = 0
	}
}

func (m *Memory) state(now time.Time, l *lane) State {
	s := State{Breaker: l.breaker.State(now).String(), Waiting: len(m.held)}
	changed := l.breaker.Changed() // after State, which can itself move it
	s.Moved, l.moved = changed != l.moved, changed
	return s
}

func (m *Memory) lane(k Key) *lane {
	if l, ok := m.lanes.get(k); ok {
		return l
	}
	b := m.cfg.Breaker
	l := &lane{
		breaker: breaker.New(breaker.Config{
			Off: b.Off, ErrorRate: b.ErrorRate, Window: b.Window, MinCalls: b.MinCalls, OpenFor: b.OpenFor,
			ProbeEvery: b.ProbeEvery, Probes: b.Probes, Ramp: b.Ramp,
		}),
		budget:   retry.New(retry.Config{Tokens: m.cfg.RetryBudget}),
		forProbe: make(map[ID]*holding),
	}
	m.lanes.put(k, l)
	return l
}
