// Package backoff says how long to wait before the next attempt.
//
// It knows nothing of HTTP or of Claude: a [Policy] is a function of the
// attempt number alone, so a test can ask for attempt 40 without living
// through the 39 before it. Whether to try at all is package retry's question.
//
// Four rules stand side by side. With c = min(Max, Base · 2^(n−1)):
//
//	Exponential    uniform(0, c)           full jitter; the default
//	Equal          c/2 + uniform(0, c/2)
//	Decorrelated   s ← min(Max, uniform(Base, 3·s)), s = Base at first
//	Plain          c                       no jitter; for comparison only
//
// A wait that the upstream has named is not drawn from any of them: see [Told].
package backoff

import (
	"math/rand/v2"
	"time"
)

// Defaults of every policy here. One second is the shortest pause that gives
// an overloaded server time to notice; a minute is the longest wait that is
// taken without telling the caller. Both are guesses that the field shares:
// they are the first and last window of most published client retry rules.
const (
	DefaultBase = time.Second
	DefaultMax  = 60 * time.Second
)

// A Policy draws the wait before a retry. Delay(n) is the wait after the n-th
// failure; n starts at 1. It is safe for concurrent use.
type Policy interface {
	Delay(n int) time.Duration
}

// Exponential waits a random part of a ceiling that doubles from Base to Max.
//
// The randomness is the point. One overloaded_error reaches every client in
// the same second, and equal waits would bring them all back in the same
// second too. A wait drawn from the whole range (“full jitter”) cost the
// fewest calls of the variants in Brooker, “Exponential Backoff And Jitter”,
// AWS Architecture Blog, 2015.
//
// The zero value waits up to 1s, then 2s, 4s, … and at most 60s. It is safe
// for concurrent use if Rand is.
type Exponential struct {
	Base time.Duration  // first ceiling; 0 or less means 1s
	Max  time.Duration  // last ceiling; 0 or less means 60s
	Rand func() float64 // in [0, 1); nil means rand.Float64; tests pass a constant
}

// Delay implements [Policy]. It does not overflow, however large n is.
func (e Exponential) Delay(n int) time.Duration {
	return uniform(0, ceiling(e.Base, e.Max, n), e.Rand)
}

// Equal waits half of the ceiling for certain and a random part of the other
// half (“equal jitter”). It never returns at once, and pays for that with
// longer waits: three quarters of the ceiling on average, where [Exponential]
// waits half.
//
// The zero value waits 0.5s to 1s, then 1s to 2s, … and at most 60s. It is
// safe for concurrent use if Rand is.
type Equal struct {
	Base time.Duration  // first ceiling; 0 or less means 1s
	Max  time.Duration  // last ceiling; 0 or less means 60s
	Rand func() float64 // in [0, 1); nil means rand.Float64
}

// Delay implements [Policy]. It does not overflow, however large n is.
func (e Equal) Delay(n int) time.Duration {
	c := ceiling(e.Base, e.Max, n)
	return uniform(c/2, c, e.Rand)
}

// Plain waits the ceiling itself: 1s, 2s, 4s, … It is here to be compared
// with. Clients that failed together come back together, attempt after
// attempt, so it is not for use against anything shared.
type Plain struct {
	Base time.Duration // first wait; 0 or less means 1s
	Max  time.Duration // longest wait; 0 or less means 60s
}

// Delay implements [Policy]. It does not overflow, however large n is.
func (p Plain) Delay(n int) time.Duration { return ceiling(p.Base, p.Max, n) }

// ceiling is min(limit, base · 2^(n−1)) with defaults filled in; n below 1
// counts as 1.
func ceiling(base, limit time.Duration, n int) time.Duration {
	base, limit = defaults(base, limit)
	shift := max(n, 1) - 1
	if base > limit>>shift { // base << shift > limit, without overflow
		return limit
	}
	return base << shift
}

func defaults(base, limit time.Duration) (time.Duration, time.Duration) {
	if base <= 0 {
		base = DefaultBase
	}
	if limit <= 0 {
		limit = DefaultMax
	}
	return base, limit
}

// uniform draws from [lo, hi]; hi is not below lo. A random source that
// strays outside [0, 1) cannot push the wait outside its bounds.
func uniform(lo, hi time.Duration, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	part := random() * float64(hi-lo)
	switch {
	case !(part > 0): // also NaN
		return lo
	case part >= float64(hi-lo):
		return hi
	}
	return lo + time.Duration(part)
}
