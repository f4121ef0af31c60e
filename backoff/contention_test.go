package backoff

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The model behind Brooker, “Exponential Backoff And Jitter”, AWS Architecture
// Blog, 2015: one row with a version number, and N clients that all start at
// time 0, each to change it once.
//
// An attempt is four hops: read, the version, write, the answer. A write
// succeeds if the version read is still current. After failure k a client
// waits one hop and its k-th backoff, then reads again. The server answers in
// no time and cannot be overloaded. Each hop takes |Normal(10, 2)| ms.
//
// calls counts writes; took is the time of the last event.
type contention struct {
	random  *rand.Rand
	version int
	events  events
	calls   int
	took    time.Duration
}

// delays is a fresh source of waits for one client: the n-th call gives the
// wait after its n-th failure.
type delays func(random func() float64) func(n int) time.Duration

func (c *contention) hop() time.Duration {
	return time.Duration(math.Abs(c.random.NormFloat64()*2+10) * float64(time.Millisecond))
}

func (c *contention) at(t time.Duration, do func(now time.Duration)) {
	heap.Push(&c.events, event{t, do})
}

// run lets clients contend until each has written once.
func (c *contention) run(clients int, policy delays) {
	for range clients {
		delay, failures := policy(c.random.Float64), 0
		var read func(time.Duration)
		read = func(now time.Duration) {
			seen := c.version
			c.at(now+c.hop(), func(now time.Duration) { // the version arrives
				c.calls++
				c.at(now+c.hop(), func(now time.Duration) { // the write arrives
					current := seen == c.version
					if current {
						c.version++
					}
					c.at(now+c.hop(), func(now time.Duration) { // the answer arrives
						if !current {
							failures++
							c.at(now+c.hop()+delay(failures), read)
						}
					})
				})
			})
		}
		c.at(c.hop(), read)
	}
	for len(c.events) > 0 {
		e := heap.Pop(&c.events).(event)
		c.took = e.at
		e.do(e.at)
	}
}

type event struct {
	at time.Duration
	do func(now time.Duration)
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// In that model the ceiling after the first failure is twice the base, 10 ms.
const (
	step    = 5 * time.Millisecond
	longest = 2 * time.Second
)

func stateless(policy func(func() float64) Policy) delays {
	return func(random func() float64) func(int) time.Duration { return policy(random).Delay }
}

func keptWalk(random func() float64) func(int) time.Duration {
	policy, wait := Decorrelated{step, longest, random}, time.Duration(0)
	return func(int) time.Duration {
		wait = policy.Next(wait)
		return wait
	}
}

func noWait(func() float64) func(int) time.Duration {
	return func(int) time.Duration { return 0 }
}

// TestPublishedContention reproduces what the original program prints, run
// with 100 repetitions and its seed set to 1: mean completion time and writes.
//
// The tolerance, 5 % for the time and 2 % for the calls, covers the error of
// both means; the variants differ by more. Few clients are cheap and noisy, so
// they get more runs than many.
func TestPublishedContention(t *testing.T) {
	policies := map[string]delays{
		"exponential":  stateless(plain(2*step, longest)),
		"decorrelated": keptWalk,
		"equal":        stateless(equal(2*step, longest)),
		"full":         stateless(full(2*step, longest)),
		"none":         noWait,
	}
	for _, want := range []struct {
		policy  string
		clients int
		took    float64 // ms
		calls   float64
		runs    int
	}{
		{"exponential", 10, 3590, 51, 400},
		{"exponential", 50, 35972, 620, 60},
		{"exponential", 100, 63572, 1861, 25},
		{"decorrelated", 10, 435, 38, 400},
		{"decorrelated", 50, 2277, 376, 80},
		{"decorrelated", 100, 4576, 1000, 40},
		{"equal", 10, 733, 42, 400},
		{"equal", 50, 4215, 346, 80},
		{"equal", 100, 6620, 813, 40},
		{"full", 10, 465, 39, 400},
		{"full", 50, 2842, 333, 80},
		{"full", 100, 4925, 795, 40},
		{"none", 10, 382, 51, 100},
		{"none", 50, 1146, 690, 20},
		{"none", 100, 2026, 2422, 8},
	} {
		t.Run(fmt.Sprintf("%s/clients=%d", want.policy, want.clients), func(t *testing.T) {
			var took, calls float64
			for run := range want.runs {
				c := contention{random: rand.New(rand.NewPCG(seed, uint64(run)))}
				c.run(want.clients, policies[want.policy])
				took += float64(c.took) / float64(time.Millisecond) / float64(want.runs)
				calls += float64(c.calls) / float64(want.runs)
			}
			t.Logf("%.0f ms (%+.1f %%), %.0f calls (%+.1f %%)", took, 100*(took/want.took-1), calls, 100*(calls/want.calls-1))
			if math.Abs(took/want.took-1) > 0.05 {
				t.Errorf("took %.0f ms, want %.0f within 5 %%", took, want.took)
			}
			if math.Abs(calls/want.calls-1) > 0.02 {
				t.Errorf("made %.1f calls, want %.0f within 2 %%", calls, want.calls)
			}
		})
	}
}
