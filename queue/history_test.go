package queue

import (
	"fmt"
	"testing"
	"time"
)

// TestQueue_randomHistories plays calls of all kinds through a desk: pauses,
// slots, buckets, deadlines, callers that hang up at any moment, in a queue
// that is too small. Whatever happens, the books are right after every step,
// nobody is forgotten, and at the end nothing is left.
func TestQueue_randomHistories(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomHistory(t, seed) })
	}
}

func randomHistory(t *testing.T, seed uint64) {
	r := random(seed)
	d := newDesk(t, Config{Depth: 5 + r.IntN(60), Bytes: 1 << (10 + r.IntN(12)), MaxWait: time.Duration(5+r.IntN(30)) * time.Second})
	d.delay = func() time.Duration { return time.Duration(r.IntN(5)) * time.Millisecond }
	groups := []string{"a", "b", "c"}
	for _, g := range groups[:2] { // nothing but slots holds c back
		d.buckets[g] = &bucket{level: 2, burst: 2 + 8*r.Float64(), at: epoch, reserve: r.Float64()}
	}
	for _, l := range []string{"c0", "a1", "b2"} {
		d.slots[l] = &slots{limit: 1 + r.IntN(3)}
	}
	var all []*caller
	for i := range 100 + r.IntN(300) {
		g := groups[r.IntN(3)]
		c := &caller{
			Item: Item{
				ID: uint64(i + 1), Group: g, Lane: fmt.Sprint(g, r.IntN(3)), Flow: fmt.Sprint("flow", r.IntN(6)),
				Class: Class(r.IntN(3)), Weight: float64(r.IntN(3)), Cost: r.ExpFloat64(), Bytes: int64(r.IntN(500)),
			},
			flies: time.Duration(r.IntN(3000)) * time.Millisecond,
		}
		c.real = c.Cost * 2 * r.Float64()
		arrives := at(time.Duration(r.IntN(60_000)) * time.Millisecond)
		if r.IntN(2) == 0 {
			c.Deadline = arrives.Add(time.Duration(r.IntN(40_000)) * time.Millisecond)
		}
		d.arrive(arrives, c)
		if r.IntN(4) == 0 {
			d.at(arrives.Add(time.Duration(r.IntN(20_000))*time.Millisecond), func() { d.hangUp(c) })
		}
		all = append(all, c)
	}
	for range 3 {
		b := d.buckets[groups[r.IntN(2)]]
		from := time.Duration(r.IntN(60)) * time.Second
		d.at(at(from), func() { b.paused = at(from + time.Duration(r.IntN(10))*time.Second) })
	}
	for d.agenda.events.len() > 0 {
		d.run(d.agenda.events.top().when)
		if why := d.q.broken(); why != "" {
			t.Fatalf("after %v: %s", d.now.Sub(epoch), why)
		}
		if d.now.After(at(time.Hour)) {
			t.Fatal("does not end")
		}
	}
	for _, c := range all {
		switch {
		case !c.over:
			t.Errorf("call %d was forgotten", c.ID)
		case !c.start.IsZero() && c.left != None:
			t.Errorf("call %d was served, and refused: %v", c.ID, c.left)
		case c.left == TooLate && (c.Deadline.IsZero() || c.leftAt.After(c.Deadline)):
			t.Errorf("call %d was told at %v that it cannot meet %v", c.ID, c.leftAt.Sub(epoch), c.Deadline.Sub(epoch))
		case c.left == WaitedOut && c.Class != Interactive:
			t.Errorf("call %d of class %d waited out", c.ID, c.Class)
		}
	}
	if d.q.Len() != 0 || d.q.bytes != 0 || len(d.q.crowd.holders) != 0 {
		t.Errorf("%d calls and %d bytes are left behind", d.q.Len(), d.q.bytes)
	}
	for name, s := range d.slots {
		if s.used != 0 {
			t.Errorf("%d slots of %s are taken, and nobody there", s.used, name)
		}
	}
	for _, g := range d.q.groups {
		if g.waiting != 0 || g.backlog != 0 || len(g.active) != 0 {
			t.Errorf("group %s: %d wait, backlog %g", g.name, g.waiting, g.backlog)
		}
	}
}
