package limit

import "time"

// flow is the output that is being produced. Upstream counts it as it comes,
// so charging an answer of a minute when it begins would leave half a minute
// of the limit unused for ever: as much as is always in flight.
//
// Instead each attempt adds its pace. The level falls by the sum of them, and
// what is still to come is promised. Let r be the rate, p the paces together
// and O what is promised. While p ≤ r the level cannot fall. If p is more, and
// the answers that run are at all stages of their length alike, the paces fall
// to nothing evenly within 2·O/p, and until they are at r the level falls by
//
//	O · (1 − r/p)²
//
// An attempt is let in if the level is at least that, with its own pace and
// output added. The worst that can come is that all end at the same moment: a
// fall of O · (1 − r/p), which is more by at most O/4. That much debt is what
// it can be wrong by; upstream then lets nobody in until it is paid, and so do
// we. An attempt of unknown pace is charged at once.
type flow struct {
	pace     float64 // tokens per second
	promised float64 // not produced yet, of attempts with a pace
	running  int     // attempts with a pace
	upfront  float64 // charged when it began, of attempts without
	drain    drain
	dry      bool // the last answer showed nothing left
	shown    tick // when that was
	unseen   int  // attempts let in since
	let      tick // when the last of them was

	// worst is what was seen to be left, less what a stranger who takes a large
	// part of the rate would have taken since. It is never a debt: upstream slows
	// answers down where nothing is left.
	worst float64
}

// drain is how much a second others take of the output, as far as levels show
// it. Of requests and input it is enough to keep some of the level back, since
// each attempt takes its part of it. Of output an attempt takes nothing when
// it begins: levels that are right at every look would still let too many in.
type drain struct {
	rate  float64
	sum   float64 // by how much levels were lower than ours, less by how much higher, since begin
	begin tick
}

// Levels are looked at for drainEvery before they say anything, or for as long
// as it takes until what is rounded away is a tenth of the rate. Both are
// guesses.
const (
	drainEvery = 3 * time.Second
	drainNoise = 0.1
)

func (d *drain) learn(t tick, lower, off, rate float64) {
	d.sum += lower
	past := (t - d.begin).Seconds()
	if rate > 0 && past >= max(drainEvery.Seconds(), off/(drainNoise*rate)) {
		if d.sum < 0 {
			d.sum *= lessDrain
		}
		d.rate = max(0, min(mostDrain*rate, d.rate+d.sum/past))
		d.sum, d.begin = 0, t
	}
}

// lessDrain is how much less a level that is higher than ours says against
// others than one that is lower says for them. A drain that is believed in
// vain costs a part of the level, once; one that is not, a 429. A guess.
const lessDrain = 0.5

// mostDrain is the share of the rate that others are taken to use at most: we
// try again, however little is left.
const mostDrain = 0.9

// ours is what others leave of the rate, as far as answers have shown it in the
// last minute.
func (b *bucket) ours() float64 {
	d := &b.flow.drain
	if d.rate > 0 && b.at > d.begin+wariness {
		d.rate, d.sum, d.begin = 0, 0, b.at
	}
	return b.rated() - min(d.rate, mostDrain*b.rated())
}

// probing is how long an attempt that was let in to see what is left may take
// to tell it, before another is. A guess: an answer begins in a second.
const probing = 1500 * time.Millisecond

// Where others are known, or may have come because nobody has looked for so
// long, an attempt waits until it would find something left though a stranger
// took this share of the rate. It costs none of the rate: what is not used
// stays in the bucket. Without it one attempt in a hundred was answered 429
// while somebody else had 40 % of it, by a level that had refilled unseen.
// Both are guesses.
const (
	strange    = 0.4
	longUnseen = 8 * time.Second
)

// waitOutput is wait for what is counted as it comes. Since attempts take
// nothing when they begin, a level that is wrong lets in any number of them;
// so where little is left, and it was seen long ago, or nothing was left when
// it was last seen, one at a time is let in until an answer shows more.
func (b *bucket) waitOutput(n, pace, cushion float64, wary bool) time.Duration {
	f := &b.flow
	need := f.need(n, pace, b.ours())
	blind := b.mirrors() && b.level < b.size()/8 && b.at > f.shown+fresh
	ahead := time.Duration(0) // until the attempt that looks ahead has told, or should have
	if (f.dry || blind) && f.unseen > 0 {
		ahead = max(0, f.let+probing-b.at)
	}
	if blind && !f.dry && ahead == 0 {
		// Half of the headroom is for this: waiting until there is more than
		// that would be waiting on a level that nobody has seen.
		need, cushion = 1, max(cushion/2, min(cushion, margin.Seconds()*b.rated()))
	}
	if b.mirrors() && (wary || b.at > f.shown+longUnseen) {
		if lack := margin.Seconds()*b.rated() - f.worst; lack > 0 {
			ahead = max(ahead, seconds(lack/((1-strange)*b.rated())))
		}
	}
	lack := min(need, b.size()-cushion) + cushion - b.level
	if lack <= slack {
		return ahead
	}
	return max(ahead, seconds(lack/b.ours()))
}

// see notes what an answer showed.
func (f *flow) see(t tick, v view, off, lower, rate float64) {
	if v.kind == Input || v.kind == Tokens {
		return // what is reserved too high hides what others take
	}
	if v.kind == Output && v.remaining <= off {
		lower = max(0, lower) // it is held at nothing, whatever is taken
	}
	f.drain.learn(t, lower, off, rate)
	if v.kind != Output {
		return
	}
	f.dry, f.unseen, f.shown = v.remaining <= off, 0, t
}

// run lets time pass and returns what was produced.
func (f *flow) run(seconds float64) float64 {
	n := f.pace * seconds
	f.promised = max(0, f.promised-n)
	return n
}

// need is the level that lets an answer of n in. There must be some left even
// for one that begins later: upstream refuses it otherwise.
func (f *flow) need(n, pace, rate float64) float64 {
	promised, total := f.promised, f.pace+pace
	if pace > 0 {
		promised, n = promised+n, 0
	}
	fall := 0.0
	if total > rate {
		over := 1 - rate/total
		fall = promised * over * over
	}
	return max(1, n+fall)
}

func (f *flow) start(t tick, n, pace float64) {
	f.unseen++
	f.let = t
	if pace <= 0 {
		f.upfront += n
		return
	}
	f.pace += pace
	f.promised += n
	f.running++
}

// end takes an attempt out that has run for so many seconds, and returns what
// it has been charged so far.
func (f *flow) end(n, pace, seconds float64) (charged float64) {
	if pace <= 0 {
		f.upfront = max(0, f.upfront-n)
		return n
	}
	charged = pace * seconds
	f.running--
	f.pace = max(0, f.pace-pace)
	f.promised = max(0, f.promised-n+charged)
	if f.running == 0 { // what rounding has left over
		f.pace, f.promised = 0, 0
	}
	return charged
}

// settleOutput replaces what an answer was expected to produce by what it has.
// What it was charged beyond or below that is corrected, as far as no answer
// has shown the level since: of a run of a minute that was last seen ten
// seconds ago, a sixth.
func (b *bucket) settleOutput(t tick, r *reservation, reserved, actual float64) {
	b.refill(t)
	ran := (t - r.start).Seconds()
	charged := b.flow.end(reserved, r.cost.pace, ran)
	b.ledger.Refunded += reserved - actual
	b.ledger.Outstanding += actual - reserved
	b.close(actual)
	if !b.limited() {
		return
	}
	unseen := 1.0
	if b.anchor > r.start && ran > 0 {
		unseen = (t - b.anchor).Seconds() / ran
	}
	if r.cost.pace <= 0 {
		b.give(r.start, charged-actual*unseen) // an anchor leaves all of it charged
	} else {
		b.give(r.start, (charged-actual)*unseen)
	}
}
