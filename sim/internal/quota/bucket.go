package quota

import "time"

// slack is what rounding may hide of a token.
const slack = 1e-6

// bucket refills continuously with rate per second, up to size. The zero
// bucket has no limit.
type bucket struct {
	rate, size float64
	level      float64
	at         time.Time // when level was true
}

func newBucket(perMinute int, burst time.Duration, now time.Time) bucket {
	rate := float64(perMinute) / 60
	size := max(1, rate*burst.Seconds())
	return bucket{rate: rate, size: size, level: size, at: now}
}

func (b *bucket) limited() bool { return b.rate > 0 }

// refill brings the level up to now. Of rate and size a share is taken by
// others, which is how they show.
func (b *bucket) refill(now time.Time, others float64) {
	room := b.size * (1 - others)
	if past := now.Sub(b.at); past > 0 {
		b.level += past.Seconds() * b.rate * (1 - others)
		b.at = now
	}
	b.level = min(b.level, room)
}

// wait is how long until the bucket holds n, as of the last refill, if others
// take nothing: what they will take nobody knows. What it can never hold counts
// as if it could.
func (b *bucket) wait(n float64) time.Duration {
	lack := n - b.level
	if lack <= slack {
		return 0
	}
	return time.Duration(lack / b.rate * float64(time.Second))
}

// full is how long until the bucket is as full as it gets when nobody else
// takes from it.
func (b *bucket) full() time.Duration {
	return time.Duration(max(0, b.size-b.level) / b.rate * float64(time.Second))
}
