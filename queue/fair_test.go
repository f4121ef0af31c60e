package queue

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// party is callers of one flow who always have calls waiting.
type party struct {
	Item                   // of its calls
	workers int            // calls at once
	cost    func() float64 // real cost of the next call
	over    float64        // how much the estimates are above it; 0 means not at all
	flies   time.Duration
	from    time.Duration // when it begins

	got   float64 // cost of its calls that ended
	turns int
	after time.Duration // got and turns are counted from then on
}

// crowdOf has parties keep a desk busy.
func crowdOf(d *desk, parties ...*party) {
	id := uint64(1 << 32)
	for _, p := range parties {
		var next func(*caller)
		next = func(*caller) {
			id++
			c := &caller{Item: p.Item, flies: p.flies, real: p.cost()}
			c.ID, c.Cost = id, c.real*max(p.over, 1)
			c.Arrived = d.now
			c.next = next
			d.admit(c)
		}
		for range p.workers {
			d.at(at(p.from), func() { next(nil) })
		}
		p.served(d)
	}
	d.ended = func(c *caller) {
		if c.next != nil {
			d.at(d.now, func() { c.next(c) })
		}
	}
}

// served counts what a party gets.
func (p *party) served(d *desk) {
	was := d.settled
	d.settled = func(c *caller) {
		if was != nil {
			was(c)
		}
		if c.Flow == p.Flow && c.Class == p.Class && c.Lane == p.Lane && !d.now.Before(at(p.after)) {
			p.got += c.real
			p.turns++
		}
	}
}

// drawn is costs of an exponential distribution, as sizes of calls about are.
func drawn(seed uint64, mean float64) func() float64 {
	r := random(seed)
	return func() float64 { return mean * r.ExpFloat64() }
}

func always(cost float64) func() float64 { return func() float64 { return cost } }

func partOf(p *party, all ...*party) float64 {
	sum := 0.0
	for _, o := range all {
		sum += o.got
	}
	return p.got / sum
}

// TestQueue_shares has parties that always have calls waiting share a bucket
// for ten minutes, and looks at what each got of it.
func TestQueue_shares(t *testing.T) {
	item := func(flow string, c Class) Item { return Item{Group: "g", Lane: "l", Flow: flow, Class: c} }
	weighted := func(flow string, w float64) Item {
		it := item(flow, Normal)
		it.Weight = w
		return it
	}
	inLane := func(flow, lane string) Item { return Item{Group: "g", Lane: lane, Flow: flow} }
	for _, tt := range []struct {
		why     string
		within  float64 // of the share, as a part of it
		parties []*party
		want    []float64 // the parties' shares
	}{
		{"equal callers, equal shares", 0.05, []*party{
			{Item: item("a", Normal), workers: 50, cost: drawn(1, 0.1)},
			{Item: item("b", Normal), workers: 50, cost: drawn(2, 0.1)},
		}, []float64{0.5, 0.5}},
		{"large calls get no more than small ones", 0.05, []*party{
			{Item: item("a", Normal), workers: 50, cost: drawn(1, 2)},
			{Item: item("b", Normal), workers: 50, cost: drawn(2, 0.02)},
		}, []float64{0.5, 0.5}},
		{"more workers get no more", 0.05, []*party{
			{Item: item("a", Normal), workers: 500, cost: drawn(1, 0.1)},
			{Item: item("b", Normal), workers: 10, cost: drawn(2, 0.1)},
		}, []float64{0.5, 0.5}},
		{"estimates four times too high cost nothing in the end", 0.05, []*party{
			{Item: item("a", Normal), workers: 100, cost: drawn(1, 0.2), over: 4, flies: 20 * time.Second},
			{Item: item("b", Normal), workers: 100, cost: drawn(2, 0.2), flies: 20 * time.Second},
		}, []float64{0.5, 0.5}},
		{"nor do they cost a class anything", 0.1, []*party{
			{Item: item("a", Normal), workers: 100, cost: drawn(1, 0.2), over: 4, flies: 20 * time.Second},
			{Item: item("b", Batch), workers: 100, cost: drawn(2, 0.2), flies: 20 * time.Second},
		}, []float64{0.8, 0.2}},
		{"by weight", 0.05, []*party{
			{Item: weighted("a", 3), workers: 50, cost: drawn(1, 0.1)},
			{Item: weighted("b", 1), workers: 50, cost: drawn(2, 0.1)},
		}, []float64{0.75, 0.25}},
		{"one flow on two models, another on one", 0.05, []*party{
			{Item: inLane("a", "l1"), workers: 25, cost: drawn(1, 0.1)},
			{Item: inLane("a", "l2"), workers: 25, cost: drawn(3, 0.1)},
			{Item: inLane("b", "l1"), workers: 50, cost: drawn(2, 0.1)},
		}, []float64{-1, -1, 0.5}},
		{"classes 8 : 4 : 1", 0.1, []*party{
			{Item: item("a", Interactive), workers: 50, cost: drawn(1, 0.1)},
			{Item: item("b", Normal), workers: 50, cost: drawn(2, 0.1)},
			{Item: item("c", Batch), workers: 50, cost: drawn(3, 0.1)},
		}, []float64{8. / 13, 4. / 13, 1. / 13}},
		{"a class of many flows has no more than one of a single flow", 0.1, []*party{
			{Item: item("a", Normal), workers: 20, cost: drawn(1, 0.1)},
			{Item: item("b", Normal), workers: 20, cost: drawn(2, 0.1)},
			{Item: item("c", Normal), workers: 20, cost: drawn(3, 0.1)},
			{Item: item("d", Interactive), workers: 20, cost: drawn(4, 0.1)},
		}, []float64{1. / 9, 1. / 9, 1. / 9, 2. / 3}},
		{"batch keeps its floor against large calls of the others", 0.1, []*party{
			{Item: item("a", Interactive), workers: 50, cost: drawn(1, 1)},
			{Item: item("b", Normal), workers: 50, cost: drawn(2, 1)},
			{Item: item("c", Batch), workers: 50, cost: drawn(3, 0.1)},
		}, []float64{8. / 13, 4. / 13, 1. / 13}},
		{"what a class does not use is shared by the others as they stand", 0.1, []*party{
			{Item: item("b", Normal), workers: 50, cost: drawn(2, 0.1)},
			{Item: item("c", Batch), workers: 50, cost: drawn(3, 0.1)},
		}, []float64{0.8, 0.2}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			d := newDesk(t, Config{Depth: 10_000, MaxWait: -1})
			d.buckets["g"] = &bucket{burst: 10, at: epoch}
			crowdOf(d, tt.parties...)
			for _, p := range tt.parties {
				p.after = time.Minute // before that, what is in flight has its estimate charged and nothing corrected
			}
			d.run(at(11 * time.Minute))
			for i, p := range tt.parties {
				got := partOf(p, tt.parties...)
				t.Logf("%s of class %d: %d turns, %.2f %%", p.Flow, p.Class, p.turns, 100*got)
				if want := tt.want[i]; want > 0 && math.Abs(got-want) > tt.within*want {
					t.Errorf("%s of class %d got %.2f %%, want %.2f", p.Flow, p.Class, 100*got, 100*want)
				}
			}
			if why := d.q.broken(); why != "" {
				t.Error(why)
			}
		})
	}
}

// TestQueue_noCreditForIdling: who comes late gets its share from then on, and
// nothing for the time before.
func TestQueue_noCreditForIdling(t *testing.T) {
	d := newDesk(t, Config{})
	d.buckets["g"] = &bucket{burst: 1, at: epoch}
	early := &party{Item: Item{Group: "g", Lane: "l", Flow: "early"}, workers: 20, cost: always(0.1)}
	late := &party{Item: Item{Group: "g", Lane: "l", Flow: "late"}, workers: 20, cost: always(0.1), from: 5 * time.Minute}
	crowdOf(d, early, late)
	d.run(at(310 * time.Second))
	if got := late.got; got < 4.7 || got > 5.3 {
		t.Errorf("the late one got %.1f s of the ten since it came, want 5", got)
	}
}

// TestQueue_noCreditForIdlingClass: the same goes for classes, as far as none
// below them has used what they left.
func TestQueue_noCreditForIdlingClass(t *testing.T) {
	d := newDesk(t, Config{})
	d.buckets["g"] = &bucket{burst: 1, at: epoch}
	early := &party{Item: Item{Group: "g", Lane: "l", Flow: "early"}, workers: 20, cost: always(0.1)}
	late := &party{Item: Item{Group: "g", Lane: "l", Flow: "late", Class: Batch}, workers: 20, cost: always(0.1), from: 5 * time.Minute}
	crowdOf(d, early, late)
	d.run(at(310 * time.Second))
	if got := late.got; got < 1.7 || got > 2.3 {
		t.Errorf("batch that came late got %.1f s of the ten since, want 2", got)
	}
}

// TestQueue_noCreditForOutage: a model that was down for five minutes shares
// what another one uses from then on, and is not owed what that one used.
func TestQueue_noCreditForOutage(t *testing.T) {
	for _, tt := range []struct {
		why         string
		down, other Item
		want        float64 // seconds of ten
	}{
		{"flows of one class", Item{Flow: "a"}, Item{Flow: "b"}, 5},
		{"batch comes back beside interactive", Item{Flow: "a", Class: Batch}, Item{Flow: "b", Class: Interactive}, 10. / 9},
		{"interactive comes back beside batch", Item{Flow: "a", Class: Interactive}, Item{Flow: "b", Class: Batch}, 80. / 9},
	} {
		t.Run(tt.why, func(t *testing.T) {
			d := newDesk(t, Config{MaxWait: -1})
			d.buckets["g"] = &bucket{burst: 1, at: epoch}
			tt.down.Group, tt.down.Lane, tt.other.Group, tt.other.Lane = "g", "down", "g", "up"
			d.slots["down"] = &slots{limit: 0}
			a := &party{Item: tt.down, workers: 20, cost: always(0.1)}
			b := &party{Item: tt.other, workers: 20, cost: always(0.1)}
			crowdOf(d, a, b)
			d.run(at(5 * time.Minute))
			if a.got != 0 || b.got < 290 {
				t.Fatalf("while a model was down its callers got %.1f s, and those of the other %.1f", a.got, b.got)
			}
			d.slots["down"].limit = 1000
			d.pump("g")
			d.run(at(310 * time.Second))
			if math.Abs(a.got-tt.want) > 0.5 {
				t.Errorf("back for ten seconds, it got %.2f, want %.2f", a.got, tt.want)
			}
		})
	}
}

// TestQueue_nobodyStarves: whatever the others send, whoever waits is served,
// and whoever has a deadline is served in time while there is any room at all.
func TestQueue_nobodyStarves(t *testing.T) {
	for seed := range uint64(20) {
		r := random(seed)
		d := newDesk(t, Config{Depth: 10_000, MaxWait: -1})
		d.buckets["g"] = &bucket{burst: 1 + 9*r.Float64(), at: epoch}
		var flood []*party
		for i := range 2 + r.IntN(6) {
			flood = append(flood, &party{
				Item:    Item{Group: "g", Lane: fmt.Sprint("l", r.IntN(2)), Flow: fmt.Sprint(i), Class: Class(r.IntN(3)), Weight: 1 + 9*r.Float64()},
				workers: 1 + r.IntN(50), cost: drawn(seed<<8|uint64(i), 0.02+r.Float64()/2), over: 1 + r.Float64(), flies: time.Duration(r.IntN(5)) * time.Second,
			})
		}
		crowdOf(d, flood...)
		var watched []*caller
		for i := range 30 {
			c := &caller{Item: Item{ID: uint64(i + 1), Group: "g", Lane: "l0", Flow: "watched", Class: Class(r.IntN(3)), Cost: 0.01}}
			d.arrive(at(time.Duration(r.IntN(300))*time.Second), c)
			watched = append(watched, c)
		}
		d.run(at(20 * time.Minute))
		for _, c := range watched {
			if c.start.IsZero() {
				t.Errorf("seed %d: a call of class %d has waited %v", seed, c.Class, d.now.Sub(c.Arrived))
			}
		}
	}
}

// TestQueue_lateInTime: calls with a deadline behind hundreds of their own
// caller's and class's that have none are served in time, as long as they are
// few.
func TestQueue_lateInTime(t *testing.T) {
	for _, class := range []Class{Normal, Batch} {
		d := newDesk(t, Config{Depth: 10_000, MaxWait: -1})
		d.buckets["g"] = &bucket{burst: 5, at: epoch}
		crowdOf(d,
			&party{Item: Item{Group: "g", Lane: "l", Flow: "crowd", Class: class}, workers: 2000, cost: drawn(1, 0.1)},
			&party{Item: Item{Group: "g", Lane: "l", Flow: "others", Class: Interactive}, workers: 20, cost: drawn(2, 0.1)},
		)
		var due []*caller
		for i := range 100 {
			arrives := at(time.Minute + time.Duration(5*i)*time.Second)
			c := &caller{Item: Item{ID: uint64(i + 1), Group: "g", Lane: "l", Flow: "crowd", Class: class, Cost: 0.1, Deadline: arrives.Add(time.Minute)}}
			d.arrive(arrives, c)
			due = append(due, c)
		}
		d.run(at(11 * time.Minute))
		for _, c := range due {
			if c.start.IsZero() || c.start.Sub(c.Arrived) < 48*time.Second {
				t.Errorf("call %d of class %d: served after %v (left: %v), want when it was late, and in time", c.ID, class, c.start.Sub(c.Arrived), c.left)
			}
		}
	}
}
