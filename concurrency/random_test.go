package concurrency

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/retry"
)

// An episode of 529s that come at random: half a minute of health, two minutes
// in which a share of all attempts is refused whatever the load, and health.
const (
	randomFrom  = 30 * time.Second
	randomUntil = 150 * time.Second
)

// random is such an episode: the mean number of attempts being served, which is
// answers per second times the time of one, from ten seconds after its beginning
// to its end; the same from 15 s after its end on, for as long as an answer takes
// and ten seconds; and for how long after its end there was a limit.
func random(share float64, answer time.Duration, workers int, seed uint64, limit gate, rule rule) (during, after float64, gone time.Duration) {
	s := play(workers, seed, limit, rule, func(s *storm) {
		s.answer = answer
		s.random = func(at time.Duration) float64 {
			if at < randomFrom || at >= randomUntil {
				return 0
			}
			return share
		}
	})
	s.until(randomFrom + 10*time.Second)
	during = s.mean(randomUntil)
	l, ok := limit.(*Limit)
	for ok && gone < 15*time.Second && l.State(s.now).Limit > 0 {
		gone += 100 * time.Millisecond
		s.until(randomUntil + gone)
	}
	s.until(randomUntil + 15*time.Second)
	return during, s.mean(randomUntil + 25*time.Second + answer), gone
}

// TestLimit_random: 529s that come whatever our load is cost next to nothing,
// however many they are, and however long answers take. With our own retries
// and many 529s it is mostly the budget that holds calls back, here as without a
// limit.
func TestLimit_random(t *testing.T) {
	t.Log("| retries | share | answers | workers | served, of what is served without a limit | from 15 s after | limit gone after, at most |")
	t.Log("|---|---|---|---|---|---|---|")
	for _, share := range []float64{0.1, 0.2, 0.3, 0.5, 0.7} {
		for _, answer := range []time.Duration{400 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
			for _, workers := range []int{10, 40, 200} {
				t.Run(fmt.Sprintf("%.0f_%v_%d", 100*share, answer, workers), func(t *testing.T) {
					randomly(t, "six attempts", share, answer, workers, tenacity)
					if workers == 40 {
						randomly(t, "ours", share, answer, workers, ours)
					}
				})
			}
		}
	}
}

// randomly plays one cell of the table, so often that chance does not matter.
func randomly(t *testing.T, name string, share float64, answer time.Duration, workers int, rule rule) {
	seeds := max(3, min(int(answer/time.Second)*100/workers, 20))
	var during, after [2]float64 // with a limit, and without
	var gone time.Duration
	for seed := range uint64(seeds) {
		for i, limit := range []gate{New(Config{}), &fixed{}} {
			a, b, late := random(share, answer, workers, seed, limit, rule)
			during[i] += a
			after[i] += b
			gone = max(gone, late)
		}
	}
	served, back := during[0]/during[1], after[0]/after[1]
	t.Logf("| %s | %.0f %% | %v | %d | %.1f %% | %.1f %% | %v |", name, 100*share, answer, workers, 100*served, 100*back, gone)
	if served < 0.9 {
		t.Errorf("%.1f %% of what is served without a limit, want 90", 100*served)
	}
	if back < 0.95 && !rule.budget {
		t.Errorf("from 15 s after its end %.1f %% of what is served without a limit, want 95", 100*back)
	}
	if gone > 5*time.Second {
		t.Errorf("the limit was there %v after its end, want 5 s at most", gone)
	}
}

// TestLimit_randomWaits: calls that arrive by themselves, seven a second, wait
// for an answer about as long as without a limit. Where they queue behind one
// that falls to 1, they wait for many seconds.
func TestLimit_randomWaits(t *testing.T) {
	for _, share := range []float64{0.3, 0.5, 0.7} {
		half, most := waits(share, func() gate { return New(Config{}) })
		halfWithout, mostWithout := waits(share, func() gate { return &fixed{} })
		t.Logf("%.0f %%: p50 %v, p95 %v; without a limit %v, %v", 100*share, half, most, halfWithout, mostWithout)
		if half > halfWithout+halfWithout/10 || most > mostWithout+mostWithout/5 {
			t.Errorf("%.0f %%: answers are there after %v at p50, %v at p95; without a limit after %v, %v", 100*share, half, most, halfWithout, mostWithout)
		}
	}
}

// TestLimit_overAndBack: that what goes beyond the limit is accepted says that an
// overload is over, and not that it was none. The next one, which comes soon, is
// met like the first.
func TestLimit_overAndBack(t *testing.T) {
	const workers, few = 100, 20
	const again, end = 140 * time.Second, 240 * time.Second
	for _, answer := range []time.Duration{5 * time.Second, 20 * time.Second} {
		got := over(20, New(Config{}), []bool{false, true}, func(seed uint64) []float64 {
			s := play(workers, seed, New(Config{}), tenacity, func(s *storm) {
				s.noise, s.answer = 0.01, answer
				s.places = func(at time.Duration) int {
					if at >= time.Minute && at < 2*time.Minute || at >= again && at < end {
						return few
					}
					return 10 * workers
				}
			})
			s.until(again + 30*time.Second)
			attempts, refused := s.attempts, s.refused
			served := s.mean(end)
			return []float64{served / few, float64(s.refused-refused) / float64(s.attempts-attempts)}
		})
		t.Logf("answers of %v: goodput %v, 529s per attempt %v", answer, got[0], got[1])
		if got[0].mean < 0.95 || got[1].mean > 0.11 || got[1].worst > 0.2 {
			t.Errorf("answers of %v: goodput %v, want 95 %%; 529s per attempt %v, want 11 %% at most", answer, got[0], got[1])
		}
	}
}

// waits is the times to an answer of 0.4 s, the median and the 95th percentile,
// of calls that arrive in ten seconds of health and ten of random 529s.
func waits(share float64, gate func() gate) (half, most time.Duration) {
	const from, until = 10 * time.Second, 20 * time.Second
	var took []time.Duration
	for seed := range uint64(20) {
		s := &storm{
			now: epoch, r: rand.New(rand.NewPCG(seed, 0)), answer: 400 * time.Millisecond, limit: gate(), rule: tenacity,
			budget: retry.New(retry.Config{}), open: true,
			places: func(time.Duration) int { return 1 << 30 },
			random: func(at time.Duration) float64 {
				if at < from || at >= until {
					return 0
				}
				return share
			},
		}
		s.arrive(7, until)
		s.until(5 * time.Minute)
		took = append(took, s.took...)
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*95/100]
}
