package limit

import "time"

// role is whose limits a group has.
type role uint8

const (
	ofCredential   role = iota // whose organisation is not known yet
	ofOrganization             // the usual case
	ofWorkspace                // beside those of its organisation
	ofClient                   // configured for a caller of ours
)

func (r role) String() string {
	return [...]string{"credential", "organization", "workspace", "client"}[r]
}

// most is how many groups an attempt counts against: its organisation, the
// workspace, the client.
const most = 3

// groupKey names those who share buckets.
type groupKey struct {
	role      role
	owner     string // hash of the credential, organisation, or client
	workspace string
	class     string // of models, or "/" and a path
	fast      bool
}

// group is one set of buckets.
type group struct {
	node[groupKey]
	buckets  [kinds]bucket
	inFlight int
	paused   tick // until
	wary     tick // headroom is kept until then
	reads    bool // what is read from the cache counts as input
	usual    bool // fast calls turned out to be counted as any other
	ours     bool // was made for our own credential
	into     *group

	// While nothing is known of any limit:
	silent bool // answers come without limits: there are none
	sure   bool // some limit is known
	open   int  // may be in flight
	shared bool // it is known by how many
	grown  tick
}

// The slow start of a group of which nothing is known. What has been in
// flight for a second has not been refused: 429s come before any work.
const (
	slowStart = 8           // in flight at first; a guess
	slowEvery = time.Second // the longest time to the next doubling; a guess
)

// feel is how long an attempt waits because nothing is known yet and enough
// is in flight to learn it.
func (g *group) feel(t tick) time.Duration {
	if g.sure || g.silent {
		return 0
	}
	if g.inFlight == 0 {
		g.grown = t
	}
	// It doubles little by little, so that the first to be refused stops the
	// others.
	past := (t - g.grown).Seconds() / slowEvery.Seconds()
	if past >= 1 && g.inFlight >= g.open {
		g.doubles(t)
		past = 0
	}
	lack := float64(g.inFlight) + 1 - float64(g.open)*(1+min(1, past))
	if lack <= slack {
		return 0
	}
	return seconds(min(lack/float64(g.open), 1-past) * slowEvery.Seconds())
}

// doubles lets twice as many fly.
func (g *group) doubles(t tick) {
	g.open, g.grown = min(2*g.open, 1<<20), t
}

// cost is what an attempt takes of a kind here.
func (g *group) cost(c *cost, k Kind) float64 {
	n := c.amount[k]
	if g.reads && (k == Input || k == Tokens) {
		n += c.reads
	}
	return n
}

// The headroom that is kept for a time when others turn out to use the limit.
const (
	defaultHeadroom = 0.05                   // of the limit per minute
	wariness        = time.Minute            // since the last sign of others
	margin          = 250 * time.Millisecond // of rate, kept always: see cushion
)

// cushion is the part of a bucket that is not used. It is taken once, off the
// level, and not off the rate: what protects from a surprise is what is left
// when it comes, and a rate given up for a minute is lost.
//
// As much as refills while an attempt is on its way is kept always, where it
// is the upstream's own bucket: the first request of somebody else would cost
// us a 429 otherwise, before any answer could show it. Of output it is what is
// rounded away, if that is more: of the other kinds attempts reserve more than
// most of them need.
func (g *group) cushion(t tick, k Kind, headroom float64) float64 {
	b, n := &g.buckets[k], 0.0
	if b.mirrors() {
		n = b.rated() * margin.Seconds()
		if k == Output {
			n = max(n, b.error(k))
		}
	}
	if t < g.wary {
		n = max(n, headroom*b.rated()*60)
	}
	return min(n, b.size()/8)
}

// spared is the part of a bucket that attempts which take what is left over
// leave in it. Full would be most, and waste what runs over while nobody asks.
const spared = 0.9

// reserve is what an attempt that costs n leaves in a bucket.
func (g *group) reserve(t tick, k Kind, headroom, n float64, spare bool) float64 {
	kept := g.cushion(t, k, headroom)
	if spare {
		kept = max(kept, spared*g.buckets[k].size()-n)
	}
	return kept
}

// final is the group that this one has become part of.
func (g *group) final() *group {
	for g.into != nil {
		g = g.into
	}
	return g
}

// know takes over limits from a source that is not an answer.
func (g *group) know(t tick, from Source, r Rates) {
	for k, n := range [...]int64{Requests: r.RPM, Input: r.ITPM, Output: r.OTPM} {
		if n > 0 || g.buckets[k].told[from] > 0 {
			g.buckets[k].tell(t, from, float64(n))
		}
	}
	if r.CountsReads {
		g.reads = true
	}
	g.check()
}

// check notes whether any limit is known.
func (g *group) check() {
	g.sure = false
	for k := range g.buckets {
		g.sure = g.sure || g.buckets[k].rate > 0
	}
}

// tell sets what one source says a limit is; 0 takes it back. A bucket that
// had no limit begins full, less what is in flight.
func (b *bucket) tell(t tick, from Source, perMinute float64) {
	b.refill(t)
	b.told[from] = perMinute
	limit, known := b.limit(), b.rate > 0
	b.rate = limit / 60
	if b.depth == 0 {
		b.depth = guessedDepth
	}
	switch {
	case limit == 0:
	case !known:
		b.level = b.size() - b.ledger.Outstanding + b.flow.promised
	}
	b.trim()
}

// trim spills what a bucket that has become smaller does not hold.
func (b *bucket) trim() {
	if b.limited() {
		b.level = min(b.level, b.size())
	}
}

// limit is the limit per minute in force: the upstream's, as its answers to
// anybody, else to us, show it, else as its Rate Limits API told, unless a lower one is configured.
func (b *bucket) limit() float64 {
	n, _ := b.source()
	return n
}

func (b *bucket) source() (float64, Source) {
	n, from := b.told[Fleet], Fleet
	if n == 0 {
		n, from = b.told[Headers], Headers
	}
	if n == 0 {
		n, from = b.told[API], API
	}
	if c := b.told[Configured]; c > 0 && (n == 0 || c < n) {
		n, from = c, Configured
	}
	if n == 0 {
		from = Nobody
	}
	return n, from
}

// mirrors reports whether the upstream's bucket is the one kept here, and not
// a larger one behind a limit of our own.
func (b *bucket) mirrors() bool {
	_, from := b.source()
	return from == Headers || from == Fleet
}

// absorb takes over a group that was thought to be another organisation's.
// What it has charged this group did not know of, so it is charged here again,
// but for no more than a bucket of it; the next answer shows the truth.
func (g *group) absorb(t tick, o *group) {
	o.into = g
	g.inFlight += o.inFlight
	g.paused, g.wary = max(g.paused, o.paused), max(g.wary, o.wary)
	g.open = max(g.open, o.open)
	g.silent = g.silent && o.silent
	g.usual = g.usual || o.usual
	for k := range g.buckets {
		g.buckets[k].absorb(t, &o.buckets[k])
	}
	g.check()
}

func (b *bucket) absorb(t tick, o *bucket) {
	b.refill(t)
	o.refill(t)
	unknown := o.ledger.Outstanding + o.ledger.Settled - o.flow.promised
	switch {
	case b.rate == 0 && o.rate > 0:
		b.rate, b.depth, b.told, b.level, b.anchor = o.rate, o.depth, o.told, o.level, o.anchor
	case b.rate > 0:
		b.level = max(b.level-unknown, min(b.level, 0)-b.size())
		if o.rate > 0 {
			b.level = min(b.level, o.level)
		}
	}
	if o.ramp.rate > 0 && (b.ramp.rate == 0 || o.ramp.rate < b.ramp.rate) {
		b.ramp = o.ramp
	}
	b.trim()
	if n, _ := o.recent.since(t-recentSlot*(recentSlots-1), t); n > 0 {
		b.recent.add(t, n)
	}
	b.charged += o.charged
	b.flow.pace += o.flow.pace
	b.flow.promised += o.flow.promised
	b.flow.upfront += o.flow.upfront
	b.flow.running += o.flow.running
	b.ledger.Reserved += o.ledger.Reserved
	b.ledger.Settled += o.ledger.Settled
	b.ledger.Refunded += o.ledger.Refunded
	b.ledger.Outstanding += o.ledger.Outstanding
}
