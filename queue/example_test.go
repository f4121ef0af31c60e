package queue_test

import (
	"fmt"
	"time"

	"github.com/evenkeel-dev/evenkeel/queue"
)

// Three calls wait for a bucket that refills by one a second. The interactive
// one came last and goes first; who is to come back, and when, is told.
func Example() {
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	level, last := 0.0, start
	try := func(now time.Time) func(queue.Turn) queue.Answer {
		return func(t queue.Turn) queue.Answer {
			level, last = level+now.Sub(last).Seconds(), now
			if short := t.Cost - level; short > 0 {
				return queue.Answer{Wait: time.Duration(short * float64(time.Second))}
			}
			level -= t.Cost
			return queue.Answer{OK: true}
		}
	}

	q := queue.New(queue.Config{})
	for id, class := range []queue.Class{queue.Batch, queue.Normal, queue.Interactive} {
		q.Push(start, queue.Item{
			ID: uint64(id + 1), Group: "organisation, opus", Flow: "reports", Class: class,
			Cost: queue.Dominant([]float64{1, 2000}, []float64{10, 2000}), // a request and 2,000 tokens of 10 and 2,000 a second
		})
	}
	for now, out := start, (queue.Outlook{Who: 1}); out.Who != 0; now = out.At {
		out = q.Next(now, "organisation, opus", try(now))
		for id := range uint64(3) {
			if _, ok := q.Take(id + 1); ok {
				fmt.Printf("%v: call %d goes\n", now.Sub(start), id+1)
			}
		}
	}
	// Output:
	// 1s: call 3 goes
	// 2s: call 2 goes
	// 3s: call 1 goes
}
