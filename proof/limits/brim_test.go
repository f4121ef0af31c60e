package limits

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestBrim: 200 workers want twice what the limit allows; nothing is
// configured. After the first minute at least 97 % of it goes through, and over
// all at most one attempt in two hundred is answered 429. One in a hundred
// attempts fails whatever we do.
func TestBrim(t *testing.T) {
	const minutes = 4
	tests := []struct {
		name  string
		limit sim.Limit
		bound int // the bucket that is scarce
		body  func(r *rand.Rand, n int) string
	}{
		{"requests", sim.Limit{RPM: 300, ITPM: 10_000_000, OTPM: 2_000_000}, 0, func(*rand.Rand, int) string { return prompt(20, 1024, false) }},
		{"input", sim.Limit{RPM: 10_000, ITPM: 300_000, OTPM: 2_000_000}, 1, func(*rand.Rand, int) string { return prompt(1000, 1024, false) }},
		{"output", sim.Limit{RPM: 10_000, ITPM: 10_000_000, OTPM: 120_000}, 2, func(*rand.Rand, int) string { return prompt(20, 4096, false) }},
		{"mixed sizes", sim.Limit{RPM: 10_000, ITPM: 300_000, OTPM: 2_000_000}, 1, func(r *rand.Rand, _ int) string {
			return prompt(20<<r.IntN(9), 1024<<r.IntN(3), false)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				api := sim.New(sim.Config{
					Limits: []sim.Limit{tt.limit}, TokenTime: 50 * time.Millisecond, OutputTokens: 400, OutputSpread: 0.5,
					Faults: []sim.Rule{background(0.01)},
				})
				play(newTransport(t, evenkeel.Config{Base: api}), 1, load{workers: 200, key: "a", body: tt.body, until: minutes * time.Minute})
				all := api.Attempts()
				whole := observe(all, tt.limit, 0, minutes*time.Minute, time.Minute, nil)
				late := observe(all, tt.limit, time.Minute, minutes*time.Minute, 0, nil)
				t.Logf("from the start: %v", whole)
				t.Logf("after a minute: %v", late)
				if got := late.used[tt.bound]; got < 0.97 {
					t.Errorf("used %.1f %% of the limit, want 97 %%", 100*got)
				}
				if got := whole.refusedShare(); got > 0.005 {
					t.Errorf("%.2f %% of attempts were answered 429, want 0.5 %% at most", 100*got)
				}
			})
		})
	}
}
