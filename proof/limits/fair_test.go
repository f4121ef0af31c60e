package limits

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// queuedP95 is how long 95 % of the calls of a class waited at most.
func queuedP95(all []outcome, class string, from time.Duration) time.Duration {
	var waits []time.Duration
	for _, o := range all {
		if o.class == class && o.began >= from && o.status == 200 {
			waits = append(waits, o.queued)
		}
	}
	slices.Sort(waits)
	if len(waits) == 0 {
		return 0
	}
	return waits[len(waits)*95/100]
}

// TestFlood: interactive calls that use 70 % of the limit wait 1.3 times as
// long beside a flood of batch as without it, at most (give or take a second,
// where they hardly wait at all), and batch has what they leave.
func TestFlood(t *testing.T) {
	limit := sim.Limit{RPM: 600, ITPM: 10_000_000, OTPM: 2_000_000}
	const until = 10 * time.Minute
	run := func(t *testing.T, flood bool) (p95 time.Duration, batch int) {
		inBubble(t, func(t *testing.T) {
			api := sim.New(sim.Config{
				Limits: []sim.Limit{limit}, TokenTime: 25 * time.Millisecond, OutputTokens: 400,
				Organization: func(string) string { return "acme" }, Faults: []sim.Rule{background(0.01)},
			})
			loads := []load{{ // 70 workers, a call each in about 10 s: 7 a second
				workers: 70, key: "people", class: "interactive", body: small, until: until,
			}}
			if flood {
				loads = append(loads, load{workers: 300, key: "jobs", class: "batch", body: small, until: until})
			}
			all := play(newTransport(t, evenkeel.Config{Base: api}), 5, loads...)
			p95 = queuedP95(all, "interactive", 2*time.Minute)
			for _, o := range all {
				if o.class == "batch" && o.status == 200 {
					batch++
				}
			}
		})
		return p95, batch
	}
	alone, _ := run(t, false)
	beside, batch := run(t, true)
	floor := int(600 * until.Minutes() / 13)
	t.Logf("interactive p95: %v alone, %v beside the flood; %d calls of batch, its floor is %d", alone, beside, batch, floor)
	if limit := max(alone*13/10, alone+time.Second); beside > limit {
		t.Errorf("interactive calls waited %v, want %v at most", beside, limit)
	}
	if batch < floor {
		t.Errorf("batch had %d calls, want its floor of %d", batch, floor)
	}
}

// TestShares: of two callers of one class and weight who both want more than
// there is, each gets half within 5 %, though one has five times the workers
// and four times the prompts.
func TestShares(t *testing.T) {
	limit := sim.Limit{RPM: 10_000, ITPM: 400_000, OTPM: 2_000_000}
	inBubble(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			Limits: []sim.Limit{limit}, TokenTime: 10 * time.Millisecond, OutputTokens: 200,
			Organization: func(string) string { return "acme" },
		})
		const until = 8 * time.Minute
		play(newTransport(t, evenkeel.Config{Base: api}), 6,
			load{workers: 40, key: "a", body: func(*rand.Rand, int) string { return prompt(500, 1024, false) }, until: until},
			load{workers: 200, key: "b", body: func(*rand.Rand, int) string { return prompt(2000, 1024, false) }, until: until})
		used := map[string]float64{}
		for _, a := range api.Attempts() {
			if a.Since > 2*time.Minute && a.Since < until && a.Status == 200 {
				used[a.KeyTag] += float64(a.InputTokens)
			}
		}
		sum, most := 0.0, 0.0
		for _, u := range used {
			sum, most = sum+u, max(most, u)
		}
		t.Logf("the larger share is %.1f %%", 100*most/sum)
		if len(used) != 2 || most/sum > 0.525 {
			t.Errorf("shares of input %v: the larger is %.1f %%, want half within 5 %%", used, 100*most/sum)
		}
	})
}

// TestDeadline: a call whose deadline cannot be met is refused as soon as that
// is known, which is at once where the limit is used up for long.
func TestDeadline(t *testing.T) {
	limit := sim.Limit{RPM: 60, ITPM: 10_000_000, OTPM: 2_000_000}
	inBubble(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{limit}, TokenTime: 10 * time.Millisecond})
		tr := newTransport(t, evenkeel.Config{Base: api})
		all := play(tr, 7,
			load{workers: 50, key: "a", body: small, until: 4 * time.Minute},
			load{workers: 3, key: "a", body: small, from: 2 * time.Minute, until: 3 * time.Minute, timeout: 2 * time.Second, wait: 10 * time.Second})
		for _, o := range all {
			if o.status == 0 && o.took > 2*time.Second+10*time.Millisecond {
				t.Errorf("refused after %v, want by its deadline of 2s", o.took)
			}
		}
	})
}
