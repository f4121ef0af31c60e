package backoff

import "time"

// forgotten is how many steps of the walk [Decorrelated.Delay] takes at most.
// ln(3·uniform(0,1)) has mean 0.1 and deviation 1, so a walk between a Base
// and a Max a thousand times larger has forgotten its start well before that
// and later waits have the same distribution. It bounds the work to about
// 10 µs, however large n is.
const forgotten = 1000

// Decorrelated waits between Base and three times the wait before, at most
// Max. Waits wander instead of climbing: in Brooker's simulation it is as
// quick as full jitter and costs a quarter to a third more calls.
//
// The rule needs the wait before. [Decorrelated.Next] takes it as an argument,
// for a caller that keeps it, one per call. Delay takes the attempt number
// alone, as [Policy] asks, and walks all n steps anew: each wait has exactly
// the distribution of the n-th wait of such a call, but two waits of one call
// are independent of each other.
//
// The zero value starts between 1s and 3s. It is safe for concurrent use if
// Rand is.
type Decorrelated struct {
	Base time.Duration  // shortest wait; 0 or less means 1s
	Max  time.Duration  // longest wait; 0 or less means 60s
	Rand func() float64 // in [0, 1); nil means rand.Float64
}

// Delay implements [Policy]. It does not overflow, however large n is.
func (d Decorrelated) Delay(n int) time.Duration {
	var wait time.Duration
	for range min(max(n, 1), forgotten) {
		wait = d.Next(wait)
	}
	return wait
}

// Next draws the wait that follows before, which is 0 for the first.
func (d Decorrelated) Next(before time.Duration) time.Duration {
	base, limit := defaults(d.Base, d.Max)
	if base >= limit {
		return limit
	}
	before = max(before, base)
	high := 3 * before
	if before > (1<<63-1)/3 {
		high = 1<<63 - 1
	}
	// Cut after the draw, not before it: that is what piles waits up at Max.
	return min(limit, uniform(base, high, d.Rand))
}
