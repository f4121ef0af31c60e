package call

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/concurrency"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/queue"
)

// earlyGood is how long an attempt must have been in flight to count as good
// until it fails. Answers take minutes; without counting early, an hour of
// healthy long calls would weigh less than a handful of quick failures, and
// the refunds of retries that are working would come too late to pay for the
// next.
const earlyGood = 5 * time.Second

// maxLanes and maxScopes bound what junk model names and keys can fill. The
// least recently used one is forgotten.
const (
	maxLanes  = 1_000
	maxScopes = 10_000
)

// MemoryConfig configures a [Memory]. Zero fields have the defaults named.
type MemoryConfig struct {
	Breaker     BreakerConfig
	RetryBudget int                // tokens per upstream and model; 0 means 500
	QueueDepth  int                // calls that may be held at once; 0 means 1,000
	Limits      limit.Config       // the zero value learns everything from answers
	Concurrency concurrency.Config // per upstream and model
	Shared      bool               // limits and budget are kept by others: see shared.go
	Rand        func() float64     // in [0, 1); nil means math/rand/v2
}

// Memory is the [Admission] of one process. It has one queue, in which a call
// waits for whatever it needs: what its organisation's limits allow (package
// limit), the breaker of its upstream, path class and model, and a place among
// those in flight there (package concurrency). Only retries that the budget
// cannot pay for wait beside it (purse.go): they wait for nothing that others
// wait for.
//
//	Admit ─► has a turn? ──────────────────────► granted
//	   │ no                                         ▲
//	   ▼                                            │ comes again
//	enter the queue ─► pump: who is next? ─► try ─► turn, woken
//	                                          │ no
//	                                          ▼
//	                     held, until news (pump) or the time that try has named
//
// Pump runs after everything that can make room: answers, ends, calls that leave.
type Memory struct {
	mu        sync.Mutex // guards all below; nothing is waited for under it
	cfg       MemoryConfig
	book      *limit.Book
	predictor *limit.Predictor
	queue     *queue.Queue
	lanes     bounded[Key, *lane]
	scopes    bounded[scopeKey, *scope]
	owners    bounded[string, *owner] // by credential
	flights   map[uint64]*flight
	young     []*flight // in order of start; those before ripe have landed, or count as good already
	ripe      int
	held      map[ID]*holding
	lines     map[string]*line // by group, while calls of it wait
	poor      int              // of held, wait for the budget
	lastID    uint64
	fast      bool // some call has asked for fast mode
	gates     map[gateKey]*gate
	shuts     map[string]*bar // by strand, of those who share the limits: their breaker, and limits of one's own
	roused    uint64          // how often everybody was to ask them again
	laneCount uint64          // ever made
	newLimits bool            // the book is to be told of the configuration
}

// flight is one attempt that has been admitted and not yet settled. Until the call
// comes for its turn it is no more than the lane and what was granted.
type flight struct {
	id     uint64
	need   Need
	lane   *lane
	start  time.Time
	grant  grant
	charge queue.Charge
	early  int  // budget tokens deposited before the end was known
	landed bool // settled: skipped in young
}

// holding is one call that is held. There may be ten thousand, so it has only
// what cannot be found out when it is needed.
type holding struct {
	need   Need
	lane   *lane
	turn   *flight       // that it is going to be; nil without a turn
	wake   chan struct{} // nil once closed, or when the call has gone
	until  time.Time     // of the hold
	group  string
	strand string // the queue's lane

	entered bool         // the queue
	reason  HoldReason   // why it was last told to wait, other than that others go first
	gone    queue.Reason // the queue has let it go
	again   bool         // others have taken its turn back
	listed  bool         // stands in a list for money, and keeps its place there
	poor    bool         // waits for money, and not in the queue
}

// grant is what a turn has taken for a call.
type grant struct {
	book   limit.ID
	slot   concurrency.Slot
	ticket breaker.Ticket
	free   bool   // what the breaker lets out one by one needs no paying
	gate   *gate  // that counts it as asking; nil if nobody else is asked, or has answered
	heard  uint64 // news of the others, until the turn
}

// NewMemory returns an Admission for one process.
func NewMemory(cfg MemoryConfig) *Memory {
	m := &Memory{
		book:      limit.NewBook(cfg.Limits),
		predictor: limit.NewPredictor(),
		queue:     queue.New(queue.Config{}),
		flights:   make(map[uint64]*flight),
		held:      make(map[ID]*holding),
		lines:     make(map[string]*line),
		gates:     make(map[gateKey]*gate),
		shuts:     make(map[string]*bar),
	}
	m.lanes.limit, m.scopes.limit, m.owners.limit = maxLanes, maxScopes, maxScopes
	m.Configure(cfg)
	return m
}

// Configure changes queue, limits, concurrency and chance at once, and the
// rest for keys that are seen for the first time afterwards. Calls that wait
// ask again. What was learned stays.
func (m *Memory) Configure(cfg MemoryConfig) {
	cfg.RetryBudget = cmp.Or(cfg.RetryBudget, 500)
	cfg.QueueDepth = cmp.Or(cfg.QueueDepth, 1000)
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	if cfg.Limits.Shared = cfg.Shared; cfg.Shared {
		cfg.RetryBudget = plenty
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.Breaker != cfg.Breaker || m.cfg.RetryBudget != cfg.RetryBudget {
		m.lanes.clear() // flights keep the lane they started in; who waits changes over
	}
	m.cfg = cfg
	m.queue.Configure(queue.Config{Depth: cfg.QueueDepth, MaxWait: -1}) // a call names its own end
	m.newLimits = true
	for k, l := range m.lanes.all {
		l.slots.Configure(m.slotsOf(k))
	}
	for _, h := range m.held {
		h.rouse()
	}
}

// Admit implements [Admission].
func (m *Memory) Admit(_ context.Context, now time.Time, need Need) Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripen(now)
	if m.newLimits {
		m.newLimits = false
		m.book.Configure(now, m.cfg.Limits)
	}
	h, l := m.held[need.Call], m.lane(need.Key)
	if h == nil {
		h = &holding{lane: l}
		m.held[need.Call] = h
	}
	h.need = need
	if h.lane != l {
		m.change(now, h, l)
	}
	l = h.lane
	if h.gone != queue.None {
		return m.refuse(now, h)
	}
	if !m.queue.Waits(uint64(need.Call)) {
		if until, poor := m.mustSave(now, h); poor {
			return m.save(now, h, until)
		}
		if d, full := m.enter(now, h); full {
			return d
		}
	}
	out := m.pump(now, h.group)
	charge, turn := m.queue.Take(uint64(need.Call))
	switch {
	case h.gone != queue.None:
		return m.refuse(now, h)
	case !turn:
		return m.hold(now, h, out)
	case !m.pays(now, h):
		m.undo(now, h)
		m.queue.Correct(charge, 0)
		m.exit(h)
		d := m.save(now, h, m.floor(need).Next(now))
		m.news(now, l)
		m.pumpLane(now, l, need)
		return d
	}
	f := m.depart(now, h, charge)
	return Decision{Ticket: Ticket{ID: f.id, Call: need.Call, Probe: f.grant.ticket.Probe}, State: m.state(now, l)}
}

// depart makes a call that has a turn an attempt in flight.
func (m *Memory) depart(now time.Time, h *holding, charge queue.Charge) *flight {
	m.lastID++
	f := h.turn
	f.id, f.need, f.start, f.charge = m.lastID, h.need, now, charge
	m.forget(h)
	m.flights[f.id] = f
	m.young = append(m.young, f)
	if f.grant.ticket.Probe {
		f.lane.probed = now
	}
	return f
}

// forget takes a call out of those that are held.
func (m *Memory) forget(h *holding) {
	h.wake = nil // a list for money may still name it, and skips it
	if h.poor {
		m.poor--
		h.poor = false
	}
	m.exit(h)
	delete(m.held, h.need.Call)
}

// exit notes that a call is not in the queue any more.
func (m *Memory) exit(h *holding) {
	if !h.entered {
		return
	}
	h.entered = false
	if m.cfg.Shared {
		m.gate(h.group, h.need.Class).waits--
	}
	h.lane.waiting.exit(h.group)
	if m.lines[h.group] != nil {
		if calls, _ := m.queue.Backlog(h.group); calls == 0 {
			delete(m.lines, h.group)
		}
	}
}

// Answered implements [Admission].
func (m *Memory) Answered(_ context.Context, now time.Time, t Ticket, r limit.Response) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.flights[t.ID]; f != nil {
		m.answered(now, f, r)
	}
}

func (m *Memory) answered(now time.Time, f *flight, r limit.Response) {
	m.book.Observe(now, f.grant.book, r)
	if r.Organization != "" {
		m.belongs(now, f.need.Scope, r.Organization)
	}
	m.pumpFor(now, f.need)
}

// Content implements [Admission].
func (m *Memory) Content(_ context.Context, now time.Time, t Ticket, used claude.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return
	}
	f.lane.answers(f)
	f.lane.breaker.Content(now, &f.grant.ticket)
	if used.Known() {
		m.book.Correct(now, f.grant.book, used)
		m.pumpFor(now, f.need)
	}
	m.news(now, f.lane)
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
	f.grant.gate.answered()
	m.pay(f, end)
	m.settle(now, f, end)
	s := m.next(now, f, end)
	f.lane.breaker.Report(now, &f.grant.ticket, m.result(now, f, end, s))
	s.State = m.state(now, f.lane)
	m.news(now, f.lane)
	m.pumpLane(now, f.lane, f.need)
	return s
}

// Leave implements [Admission].
func (m *Memory) Leave(now time.Time, need Need, end CallEnd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripen(now)
	l := m.lane(need.Key)
	h := m.held[need.Call]
	if h != nil {
		l = h.lane
		if m.queue.Remove(uint64(need.Call)) {
			m.undo(now, h)
		}
		m.forget(h)
		m.reopen(h)
	}
	if need.Paid && need.Price > 0 {
		m.purse(need, l).Deposit(need.Price)
		m.wakeForMoney(need, l)
	}
	if end == GaveUp && !need.Counted {
		l.breaker.Count(now, breaker.Failure)
	}
	m.news(now, l)
	if h != nil {
		m.pumpLane(now, l, need)
	}
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
		if f.grant.ticket.Probe {
			f.lane.breaker.Content(now, &f.grant.ticket)
			m.news(now, f.lane)
		} else {
			f.lane.breaker.Early(now, &f.grant.ticket)
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
	s := State{Breaker: l.breaker.State(now).String(), Waiting: m.queue.Len() + m.poor}
	changed := l.breaker.Changed() // after State, which can itself move it
	s.Moved, l.moved = changed != l.moved, changed
	return s
}
