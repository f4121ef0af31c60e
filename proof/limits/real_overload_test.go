package limits

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestReal_healthy: 200 workers and answers of 20 s. Five seconds after the
// start 95 % of what is possible is in flight and stays so; where 1 or 5 % of
// attempts fail whatever we do, 90 %.
func TestReal_healthy(t *testing.T) {
	t.Parallel()
	const workers = 200
	tests := []struct {
		errors int // per cent
		want   float64
		stage  *stage
	}{{0, 0.95, nil}, {1, 0.90, nil}, {5, 0.90, nil}}
	var plays []func()
	for i := range tests {
		s := scene{token: 50 * time.Millisecond, tokens: 400, spread: 0}
		if n := tests[i].errors; n > 0 {
			s.story = []string{fmt.Sprintf("0s overload %d%%", n)}
		}
		st := newStage(t, s, "")
		tests[i].stage = st
		plays = append(plays, func() { st.play(3, healthyFor, load{workers: workers, key: "a", body: small}) })
	}
	together(plays...)
	for _, tt := range tests {
		all := tt.stage.attempts(t)
		early, mean := busy(all, healthyBy, healthyBy+10*time.Millisecond), busy(all, healthyBy, healthyFor)
		t.Logf("%d %% fail: %.1f %% in flight %v after the start, %.1f %% on average from then on", tt.errors, 100*early/workers, healthyBy, 100*mean/workers)
		if min(early, mean) < tt.want*workers {
			t.Errorf("%d %% fail: %.1f %% in flight %v after the start, %.1f %% on average, want %.0f %%", tt.errors, 100*early/workers, healthyBy, 100*mean/workers, 100*tt.want)
		}
	}
}

// storm is an overload: for a time the API serves a fifth of what workers
// want.
type storm struct {
	workers, slots         int
	token                  time.Duration // 400 to an answer
	from, until, end       time.Duration
	settles, recovers      time.Duration // after from, after until
	goodput, refused, back float64       // what is asked
}

// TestReal_overload: capacity of 20 and demand of 100. At least 95 % of the
// capacity is used, after half a minute one attempt in ten at most is answered
// 529, and 15 s after its end 95 % of the full rate is back.
func TestReal_overload(t *testing.T) {
	t.Parallel()
	w := realStorm
	st := newStage(t, scene{token: w.token, tokens: 400, slots: w.workers, story: always}, "")
	together(
		func() { st.play(4, w.end, load{workers: w.workers, key: "a", body: small}) },
		func() {
			if err := st.tell("storm", fmt.Sprintf("%v slots %d%% for %v", w.from, 100*w.slots/w.workers, w.until-w.from)); err != nil {
				t.Error(err)
			}
		},
	)
	all := st.attempts(t)
	settled, over := w.from+w.settles, w.until+w.recovers
	goodput := busy(all, settled, w.until) / float64(w.slots)
	m := observe(all, sim.Limit{}, settled, w.until, 0, nil)
	back := busy(all, over, w.end) / float64(w.workers)
	refused := float64(m.overload) / float64(max(1, m.attempts))
	t.Logf("goodput %.1f %% of capacity, %d of %d attempts 529 (%.1f %%), %.1f %% of the full rate from %v after", 100*goodput,
		m.overload, m.attempts, 100*refused, 100*back, w.recovers)
	if goodput < w.goodput {
		t.Errorf("goodput is %.1f %% of capacity, want %.0f %%", 100*goodput, 100*w.goodput)
	}
	if refused > w.refused {
		t.Errorf("%.1f %% of attempts were answered 529, want %.0f %% at most", 100*refused, 100*w.refused)
	}
	if back < w.back {
		t.Errorf("%.1f %% of the full rate was back after %v, want %.0f %%", 100*back, w.recovers, 100*w.back)
	}
}
