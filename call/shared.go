package call

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/queue"
)

// Where limits, breaker and budget are kept by others, for more than this
// process, a Memory still decides who goes next here: it is their antechamber.
// What it grants has a turn, and no more; then whoever owns the Memory asks the
// others, which takes a while, and tells what they said.
//
//	Admit ─► a turn ─► asks the others ─┬─ yes ─► Pass ─► sent
//	  ▲                                 └─ no ──► Deny ─┐
//	  └──── the time they named, or news ◄── held ◄─────┘
//
// While they let everybody go many may ask at once. Once they have said no, or
// not yet, only the first of each class asks, one at a time, and nobody before
// the time that was named: waits are slept, and not polled. What they say of a
// breaker, or of a limit that a client or workspace has to itself, holds back
// those of its strand; places in its ramp, and the budget, concern one call.
//
// An answer is of the moment in which it was given. If there has been news while
// it was on its way (Rouse) it is asked for again.
//
// The breaker here stays, beneath theirs: it sees what only this process has.
// When theirs closes it closes as well (Rouse).

// plenty is a budget that never runs out: the others keep one.
const plenty = 1 << 30

// widest is how many of a class may ask at once while all are let go. A guess: with
// a round trip of 1 ms it is 32,000 attempts a second.
const widest = 32

// bar is what others have said that calls wait for.
type bar struct {
	block       // before block.until nobody goes
	sooner bool // something else than time may open it
	who    ID   // whom they said it to: without it, it may be less
}

// floor says that a bar holds back everyone, whatever they cost.
func (b *bar) floor() bool { return b.why == HoldPause || b.why == HoldBreaker }

// fall lowers a bar. Where several have asked at once they hear of different
// times: a pause is for all of them, and of the rest the one who needs least asks
// first.
func (b *bar) fall(now time.Time, fresh bar) {
	switch {
	case !b.until.After(now):
	case b.floor() && (!fresh.floor() || !fresh.until.After(b.until)):
		return
	case !fresh.floor() && !fresh.until.Before(b.until):
		return
	}
	*b = fresh
}

// holds is the answer to a call that meets a bar, if that holds it back.
func (b *bar) holds(now time.Time, m *Memory, h *holding) (queue.Answer, bool) {
	wait := b.until.Sub(now)
	if wait <= 0 {
		return queue.Answer{}, false
	}
	why, a := b.block, queue.Answer{Wait: wait, Sooner: b.sooner, Blocks: queue.OneLane}
	if b.floor() {
		a.Floor = wait
	} else {
		why.again, why.until = why.until, time.Time{} // it depends on what they cost
	}
	m.blocks(h, queue.OneLane, why)
	return a, true
}

// gate is where those of one class and group go to ask.
type gate struct {
	bar
	lined  bool // the others know that somebody waits here
	waits  int  // calls
	asking int  // have a turn, and no answer yet
	width  int  // may ask at once; doubles with everyone who is let go
}

type gateKey struct {
	group string
	class Class
}

// answered notes that one of those who asked has its answer, or will ask no more.
func (g *gate) answered() {
	if g != nil {
		g.asking--
	}
}

func (m *Memory) gate(group string, class Class) *gate {
	k := gateKey{group, class}
	g := m.gates[k]
	if g == nil {
		if len(m.gates) >= maxScopes {
			for k, g := range m.gates { // those whose calls have gone
				if g.asking == 0 && g.waits == 0 {
					delete(m.gates, k)
				}
			}
		}
		g = &gate{width: widest}
		m.gates[k] = g
	}
	return g
}

// shut says what a call that would ask has to wait for.
func (m *Memory) shut(now time.Time, h *holding) (queue.Answer, bool) {
	if b := m.shuts[h.strand]; b != nil {
		if a, holds := b.holds(now, m, h); holds {
			return a, true
		}
		delete(m.shuts, h.strand)
	}
	g := m.gate(h.group, h.need.Class)
	if a, holds := g.holds(now, m, h); holds {
		return a, true
	}
	if g.asking >= g.width {
		return queue.Answer{Sooner: true, Blocks: queue.OneLane}, true
	}
	return queue.Answer{}, false
}

func (m *Memory) asks(h *holding) *gate {
	g := m.gate(h.group, h.need.Class)
	g.asking++
	return g
}

// reopen takes back what others have said to a call that leaves: who comes
// after it may need less. It reports whether there was anything.
func (m *Memory) reopen(h *holding) (was bool) {
	open := func(b *bar) {
		if b != nil && b.who == h.need.Call && !b.floor() {
			*b, was = bar{}, true
		}
	}
	open(m.shuts[h.strand])
	if g := m.gates[gateKey{h.group, h.need.Class}]; g != nil {
		open(&g.bar)
	}
	return was
}

// Claim returns what an attempt that has a turn asks of those who share the
// limits.
func (m *Memory) Claim(now time.Time, t Ticket) (limit.Claim, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return limit.Claim{}, false
	}
	return m.book.Claim(now, f.grant.book)
}

// Pass tells that an attempt may be sent; not that it is sent at once, if it
// has been booked ahead: then others behind it wait as well.
func (m *Memory) Pass(now time.Time, t Ticket, booked bool, n limit.News) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil || f.grant.gate == nil {
		return
	}
	g := f.grant.gate
	g.answered()
	f.grant.gate, g.lined = nil, false
	if g.width = min(2*g.width, widest); booked {
		g.width = 1
	}
	m.book.Hear(now, f.grant.book, n)
	m.pumpFor(now, f.need)
}

// Denial is why those who share the limits do not let an attempt go.
type Denial struct {
	Reason HoldReason
	Until  time.Time // when to ask again
	Sooner bool      // something else than time may let it go before
	Own    bool      // it is a limit that its client or workspace has to itself
	News   limit.News
}

// Deny takes the turn back: the call waits again, in its old place. So do those
// whom it concerns as well.
func (m *Memory) Deny(now time.Time, t Ticket, d Denial) Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return Decision{Hold: Hold{Reason: d.Reason, Until: d.Until}}
	}
	stale := f.grant.heard != f.lane.roused+m.roused
	if least := now.Add(time.Millisecond); stale || d.Until.Before(least) {
		d.Until = least
	}
	m.book.Hear(now, f.grant.book, d.News)
	delete(m.flights, t.ID)
	f.landed = true
	h := &holding{need: f.need, lane: f.lane, turn: f, again: true}
	if d.Reason != HoldTurn {
		h.reason = d.Reason
	}
	m.held[f.need.Call] = h
	placed := f.grant.free && !f.grant.ticket.Probe
	m.undo(now, h)
	m.queue.Correct(f.charge, 0)
	switch d.Reason {
	case HoldBudget, HoldRamp: // of this call alone
		out, full := m.aside(now, h, d.Reason, d.Until)
		if !full {
			h.wake = make(chan struct{})
			out.Hold.Wake = h.wake
		}
		m.pumpFor(now, f.need)
		return out
	}
	if !m.line(now, h) {
		d := m.refuse(now, h)
		m.pumpFor(now, f.need)
		return d
	}
	if placed && h.lane.breaker.Ramping(now) {
		h.lane.places = slices.Insert(h.lane.places, 0, now) // the one it came with
	}
	// Its group may be another by now: an answer has told whose the credential is.
	m.bar(now, h, m.gate(h.group, h.need.Class), d)
	out := m.pump(now, h.group)
	switch {
	case h.gone != queue.None:
		return m.refuse(now, h)
	case m.hasTurn(h): // nobody has told it: it comes for it by itself
		return Decision{Hold: Hold{Reason: d.Reason, Until: now.Add(time.Millisecond)}, State: m.state(now, h.lane)}
	}
	return m.hold(now, h, out)
}

func (m *Memory) hasTurn(h *holding) bool { return h.turn != nil && h.turn.grant.book != 0 }

// bar notes what a call has been told, for those whom it concerns as well.
func (m *Memory) bar(now time.Time, h *holding, g *gate, d Denial) {
	b := bar{block{why: d.Reason, until: d.Until}, d.Sooner, h.need.Call}
	if d.Reason == HoldBreaker || d.Own {
		if len(m.shuts) >= maxScopes {
			clear(m.shuts) // who asks is told again
		}
		if m.shuts[h.strand] == nil {
			m.shuts[h.strand] = new(bar)
		}
		m.shuts[h.strand].fall(now, b)
	}
	if d.Own {
		return
	}
	g.width = 1
	if d.Reason != HoldBreaker {
		g.fall(now, b)
		g.lined = g.lined || d.Reason == HoldLimit || d.Reason == HoldTurn
	}
}

// Last says whether the call that has just left was the last of its class and
// group, while the others keep them a place in their line. It says so once.
func (m *Memory) Last(n Need) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.gates[gateKey{m.groupOf(scopeOf(n)), n.Class}]
	if g == nil || !g.lined || g.waits > 0 || g.asking > 0 {
		return false
	}
	g.lined, g.bar = false, bar{}
	return true
}

// Drop takes back the turn of a call that has left.
func (m *Memory) Drop(now time.Time, t Ticket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return
	}
	delete(m.flights, t.ID)
	f.landed = true
	h := &holding{need: f.need, lane: f.lane, turn: f}
	m.undo(now, h)
	m.queue.Correct(f.charge, 0)
	m.pumpLane(now, f.lane, f.need)
}

// AnsweredShared is Answered, and returns what the answer has shown of the parts
// of the attempt's claim; false if the attempt is not known.
func (m *Memory) AnsweredShared(now time.Time, t Ticket, r limit.Response) (shown limit.Shown, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[t.ID]
	if f == nil {
		return shown, false
	}
	m.answered(now, f, r)
	return m.book.Shown(), true
}

// Rouse has those who wait for a key ask again: the breaker of the others has
// moved. calm says that it has closed; then the one here does.
func (m *Memory) Rouse(now time.Time, k Key, calm bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok := m.lanes.get(k)
	if !ok {
		return
	}
	l.roused++
	if calm && l.breaker.State(now) != breaker.Closed {
		l.breaker.Reset(now)
	}
	for strand := range m.shuts { // also of those of whom nobody waits just now
		if strings.HasPrefix(strand, l.name+"\n") {
			delete(m.shuts, strand)
		}
	}
	m.news(now, l)
	l.waiting.ask(func(g string) (served, stop bool) {
		m.pump(now, g)
		return true, false
	})
}

// Afford has as many calls ask again as the budget of the others can pay for, of
// those that wait for it: the earliest first.
func (m *Memory) Afford(of Need, purse classify.Purse, tokens int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.poor == 0 || tokens < retryPrice {
		return
	}
	var poor []*holding
	for _, h := range m.held {
		n := h.need
		if !h.poor || h.reason != HoldBudget || n.Purse != purse || h.wake == nil {
			continue
		}
		if purse == classify.ScopePurse && scopeOf(n) == scopeOf(of) || purse != classify.ScopePurse && n.Key == of.Key {
			poor = append(poor, h)
		}
	}
	slices.SortFunc(poor, func(a, b *holding) int { return a.need.Arrived.Compare(b.need.Arrived) })
	for _, h := range poor[:min(len(poor), tokens/retryPrice)] {
		h.rouse()
	}
}

// RouseAll has everybody who waits for the others ask again.
func (m *Memory) RouseAll(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roused++
	clear(m.shuts)
	for _, g := range m.gates {
		g.bar = bar{}
	}
	for group := range m.lines {
		m.pump(now, group)
	}
	for _, h := range m.held {
		if h.poor {
			h.rouse()
		}
	}
}

// Belongs tells whose a credential is, as others have been told.
func (m *Memory) Belongs(now time.Time, credential, organization, workspace string, own bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.book.Belongs(now, credential, organization, workspace, own)
	m.belongs(now, credential, organization)
}
