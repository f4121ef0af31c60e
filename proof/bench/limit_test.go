package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// limiter is one way to ask for a request with its tokens. The books of
// evenkeel find scope and class, take from three buckets or from none, say the
// exact wait, and take the real cost into account at the end; they are locked
// by their owner, as here. x/time/rate has one bucket, and of three asked one
// after another the first two are charged although the third refuses.
type limiter struct {
	name string
	ask  func(now time.Time)
}

const ample = 1 << 40 // per minute: nobody waits

func limiters() []limiter {
	book := limit.NewBook(limit.Config{Models: map[string]limit.Rates{limit.ClassAny: {RPM: ample, ITPM: ample, OTPM: ample}}})
	need := limit.Need{Credential: "hash of a key", Own: true, Path: claude.Messages, Model: "claude-opus-5-5", Input: 1000, Sure: 1000, Output: 300, Pace: 50}
	end := limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 900, Output: 200}}
	var mu sync.Mutex
	one := rate.NewLimiter(ample/60, ample/6)
	three := [3]*rate.Limiter{}
	for i := range three {
		three[i] = rate.NewLimiter(ample/60, ample/6)
	}
	return []limiter{
		{"evenkeel", func(now time.Time) {
			mu.Lock()
			a := book.Acquire(now, need)
			mu.Unlock()
			mu.Lock()
			book.Settle(now, a.ID, end)
			mu.Unlock()
		}},
		{"rate-one", func(now time.Time) { one.AllowN(now, 1000) }},
		{"rate-three-and-refund", func(now time.Time) {
			for _, l := range three {
				r := l.ReserveN(now, 1000)
				if r.OK() {
					r.CancelAt(now)
				}
			}
		}},
	}
}

// BenchmarkLimit takes turns, and prints each limiter's time per attempt as a
// multiple of that of one x/time/rate.
func BenchmarkLimit(b *testing.B) {
	all := limiters()
	took := make([]time.Duration, len(all))
	const turn = 1000
	now := time.Now()
	var before, after runtime.MemStats
	allocs := make([]uint64, len(all))
	n := 0
	for b.Loop() {
		n++
		for i, l := range all {
			runtime.ReadMemStats(&before)
			start := time.Now()
			for range turn {
				now = now.Add(time.Microsecond)
				l.ask(now)
			}
			took[i] += time.Since(start)
			runtime.ReadMemStats(&after)
			allocs[i] += after.Mallocs - before.Mallocs
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, l := range all {
		each := float64(n * turn)
		b.ReportMetric(float64(took[i].Nanoseconds())/each, fmt.Sprintf("ns/%s", l.name))
		b.ReportMetric(float64(allocs[i])/each, fmt.Sprintf("allocs/%s", l.name))
		b.ReportMetric(float64(took[i])/float64(took[1]), fmt.Sprintf("x/%s", l.name))
	}
}
