package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
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
// breaker holds back those of its lane; places in its ramp, and the budget,
// concern one call.
//
// The breaker here stays, beneath theirs: it sees what only this process has.
// When theirs closes it closes as well (Rouse).

// plenty is a budget that never runs out: the others keep one.
const plenty = 1 << 30

// widest is how many of a class may ask at once while all are let go. A guess: with
// a round trip of 1 ms it is 32,000 attempts a second.
const widest = 32

// gate is where those of one class and group go to ask.
type gate struct {
	block       // before block.until nobody goes
	sooner bool // something else than time may open it
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
	if b, ok := m.shuts[h.strand]; ok {
		if wait := b.until.Sub(now); wait > 0 {
			m.blocks(h, queue.OneLane, b)
			return queue.Answer{Wait: wait, Floor: wait, Blocks: queue.OneLane}, true
		}
		delete(m.shuts, h.strand)
	}
	g := m.gate(h.group, h.need.Class)
	if wait := g.until.Sub(now); wait > 0 {
		b := g.block
		a := queue.Answer{Wait: wait, Sooner: g.sooner, Blocks: queue.OneLane}
		if b.why == HoldPause {
			a.Floor = wait
		} else {
			b.again, b.until = b.until, time.Time{} // it depends on what they cost
		}
		m.blocks(h, queue.OneLane, b)
		return a, true
	}
	if g.asking >= g.width {
		m.blocks(h, queue.OneLane, block{why: HoldTurn})
		return queue.Answer{Sooner: true, Blocks: queue.OneLane}, true
	}
	return queue.Answer{}, false
}

func (m *Memory) asks(h *holding) *gate {
	g := m.gate(h.group, h.need.Class)
	g.asking++
	return g
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
	if least := now.Add(time.Millisecond); d.Until.Before(least) {
		d.Until = least
	}
	m.book.Hear(now, f.grant.book, d.News)
	delete(m.flights, t.ID)
	f.landed = true
	h := &holding{need: f.need, lane: f.lane, grant: f.grant}
	m.held[f.need.Call] = h
	g := h.grant.gate
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
	b := block{why: d.Reason, until: d.Until}
	if d.Reason == HoldBreaker {
		if len(m.shuts) >= maxScopes {
			clear(m.shuts) // who asks is told again
		}
		m.shuts[h.strand] = b
	} else if g != nil {
		g.block, g.sooner, g.width = b, d.Sooner, 1
		g.lined = d.Reason == HoldLimit || d.Reason == HoldTurn
	}
	out := m.pump(now, h.group)
	if h.gone != queue.None {
		return m.refuse(now, h)
	}
	return m.hold(now, h, out)
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
	g.lined, g.block = false, block{}
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
	h := &holding{need: f.need, lane: f.lane, grant: f.grant}
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
	if calm && l.breaker.State(now) != breaker.Closed {
		l.breaker.Reset(now)
	}
	for _, h := range m.held {
		if h.lane == l {
			delete(m.shuts, h.strand)
		}
	}
	m.news(now, l)
	l.waiting.ask(func(g string) (served, stop bool) {
		m.pump(now, g)
		return true, false
	})
}

// RouseAll has everybody who waits for the others ask again.
func (m *Memory) RouseAll(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.shuts)
	for _, g := range m.gates {
		g.block = block{}
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
func (m *Memory) Belongs(now time.Time, credential, organization, workspace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.book.Belongs(now, credential, organization, workspace)
	m.belongs(now, credential, organization)
}
