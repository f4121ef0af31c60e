package demo

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	of := func(n int) []time.Duration { // 1, 2, … n
		d := make([]time.Duration, n)
		for i := range d {
			d[i] = time.Duration(i + 1)
		}
		return d
	}
	for _, tt := range []struct {
		n    int
		p    float64
		want time.Duration
	}{
		{1, 50, 1},
		{1, 95, 1},
		{2, 50, 1},
		{2, 95, 2},
		{20, 50, 10},
		{20, 95, 19},
		{21, 95, 20},
		{100, 95, 95},
		{100, 0, 1},
		{100, 100, 100},
	} {
		if got := percentile(of(tt.n), tt.p); got != tt.want {
			t.Errorf("percentile %v of 1…%d is %d, want %d", tt.p, tt.n, got, tt.want)
		}
	}
}

func TestTally_whatHasNoEndWaits(t *testing.T) {
	phases, _ := plan(time.Minute, 5)
	counts := newTally(phases)
	for range 4 {
		counts.began(limit, direct)
	}
	counts.ended(limit, direct, "", time.Second)
	counts.ended(limit, direct, "429 rate_limit_error", time.Second)
	rows, all := counts.rows()
	for _, s := range []Side{rows[limit].Direct, all.Direct} {
		if s.OK != 1 || s.Failed != 1 || s.Waiting != 2 {
			t.Errorf("got %d ok, %d failed, %d waiting, want 1, 1, 2", s.OK, s.Failed, s.Waiting)
		}
	}
	if s := all.Evenkeel; s.P50 != nil || s.P95 != nil {
		t.Errorf("a side without calls has latencies %v and %v, want none", s.P50, s.P95)
	}
}
