package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// show plays the phases and makes the calls.
type show struct {
	opts   Options
	stage  *stage
	phases []phase
	script []stretch
	counts *tally
	began  time.Time

	phase   atomic.Int64 // played now; len(phases) in the tail
	changes chan int     // of phase; has room for all
	seen    atomic.Int64 // the last phase of the table that has begun
	cut     atomic.Bool  // ended before its time
}

// play returns when all calls have ended, the time is up, or ctx has ended.
// Calls still under way then are given up, and stay counted as waiting.
func (s *show) play(ctx context.Context) {
	whole, cancel := context.WithDeadline(ctx, s.began.Add(s.opts.For))
	defer cancel()
	over := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { s.tell(over) })
	defer told.Wait()
	defer close(over)

	var calls sync.WaitGroup
	s.arrive(whole, &calls)
	calls.Wait()
	s.cut.Store(ctx.Err() != nil)
}

// arrive plays the script and starts two calls at each arrival, one per side.
func (s *show) arrive(ctx context.Context, calls *sync.WaitGroup) {
	arrivals := newArrivals(s.opts.Seed, s.opts.Rate)
	next := 0 // of the stretches
	for n := 0; ; n++ {
		due, stream := arrivals.next()
		// A phase begins on time, not with the first call that arrives in it.
		for next <= len(s.script) && sum(s.script[:next]) <= due {
			if !sleepUntil(ctx, s.began.Add(sum(s.script[:next]))) {
				return
			}
			s.enter(next)
			next++
		}
		if next > len(s.script) || !sleepUntil(ctx, s.began.Add(due)) {
			return
		}
		phase := s.script[next-1].phase
		r := newRequest(phase, n, stream)
		for side := range sides {
			s.counts.began(phase, side)
			calls.Go(func() { s.call(ctx, phase, side, r) })
		}
	}
}

// enter begins a stretch, or the tail, in which the API stays as it was.
func (s *show) enter(i int) {
	phase := len(s.phases)
	if i < len(s.script) {
		phase = s.script[i].phase
		s.phases[phase].begin(s.stage.api)
		s.seen.Store(max(s.seen.Load(), int64(phase)))
	}
	s.phase.Store(int64(phase))
	s.changes <- phase
}

func (s *show) call(ctx context.Context, phase int, side side, r request) {
	start := time.Now()
	kind, err := s.stage.clients[side].call(ctx, r)
	if err != nil {
		return // waiting
	}
	s.counts.ended(phase, side, kind, time.Since(start))
}

// sleepUntil reports false if ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// arrivals are calls that come independently of each other and of how earlier
// ones fare, as those of many users do. The seed decides all of them.
type arrivals struct {
	rand *rand.Rand
	rate float64
	at   time.Duration
}

func newArrivals(seed uint64, rate float64) *arrivals {
	return &arrivals{rand: rand.New(rand.NewPCG(seed, 0)), rate: rate}
}

// next returns when the next call arrives, counted from the start, and
// whether it asks for a stream, as half of them do.
func (a *arrivals) next() (time.Duration, bool) {
	a.at += time.Duration(a.rand.ExpFloat64() / a.rate * float64(time.Second))
	return a.at, a.rand.IntN(2) == 0
}

func newRequest(phase, n int, stream bool) request {
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": 2 * outputTokens, "stream": stream,
		"messages": []map[string]string{{"role": "user", "content": fmt.Sprintf("Call %d of the demo.", n+1)}},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return request{name: callName(phase, n), body: body, stream: stream}
}

// comparison is what has been played by now.
func (s *show) comparison(now time.Time) Comparison {
	c := Comparison{
		Simulated: true, Seed: s.opts.Seed, Seconds: now.Sub(s.began).Round(100 * time.Millisecond).Seconds(),
		Interrupted: s.cut.Load(), Settings: patienceFor(s.opts.For).String(),
	}
	c.Phases, c.All = s.counts.rows()
	for i, p := range s.phases {
		c.Phases[i].Meaning = p.meaning
	}
	c.Phases = c.Phases[:s.seen.Load()+1]
	return c
}
