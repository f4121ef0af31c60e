package sim_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestCapacity_slots: so many are served at once, so many wait in turn, the
// rest is told to go away at once.
func TestCapacity_slots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			TokenTime: time.Second, OutputTokens: 10, // ten seconds an answer
			Capacity: []sim.Capacity{{Slots: 2, Queue: 3, QueueTime: 15 * time.Second}},
		})
		var mu sync.Mutex
		took := map[int][]time.Duration{}
		var wg sync.WaitGroup
		for range 7 {
			time.Sleep(time.Millisecond) // so that they come in an order
			wg.Go(func() {
				r := do(t, api, "https://api.test", call{})
				mu.Lock()
				defer mu.Unlock()
				took[r.status] = append(took[r.status], r.took.Round(time.Second))
			})
		}
		wg.Wait()
		slices.Sort(took[200])
		slices.Sort(took[529])
		// Two at once, two after the first two, and for the fifth no slot is
		// free within 15 s; the last two find no place in the queue.
		if got, want := took[200], []time.Duration{10e9, 10e9, 20e9, 20e9}; !slices.Equal(got, want) {
			t.Errorf("served after %v, want %v", got, want)
		}
		if got, want := took[529], []time.Duration{0, 0, 15e9}; !slices.Equal(got, want) {
			t.Errorf("refused after %v, want %v", got, want)
		}
	})
}

// TestCapacity_callersWhoLeave give back their slot, and their place in the
// queue.
func TestCapacity_callersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			FirstToken: time.Minute, OutputTokens: 1,
			Capacity: []sim.Capacity{{Slots: 1, Queue: 2, QueueTime: time.Hour}},
		})
		var wg sync.WaitGroup
		for _, patience := range []time.Duration{30 * time.Second, 10 * time.Second} { // one is served, one waits
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if r := do(t, api, "https://api.test", call{ctx: ctx}); r.err == nil {
					t.Errorf("got %d, want the end of the context", r.status)
				}
			})
		}
		time.Sleep(time.Millisecond)
		start := time.Now()
		if r := do(t, api, "https://api.test", call{}); r.status != http.StatusOK {
			t.Errorf("got %d, want 200", r.status)
		}
		if took := time.Since(start).Round(time.Second); took != 90*time.Second {
			t.Errorf("the third was served after %v, want 30s for the one who left, and a minute", took)
		}
		wg.Wait()
		for i, a := range api.Attempts()[:2] {
			if a.End != sim.EndCanceled {
				t.Errorf("attempt %d ended %q, want canceled", i+1, a.End)
			}
		}
	})
}

// TestCapacity_unreadBodies give their slot back when their request ends, and
// a plain answer when it is there.
func TestCapacity_unreadBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{TokenTime: time.Second, Capacity: []sim.Capacity{{Slots: 1}}})
		ctx, cancel := context.WithCancel(t.Context())
		for _, body := range []string{plainCall, streamCall} {
			resp, err := api.RoundTrip(call{body: body, ctx: ctx}.request(t, "https://api.test"))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("got %v, %v, want 200", resp, err)
			}
		}
		if got := do(t, api, "https://api.test", call{}).status; got != 529 {
			t.Errorf("while a stream is open got %d, want 529", got)
		}
		cancel()
		synctest.Wait()
		if got := do(t, api, "https://api.test", call{}).status; got != http.StatusOK {
			t.Errorf("after its request has ended got %d, want 200", got)
		}
	})
}

// TestCapacity_doesNotCountAgainstLimits: who is told 529 has used nothing.
func TestCapacity_doesNotCountAgainstLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			Limits: []sim.Limit{{RPM: 10, ITPM: 100_000}}, FirstToken: time.Hour,
			Capacity: []sim.Capacity{{Slots: 1}},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = do(t, api, "https://api.test", call{ctx: ctx}) }) //nolint:contextcheck // it is in the call
		synctest.Wait()
		for range 20 {
			r := do(t, api, "https://api.test", call{})
			if left := r.header.Get("Anthropic-Ratelimit-Requests-Remaining"); r.status != 529 || left != "9" {
				t.Fatalf("got %d with %s requests left, want 529 and the 9 that were", r.status, left)
			}
		}
		cancel()
		wg.Wait()
	})
}

// TestCapacity_conditions: slots that are gone and answers that are slow, for
// all clients alike, for a time.
func TestCapacity_conditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			FirstToken: time.Second, TokenTime: 100 * time.Millisecond, OutputTokens: 10,
			Capacity: []sim.Capacity{{Slots: 4}, {Models: "claude-haiku-*"}},
		})
		if err := api.Tell("10s slots 25% for 10s\n30s slowdown 3x for 10s"); err != nil {
			t.Fatal(err)
		}
		together := func(n int) (served int, took time.Duration) {
			var ok atomic.Int64
			var longest atomic.Int64
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if r := do(t, api, "https://api.test", call{}); r.status == http.StatusOK {
						ok.Add(1)
						longest.Store(int64(r.took))
					}
				})
			}
			wg.Wait()
			return int(ok.Load()), time.Duration(longest.Load())
		}
		start := time.Now()
		for _, want := range []struct {
			at     time.Duration
			served int
			took   time.Duration
		}{{0, 4, 2 * time.Second}, {11 * time.Second, 1, 2 * time.Second}, {21 * time.Second, 4, 2 * time.Second}, {31 * time.Second, 4, 6 * time.Second}} {
			time.Sleep(time.Until(start.Add(want.at)))
			if served, took := together(8); served != want.served || took != want.took {
				t.Errorf("at %v %d of 8 were served in %v, want %d in %v", want.at, served, took, want.served, want.took)
			}
		}
	})
}

// policy is how long a client waits after its n-th failure.
type policy func(n int) time.Duration

// recovery plays an outage of a minute to 200 clients that call every 20 s,
// and returns which share of calls was answered in the minute after it and how
// many attempts were made in it.
func recovery(t *testing.T, wait policy) (answered float64, attempts int) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			FirstToken: time.Second, OutputTokens: 1, // a second an answer: 20 slots serve twice the load
			Capacity: []sim.Capacity{{Slots: 20, Refusal: 400 * time.Millisecond}},
		})
		if err := api.Tell("20s slots 0% for 60s"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithDeadline(t.Context(), start.Add(140*time.Second))
		defer cancel()
		var done atomic.Int64 // in the minute after the outage
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				for ctx.Err() == nil {
					began := time.Now()
					for n := 1; ctx.Err() == nil; n++ {
						status := do(t, api, "https://api.test", call{ctx: ctx}).status //nolint:contextcheck // it is in the call
						if status == http.StatusOK && time.Since(start) > 80*time.Second {
							done.Add(1)
						}
						if status == http.StatusOK || status == 0 {
							break
						}
						time.Sleep(wait(n))
					}
					time.Sleep(max(0, 20*time.Second-time.Since(began)))
				}
			})
		}
		wg.Wait()
		for _, a := range api.Attempts() {
			if a.Since > 80*time.Second {
				attempts++
			}
		}
		answered = float64(done.Load()) / 600 // 200 clients, three calls each in a minute
	})
	return answered, attempts
}

// TestCapacity_stampede: the same outage ends for clients that back off, and
// goes on for those that hammer: what they cost holds the API down.
func TestCapacity_stampede(t *testing.T) {
	hammer, hammered := recovery(t, func(int) time.Duration { return 500 * time.Millisecond })
	rng := rand.New(rand.NewPCG(1, 1))
	var mu sync.Mutex
	polite, asked := recovery(t, func(n int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(rng.Float64() * float64(min(60*time.Second, time.Second<<min(n, 6))))
	})
	t.Logf("every 500 ms: %.0f%% answered with %d attempts; full jitter: %.0f%% with %d", 100*hammer, hammered, 100*polite, asked)
	if hammer > 0.5 {
		t.Errorf("clients that hammer got %.0f%% of a minute's calls answered after the outage, want them to hold it down", 100*hammer)
	}
	if polite < 0.7 {
		t.Errorf("clients that back off got %.0f%%, want most", 100*polite)
	}
}
