package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// epoch is when histories begin.
var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// desk is a Queue wired as the package comment says, on a virtual clock, with
// buckets, pauses and slots to wait for. What it cannot do is cheat: a caller
// comes when its hold is over or its channel is closed, and never else.
type desk struct {
	t       *testing.T
	q       *Queue
	now     time.Time
	buckets map[string]*bucket // by group; a group without one has no limit
	slots   map[string]*slots  // by lane; a lane without has no limit
	callers map[uint64]*caller
	agenda  agenda
	delay   func() time.Duration // from a closed channel to the caller's coming
	settled func(*caller)        // told of each attempt that ends
	ended   func(*caller)        // told of each call that is over
	asked   int                  // calls of try

	upstream          *bucket        // of the API, when we do not know it: 429 when it is too low; nil if there is none
	jitter            func() float64 // in [0, 1), on top of its Retry-After
	attempts, refused int
}

type caller struct {
	Item
	flies   time.Duration // of its attempt
	real    float64       // cost, known at the end
	until   time.Time     // of its hold
	holding bool
	coming  bool // its channel is closed
	left    Reason
	leftAt  time.Time // when the queue said so
	start   time.Time // when it got its turn
	charge  Charge
	gone    bool // it has hung up
	over    bool
	class   Class         // of its kind, where the queue is not told
	next    func(*caller) // what follows when it is over; nil for nothing
}

// bucket is one bucket of tokens, in seconds of its rate.
type bucket struct {
	level, burst float64
	reserve      float64 // kept from those who use what is spare
	at           time.Time
	paused       time.Time
}

func (b *bucket) refill(now time.Time) {
	b.level = min(b.burst, b.level+now.Sub(b.at).Seconds())
	b.at = now
}

type slots struct{ limit, used int }

func newDesk(t *testing.T, cfg Config) *desk {
	return &desk{
		t: t, q: New(cfg), now: epoch,
		buckets: map[string]*bucket{}, slots: map[string]*slots{}, callers: map[uint64]*caller{},
		delay: func() time.Duration { return 0 },
	}
}

// arrive has a call come at a given time.
func (d *desk) arrive(when time.Time, c *caller) {
	c.Arrived = when
	if c.real == 0 {
		c.real = c.Cost
	}
	d.at(when, func() { d.admit(c) })
}

func (d *desk) admit(c *caller) {
	if c.gone || c.over || !c.start.IsZero() {
		return
	}
	c.coming, c.holding, c.until = false, false, time.Time{}
	d.callers[c.ID] = c
	if c.left == None && !d.q.Waits(c.ID) {
		c.left = d.q.Push(d.now, c.Item)
		c.leftAt = d.now
	}
	if out := d.pump(c.Group); out.Who == c.ID {
		c.until = out.At
	}
	if c.left != None {
		d.end(c)
		return
	}
	if charge, ok := d.q.Take(c.ID); ok {
		c.charge = charge
		if d.attempts++; d.upstream != nil && d.tooMany(c) {
			return
		}
		c.start = d.now
		d.at(d.now.Add(c.flies), func() { d.settle(c) })
		return
	}
	c.holding = true
	if c.until.IsZero() {
		if c.until = d.q.Latest(c.ID); c.until.IsZero() {
			return // only a closed channel helps
		}
	}
	until := c.until
	d.at(until, func() {
		if c.holding && c.until.Equal(until) {
			d.admit(c)
		}
	})
}

func (d *desk) pump(group string) Outlook {
	out := d.q.Next(d.now, group, d.try)
	for _, l := range d.q.Left() {
		c := d.callers[l.ID]
		c.left, c.leftAt = l.Reason, d.now
		d.rouse(c)
	}
	if c := d.callers[out.Who]; c != nil && c.holding && (c.until.IsZero() || c.until.After(out.At)) {
		d.rouse(c) // it comes, and is told to come again at out.At
	}
	return out
}

// rouse closes a caller's channel.
func (d *desk) rouse(c *caller) {
	if c.holding && !c.coming {
		c.coming = true
		d.at(d.now.Add(d.delay()), func() { d.admit(c) })
	}
}

func (d *desk) try(turn Turn) Answer {
	d.asked++
	b, s := d.buckets[turn.Group], d.slots[turn.Lane]
	if s != nil && s.used >= s.limit {
		return Answer{Blocks: OneLane}
	}
	if b != nil {
		b.refill(d.now)
		if pause := b.paused.Sub(d.now); pause > 0 {
			return Answer{Wait: pause, Floor: pause}
		}
		need := min(turn.Cost, b.burst)
		if turn.Spare {
			need = min(need+b.reserve, b.burst)
		}
		if short := need - b.level; short > 0 {
			return Answer{Wait: time.Duration(short*float64(time.Second)) + 1} // + 1: rounded up
		}
		b.level -= turn.Cost
	}
	if s != nil {
		s.used++
	}
	if c := d.callers[turn.ID]; c != nil {
		d.rouse(c)
	}
	return Answer{OK: true}
}

// tooMany has the API refuse an attempt if its bucket is too low, and the call
// come again when it was told to.
func (d *desk) tooMany(c *caller) bool {
	b := d.upstream
	b.refill(d.now)
	short := c.Cost - b.level
	if short <= 0 {
		b.level -= c.Cost
		return false
	}
	d.refused++
	const answer = 100 * time.Millisecond
	d.at(d.now.Add(answer), func() {
		d.slots[c.Lane].used--
		d.q.Correct(c.charge, 0)
		told := time.Duration(short * float64(time.Second))
		told += time.Duration(d.jitter() * float64(max(250*time.Millisecond, told/10)))
		d.at(d.now.Add(told), func() { d.admit(c) })
		d.pump(c.Group)
	})
	return true
}

// settle is the end of an attempt.
func (d *desk) settle(c *caller) {
	if s := d.slots[c.Lane]; s != nil {
		s.used--
	}
	if b := d.buckets[c.Group]; b != nil {
		b.refill(d.now)
		b.level = min(b.burst, b.level+c.Cost-c.real)
	}
	d.q.Correct(c.charge, c.real)
	if d.settled != nil {
		d.settled(c)
	}
	d.end(c)
	d.pump(c.Group)
}

// hangUp is a caller that leaves, wherever it is.
func (d *desk) hangUp(c *caller) {
	if c.over || c.gone || !c.start.IsZero() || d.callers[c.ID] == nil {
		return
	}
	c.gone = true
	if d.q.Remove(c.ID) {
		if s := d.slots[c.Lane]; s != nil {
			s.used--
		}
		if b := d.buckets[c.Group]; b != nil {
			b.level = min(b.burst, b.level+c.Cost)
		}
	}
	d.end(c)
	d.pump(c.Group)
}

func (d *desk) end(c *caller) {
	c.over, c.holding = true, false
	delete(d.callers, c.ID)
	if d.ended != nil {
		d.ended(c)
	}
}

// run plays until nothing is left to happen, or t has come.
func (d *desk) run(t time.Time) {
	for d.agenda.events.len() > 0 && !d.agenda.events.top().when.After(t) {
		e := d.agenda.events.top()
		d.agenda.events.remove(e)
		d.now = e.when
		e.do()
	}
	d.now = t
}

func (d *desk) at(when time.Time, do func()) {
	d.agenda.seq++
	d.agenda.events.push(&event{when: when, seq: d.agenda.seq, do: do})
}

type event struct {
	when  time.Time
	seq   int
	do    func()
	place int32
}

type agenda struct {
	events heap[*event, byWhen]
	seq    int
}

type byWhen struct{}

func (byWhen) place(e *event) *int32 { return &e.place }
func (byWhen) less(a, b *event) bool {
	if c := a.when.Compare(b.when); c != 0 {
		return c < 0
	}
	return a.seq < b.seq
}

// broken says what is wrong inside a Queue; "" if nothing is.
func (q *Queue) broken() string {
	var bytes int64
	waiting := 0
	for id, e := range q.entries {
		bytes += e.bytes
		switch {
		case e.id != id:
			return fmt.Sprintf("entry %d is filed under %d", e.id, id)
		case e.turn:
			if e.at != [4]int32{} || e.holder != nil {
				return fmt.Sprintf("%d has a turn and stands in a heap", id)
			}
			continue
		case e.strand == nil || e.holder == nil || e.holder.key.class != e.class ||
			e.strand.flow.key != e.holder.key && e.strand.flow.key != (flowKey{late, lateFlows[e.class]}):
			return fmt.Sprintf("%d stands in the wrong place", id)
		case e.strand.items.list[e.at[inStrand]-1] != e, e.holder.items.list[e.at[inHolder]-1] != e:
			return fmt.Sprintf("%d does not know its place", id)
		case e.end.IsZero() != (e.at[inEnds] == 0):
			return fmt.Sprintf("%d: an end and no place, or a place and no end", id)
		}
		waiting++
	}
	if bytes != q.bytes {
		return fmt.Sprintf("%d bytes counted, want %d", q.bytes, bytes)
	}
	inHolders := 0
	for _, h := range q.crowd.holders {
		inHolders += h.items.len()
		if h.items.len() == 0 || h.at == 0 {
			return "a holder of nothing"
		}
	}
	inGroups, inLanes, inStrands := 0, 0, 0
	for _, g := range q.groups {
		inGroups += g.waiting
		for i, l := range g.active {
			if l.place != i || l.waiting == 0 {
				return "an idle lane among the active"
			}
			inLanes += l.waiting
			for c := range all {
				for i, s := range l.flows[c].list {
					inStrands += s.items.len()
					if i > 0 && (byTag{}).less(s, l.flows[c].list[(i-1)/2]) {
						return "flows out of order"
					}
				}
			}
		}
	}
	for what, n := range map[string]int{"holders": inHolders, "groups": inGroups, "lanes": inLanes, "strands": inStrands} {
		if n != waiting {
			return fmt.Sprintf("%d calls in %s, want %d", n, what, waiting)
		}
	}
	return ""
}

// random is a source of a test's own.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
