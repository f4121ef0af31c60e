package limits

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func small(*rand.Rand, int) string { return prompt(20, 1024, false) }

// busy is how many attempts that were served were in flight within [from, to),
// on average.
func busy(all []sim.Attempt, from, to time.Duration) float64 {
	var sum time.Duration
	for _, a := range all {
		if a.Status == http.StatusOK || a.Status == 0 {
			sum += max(0, min(to, a.Since+a.Duration)-max(from, a.Since))
		}
	}
	return sum.Seconds() / (to - from).Seconds()
}

// TestHealthy: a healthy API and 200 workers. Within five seconds of the start
// 95 % of what is possible goes through, with errors in the background that do
// not depend on us 90 %.
func TestHealthy(t *testing.T) {
	for name, tt := range map[string]struct{ errors, want float64 }{
		"no errors": {0, 0.95}, "1 % of errors": {0.01, 0.90}, "5 % of errors": {0.05, 0.90},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				api := sim.New(sim.Config{
					TokenTime: 50 * time.Millisecond, OutputTokens: 400, // answers of 20 s
					Faults: []sim.Rule{background(tt.errors)},
				})
				const until = 3 * time.Minute
				play(newTransport(t, evenkeel.Config{Base: api}), 3, load{workers: 200, key: "a", body: small, until: until})
				all := api.Attempts()
				early, mean := busy(all, 5*time.Second, 5*time.Second+1), busy(all, 5*time.Second, until-25*time.Second)
				t.Logf("%.0f of 200 in flight after 5 s, %.1f on average from then on", early, mean)
				if min(early, mean) < tt.want*200 {
					t.Errorf("%.0f attempts in flight after 5 s, %.1f on average, want %.0f of 200", early, mean, tt.want*200)
				}
			})
		})
	}
}

// TestOverload: for three minutes the API serves 20 calls at a time, and 100
// workers want to be served. At least 95 % of its capacity is used, and after
// half a minute one attempt in ten at most is answered 529; 15 s after its end
// 95 % of the full rate is back.
func TestOverload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const workers, slots = 100, 20
		const from, until, end = time.Minute, 4 * time.Minute, 6 * time.Minute
		api := sim.New(sim.Config{
			TokenTime: 25 * time.Millisecond, OutputTokens: 400, // 10 s
			Capacity: []sim.Capacity{{Slots: workers}},
		})
		api.SetFaults(background(0.01), sim.Rule{From: from, Until: until, Fault: sim.Fault{Kind: sim.Slots, Factor: float64(slots) / workers}})
		tr := newTransport(t, evenkeel.Config{Base: api})
		play(tr, 4, load{workers: workers, key: "a", body: small, until: end})
		all := api.Attempts()
		settled := from + 30*time.Second
		goodput := busy(all, settled, until) / slots
		m := observe(all, sim.Limit{}, settled, until, 0, nil)
		back := busy(all, until+15*time.Second, until+45*time.Second) / workers
		t.Logf("goodput %.1f %% of capacity, %.1f %% of attempts 529, %.1f %% of the full rate from 15 s after", 100*goodput,
			100*float64(m.overload)/float64(m.attempts), 100*back)
		if goodput < 0.95 {
			t.Errorf("goodput is %.1f %% of capacity, want 95 %%", 100*goodput)
		}
		if share := float64(m.overload) / float64(m.attempts); share > 0.10 {
			t.Errorf("%.1f %% of attempts were answered 529, want 10 %% at most", 100*share)
		}
		if back < 0.95 {
			t.Errorf("%.1f %% of the full rate was back after 15 s, want 95 %%", 100*back)
		}
	})
}
