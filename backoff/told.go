package backoff

import "time"

// leastSpread keeps clients apart that were all told to come back at once or
// in a second. A quarter of a second is a guess: a few round trips.
const leastSpread = 250 * time.Millisecond

// Told is the wait for an upstream that has named one: r, and on top of it a
// random part of a tenth of r, or of 250ms if that is more. It is never
// shorter than r, because an earlier attempt is known to fail; and it is not r
// itself, because everybody who was told the same would come back together.
//
// A negative r, such as a date that has passed, counts as 0. random is in
// [0, 1); nil means rand.Float64. Told does not overflow.
func Told(r time.Duration, random func() float64) time.Duration {
	r = max(r, 0)
	extra := uniform(0, max(leastSpread, r/10), random)
	if wait := r + extra; wait >= r {
		return wait
	}
	return 1<<63 - 1
}
