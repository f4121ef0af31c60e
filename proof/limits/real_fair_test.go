package limits

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// crowd is who calls beside whom.
type crowd struct {
	rpm          int
	answer       time.Duration
	burst        time.Duration
	people, jobs int // workers; so many people use 70 % of the limit
	settled, end time.Duration
	slack        time.Duration // of a wait, beyond a third
}

// TestReal_flood: interactive calls wait 1.3 times as long beside a flood of
// batch as without it, at most, and batch has a thirteenth or what they leave:
// where they use 70 % of the limit and hardly wait at all, and where they would
// use twice of it.
func TestReal_flood(t *testing.T) {
	t.Parallel()
	c := realCrowd
	type side struct {
		stage *stage
		seen  []outcome
	}
	start := func() *side {
		return &side{stage: newStage(t, scene{
			token: c.answer / 20, tokens: 20, limit: sim.Limit{RPM: c.rpm, ITPM: 100_000_000, OTPM: 20_000_000}, burst: c.burst, story: always,
		}, "")}
	}
	people := []int{c.people, c.people * 3}
	var alone, beside []*side
	var plays []func()
	for _, n := range people {
		a, b := start(), start()
		alone, beside = append(alone, a), append(beside, b)
		calm := load{workers: n, key: "a", class: "interactive", body: small}
		plays = append(plays,
			func() { a.seen = a.stage.play(5, c.end, calm) },
			func() {
				b.seen = b.stage.play(5, c.end, calm, load{workers: c.jobs, key: "b", class: "batch", body: small})
			})
	}
	together(plays...)
	for i, n := range people {
		batch := 0
		for _, o := range beside[i].seen {
			if o.class == "batch" && o.status == 200 {
				batch++
			}
		}
		floor := int(float64(c.rpm) * (c.end - 2*c.answer).Minutes() / 13) // what was called off is not counted
		p95, flooded := queuedP95(alone[i].seen, "interactive", c.settled), queuedP95(beside[i].seen, "interactive", c.settled)
		t.Logf("%d people: p95 of their wait is %v alone, %v beside the flood; %d calls of batch, its floor is %d", n, p95, flooded, batch, floor)
		if limit := max(p95*13/10, p95+c.slack); flooded > limit {
			t.Errorf("%d people: they waited %v, want %v at most", n, flooded, limit)
		}
		if batch < floor {
			t.Errorf("%d people: batch had %d calls, want its floor of %d", n, batch, floor)
		}
	}
}

// rivals are two callers of one class and weight.
type rivals struct {
	itpm         int
	answer       time.Duration
	burst        time.Duration
	a, b         int // workers; the prompts of b are four times as long
	settled, end time.Duration
	most         float64 // the larger share, at most
}

// TestReal_shares: of two callers of one class and weight who both want more
// than there is, each gets half within 5 %.
func TestReal_shares(t *testing.T) {
	t.Parallel()
	c := realRivals
	st := newStage(t, scene{
		token: c.answer / 20, tokens: 20, limit: sim.Limit{RPM: 100_000, ITPM: c.itpm, OTPM: 20_000_000}, burst: c.burst,
	}, "")
	st.play(6, c.end,
		load{workers: c.a, key: "a", body: func(*rand.Rand, int) string { return prompt(500, 1024, false) }},
		load{workers: c.b, key: "b", body: func(*rand.Rand, int) string { return prompt(2000, 1024, false) }})
	used := map[string]float64{}
	sum, most := 0.0, 0.0
	for _, a := range st.attempts(t) {
		if a.Since > c.settled && a.Since < c.end && (a.Status == 200 || a.Status == 0) {
			used[a.KeyTag] += float64(a.InputTokens)
			sum += float64(a.InputTokens)
			most = max(most, used[a.KeyTag])
		}
	}
	t.Logf("the larger share is %.1f %%", 100*most/sum)
	if len(used) != 2 || most/sum > c.most {
		t.Errorf("shares of input %v: the larger is %.1f %%, want %.1f %% at most", used, 100*most/sum, 100*c.most)
	}
}
