// Package call decides what a call does next.
//
// A [Machine] belongs to one call. It owns the attempts, the ticket, the
// retry's payment, the order of things and the deadlines, and answers each
// event with one [Action]. It performs nothing: the Transport does what an
// action says in real time, a simulator does the same on a virtual clock, and
// both ask the same machine. Time comes in as an argument, chance from
// [Policy]; it starts no goroutine and never sleeps.
//
//	            Wait (held)             Wait (backing off)
//	            ┌───────┐               ┌──────────────┐
//	            ▼       │ Next          ▼              │
//	New ──► asking ─────┘      ┌──► backing ── Next ─► asking
//	            │              │ again, fits
//	            │ granted      │
//	            ▼              │
//	          sent ── Judge ───┤
//	            ▲              ├─ answer, final ──────► Deliver ─ Finish ─► over
//	            │              │                           └──── Resume ─► backing
//	            └─ Send        ├─ again, does not fit ► Deliver, Return or Refuse ─► over
//	                           └─ caller left ────────► Abort ─► over
//	asking, backing ── refused, or the wait does not fit ─► Return or Refuse ─► over
//	any ── Abandon ─► over
//
// Where a call may go to another target (Call.Spare), the ends that a wait brings
// about, and the wait for a breaker, are an Offer first: see detour.go.
//
// Invariants, each of them tested on random histories:
//
//   - At most one attempt is out: Send is answered by Judge before the next Send.
//   - Every history ends: attempts are bounded by Policy.MaxAttempts, waits by
//     the deadline, and a wait never ends past the deadline.
//   - A call that waits holds no ticket.
//   - Each ticket is settled exactly once; a retry that was paid for and not
//     sent is given back.
//   - A call that gives up after upstream has answered ends with that answer.
//   - A call goes to another target once at most, and if that does not answer
//     ends as it would have without.
package call

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// Policy is what holds for every call. It is read only.
type Policy struct {
	MaxAttempts int            // the first included; 0 means 6
	Backoff     backoff.Policy // nil means backoff.Exponential{}
	LongestWait time.Duration  // of one silent wait before a retry; 0 means 60 s
	RefuseOpen  bool           // end calls that meet an open breaker instead of letting them wait
	Rand        func() float64 // in [0, 1); nil means math/rand/v2
}

func (p Policy) withDefaults() Policy {
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 6
	}
	if p.Backoff == nil {
		p.Backoff = defaultBackoff
	}
	if p.LongestWait == 0 {
		p.LongestWait = time.Minute
	}
	if p.Rand == nil {
		p.Rand = rand.Float64
	}
	return p
}

// defaultBackoff is boxed once: an interface made per call would allocate.
var defaultBackoff backoff.Policy = backoff.Exponential{}

// Call describes one call. It does not change while the call lives.
type Call struct {
	ID       ID
	Key      Key
	Scope    string // salted hash of the credential
	Class    Class
	Arrived  time.Time
	Deadline time.Time     // content of the answer must have come by then; zero for none
	MaxWait  time.Duration // bound on all waits together; 0 for none
	Once     bool          // the body cannot be sent again: one attempt
	Repeat   bool          // the caller itself is retrying
	Fast     bool          // fast mode
	Spare    bool          // another target may be asked instead
	Caller   Caller
	Cost     Cost
}

// Kind is what an [Action] asks for.
type Kind uint8

// The actions.
const (
	Wait    Kind = iota + 1 // until Until, or until Wake is closed, then call Next
	Send                    // one attempt, then call Judge
	Deliver                 // the answer of the attempt just judged; then Finish, unless Ended
	Return                  // the stored answer of an earlier attempt: the call is over
	Refuse                  // there is no answer: the call is over
	Abort                   // the caller has left: the call is over
	Offer                   // another target may be asked: Redirect to it, or Stay
)

// Action is what to do next.
type Action struct {
	Kind    Kind
	Until   time.Time       // Wait
	Wake    <-chan struct{} // Wait; may be nil
	Hold    HoldReason      // Wait, Offer: why. Refuse: what the call was waiting for, HoldNone if its attempts failed
	Attempt int             // Send: its number. Wait: of the attempt that follows. Else: attempts made
	Probe   bool            // Send
	// Ended says that the call is over for the machine: no Finish follows.
	Ended bool
	// GaveUp marks an answer that more attempts might have bettered, and that
	// the caller should not retry either.
	GaveUp  bool
	RetryAt time.Time // Refuse: when asking again may help; zero if unknown
}

type phase uint8

const (
	asking phase = iota
	backing
	sent
	delivering
	offering
	over
)

// Machine decides for one call. It is not safe for concurrent use, except
// that Content and Finish may come from the goroutine that reads the body.
type Machine struct {
	policy Policy
	adm    Admission
	call   Call

	phase    phase
	attempts int
	ticket   Ticket
	until    time.Time     // backing: end of the wait
	waiting  time.Time     // since when; zero while not waiting
	waited   time.Duration // summed
	budget   time.Time     // since when the call waits for the budget; zero if it does not
	bounded  int           // retries for reasons that bound their number
	price    int           // of the retry that comes next
	purse    classify.Purse
	paid     bool             // that retry is paid for
	counted  bool             // the breaker counts this call as a failure
	health   classify.Health  // of the last attempt
	stored   bool             // an answer of an earlier attempt is kept
	last     classify.Verdict // of the last attempt judged
	used     claude.Usage     // what the attempt that is out has cost, as far as is known
	news     State            // the last reply in which the breaker had moved
	newsOf   Key              // which breaker
	detour   *detour          // nil until another target is offered: few calls need the room
}

// New returns the machine of one call.
func New(p Policy, a Admission, c Call) *Machine {
	m := &Machine{}
	m.Init(p, a, c)
	return m
}

// Init makes m the machine of call c: New without the allocation.
func (m *Machine) Init(p Policy, a Admission, c Call) {
	*m = Machine{policy: p.withDefaults(), adm: a, call: c}
}

// Attempts returns how many attempts were sent.
func (m *Machine) Attempts() int { return m.attempts }

// Waited returns the time spent waiting, up to now.
func (m *Machine) Waited(now time.Time) time.Duration {
	if m.waiting.IsZero() {
		return m.waited
	}
	return m.waited + now.Sub(m.waiting)
}

// Next says what to do first, and after each Wait.
func (m *Machine) Next(ctx context.Context, now time.Time) Action {
	m.mustBe(asking, backing)
	if m.phase == backing && now.Before(m.until) {
		return m.wait(now, Hold{Reason: HoldBackoff, Until: m.until})
	}
	if m.late(now) {
		return m.giveUp(ctx, now, Hold{})
	}
	m.phase = asking
	d := m.adm.Admit(ctx, now, m.need(now))
	m.hear(d.State)
	if d.Ticket.ID == 0 {
		return m.held(ctx, now, d.Hold)
	}
	m.waited, m.waiting = m.Waited(now), time.Time{}
	m.budget = time.Time{}
	m.ticket, m.paid = d.Ticket, false
	m.attempts++
	if m.Diverted() {
		m.detour.attempts++
	}
	m.phase = sent
	return Action{Kind: Send, Attempt: m.attempts, Probe: d.Ticket.Probe}
}

// held turns a refusal of Admission into a wait, or ends the call when the
// wait is not wanted or would not fit.
func (m *Machine) held(ctx context.Context, now time.Time, h Hold) Action {
	switch {
	case h.Reason != HoldBudget:
		m.budget = time.Time{}
	case m.budget.IsZero():
		m.budget = now
	}
	// An Admission that says “now” again and again must not spin us.
	if soonest := now.Add(10 * time.Millisecond); h.Until.Before(soonest) && !h.Refuse {
		h.Until = soonest
	}
	// A retry is owed then, but a success may pay for it before.
	if last := m.latest(now, h.Reason); h.Reason == HoldBudget && h.Wake != nil && h.Until.After(last) && last.After(now) {
		h.Until = last
	}
	open := h.Reason == HoldBreaker && m.policy.RefuseOpen
	fits := !h.Refuse && !open && !h.Until.After(m.latest(now, h.Reason))
	switch {
	case m.offers(now, h.Reason, fits):
		return m.propose(offer{hold: h, fits: fits})
	case !fits, m.Diverted() && m.detour.worse(h):
		return m.giveUp(ctx, now, h)
	}
	return m.wait(now, h)
}

// latest is the latest moment at which a wait for the given reason may end.
func (m *Machine) latest(now time.Time, why HoldReason) time.Time {
	last := m.startBy(now)
	if last.IsZero() {
		last = now.Add(time.Hour * 24 * 365)
	}
	switch why {
	case HoldPause:
		last = earlier(last, now.Add(m.policy.LongestWait+m.policy.LongestWait/10))
	case HoldBudget:
		last = earlier(last, m.budget.Add(m.policy.LongestWait))
	}
	return last
}

// startBy is the moment by which the call must have started: its deadline, or the
// end of what it may wait in all; zero for none.
func (m *Machine) startBy(now time.Time) time.Time {
	last := m.call.Deadline
	if m.call.MaxWait > 0 {
		if w := now.Add(m.call.MaxWait - m.Waited(now)); last.IsZero() || w.Before(last) {
			last = w
		}
	}
	return last
}

// Judge takes the verdict on the attempt that was sent. answered says that
// it brought an HTTP answer, which the performer keeps until it is told what
// to do.
func (m *Machine) Judge(ctx context.Context, now time.Time, v classify.Verdict, answered bool) Action {
	m.mustBe(sent)
	m.last, m.health = v, v.Health
	switch v.Action {
	case classify.Answer:
		m.phase = delivering
		return Action{Kind: Deliver, Attempt: m.attempts}
	case classify.Stop:
		m.settle(ctx, now, m.endOf(v))
		if v.Reason == classify.DeadlinePassed {
			return m.end(ctx, now, Hold{})
		}
		m.phase = over
		return Action{Kind: Abort, Ended: true}
	case classify.Again:
		a, ok, tooLong := m.again(ctx, now, v, answered)
		if ok {
			return a
		}
		if tooLong && m.offers(now, HoldBackoff, false) {
			m.settle(ctx, now, m.endOf(v))
			return m.propose(offer{hold: Hold{Reason: HoldBackoff}, judged: true, answered: answered})
		}
	}
	m.settle(ctx, now, m.endOf(v))
	return m.lastWord(ctx, now, answered)
}

// again plans the next attempt. It reports false when there must be none, and
// whether that is because the wait before it would be too long.
func (m *Machine) again(ctx context.Context, now time.Time, v classify.Verdict, answered bool) (a Action, ok, tooLong bool) {
	if v.MaxRetries > 0 {
		if m.bounded++; m.bounded > v.MaxRetries {
			return a, false, false
		}
	}
	if m.call.Once || m.attempts >= m.policy.MaxAttempts {
		return a, false, false
	}
	if v.RetryAfter > m.policy.LongestWait {
		return a, false, true
	}
	until, fits := m.backUntil(now, v)
	if !fits {
		return a, false, true
	}
	s := m.settle(ctx, now, End{Verdict: v, Call: Continues, Retry: true})
	m.price, m.purse, m.paid = v.Price, v.Purse, s.Paid
	m.counted = m.counted || s.Counted
	if !s.Paid {
		m.budget = now
	}
	m.stored = m.stored || answered && !m.Diverted()
	m.phase, m.until = backing, until
	return m.wait(now, Hold{Reason: HoldBackoff, Until: until}), true, false
}

// draws is how many waits are drawn to find one that fits. A guess: where half of
// them fit, fifteen of sixteen calls find one.
const draws = 4

// backUntil says when the wait before the next attempt ends, and whether that is
// in time. A draw that does not fit is no reason to give up while a shorter one
// is as likely; one that the policy does not make is not taken.
func (m *Machine) backUntil(now time.Time, v classify.Verdict) (until time.Time, fits bool) {
	last := m.latest(now, HoldBackoff)
	for range draws {
		if until = now.Add(m.delay(v)); !until.After(last) {
			return until, true
		}
	}
	return until, false
}

// delay draws the wait before the next attempt. A Retry-After is a lower
// bound with jitter on top, so that those who were told the same do not all
// come back in the same moment.
func (m *Machine) delay(v classify.Verdict) time.Duration {
	if v.RetryAfter > 0 {
		return backoff.Told(v.RetryAfter, m.policy.Rand)
	}
	return m.policy.Backoff.Delay(m.attempts)
}

// HeadersOut tells that the headers of an answer whose content has not come
// are with the caller. The deadline stays: it waits for content.
func (m *Machine) HeadersOut() { m.settleDown() }

// Resume asks for a further attempt that goes on with the answer being
// delivered, which has broken. v is the verdict on the attempt as if nothing
// had been delivered; the continuation must have content by the deadline. It
// reports false where there must be no further attempt: Finish is then still due.
func (m *Machine) Resume(ctx context.Context, now time.Time, v classify.Verdict, deadline time.Time) (Action, bool) {
	if m.phase != delivering || v.Action != classify.Again {
		return Action{}, false
	}
	m.last, m.health = v, v.Health
	m.call.Deadline = deadline
	m.settleDown()
	// Somebody is in the middle of reading: all waits together are no longer
	// than one that is taken silently.
	if longest := m.Waited(now) + m.policy.LongestWait; m.call.MaxWait == 0 || m.call.MaxWait > longest {
		m.call.MaxWait = longest
	}
	a, ok, _ := m.again(ctx, now, v, false)
	return a, ok
}

// Answered tells the headers of the answer to the attempt that was sent, as
// soon as they have come.
func (m *Machine) Answered(ctx context.Context, now time.Time, status int, h http.Header) {
	if m.ticket.ID != 0 {
		m.adm.Answered(ctx, now, m.ticket, limit.Read(status, h, now))
	}
}

// Content tells that the answer has brought content, and what it has told of
// its cost.
func (m *Machine) Content(ctx context.Context, now time.Time, used claude.Usage) {
	if used.Known() {
		m.used = used
	}
	if m.ticket.ID != 0 {
		m.adm.Content(ctx, now, m.ticket, used)
	}
}

// Used tells what the attempt that was sent has cost, as far as it is known. It
// is to be told before Judge or Finish.
func (m *Machine) Used(u claude.Usage) { m.used = u }

// Finish tells how the delivered answer ended. Called again it does nothing.
func (m *Machine) Finish(ctx context.Context, now time.Time, v classify.Verdict) {
	if m.phase != delivering {
		return
	}
	m.last = v
	m.settle(ctx, now, m.endOf(v))
	m.phase = over
}

// Abandon ends the call because its caller has left while it waited.
func (m *Machine) Abandon(now time.Time) {
	m.mustBe(asking, backing)
	m.leave(now, Uncounted)
	m.phase = over
}

func (m *Machine) settle(ctx context.Context, now time.Time, end End) Settled {
	if v := end.Verdict; v.Pause != classify.PauseNone && v.RetryAfter > 0 {
		end.PauseUntil = now.Add(v.RetryAfter)
	}
	t := m.ticket
	end.Usage, m.used = m.used, claude.Usage{}
	m.ticket = Ticket{}
	s := m.adm.Settle(ctx, now, t, end)
	m.hear(s.State)
	return s
}

// hear keeps the news of a reply, until somebody asks for it.
func (m *Machine) hear(s State) {
	if s.Moved {
		m.news, m.newsOf = s, m.call.Key
	}
}

// News returns the state that a breaker has moved to in a reply to this call,
// once, and whose breaker it is.
func (m *Machine) News() (of Key, state string, ok bool) {
	state, ok = m.news.Breaker, m.news.Moved
	m.news = State{}
	return m.newsOf, state, ok
}

func (m *Machine) wait(now time.Time, h Hold) Action {
	if m.waiting.IsZero() {
		m.waiting = now
	}
	return Action{Kind: Wait, Until: h.Until, Wake: h.Wake, Hold: h.Reason, Attempt: m.attempts + 1}
}

func (m *Machine) need(now time.Time) Need {
	return Need{
		Call: m.call.ID, Key: m.call.Key, Scope: m.call.Scope, Class: m.call.Class,
		Arrived: m.call.Arrived, Deadline: m.startBy(now), Attempt: m.attempts + 1,
		Price: m.price, Purse: m.purse, Paid: m.paid, Counted: m.counted, Repeat: m.call.Repeat, Fast: m.call.Fast,
		Caller: m.call.Caller, Cost: m.call.Cost,
	}
}

// Verdict returns the verdict on the last attempt judged.
func (m *Machine) Verdict() classify.Verdict { return m.last }

func (m *Machine) late(now time.Time) bool {
	return !m.call.Deadline.IsZero() && !now.Before(m.call.Deadline)
}

// mustBe panics on a performer that takes actions out of turn: a bug of ours,
// which would otherwise send two attempts at once.
func (m *Machine) mustBe(turn ...phase) {
	if !slices.Contains(turn, m.phase) {
		panic("call: event out of turn")
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Deadline is when content of the answer must have come; zero for never.
func (m *Machine) Deadline() time.Time { return m.call.Deadline }
