package backoff

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const seed = 20151203

func seeded() func() float64 { return rand.New(rand.NewPCG(seed, 1)).Float64 }

func always(x float64) func() float64 { return func() float64 { return x } }

// almostOne is the largest number below 1: the end of every random range.
var almostOne = math.Nextafter(1, 0)

// distanceFromUniform is the Kolmogorov–Smirnov distance between the waits
// and the uniform distribution over [lo, hi].
func distanceFromUniform(waits []time.Duration, lo, hi time.Duration) float64 {
	slices.Sort(waits)
	n, d := float64(len(waits)), 0.0
	for i, w := range waits {
		f := float64(w-lo) / float64(hi-lo)
		d = max(d, f-float64(i)/n, float64(i+1)/n-f)
	}
	return d
}

// critical is the distance that one sample in a thousand of truly uniform
// draws exceeds: 1.949/√n (asymptotic Kolmogorov distribution).
func critical(n int) float64 { return 1.949 / math.Sqrt(float64(n)) }

func TestWaitsOfTenThousandFailuresAreUniform(t *testing.T) {
	const failures = 10_000
	for _, c := range []struct {
		n      int
		lo, hi time.Duration
		policy Policy
	}{
		{1, 0, time.Second, Exponential{Rand: seeded()}},
		{2, 0, 2 * time.Second, Exponential{Rand: seeded()}},
		{4, 0, 8 * time.Second, Exponential{Rand: seeded()}},
		{6, 0, 32 * time.Second, Exponential{Rand: seeded()}},
		{7, 0, 60 * time.Second, Exponential{Rand: seeded()}},
		{math.MaxInt, 0, 60 * time.Second, Exponential{Rand: seeded()}},
		{3, 2 * time.Second, 4 * time.Second, Equal{Rand: seeded()}},
		{1, time.Second, 3 * time.Second, Decorrelated{Rand: seeded()}},
	} {
		t.Run(fmt.Sprintf("%T/n=%d", c.policy, c.n), func(t *testing.T) {
			waits := make([]time.Duration, failures)
			for i := range waits {
				waits[i] = c.policy.Delay(c.n)
			}
			if got, want := distanceFromUniform(waits, c.lo, c.hi), critical(failures); got > want {
				t.Errorf("distance from uniform(%v, %v) = %.4f, want at most %.4f", c.lo, c.hi, got, want)
			}
		})
	}
}

// The test above must be able to fail: it has to notice half a window.
func TestUniformityTestNoticesEqualJitter(t *testing.T) {
	p := Equal{Rand: seeded()}
	waits := make([]time.Duration, 10_000)
	for i := range waits {
		waits[i] = p.Delay(1)
	}
	if got := distanceFromUniform(waits, 0, time.Second); got < 0.4 {
		t.Errorf("distance of equal jitter from uniform(0, 1s) = %.4f, want about 0.5", got)
	}
}

func TestDelay_bounds(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		why    string
		policy func(random func() float64) Policy
		n      int
		lo, hi time.Duration // for a draw of 0 and of almost 1
	}{
		{"full jitter starts at one second", full(0, 0), 1, 0, time.Second},
		{"and doubles", full(0, 0), 2, 0, 2 * time.Second},
		{"below the cap still doubled", full(0, 0), 6, 0, 32 * time.Second},
		{"the cap is not a power of two", full(0, 0), 7, 0, time.Minute},
		{"base above max is cut", full(time.Hour, time.Second), 1, 0, time.Second},
		{"attempts count from 1; 0 is taken for it", full(0, 0), 0, 0, time.Second},
		{"negative settings are no settings", full(-1, -1), 1, 0, time.Second},
		{"the 64th doubling would overflow", full(1, math.MaxInt64), 64, 0, math.MaxInt64},
		{"so would the largest attempt number", full(time.Second, math.MaxInt64), math.MaxInt, 0, math.MaxInt64},
		{"the 62nd doubling of 1ns fits", full(1, math.MaxInt64), 63, 0, 1 << 62},
		{"equal jitter never returns at once", equal(0, 0), 1, 500 * ms, time.Second},
		{"equal jitter at its cap", equal(0, 0), 40, 30 * time.Second, time.Minute},
		{"equal jitter does not overflow", equal(1, math.MaxInt64), math.MaxInt, math.MaxInt64 / 2, math.MaxInt64},
		{"decorrelated, first: up to three times the base", walk(0, 0), 1, time.Second, 3 * time.Second},
		{"decorrelated, second: three times the wait before", walk(0, 0), 2, time.Second, 9 * time.Second},
		{"decorrelated is cut at max", walk(0, 0), 5, time.Second, time.Minute},
		{"decorrelated does not overflow", walk(1, math.MaxInt64), math.MaxInt, 1, math.MaxInt64},
		{"decorrelated with base above max", walk(time.Hour, time.Second), 3, time.Second, time.Second},
		{"plain has no jitter", plain(0, 0), 3, 4 * time.Second, 4 * time.Second},
		{"plain is cut at max", plain(0, 0), math.MaxInt, time.Minute, time.Minute},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := c.policy(always(0)).Delay(c.n); got != c.lo {
				t.Errorf("shortest wait = %v, want %v", got, c.lo)
			}
			got := c.policy(always(almostOne)).Delay(c.n)
			if rounding := c.hi/1e9 + 16; got > c.hi || got < c.hi-rounding {
				t.Errorf("longest wait = %v, want %v and not more", got, c.hi)
			}
		})
	}
}

func full(base, limit time.Duration) func(func() float64) Policy {
	return func(r func() float64) Policy { return Exponential{base, limit, r} }
}

func equal(base, limit time.Duration) func(func() float64) Policy {
	return func(r func() float64) Policy { return Equal{base, limit, r} }
}

func walk(base, limit time.Duration) func(func() float64) Policy {
	return func(r func() float64) Policy { return Decorrelated{base, limit, r} }
}

func plain(base, limit time.Duration) func(func() float64) Policy {
	return func(func() float64) Policy { return Plain{base, limit} }
}

// Drawing the n-th wait from n alone must not change its distribution.
func TestDecorrelated_delayIsDistributedAsTheWalk(t *testing.T) {
	const draws, n = 10_000, 6
	d := Decorrelated{Rand: seeded()}
	alone, kept := make([]time.Duration, draws), make([]time.Duration, draws)
	for i := range draws {
		alone[i] = d.Delay(n)
		for range n {
			kept[i] = d.Next(kept[i])
		}
	}
	slices.Sort(alone)
	slices.Sort(kept)
	upTo := func(sorted []time.Duration, w time.Duration) float64 {
		i, _ := slices.BinarySearch(sorted, w+1)
		return float64(i) / draws
	}
	// Two-sample Kolmogorov–Smirnov, one false alarm in a thousand.
	got, limit := 0.0, 1.949*math.Sqrt(2.0/draws)
	for _, w := range alone {
		got = max(got, math.Abs(upTo(alone, w)-upTo(kept, w)))
	}
	if got > limit {
		t.Errorf("distance between Delay(%d) and %d times Next = %.4f, want at most %.4f", n, n, got, limit)
	}
}

func TestZeroValuesUseTheSharedSource(t *testing.T) {
	for _, p := range []Policy{Exponential{}, Equal{}, Decorrelated{}, Plain{}} {
		for n := 1; n <= 20; n++ {
			if got := p.Delay(n); got < 0 || got > time.Minute {
				t.Errorf("%T.Delay(%d) = %v, want within a minute", p, n, got)
			}
		}
	}
}

func TestAStrayRandomSourceStaysInBounds(t *testing.T) {
	for _, x := range []float64{-1, 1, 2, math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, p := range []Policy{full(0, math.MaxInt64)(always(x)), equal(0, 0)(always(x)), walk(0, 0)(always(x))} {
			if got := p.Delay(99); got < 0 {
				t.Errorf("%T with source %v waits %v, want no less than 0", p, x, got)
			}
		}
	}
}

func TestTold(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		why      string
		r        time.Duration
		shortest time.Duration
		longest  time.Duration
	}{
		{"seven seconds are spread over a tenth more", 7 * time.Second, 7 * time.Second, 7700 * ms},
		{"a minute too", time.Minute, time.Minute, 66 * time.Second},
		{"a tenth of a second would be a herd", time.Second, time.Second, 1250 * ms},
		{"at once is not at once for everybody", 0, 0, 250 * ms},
		{"a date that has passed means now", -time.Hour, 0, 250 * ms},
		{"2.5s is where a tenth takes over", 2500 * ms, 2500 * ms, 2750 * ms},
		{"the longest duration does not wrap round", math.MaxInt64, math.MaxInt64, math.MaxInt64},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := Told(c.r, always(0)); got != c.shortest {
				t.Errorf("shortest wait = %v, want %v", got, c.shortest)
			}
			if got := Told(c.r, always(almostOne)); got > c.longest || got < c.longest-16 {
				t.Errorf("longest wait = %v, want %v", got, c.longest)
			}
		})
	}
}

func TestTold_isUniformAndNeverShorter(t *testing.T) {
	random, waits := seeded(), make([]time.Duration, 10_000)
	for i := range waits {
		waits[i] = Told(7*time.Second, random)
	}
	if got := slices.Min(waits); got < 7*time.Second {
		t.Errorf("shortest of 10,000 waits = %v, want at least 7s", got)
	}
	if got, want := distanceFromUniform(waits, 7*time.Second, 7700*time.Millisecond), critical(10_000); got > want {
		t.Errorf("distance from uniform(7s, 7.7s) = %.4f, want at most %.4f", got, want)
	}
}

func ExampleExponential() {
	longest := Exponential{Rand: func() float64 { return 0.999999999 }}
	for n := 1; n <= 8; n++ {
		fmt.Print(longest.Delay(n).Round(time.Second), " ")
	}
	// Output: 1s 2s 4s 8s 16s 32s 1m0s 1m0s
}

func BenchmarkDelay(b *testing.B) {
	for _, p := range []Policy{Exponential{}, Equal{}, Decorrelated{}, Plain{}} {
		for _, n := range []int{1, 7, math.MaxInt} {
			b.Run(fmt.Sprintf("policy=%T/attempt=%d", p, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Delay(n)
				}
			})
		}
	}
}
