package breaker

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestRamp_timeLine(t *testing.T) {
	closing := func(more ...step) []step {
		return append(recovering(
			step{30, "ask a", "probe", HalfOpen}, step{30, "good a", "", HalfOpen},
			step{30, "ask b", "probe", HalfOpen}, step{30, "good b", "", HalfOpen},
			step{30, "ask c", "probe", HalfOpen}, step{30, "good c", "", Closed},
		), more...)
	}
	// Every draw is 0.5, which passes from the tenth second of the ramp on.
	for _, c := range []struct {
		why   string
		cfg   Config
		steps []step
	}{
		{"a draw above the share does not pass yet, and gets a place", Config{}, closing(
			step{39.9, "ask n", "ramp 40.049937655", Closed},
			step{40, "ask n", "pass", Closed},
		)},
		{"who has waited gets a place, and passes when it has come", Config{}, closing(
			step{30, "waited w", "ramp 49.154759474", Closed},
			step{49.2, "slot w", "pass", Closed},
		)},
		{"even in the last second: it is drawn from what is left", Config{}, closing(
			step{59, "waited w", "ramp 59.50316443", Closed},
		)},
		{"after the ramp everything passes", Config{}, closing(
			step{60, "waited w", "pass", Closed},
			step{60, "ask n", "pass", Closed},
		)},
		{"a place is worth nothing when it has opened again", Config{}, closing(
			step{30, "waited w", "ramp 49.154759474", Closed},
			step{45, "20 fail", "", Open},
			step{49.2, "slot w", "hold 75", Open},
		)},
		{"without a ramp all pass at once", Config{Ramp: -1}, closing(
			step{30, "waited w", "pass", Closed},
			step{30, "ask n", "pass", Closed},
		)},
		{"who gives up during the ramp suffered from what was before", Config{}, closing(
			step{50, "19 fail", "", Closed},
			step{50, "count", "", Closed},
			step{50, "count", "", Closed},
			step{60, "count", "", Open},
		)},
	} {
		t.Run(c.why, func(t *testing.T) { play(t, c.cfg, c.steps) })
	}
}

// Ten thousand calls that waited come back with a density that grows linearly
// from a quarter to one: Kolmogorov–Smirnov against its integral, one false
// alarm in a thousand.
func TestRamp_waitersDoNotStampede(t *testing.T) {
	const waiters = 10_000
	for _, late := range []float64{0, 10, 25} { // seconds after closing at 30
		b, r := closedAgain(Config{}), rand.New(rand.NewPCG(3, 3))
		now := at(30 + late)
		places := make([]float64, waiters) // 0 to 1 of the ramp
		for i := range places {
			d := b.Admit(now, true, true, r.Float64())
			if d.OK || !d.Ramp || d.Until.Before(now) || d.Until.After(at(60)) {
				t.Fatalf("waiter %d at %vs of the ramp: %+v, want a place in what is left of it", i, late, d)
			}
			places[i] = d.Until.Sub(at(30)).Seconds() / 30
		}
		slices.Sort(places)
		area := func(x float64) float64 { return 0.25*x + 0.75*x*x/2 }
		from, far := area(late/30), 0.0
		for i, x := range places {
			f := (area(x) - from) / (area(1) - from)
			far = max(far, math.Abs(f-float64(i)/waiters), math.Abs(f-float64(i+1)/waiters))
		}
		if limit := 1.949 / math.Sqrt(waiters); far > limit {
			t.Errorf("%vs into the ramp: distance from the density = %.4f, want at most %.4f", late, far, limit)
		}
		for _, x := range []float64{places[0], places[waiters/2], places[waiters-1]} {
			if d := b.AdmitSlot(at(30+30*x+1e-6), true); !d.OK {
				t.Errorf("the place at %.3f of the ramp was not honoured: %+v", x, d)
			}
		}
	}
}

func TestRamp_newCallsPassFromAQuarterToAll(t *testing.T) {
	const calls = 10_000
	for _, c := range []struct{ late, share float64 }{{0, 0.25}, {10, 0.5}, {20, 0.75}, {29, 0.975}, {30, 1}} {
		b, r, passed := closedAgain(Config{}), rand.New(rand.NewPCG(5, 5)), 0
		for range calls {
			if b.Admit(at(30+c.late), true, false, r.Float64()).OK {
				passed++
			}
		}
		// 0.015 is three deviations of a share of one half.
		if got := float64(passed) / calls; math.Abs(got-c.share) > 0.015 {
			t.Errorf("%vs after closing %.3f of new calls pass, want %.3f", c.late, got, c.share)
		}
	}
}

// What the comment of Admit says about a steady load.
func TestRamp_aSteadyLoadNeverMoreThanDoubles(t *testing.T) {
	const perSecond = 2000
	b, r := closedAgain(Config{}), rand.New(rand.NewPCG(9, 9))
	var sent [40]int // by second after closing
	for i := range 35 * perSecond {
		now := at(30 + float64(i)/perSecond)
		if d := b.Admit(now, true, false, r.Float64()); d.OK {
			sent[int(now.Sub(at(30))/time.Second)]++
		} else {
			sent[int(d.Until.Sub(at(30))/time.Second)]++
		}
	}
	for second, n := range sent[:35] {
		if got := float64(n) / perSecond; got > 2 {
			t.Errorf("second %d of the ramp carries %.2f of the load, want at most 2", second, got)
		}
	}
	if got := float64(sent[0]) / perSecond; got > 0.35 {
		t.Errorf("the first second carries %.2f of the load, want about a quarter", got)
	}
}
