package fleet

import (
	"maps"
	"math"
)

// This file and those that follow it, lane.go, line.go and memory.go, are the
// scripts once more, in Go: plain, slow, for one process. They serve the local
// share while the store does not answer, and are what the scripts are tested
// against. Times are microseconds, as floats, because Lua has nothing else.

const (
	slack     = 1e-6 // of a token, that rounding may hide
	depth     = 10   // seconds of rate that a bucket holds until headers show more; a guess
	depthMost = 60
	second    = 1e6
	step      = 60 * second   // a clock that is behind by more was set back, and is believed
	early     = 5 * second    // an attempt that has been in flight for so long counts as good
	answering = 10 * second   // how recently an upstream must have answered not to be blamed
	transit   = second / 4    // how long an attempt may have been on its way to where it is counted
	wariness  = 60 * second   // how long others are reckoned with
	pauseMost = 3600 * second // the longest pause one answer can ask of all
	glance    = second        // how long a held call waits where nothing is due
	beatEvery = 5 * second    // a process says that it lives; three times that long it is believed
	together  = second / 10   // connections that die within it died together
)

// bucket mirrors one limit. One without limit keeps account nevertheless.
type bucket struct {
	kind    Kind
	level   float64 // below 0 is a debt
	at      float64 // when level was true
	limit   float64 // per minute, as answers have shown; 0 is not known
	cap     float64 // configured
	depth   float64 // seconds of rate that it holds
	charged float64 // at once, ever; what was given back included
	seen    float64 // what was charged before has been seen by an answer that set the level
	drawn   float64 // of the local share: what was granted from it and the store has not been told; see account.go
}

func (b *bucket) limited() float64 {
	if b.cap > 0 && (b.limit == 0 || b.cap < b.limit) {
		return b.cap
	}
	return b.limit
}

func (b *bucket) rate() float64 { return b.limited() / 60 }

func (b *bucket) size() float64 { return max(1, b.rate()*b.depth) }

// group is a set of buckets. Its first life begins when it is born.
type group struct {
	born, paused, wary, raised float64
	spent, floor               float64 // the scope's retry budget
	pace, promised             float64
	flows                      map[flowKey]flow
	buckets                    map[Kind]*bucket

	told float64 // of the local share: when the last bill was made
}

func (g *group) clone() *group {
	c := *g
	c.flows, c.buckets = maps.Clone(g.flows), map[Kind]*bucket{}
	for k, b := range g.buckets {
		was := *b
		c.buckets[k] = &was
	}
	return &c
}

// flowKey names a flow. An ID that is sent again after its end, while a clock
// was set back, may be there twice.
type flowKey struct {
	id    ID
	start float64
}

// flow is output that is being produced. It ends when all of it must be
// there, so that one whose process has died ends as any other.
type flow struct {
	n, pace, start, end float64
	mirror              bool
}

func newFlow(n, pace, start float64) flow {
	return flow{n: n, pace: pace, start: start, end: start + math.Ceil(n/pace*second)}
}

// run lets output be produced up to now, and returns how much was.
func (g *group) run(now float64, b *bucket) float64 {
	if g.pace <= 0 || now <= b.at {
		return 0
	}
	used := g.pace * (now - b.at) / second
	for id, f := range g.flows {
		if !f.mirror {
			b.drawn += f.pace * max(0, min(now, f.end)-max(b.at, f.start)) / second
		}
		if f.end <= now {
			used -= f.pace * (now - max(f.end, b.at)) / second
			g.pace = max(0, g.pace-f.pace)
			delete(g.flows, id)
		}
	}
	g.promised = max(0, g.promised-used)
	g.tidy()
	return used
}

// tidy removes what rounding has left over.
func (g *group) tidy() {
	if len(g.flows) == 0 {
		g.pace, g.promised = 0, 0
	}
}

func (g *group) refill(now float64, b *bucket) {
	used := 0.0
	if b.kind == Output {
		used = g.run(now, b)
	}
	if dt := now - b.at; dt > 0 && b.rate() > 0 {
		b.level = min(b.size(), b.level+b.rate()*dt/second-used)
	}
	b.at = now
}

// setCap takes over the limit that is configured.
func (b *bucket) setCap(c float64) {
	if c == b.cap {
		return
	}
	known := b.rate() > 0
	b.cap = c
	switch {
	case b.rate() == 0:
	case known:
		b.level = min(b.size(), b.level)
	default:
		b.level = min(b.size(), depth*b.rate())
	}
}

func (g *group) pause(now float64) float64 { return min(g.paused, now+pauseMost) }

// lack is what is missing for an attempt of what it needs of a bucket that has
// been refilled; below 0 is what would be left. ok is false if it needs nothing.
//
// Who takes more than the bucket can hold needs a full one, and leaves a debt
// that those behind wait out. For output the level must last until all that
// runs has been produced: see package limit, flow.go, for the formula.
func (g *group) lack(now float64, b *bucket, n, pace, keep, headroom float64) (lack float64, ok bool) {
	rate := b.rate()
	if rate == 0 || n <= 0 && b.kind != Output {
		return 0, false
	}
	if now < g.wary {
		keep = max(keep, headroom*b.limited())
	}
	keep = min(keep, b.size()/2)
	if b.kind == Output {
		promised, total := g.promised, g.pace+pace
		if pace > 0 {
			promised, n = promised+n, 0
		}
		if total > rate {
			over := 1 - rate/total
			n += promised * over * over
		}
		n = max(1, n)
	}
	return min(n, b.size()-keep) + keep - b.level, true
}
