package call

import (
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// scope is what belongs to those who share a limit, as far as it is not in the
// book: the part of the budget that pays for retries of 429s.
type scope struct {
	group    string // in the queue
	groupFor string // the organisation that group was made for
	budget   *retry.Budget
	floor    retry.Floor // one retry now and then is owed to every scope, whoever emptied the budget
	forMoney []*holding
}

func (m *Memory) scope(k scopeKey) *scope {
	if s, ok := m.scopes.get(k); ok {
		return s
	}
	s := &scope{budget: retry.New(retry.Config{Tokens: m.cfg.RetryBudget})}
	m.scopes.put(k, s)
	return s
}

// purse is the budget that a retry of this need is paid from, and that its
// success pays into.
func (m *Memory) purse(n Need, l *lane) *retry.Budget {
	if n.Price > 0 && n.Purse == classify.ScopePurse {
		return m.scope(scopeOf(n)).budget
	}
	return l.budget
}

func (m *Memory) waitersFor(n Need, l *lane) *[]*holding {
	if n.Price > 0 && n.Purse == classify.ScopePurse {
		return &m.scope(scopeOf(n)).forMoney
	}
	return &l.forMoney
}

func (m *Memory) floor(n Need) *retry.Floor { return &m.scope(scopeOf(n)).floor }

// mustSave tells that a call is a retry which has not been paid for and could
// not be paid for now. While the breaker is open, or the load returns, that
// does not matter: a call that waits for both waits for the breaker, which
// names a time, and what the breaker lets out one by one is bounded by that and
// needs no paying.
func (m *Memory) mustSave(now time.Time, h *holding) (until time.Time, poor bool) {
	n := h.need
	if n.Price == 0 || n.Paid || m.cfg.Shared {
		return until, false
	}
	if m.ramps(now, h.lane); h.lane.breaker.State(now) != breaker.Closed || len(h.lane.places) > 0 {
		return until, false
	}
	until = m.floor(n).Next(now)
	return until, m.purse(n, h.lane).Level() < n.Price && until.After(now)
}

// save has a call wait for the budget, or refuses it when too many do.
func (m *Memory) save(now time.Time, h *holding, until time.Time) Decision {
	if d, full := m.aside(now, h, HoldBudget, until); full {
		return d
	}
	m.listForMoney(h)
	h.wake = make(chan struct{})
	return Decision{Hold: Hold{Reason: HoldBudget, Until: until, Wake: h.wake}, State: m.state(now, h.lane)}
}

// aside has a call wait beside the queue for a time of its own, or refuses it
// when too many wait.
func (m *Memory) aside(now time.Time, h *holding, why HoldReason, until time.Time) (Decision, bool) {
	if !h.poor {
		if !h.again && m.poor+m.queue.Len() >= m.cfg.QueueDepth {
			m.forget(h)
			return Decision{Hold: Hold{Reason: HoldQueue, Refuse: true, Until: until}, State: m.state(now, h.lane)}, true
		}
		h.poor = true
		m.poor++
	}
	h.reason, h.until = why, until
	return Decision{Hold: Hold{Reason: why, Until: until}, State: m.state(now, h.lane)}, false
}

// pays pays for a call that has a turn, where it has not been paid for and must be.
func (m *Memory) pays(now time.Time, h *holding) bool {
	n := &h.need
	switch {
	case n.Price == 0 || n.Paid || m.cfg.Shared:
		return true
	case h.turn.grant.free:
		n.Price, n.Repeat = 0, true // paid nothing, earns nothing
		return true
	}
	return m.purse(*n, h.lane).WithdrawFor(m.floor(*n), now, n.Price)
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
	if end.Told != nil {
		return *end.Told
	}
	next := f.need
	next.Price, next.Purse = end.Verdict.Price, end.Verdict.Purse
	s.Paid = m.purse(next, f.lane).WithdrawFor(m.floor(next), now, next.Price)
	s.Counted = !s.Paid && !f.need.Counted && end.Verdict.Health == classify.Failure &&
		now.Sub(f.lane.good) > answering
	return s
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

// listForMoney puts a call at the end of those that wait for the budget, unless it
// stands there already.
func (m *Memory) listForMoney(h *holding) {
	list := m.waitersFor(h.need, h.lane)
	if h.listed {
		return
	}
	if len(*list) > 2*m.cfg.QueueDepth {
		*list = slices.DeleteFunc(*list, func(h *holding) bool {
			if h.wake == nil {
				h.listed = false
			}
			return h.wake == nil
		})
	}
	h.listed = true
	*list = append(*list, h)
}

// wakeForMoney wakes as many of the calls that wait for the budget, longest
// first, as it can pay for.
func (m *Memory) wakeForMoney(n Need, l *lane) {
	list := m.waitersFor(n, l)
	if len(*list) == 0 {
		return
	}
	k := m.purse(n, l).Level() / retryPrice
	woken := 0
	rest := *list
	for len(rest) > 0 && woken < k {
		rest[0].listed = false
		if rest[0].poor && rest[0].rouse() {
			woken++
		}
		rest = rest[1:]
	}
	*list = append((*list)[:0], rest...)
}

// retryPrice is what one retry costs the budget.
const retryPrice = 5

// rouse closes the channel that the call waits on, once.
func (h *holding) rouse() bool {
	if h.wake == nil {
		return false
	}
	close(h.wake)
	h.wake = nil
	return true
}
