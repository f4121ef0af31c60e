package limit

import "time"

// view is what one answer showed of one bucket.
type view struct {
	kind             Kind
	start, at        tick // of the attempt; of its headers
	refused          bool // a 429: nothing of it was charged upstream
	limit, remaining float64
	full, blur       float64 // seconds until it is full, too high by at most blur
	dated            bool

	own     float64 // what the attempt is charged here
	before  float64 // charged to the bucket before it, ever
	charged bool    // own and before are known
	wary    bool    // others use the limit
}

const (
	// transit is how long an attempt may have been on its way to where it is
	// counted: connecting, and sending a large prompt. A guess.
	transit = 250 * time.Millisecond
	// fresh is the longest flight of which it makes no difference whether an
	// answer shows the level of when it was sent or of when the attempt was let
	// in: which of them is not documented, and both are seconds exact at most.
	fresh = 2 * time.Second
	// nearlyFull is the share of a bucket above which a lower level is no sign of
	// others: what it holds is known to some seconds of rate only, and it may
	// have been full.
	nearlyFull = 0.75
	// rounded is how far token levels may be off: they are rounded to the
	// nearest thousand.
	rounded = 500
)

// see learns from a view. What an answer shows is true of a moment in the past,
// is rounded, and cannot have seen what was on its way. So it says that the
// level lies between two bounds:
//
//	low  = remaining − rounding + refilled since − charged since it can have seen all
//	high = remaining + rounding + refilled since − charged since it was sent
//
// A level of ours in between is left alone: it is more exact than what is
// shown. One above was wrong, because others use the limit or a prompt was
// larger than estimated: it is cut to low at once. One below is raised to low,
// since what was estimated too high, and read from the cache, shows here
// first.
//
// It returns whether the level was set, so that what was charged before needs
// no correction any more, and by how much a cut exceeded what we knew.
func (b *bucket) see(t tick, v view) (set bool, surprise float64) {
	known := b.told[Headers] > 0
	b.tell(t, Headers, v.limit)
	b.deepen(v, known)
	b.trim()
	if !b.mirrors() {
		// A lower limit of our own is in force; the upstream's level, which
		// others use too, only bounds it.
		if high := v.remaining + b.error(v.kind); high < b.level {
			surprise, b.level = b.level-high, high
		}
		return false, surprise
	}
	low, high, seen, ok := b.bounds(t, v)
	if !ok { // of the past: looking ahead shows no more than this
		b.flow.shown, b.flow.unseen, b.flow.worst = t, 0, max(0, b.level)
		return false, 0
	}
	low = min(low, b.size())
	b.flow.worst = max(0, low)
	switch {
	case !known:
		b.level, b.anchor = low, seen
		return true, 0
	case b.level > high+slack:
		if b.level < nearlyFull*b.size() {
			surprise = b.level - high
		}
		b.flow.see(t, v, b.error(v.kind), surprise, b.rated())
		b.level, b.anchor = low, seen
		return true, surprise
	case v.wary && v.kind == Output:
		// What others take is hidden by rounding for long: the lowest it can be is
		// taken for the level, and what it has moved by adds up to what they take.
		b.flow.see(t, v, b.error(v.kind), b.level-low, b.rated())
		b.level, b.anchor = low, seen
		return true, 0
	case b.level < low:
		b.flow.see(t, v, b.error(v.kind), b.level-low, b.rated())
		b.level, b.anchor = low, seen
		return true, 0
	}
	b.flow.see(t, v, b.error(v.kind), 0, b.rated())
	return false, 0
}

// error is how far remaining may be from the level. Of a bucket that hardly
// holds what is rounded away, rounding says too little to stop it for.
func (b *bucket) error(k Kind) float64 {
	if k == Requests {
		return 1
	}
	return min(rounded, b.size()/20)
}

// bounds returns between what the level must be now, and up to when all that
// was charged has been seen.
//
// It depends on when the answer speaks: of when it was sent, or of when the
// attempt was let in. As long as that is open, a level is raised only as far as
// both readings allow, and cut as soon as the first demands it.
func (b *bucket) bounds(t tick, v view) (low, high float64, seen tick, ok bool) {
	if v.kind == Output {
		return b.boundsOfOutput(t, v)
	}
	when := b.speaks(v)
	off := b.error(v.kind)
	below := off
	if v.kind == Requests {
		below = 0 // requests are rounded down
	}
	rate := b.ours()
	if v.charged { // as of when it was let in
		since := b.charged - v.before
		if !v.refused {
			since -= v.own
		}
		level := min(v.remaining+rate*(t-v.start).Seconds(), b.size()) - b.yield.of(max(0, since))
		low, high, seen, ok = level-below, level+off, v.start, true
		if when == early {
			return low, high, seen, ok
		}
	}
	seen = v.at - min(transit, v.at-v.start)
	unseen, known := b.recent.since(seen, t)
	if !known || when == early {
		return 0, 0, seen, false // told far too late, or of a time that cannot be counted from
	}
	if v.charged && !v.refused && v.start >= seen {
		unseen -= v.own // has been answered, so it has been counted
	}
	later := 0.0
	if slot := v.at.Truncate(recentSlot) + recentSlot; slot <= t {
		later, _ = b.recent.since(slot, t)
	}
	refilled := rate * (t - v.at).Seconds()
	latest := v.remaining - below + refilled - b.yield.of(max(0, unseen))
	if !ok || when == late {
		low = latest
	}
	return min(low, latest), v.remaining + off + refilled - later, seen, true
}

// boundsOfOutput is bounds for what is counted as it comes. What has been
// charged at once may be produced, in part, or not. Of a short flight both
// readings hold, with what the level has moved in between: a reset, which is
// two seconds exact, does not tell them apart.
func (b *bucket) boundsOfOutput(t tick, v view) (low, high float64, seen tick, ok bool) {
	off, moves := b.error(Output), b.ours()-b.flow.pace
	sent := moves * (t - v.at).Seconds()
	let := sent
	if v.at-v.start <= 2*fresh {
		let = moves * (t - v.start).Seconds()
	}
	low = v.remaining - off + min(sent, let) - b.flow.upfront
	return low, v.remaining + off + max(sent, let), v.at, b.speaks(v) != early
}

// moment is when an answer speaks of a level.
type moment uint8

const (
	open  moment = iota // not known
	early               // when the attempt was let in
	late                // when the answer was sent
)

// speaks tells of when an answer speaks, by its reset: that is when the bucket
// is full, so that, of a bucket whose size is known, it tells the time.
func (b *bucket) speaks(v view) moment {
	if v.at-v.start <= fresh || !v.dated {
		return open
	}
	ago := b.depth - (v.remaining+b.error(v.kind))/(v.limit/60) - v.full
	if ago > transit.Seconds() {
		return early
	}
	return late
}

// deepen learns how much the bucket holds: what is left and what refills until
// it is full. It begins with the first bound that is seen, and then stays
// within all of them, so that many roundings make it exact.
func (b *bucket) deepen(v view, known bool) {
	rate := v.limit / 60
	low, high := b.depths(v)
	switch {
	case !known && v.dated:
		b.depth = max(low, 1/rate)
	case b.depth < low:
		b.depth = low
	case b.depth > high:
		b.depth = high
	}
}

// depths are the bounds of how many seconds of rate the bucket holds, by what
// is left and what refills until it is full.
func (b *bucket) depths(v view) (low, high float64) {
	rate := v.limit / 60
	off := b.error(v.kind)
	below := off
	if v.kind == Requests {
		below = 0 // requests are rounded down
	}
	low, high = (v.remaining-below)/rate, mostDepth
	if v.dated {
		low = max(low, low+v.full-v.blur)
		if v.at-v.start <= fresh { // of an older one it cannot be said until when it is full
			high = max((v.remaining+off)/rate+max(0, v.full), 1/rate)
		}
	}
	return min(low, mostDepth, high), high
}
