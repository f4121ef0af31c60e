package queue

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// crowded is a queue in which n calls wait, of so many flows. Names are built
// once, as the package asks for.
func crowded(n, flows int) (*Queue, []Item) {
	q := New(Config{Depth: n + 1})
	names := make([]string, flows)
	for i := range names {
		names[i] = "client-" + strconv.Itoa(i)
	}
	r := random(1)
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{
			ID: uint64(i + 1), Group: "organisation/opus", Lane: "claude-opus-5-5", Flow: names[i%flows], Class: Class(i % 3),
			Cost: r.ExpFloat64(), Bytes: 1000, Arrived: at(time.Duration(r.IntN(1e9))), Deadline: at(time.Hour + time.Duration(r.IntN(1e9))),
		}
	}
	return q, items
}

// BenchmarkQueue is one call that comes while others wait, and one that goes:
// Push, Next, Take, Correct.
func BenchmarkQueue(b *testing.B) {
	for _, waiting := range []int{0, 10, 100, 1000, 10_000} {
		for _, flows := range []int{1, 100, 10_000} {
			if flows > max(waiting, 1) {
				continue
			}
			b.Run(fmt.Sprintf("waiting=%d/flows=%d", waiting, flows), func(b *testing.B) {
				q, items := crowded(waiting+1, flows)
				for _, it := range items[:waiting] {
					q.Push(epoch, it)
				}
				it := items[waiting]
				var got uint64
				try := func(t Turn) Answer {
					if got != 0 {
						return Answer{Wait: time.Second}
					}
					got = t.ID
					return Answer{OK: true}
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					q.Push(epoch, it)
					got = 0
					q.Next(epoch, it.Group, try)
					c, _ := q.Take(got)
					q.Correct(c, 0.9*c.Cost)
					it = items[got-1] // it comes again
				}
			})
		}
	}
}

// BenchmarkQueue_wakeUp is what a call costs that asks whether it is its turn,
// and is not: only the head is asked for.
func BenchmarkQueue_wakeUp(b *testing.B) {
	for _, waiting := range []int{10, 10_000} {
		b.Run(fmt.Sprint("waiting=", waiting), func(b *testing.B) {
			q, items := crowded(waiting, min(waiting, 100))
			for _, it := range items {
				q.Push(epoch, it)
			}
			try := func(Turn) Answer { return Answer{Wait: time.Second} }
			b.ReportAllocs()
			for b.Loop() {
				q.Next(epoch, "organisation/opus", try)
			}
		})
	}
}

// TestQueue_costs: 10,000 calls that wait take at most 1 KB each, also if no
// two are of one caller; and a call that finds nobody waiting allocates
// nothing.
func TestQueue_costs(t *testing.T) {
	const n = 10_000
	for _, flows := range []int{1, 100, n} {
		q, items := crowded(n, flows)
		before := inUse()
		for _, it := range items {
			q.Push(epoch, it)
		}
		each := float64(inUse()-before) / n
		t.Logf("%d flows: %.0f bytes per waiting call", flows, each)
		if each > 1000 {
			t.Errorf("%d flows: a waiting call takes %.0f bytes, want at most 1000", flows, each)
		}
		runtime.KeepAlive(q)
		runtime.KeepAlive(items)
	}
	q, items := crowded(1, 1)
	try := func(Turn) Answer { return Answer{OK: true} }
	if got := testing.AllocsPerRun(1000, func() {
		q.Push(epoch, items[0])
		q.Next(epoch, items[0].Group, try)
		c, _ := q.Take(1)
		q.Correct(c, 1)
	}); got != 0 {
		t.Errorf("a call that need not wait allocates %v times, want 0", got)
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
