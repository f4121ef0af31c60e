package concurrency

import ("testing";"time")

func TestDbg(t *testing.T) {
	l := New(Config{})
	s := play(100, 0, l, ours, func(s *storm) {
		s.noise = 0.01
		s.places = func(at time.Duration) int { if at < 180*time.Second { return 20 }; return 1000 }
	})
	for at := 200*time.Millisecond; at < 195*time.Second; at += 200*time.Millisecond {
		r := s.refused
		lim := l.limit
		s.until(at)
		if s.refused != r || lim != l.limit {
			t.Logf("%v: refused %d, busy %d inflight %d limit %d->%d safe %d step %d credit %d gain %d lost %d proven %v check %v before %.2f", at, s.refused-r, s.busy, l.inFlight, lim, l.limit, l.safe, l.step, l.credit, l.gain, l.lost, l.proven, l.check, l.before)
		}
	}
}
