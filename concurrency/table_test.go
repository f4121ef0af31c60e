package concurrency

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// play makes a storm of so many workers.
func play(workers int, seed uint64, limit gate, rule rule, set func(*storm)) *storm {
	s := &storm{
		r: rand.New(rand.NewPCG(seed, 0)), answer: 20 * time.Second, limit: limit, rule: rule,
		places: func(time.Duration) int { return 1 << 30 },
	}
	set(s)
	s.begin(workers)
	return s
}

// policies are what the storms are played under. The breaker is in none.
var policies = []struct {
	name string
	gate func() gate
	rule rule
}{
	{"this limit, our retries", func() gate { return New(Config{}) }, ours},
	{"the plain rule, our retries", func() gate { return &aimd{} }, ours},
	{"no limit, our retries", func() gate { return &fixed{} }, ours},
	{"fixed cap of 20, our retries", func() gate { return &fixed{most: 20} }, ours},
	{"fixed cap of 50, our retries", func() gate { return &fixed{most: 50} }, ours},
	{"the SDK's own rule", func() gate { return &fixed{} }, sdk},
	{"six attempts, full jitter", func() gate { return &fixed{} }, tenacity},
}

// result is means over the seeds, and the worst of them.
type result struct{ mean, worst float64 }

func (r result) String() string { return fmt.Sprintf("%.1f (%.1f) %%", 100*r.mean, 100*r.worst) }

// over plays storms, so many with the limit and five with others, and takes the mean of each number and its least, or
// its most if it is better low.
func over(seeds int, gate gate, lowIsBetter []bool, play func(seed uint64) []float64) []result {
	if _, ok := gate.(*Limit); !ok {
		seeds = 5
	}
	sums := make([]result, len(lowIsBetter))
	for seed := range uint64(seeds) {
		for i, x := range play(seed) {
			r := &sums[i]
			r.mean += x / float64(seeds)
			if seed == 0 || (x > r.worst) == lowIsBetter[i] {
				r.worst = x
			}
		}
	}
	return sums
}

// healthy is an API that answers 200 workers, but for some noise: the part of
// the possible rate at 5 s, and from then on until five minutes.
func healthy(noise float64, gate func() gate, rule rule) []result {
	return over(20, gate(), []bool{false, false}, func(seed uint64) []float64 {
		const workers = 200
		s := play(workers, seed, gate(), rule, func(s *storm) { s.noise = noise })
		s.until(5 * time.Second)
		return []float64{float64(s.busy) / workers, s.mean(5*time.Minute) / workers}
	})
}

// overloaded is an API of 20 places for three minutes, from the start or after
// a minute in which it was healthy, for 100 workers: the part of the places
// that serve and of attempts refused, from 30 s after its beginning to its end;
// of the workers served 15 s after its end; and of calls that failed. A refusal
// may keep a place busy for a while.
func overloaded(noise float64, from, costs time.Duration, gate func() gate, rule rule) []result {
	return over(20, gate(), []bool{false, true, false, true}, func(seed uint64) []float64 {
		const workers, few = 100, 20
		end := from + 3*time.Minute
		s := play(workers, seed, gate(), rule, func(s *storm) {
			s.noise, s.costs = noise, costs
			s.places = func(at time.Duration) int {
				if at >= from && at < end {
					return few
				}
				return 10 * workers
			}
		})
		s.until(from + 30*time.Second)
		attempts, refused, failed, answers := s.attempts, s.refused, s.failed, s.served
		served := s.mean(end)
		share := float64(s.refused-refused) / float64(s.attempts-attempts)
		lost := float64(s.failed-failed) / float64(s.failed-failed+s.served-answers)
		s.until(end + 15*time.Second)
		return []float64{served / few, share, float64(s.busy) / workers, lost}
	})
}

// TestLimit_table prints what the limit makes of an API that is healthy, and
// of one that is overloaded, beside what others do.
func TestLimit_table(t *testing.T) {
	t.Log("means (worst) of 20 storms with the limit, of 5 without")
	t.Log("| policy | healthy, 1 % noise: rate at 5 s | after | 5 %: at 5 s | after | 20 places for 100 workers: goodput | 529s per attempt | rate 15 s after | calls failed |" +
		" the same after a minute of health: goodput | 529s per attempt | rate 15 s after | goodput if a refusal costs a place for 1 s |")
	t.Log("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for i, p := range policies {
		one, five := healthy(0.01, p.gate, p.rule), healthy(0.05, p.gate, p.rule)
		cold, warm := overloaded(0.01, 0, 0, p.gate, p.rule), overloaded(0.01, time.Minute, 0, p.gate, p.rule)
		costly := overloaded(0.01, 0, time.Second, p.gate, p.rule)
		t.Logf("| %s | %v | %v | %v | %v | %v | %v | %v | %v | %v | %v | %v | %v |", p.name,
			one[0], one[1], five[0], five[1], cold[0], cold[1], cold[2], cold[3], warm[0], warm[1], warm[2], costly[0])
		if i > 0 {
			continue
		}
		for _, c := range []struct {
			what      string
			got, want float64
		}{
			{"healthy, 1 % noise, at 5 s", one[0].worst, 0.95},
			{"healthy, 1 % noise", one[1].worst, 0.95},
			{"healthy, 5 % noise, at 5 s", five[0].worst, 0.9},
			{"healthy, 5 % noise", five[1].worst, 0.9},
			{"overloaded from the start, goodput", cold[0].worst, 0.95},
			{"overloaded after a minute, goodput", warm[0].worst, 0.95},
			{"overloaded from the start, attempts not refused", 1 - cold[1].mean, 0.89},
			{"overloaded after a minute, attempts not refused", 1 - warm[1].mean, 0.89},
			{"overloaded from the start, 15 s after", cold[2].mean, 0.95},
			{"overloaded after a minute, 15 s after", warm[2].mean, 0.95},
			{"overloaded where refusals cost, goodput", costly[0].worst, 0.95},
		} {
			if c.got < c.want {
				t.Errorf("%s: %.3f, want at least %.2f", c.what, c.got, c.want)
			}
		}
	}
}

// TestLimit_noise: errors that do not depend on our load cost a few percent of
// the rate in trials, however many there are.
func TestLimit_noise(t *testing.T) {
	for _, noise := range []float64{0.1, 0.15, 0.2, 0.3} {
		got := healthy(noise, func() gate { return New(Config{}) }, ours)
		none := healthy(noise, func() gate { return &fixed{} }, ours)
		t.Logf("%.0f %% noise: at 5 s %v, then %v of the possible rate; without a limit %v, then %v", 100*noise, got[0], got[1], none[0], none[1])
		if got[1].mean < 0.95*none[1].mean || got[1].worst < 0.9*none[1].worst {
			t.Errorf("%.0f %% noise: %.3f of the possible rate at worst, without a limit %.3f", 100*noise, got[1].worst, none[1].worst)
		}
	}
}

// slow is an API of 20 places for ten minutes, for 100 workers, whose overload
// shows in attempts that are given up after a minute, beside 1 % that hang
// anyway: the part of the places' answers that came, and of attempts given up,
// from three minutes on; and of the workers' answers five to ten minutes after.
func slow(shared bool, gate func() gate, rule rule) []result {
	return over(20, gate(), []bool{false, true, false}, func(seed uint64) []float64 {
		const workers, few = 100, 20
		s := play(workers, seed, gate(), rule, func(s *storm) {
			s.slow, s.noise, s.shared = time.Minute, 0.01, shared
			s.places = func(at time.Duration) int {
				if at < 10*time.Minute {
					return few
				}
				return 10 * workers
			}
		})
		answers := func(from, to time.Duration, places int) float64 {
			s.until(from)
			served := s.served
			s.until(to)
			return float64(s.served-served) * s.answer.Seconds() / (to - from).Seconds() / float64(places)
		}
		s.until(3 * time.Minute)
		attempts, refused := s.attempts, s.refused
		good := answers(3*time.Minute, 10*time.Minute, few)
		share := float64(s.refused-refused) / float64(s.attempts-attempts)
		return []float64{good, share, answers(15*time.Minute, 20*time.Minute, workers)}
	})
}

// TestLimit_timeouts prints what the limit does where overload shows late.
// Where everything gets slower it is the difference between some answers and
// none; where the attempts beyond capacity hang and cost nothing there is
// nothing to win, and it has to cost little.
func TestLimit_timeouts(t *testing.T) {
	t.Log("| policy | all slower: goodput | timeouts per attempt | rate after | beyond capacity hangs: goodput | timeouts per attempt | rate after |")
	t.Log("|---|---|---|---|---|---|---|")
	var with, without []result
	for i, p := range policies {
		r := append(slow(true, p.gate, p.rule), slow(false, p.gate, p.rule)...)
		t.Logf("| %s | %v | %v | %v | %v | %v | %v |", p.name, r[0], r[1], r[2], r[3], r[4], r[5])
		switch i {
		case 0:
			with = r
		case 2:
			without = r
		}
	}
	if with[0].mean < 0.75 || with[0].mean < 1.2*without[0].mean {
		t.Errorf("all slower: goodput %v, without the limit %v; want 75 %%, and a fifth more", with[0], without[0])
	}
	if with[3].mean < 0.95*without[3].mean || with[5].mean < 0.95*without[5].mean {
		t.Errorf("hanging: goodput %v and rate after %v, without the limit %v and %v; want 95 %% of those", with[3], with[5], without[3], without[5])
	}
}

// TestLimit_sizes prints how the limit does where capacity, demand and times
// are others than those its numbers were chosen with.
func TestLimit_sizes(t *testing.T) {
	t.Log("| places | workers | answers | refusals | goodput | 529s per attempt | rate 15 s after |")
	t.Log("|---|---|---|---|---|---|---|")
	for _, c := range []struct {
		few, workers   int
		answer, refuse time.Duration
	}{
		{2, 20, 20 * time.Second, refusal}, // mostly less than twenty attempts in ten seconds: no limit
		{5, 50, 20 * time.Second, refusal},
		{20, 100, 5 * time.Second, refusal},
		{20, 100, 60 * time.Second, refusal},
		{20, 25, 20 * time.Second, refusal},
		{20, 500, 20 * time.Second, refusal},
		{20, 100, 20 * time.Second, 20 * time.Millisecond},
		{20, 100, 20 * time.Second, time.Second},
		{20, 100, 20 * time.Second, 5 * time.Second},
		{200, 1000, 20 * time.Second, refusal},
		{200, 250, 20 * time.Second, refusal},
		{20, 100, 500 * time.Millisecond, refusal},
	} {
		limit := func() gate { return New(Config{}) }
		r := over(8, limit(), []bool{false, true, false}, func(seed uint64) []float64 {
			const end = 5 * time.Minute
			s := play(c.workers, seed, limit(), ours, func(s *storm) {
				s.noise, s.answer, s.slow = 0.01, c.answer, c.refuse
				s.places = func(at time.Duration) int {
					if at < end {
						return c.few
					}
					return 10 * c.workers
				}
			})
			s.until(time.Minute)
			attempts, refused := s.attempts, s.refused
			served := s.mean(end)
			share := float64(s.refused-refused) / float64(s.attempts-attempts)
			s.until(end + 15*time.Second)
			return []float64{served / float64(c.few), share, float64(s.busy) / float64(c.workers)}
		})
		t.Logf("| %d | %d | %v | %v | %v | %v | %v |", c.few, c.workers, c.answer, c.refuse, r[0], r[1], r[2])
		if c.few > 2 && (r[0].mean < 0.95 || r[1].mean > 0.17) {
			t.Errorf("%+v: goodput %v, want 95 %%; refused %v, want at most 17", c, r[0], r[1])
		}
	}
}
