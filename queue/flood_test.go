package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// scene is half an hour of interactive calls at random moments, with or without a
// flood of batch calls, where either the API's bucket or a number of slots is
// scarce.
type scene struct {
	load    float64       // interactive demand, as a part of what there is
	size    float64       // mean cost of an interactive call, in seconds of the bucket
	burst   float64       // of the bucket
	reserve float64       // that spare use leaves in it
	slots   int           // at once, where they are scarce; 0: the bucket is
	flood   int           // workers of batch
	bulk    float64       // mean cost of a batch call
	cap     int           // 0: our queue; else a plain cap on calls at once, first come, first served
	due     time.Duration // after which batch calls are of no use; 0 for none
	many    int           // interactive calls come together in so many, as those of an agent do; 0 means 1
}

// outcome is what a scene came to.
type outcome struct {
	waits    []time.Duration // of interactive calls, sorted
	used     float64         // of what there was, the part used
	batch    float64         // of what there was, the part batch got
	attempts int
	refused  int // by the API: 429
}

func (o outcome) p(q float64) time.Duration {
	if len(o.waits) == 0 {
		return 0
	}
	return o.waits[min(int(q*float64(len(o.waits))), len(o.waits)-1)]
}

const played = 30 * time.Minute

func (sc scene) play(t *testing.T, seed uint64) (o outcome) {
	r := random(seed)
	d := newDesk(t, Config{Depth: 100_000, MaxWait: -1})
	limit := &bucket{level: sc.burst, burst: sc.burst, reserve: sc.reserve, at: epoch}
	flies := func() time.Duration { return time.Duration(float64(20*time.Second) * (0.5 + r.Float64())) }
	switch {
	case sc.slots > 0:
		d.slots["l"] = &slots{limit: sc.slots}
	case sc.cap > 0:
		d.slots["l"] = &slots{limit: sc.cap}
		d.upstream = limit // not known before it answers 429
	default:
		d.buckets["g"] = limit
	}
	id := uint64(0)
	call := func(class Class, mean float64) *caller {
		id++
		c := &caller{Item: Item{ID: id, Group: "g", Lane: "l", Class: class, Flow: fmt.Sprint(class), Cost: mean * r.ExpFloat64()}, flies: flies()}
		c.Cost = min(max(c.Cost, mean/20), 5*mean, 0.9*sc.burst)
		if sc.slots > 0 {
			c.Cost = c.flies.Seconds() / float64(sc.slots) // seconds of all slots
		}
		c.class = class
		if sc.plain() {
			c.Class, c.Flow = Normal, ""
		}
		return c
	}
	mean := sc.size
	if sc.slots > 0 {
		mean = 20 / float64(sc.slots)
	}
	many := max(sc.many, 1)
	for s := 0.0; s < played.Seconds(); s += r.ExpFloat64() * mean * float64(many) / sc.load {
		for range many {
			d.arrive(at(time.Duration(s*float64(time.Second))), call(Interactive, sc.size))
		}
	}
	var flood func(*caller)
	flood = func(*caller) {
		c := call(Batch, sc.bulk)
		c.Arrived, c.real, c.next = d.now, c.Cost, flood
		if sc.due > 0 {
			c.Deadline = d.now.Add(sc.due)
		}
		d.admit(c)
	}
	for range sc.flood {
		d.at(at(0), func() { flood(nil) })
	}
	got := map[Class]float64{}
	d.settled = func(c *caller) {
		got[c.class] += c.real
		if c.class == Interactive {
			o.waits = append(o.waits, c.start.Sub(c.Arrived))
		}
	}
	d.ended = func(c *caller) {
		if c.next != nil && d.now.Before(at(played)) {
			d.at(d.now, func() { c.next(c) })
		}
	}
	d.jitter = rand.New(rand.NewPCG(seed, 1)).Float64
	d.run(at(played))
	slices.Sort(o.waits)
	there := played.Seconds() + sc.burst*float64(min(1, max(0, 1-sc.slots)))
	o.used, o.batch = (got[Interactive]+got[Batch])/there, got[Batch]/there
	o.attempts, o.refused = d.attempts, d.refused
	return o
}

func (sc scene) plain() bool { return sc.cap > 0 }

// TestFlood prints what a flood of batch calls does to interactive ones, with
// our queue and under plain caps on calls at once: first come, first served,
// no classes, and limits that are met as 429s. It fails if interactive calls
// wait more than 1.3 times as long behind our queue, at the 95th percentile, or
// batch gets less than its floor, or anything is refused or lies idle.
func TestFlood(t *testing.T) {
	const burst, bulk, workers = 10, 0.3, 300
	t.Log("| calls of an agent | load | line | p95 calm | p95 flood | batch got | used | 429s per attempt |")
	t.Log("|---|---|---|---|---|---|---|---|")
	for _, load := range []float64{0.7, 0.8} {
		for _, agent := range []struct {
			many int
			size float64
		}{{8, 1}, {8, 0.3}, {1, 1}} {
			sc := scene{load: load, size: agent.size, many: agent.many, burst: burst, reserve: burst, bulk: bulk}
			row := func(name string, sc scene) (calm, flood outcome) {
				calm = sc.play(t, 1)
				sc.flood = workers
				flood = sc.play(t, 1)
				t.Logf("| %d of %g s | %.0f %% | %s | %.1f s | %.1f s | %.1f %% | %.1f %% | %.1f %% |", agent.many, agent.size, 100*load, name,
					calm.p(.95).Seconds(), flood.p(.95).Seconds(), 100*flood.batch, 100*flood.used, 100*float64(flood.refused)/float64(max(flood.attempts, 1)))
				return calm, flood
			}
			calm, flood := row("queue", sc)
			hurried := sc
			hurried.due = time.Minute
			_, late := row("queue, batch has a minute", hurried)
			// The bucket may be short by one batch call that has just gone.
			if most := max(1.3*calm.p(.95).Seconds(), calm.p(.95).Seconds()+2*bulk); max(flood.p(.95), late.p(.95)).Seconds() > most {
				t.Errorf("interactive calls wait %v at the 95th percentile, or %v if batch has deadlines; want at most %.1f s", flood.p(.95), late.p(.95), most)
			}
			if floor := 1. / 13; flood.batch < floor {
				t.Errorf("batch got %.1f %%, want its floor of %.1f", 100*flood.batch, 100*floor)
			}
			if flood.refused > 0 || flood.used < 0.98 {
				t.Errorf("%d refused, %.1f %% used, want none and 98", flood.refused, 100*flood.used)
			}
			sc.reserve = 0
			row("queue, no reserve in the bucket", sc)
			if load > 0.7 || agent.many > 1 && agent.size == 1 {
				continue // nothing but 429s, as in the other rows, and those take long
			}
			for _, n := range []int{30, 60} { // 20 s · the calls per second of the limit, were all of them batch, is 67
				sc.cap = n
				row(fmt.Sprint("cap of ", n), sc)
			}
		}
	}
}

// TestFlood_ofCalls prints what ten workers get beside five hundred of another
// caller, and what interactive calls wait for slots, with our queue and first
// come, first served.
func TestFlood_ofCalls(t *testing.T) {
	t.Log("| line | the part of 10 workers beside 500 |")
	t.Log("|---|---|")
	for _, line := range []struct {
		name  string
		flows [2]string
		least float64
	}{{"queue", [2]string{"few", "many"}, 0.475}, {"first come, first served", [2]string{}, 0}} {
		d := newDesk(t, Config{Depth: 10_000, MaxWait: -1})
		d.buckets["g"] = &bucket{burst: 10, at: epoch}
		few := &party{Item: Item{Group: "g", Lane: "few", Flow: line.flows[0]}, workers: 10, cost: drawn(1, 0.1), after: time.Minute}
		many := &party{Item: Item{Group: "g", Lane: "many", Flow: line.flows[1]}, workers: 500, cost: drawn(2, 0.1), after: time.Minute}
		crowdOf(d, few, many)
		d.run(at(10 * time.Minute))
		got := partOf(few, few, many)
		t.Logf("| %s | %.1f %% |", line.name, 100*got)
		if got < line.least {
			t.Errorf("got %.1f %%, want at least %.1f", 100*got, 100*line.least)
		}
	}

	t.Log("| 20 slots, load | line | p95 calm | p95 flood | batch got | used |")
	t.Log("|---|---|---|---|---|---|")
	for _, load := range []float64{0.7, 0.8} {
		var p95 [2]time.Duration
		for i, name := range []string{"queue", "first come, first served"} {
			sc := scene{load: load, slots: 20, cap: 20 * i, burst: 10}
			calm := sc.play(t, 1)
			sc.flood = 300
			flood := sc.play(t, 1)
			p95[i] = flood.p(.95)
			t.Logf("| %.0f %% | %s | %.1f s | %.1f s | %.1f %% | %.1f %% |", 100*load, name,
				calm.p(.95).Seconds(), flood.p(.95).Seconds(), 100*flood.batch, 100*flood.used)
		}
		if p95[0] > p95[1]/10 {
			t.Errorf("at %.0f %% of 20 slots: p95 %v with our queue, %v without, want a tenth", 100*load, p95[0], p95[1])
		}
	}
}
