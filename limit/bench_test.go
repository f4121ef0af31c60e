package limit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// ample returns a book with limits that nothing here reaches, learned from an
// answer, and a need.
func ample() (*limit.Book, limit.Need) {
	b := configured(limit.Rates{RPM: 1 << 40, ITPM: 1 << 40, OTPM: 1 << 40})
	n := need(1000, 300)
	n.Pace = 50
	a := b.Acquire(begin, n)
	const most = 1 << 40
	b.Observe(begin, a.ID, answered(begin, claude.RateLimits{Requests: window(most, most, begin), Input: window(most, most, begin), Output: window(most, most, begin)}))
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Refunded})
	return b, n
}

func TestAcquire_doesNotAllocate(t *testing.T) {
	b, n := ample()
	now := begin
	end := limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 900, Output: 200}}
	got := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		a := b.Acquire(now, n)
		b.Correct(now, a.ID, end.Usage)
		b.Settle(now, a.ID, end)
	})
	if got != 0 {
		t.Errorf("%v allocations for acquire, correct and settle, want none", got)
	}
	l := claude.RateLimits{Requests: window(1<<40, 1<<40, now), Input: window(1<<40, 1<<40, now), Output: window(1<<40, 1<<40, now)}
	got = testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		a := b.Acquire(now, n)
		b.Observe(now, a.ID, answered(now, l))
		b.Settle(now, a.ID, end)
	})
	if got != 0 {
		t.Errorf("%v allocations with an answer observed, want none", got)
	}
}

func BenchmarkAcquireSettle(b *testing.B) {
	for _, flying := range []int{0, 200, 10_000} {
		b.Run(fmt.Sprint("flying=", flying), func(b *testing.B) {
			book, n := ample()
			now := begin
			for range flying {
				book.Acquire(now, n)
			}
			end := limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 900, Output: 200}}
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				a := book.Acquire(now, n)
				book.Settle(now, a.ID, end)
			}
		})
	}
}

func BenchmarkAcquireHeld(b *testing.B) {
	book := configured(limit.Rates{RPM: 60, ITPM: 60_000, OTPM: 6000})
	n := need(1000, 300)
	for book.Acquire(begin, n).ID != 0 {
	}
	b.ReportAllocs()
	for b.Loop() {
		book.Acquire(begin, n)
	}
}

func BenchmarkObserve(b *testing.B) {
	book, n := ample()
	now := begin
	a := book.Acquire(now, n)
	l := claude.RateLimits{Requests: window(1<<40, 1<<39, now), Input: window(1<<40, 1<<39, now), Output: window(1<<40, 1<<39, now)}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		book.Observe(now, a.ID, answered(now, l))
	}
}

func BenchmarkPredictor(b *testing.B) {
	route := limit.Route{Model: model, Tag: "web", MaxTokens: 4096, Input: 1000}
	past := func(i int) limit.Past {
		return limit.Past{Input: 1000, Output: 100 + i%500, Whole: true, Seconds: 10}
	}
	p := taught(100, route, past)
	b.Run("expect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Expect(route)
		}
	})
	b.Run("learn", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Learn(route, past(3))
		}
	})
}
