package limit

import (
	"math"
	"time"
)

// tick is a time of a book: since its first moment. It never goes back.
type tick = time.Duration

// slack is what rounding may hide of a token.
const slack = 1e-6

// depths of buckets in seconds of rate. The API enforces limits over shorter
// intervals than a minute too (“Rate limits”), how short it does not say:
// 10 s is a guess that headers correct.
const (
	guessedDepth = 10
	mostDepth    = 60
)

// bucket mirrors one limit. The zero bucket has none, and keeps account
// nevertheless, because a limit may become known while attempts are in flight.
type bucket struct {
	told   [sources]float64 // limit per minute, by who says so; 0 if nobody
	ramp   ramp
	rate   float64 // per second; 0 is no limit
	depth  float64 // seconds of rate that it holds
	level  float64 // below 0 is a debt
	at     tick    // when level was true
	anchor tick    // what was charged before has been seen by an answer that set the level
	yield  yield
	recent recent
	flow   flow // of output
	peaks  peaks

	surprise  float64 // by how much levels were lower than ours lately
	surprised tick

	charged float64 // ever, what was given back included
	ledger  Ledger
}

// Ledger is where what was reserved has gone. Reserved is always the sum of
// the others; Refunded is negative where answers cost more than was reserved.
type Ledger struct{ Reserved, Settled, Refunded, Outstanding float64 }

// rated is the rate in force, per second.
func (b *bucket) rated() float64 {
	if b.ramp.rate > 0 && (b.rate == 0 || b.ramp.rate < b.rate) {
		return b.ramp.rate
	}
	return b.rate
}

// ramping says that the rate in force is that of a ramp.
func (b *bucket) ramping() bool { return b.ramp.rate > 0 && b.rated() == b.ramp.rate }

func (b *bucket) limited() bool { return b.rate > 0 || b.ramp.rate > 0 }

// size is what it holds when it is full.
func (b *bucket) size() float64 {
	depth := b.depth
	if b.ramping() {
		depth = min(depth, rampDepth)
	}
	return max(1, b.rated()*depth)
}

// refill brings the bucket up to t.
func (b *bucket) refill(t tick) {
	if t <= b.at {
		return
	}
	past := (t - b.at).Seconds()
	b.at = t
	if b.ramp.rate > 0 {
		b.ramp.grow(t, past, b.rate)
	}
	used := b.flow.run(past)
	b.flow.worst = max(0, min(b.size(), b.flow.worst+(1-strange)*b.rated()*past-used))
	if b.limited() {
		b.level = min(b.size(), b.level+b.ours()*past-used)
	}
}

// wait is how long until an attempt that takes n finds what it needs, of
// which cushion is kept back. The bucket has been refilled.
//
// Who takes more than the bucket can hold needs a full one, and leaves a debt
// that those behind wait out. Whoever waited for more would starve.
func (b *bucket) wait(k Kind, n, pace, cushion float64, wary bool) time.Duration {
	if k == Output {
		return b.waitOutput(n, pace, cushion, wary)
	}
	if n <= 0 {
		return 0
	}
	lack := min(n, b.size()-cushion) + cushion - b.level
	if lack <= slack {
		return 0
	}
	return seconds(lack / b.ours())
}

// charge takes n, and returns what had been charged before.
func (b *bucket) charge(t tick, k Kind, n, pace float64) (before float64) {
	b.refill(t)
	before = b.charged
	b.ledger.Reserved += n
	b.ledger.Outstanding += n
	b.charged += n
	if k == Output {
		b.flow.start(t, n, pace)
		if pace > 0 {
			return before
		}
	} else {
		b.recent.add(t, n)
	}
	b.ramp.use(t, n)
	if b.limited() {
		b.peaks.note(t, b.level)
		b.level -= n
	}
	return before
}

// correct replaces what is held of a kind that is charged at once by what it
// was, since a time. If an answer has set the level since, the truth is in it already.
func (b *bucket) correct(t, since tick, held, actual float64, seen bool) {
	b.refill(t)
	b.ledger.Outstanding += actual - held
	b.ledger.Refunded += held - actual
	if actual > 0 { // what never counted says nothing of what does
		b.yield.learn(held, actual)
	}
	if actual < held {
		b.ramp.use(t, actual-held)
	}
	if b.limited() && !seen {
		b.give(since, held-actual)
	}
}

// give gives back what was charged at a time, or takes what was not.
func (b *bucket) give(since tick, n float64) {
	if n > 0 {
		n = b.peaks.give(since, n, b.level, b.size())
	}
	b.level += n
}

// close ends what is held.
func (b *bucket) close(held float64) {
	b.ledger.Outstanding -= held
	b.ledger.Settled += held
}

// recent holds what was charged lately, in slots, so that it can be said what
// a header cannot have seen yet.
type recent struct {
	slots [recentSlots]float64
	slot  int64 // number of the newest
}

const (
	recentSlots = 32
	recentSlot  = 25 * time.Millisecond
)

func (r *recent) add(t tick, n float64) {
	slot := int64(t / recentSlot)
	r.turn(slot)
	r.slots[slot%recentSlots] += n
}

func (r *recent) turn(slot int64) {
	if slot-r.slot >= recentSlots {
		r.slots, r.slot = [recentSlots]float64{}, slot
	}
	for ; r.slot < slot; r.slot++ {
		r.slots[(r.slot+1)%recentSlots] = 0
	}
}

// since returns what was charged from the given time on, including the whole
// slot in which it lies; false if it is too long ago to be known.
func (r *recent) since(from, t tick) (n float64, ok bool) {
	r.turn(int64(t / recentSlot))
	first := int64(max(0, from) / recentSlot)
	if first <= r.slot-recentSlots {
		return 0, false
	}
	for slot := first; slot <= r.slot; slot++ {
		n += r.slots[slot%recentSlots]
	}
	return n, true
}

// seconds is a time of f seconds, rounded up, so that whoever waits for it is
// never early.
func seconds(f float64) time.Duration {
	const longest = 1 << 61
	if f = math.Ceil(f * float64(time.Second)); f >= longest {
		return longest
	}
	return time.Duration(f)
}

// yield is how much of what is reserved turns out to count. It is no more than
// a mean: what is reserved is what hardly any attempt exceeds.
type yield struct{ held, counted float64 }

func (y *yield) learn(held, actual float64) {
	y.held = y.held*fade + held
	y.counted = y.counted*fade + actual
}

// of is what n that is reserved is expected to count; all of it as long as
// nothing is known.
func (y *yield) of(n float64) float64 {
	if y.held <= 0 {
		return n
	}
	return n * min(1, y.counted/y.held)
}
