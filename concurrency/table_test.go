package concurrency

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// play makes a storm of so many workers.
func play(workers int, seed uint64, limit gate, rule rule, set func(*storm)) *storm {
	s := &storm{r: rand.New(rand.NewPCG(seed, 0)), answer: 20 * time.Second, limit: limit, rule: rule,
		places: func(time.Duration) int { return 1 << 30 }}
	set(s)
	s.begin(workers)
	return s
}

func TestExplore(t *testing.T) {
	for _, noise := range []float64{0, 0.01, 0.05, 0.1, 0.15, 0.2} {
		for seed := range uint64(3) {
			l := New(Config{})
			s := play(200, seed, l, ours, func(s *storm) { s.noise = noise })
			s.until(5 * time.Second)
			at5 := s.busy
			mean := s.mean(10 * time.Minute)
			t.Logf("healthy noise %v: at 5 s %d, mean %.1f, limit %+v again %v", noise, at5, mean, l.State(s.now), l.again.Sub(epoch))
		}
	}
	for _, noise := range []float64{0.01, 0.05} {
		for _, from := range []time.Duration{0, 60 * time.Second} {
			for seed := range uint64(4) {
				l := New(Config{})
				end := from + 3*time.Minute
				s := play(100, seed, l, ours, func(s *storm) {
					s.noise = noise
					s.places = func(at time.Duration) int {
						if at >= from && at < end {
							return 20
						}
						return 1000
					}
				})
				s.until(from + 30*time.Second)
				a, r, sv := s.attempts, s.refused, s.served
				mean := s.mean(end)
				share := float64(s.refused-r) / float64(s.attempts-a)
				lim := l.State(s.now)
				s.until(end + 15*time.Second)
				t.Logf("noise %v from %v: goodput %.3f (%d), 529s %.3f, limit %d trial %v, 15 s after: %d; failed %d; %v", noise, from, mean/20, s.served-sv, share, lim.Limit, lim.Trial, s.busy, s.failed, l.again.Sub(epoch) > 0)
			}
		}
	}
	_ = fmt.Sprint
}
