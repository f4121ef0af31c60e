package evenkeel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestFallback_probesGoOn: though no call waits for it any more, the breaker of
// the first model finds out that it is back.
func TestFallback_probesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{})
		tr := newTransport(t, evenkeel.Config{Base: api, Fallback: fallbacks(), Breaker: evenkeel.Breaker{MinCalls: 3}})
		rule := fails(first, 529, "")
		rule.Until = 2 * time.Minute
		api.SetFaults(rule)
		start := time.Now()
		var mu sync.Mutex
		by := map[string]int{}
		late := map[string]int{} // of those that came in the last minute
		var wg sync.WaitGroup
		for range 5 * 60 {
			wg.Go(func() {
				arrived := time.Since(start)
				req := newRequest(t, "POST", endpoint, bodyOf("", ""))
				req.Header.Set(evenkeel.HeaderDeadline, "30s")
				a := mustSend(t, tr, req)
				mu.Lock()
				defer mu.Unlock()
				if a.StatusCode != 200 && arrived > 15*time.Second { // before, those whose end opens it
					t.Errorf("the call at %v got %d, trail %s", arrived, a.StatusCode, a.Header.Get(evenkeel.HeaderTrail))
				}
				by[a.Header.Get(evenkeel.HeaderModel)]++
				if arrived > 4*time.Minute {
					late[a.Header.Get(evenkeel.HeaderModel)]++
				}
			})
			time.Sleep(time.Second)
		}
		wg.Wait()
		if by[second] < 60 || by[""] < 60 || late[second] > 0 || late[""] < 50 {
			t.Errorf("answered by %v, of the last minute %v; want the other in the outage and the first after it", by, late)
		}
		failed := 0
		for _, at := range api.Attempts() {
			if at.Status == 529 && at.At.Sub(start) > 30*time.Second {
				failed++
			}
		}
		if failed > 10 {
			t.Errorf("%d attempts failed once the breaker was open, want no more than a probe now and then", failed)
		}
		checkNothingLeft(t, tr, api)
	})
}

// TestFallback_random: whatever fails, what holds for all calls holds.
func TestFallback_random(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 17))
			api := sim.New(sim.Config{Seed: seed})
			kinds := []sim.Fault{
				{Status: 529},
				{Status: 429, Header: map[string]string{"Retry-After": "20"}},
				{Status: 500},
				{Status: 400},
				{Kind: sim.ResetBeforeHeaders},
				{Kind: sim.Hang},
				{Kind: sim.ErrorEventAt},
				{Kind: sim.ResetAfter, Events: 1},
				{Kind: sim.Slow, After: 5 * time.Second},
			}
			var rules []sim.Rule
			for range 1 + r.IntN(4) {
				rules = append(rules, sim.Rule{Rate: r.Float64(), Models: []string{first, first, second}[r.IntN(3)], Fault: kinds[r.IntN(len(kinds))]})
			}
			api.SetFaults(rules...)
			most := 1 + r.IntN(6)
			adm := newLedger(t, call.MemoryConfig{Breaker: evenkeel.Breaker{MinCalls: 3}})
			tr := newTransport(t, evenkeel.Config{
				Base: api, Admission: adm, MaxAttempts: most, Fallback: fallbacks(),
				Stream: evenkeel.Stream{Plain: r.IntN(2) == 0, Resume: r.IntN(2) == 0},
			})
			var wg sync.WaitGroup
			for i := range 12 {
				body := bodyOf([]string{"", `,"stream":true`}[r.IntN(2)], "")
				deadline, leave := time.Duration(1+r.IntN(60))*time.Second, time.Duration(r.IntN(20))*time.Second
				wg.Go(func() {
					time.Sleep(time.Duration(i) * time.Second)
					req := newRequest(t, "POST", endpoint, body)
					req.Header.Set(evenkeel.HeaderDeadline, deadline.String())
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if leave > 15*time.Second {
						time.AfterFunc(leave, cancel)
					}
					a, err := send(t, tr, req.WithContext(ctx))
					if err != nil {
						return
					}
					by := a.Header.Get(evenkeel.HeaderModel)
					if by != "" && by != second || a.StatusCode == 200 && a.read == nil && gjson.Get(a.body, "model").Exists() && gjson.Get(a.body, "model").Str != map[string]string{"": first, second: second}[by] {
						t.Errorf("seed %d: said to be by %q: %s", seed, by, a.body)
					}
					if by != "" && a.StatusCode != 200 {
						t.Errorf("seed %d: an error of a model nobody has asked: %s", seed, a.body)
					}
					var n int
					if _, _ = fmt.Sscan(a.Header.Get(evenkeel.HeaderAttempts), &n); n > most {
						t.Errorf("seed %d: %d attempts, want %d at most", seed, n, most)
					}
				})
			}
			wg.Wait()
			synctest.Wait()
			if len(adm.out) != 0 {
				t.Errorf("seed %d: %d tickets were never settled", seed, len(adm.out))
			}
			checkNothingLeft(t, tr, api)
		})
	}
}
