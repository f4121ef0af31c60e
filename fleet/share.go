package fleet

import (
	"strings"
	"time"
)

// localShare is the part of a limit that all processes together use while the
// store is gone. They do not hear of each other then, so a process that joins
// takes from what nobody else does.
const localShare = 0.8

// memo is what a process remembers of a request's groups and lane, from the
// last reply: what it goes by when the store is gone, and what it tells a
// store that has forgotten.
type memo struct {
	key     string // see memoKey; like owner it never changes
	owner   string
	req     *Request // as it was last asked, for its names and kinds
	at      time.Time
	used    time.Time // by a call
	touched time.Time // when the store was last told that this process lives
	renewed time.Time // when an acquire last said that the keys are in use
	state   State
	known   bool // state is of the store
	live    float64
	fewer   time.Time // since when the store has told of fewer than live

	// Of the local share; see account.go.
	local   bool      // it has been started
	n       float64   // the number of shares
	begun   time.Time // when
	alone   time.Time // when it was last asked for want of the store
	account bool      // there is something to tell, or will be
	bill    *bill     // that has not been answered
}

// memoKey names a request's groups and lane.
func memoKey(r *Request) string {
	var b strings.Builder
	b.WriteString(r.Owner)
	b.WriteByte(0)
	b.WriteString(r.Lane)
	for _, g := range r.Groups {
		b.WriteByte(0)
		b.WriteString(g.Name)
	}
	return b.String()
}

// bucket is what was last seen of a bucket.
func (m *memo) bucket(i, j int) (BucketState, bool) {
	if !m.known || i >= len(m.state.Groups) || j >= len(m.state.Groups[i].Buckets) {
		return BucketState{}, false
	}
	return m.state.Groups[i].Buckets[j], true
}

// hints tell a store that has forgotten a group what it was like. Of the level
// that is this process's part: the others' may be in use.
func (m *memo) hints(r *Request, expected int) [][]hint {
	all, n := make([][]hint, len(r.Groups)), m.n
	if !m.local {
		n = m.shares(expected)
	}
	for i, g := range r.Groups {
		all[i] = make([]hint, len(g.Buckets))
		for j := range g.Buckets {
			if b, ok := m.bucket(i, j); ok && b.Rate() > 0 {
				all[i][j] = hint{limit: b.Limit, depth: b.Depth, level: b.Level / n, levelled: true}
			} else if b := g.Buckets[j]; b.Limit > 0 || r.Follows && b.Cap > 0 {
				all[i][j] = hint{limit: b.Limit, depth: b.Depth, level: b.Level / n, levelled: true}
			}
		}
	}
	return all
}

// shares is how many processes the limits are divided by.
func (m *memo) shares(expected int) float64 { return max(m.live, float64(max(expected, 1))) }

// count takes over how many processes the store knows of. Fewer are believed
// when it has said so for as long as a sign of life counts: a store that comes
// back has heard of nobody yet.
func (m *memo) count(now time.Time, live int) {
	switch n := float64(live); {
	case n >= m.live:
		m.live, m.fewer = n, time.Time{}
	case m.fewer.IsZero():
		m.fewer = now
	case now.Sub(m.fewer) >= 3*beatEvery*time.Microsecond:
		m.live, m.fewer = n, time.Time{}
	}
}

// scaled is a request to the share of this process.
func (m *memo) scaled(r *Request) *Request {
	s := *r
	s.Groups = make([]Group, len(r.Groups))
	for i, g := range r.Groups {
		s.Groups[i] = g
		s.Groups[i].Buckets = make([]Bucket, len(g.Buckets))
		for j, b := range g.Buckets {
			b.Cap *= localShare / m.n
			b.Keep /= m.n
			s.Groups[i].Buckets[j] = b
		}
	}
	return &s
}

// startShare starts this process's share where the store's levels were last
// seen, divided by the number of processes, less what it has not heard of. The
// part of the rate is smaller, what a full bucket holds is not. A group that
// has begun since, for another lane, goes on.
func (m *memory) startShare(now, seenAt float64, at time.Time, r *Request, mo *memo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, r)
	for i, g := range s.groups {
		if g.born > 0 && g.born >= seenAt {
			continue
		}
		g.born, g.told = s.now, s.now
		if mo.known && i < len(mo.state.Groups) {
			g.paused = s.now + max(0, micros(mo.state.Groups[i].Paused-at.Sub(mo.at)))
			g.spent = m.p.budget - mo.state.Groups[i].Budget/mo.n
		}
		for j, w := range r.Groups[i].Buckets {
			b := g.buckets[w.Kind]
			b.at, b.cap = s.now, w.Cap
			seen, ok := mo.bucket(i, j)
			if !ok && w.Limit > 0 { // the store has never told, and an answer has
				seen, ok = BucketState{Limit: w.Limit, Depth: w.Depth, Level: w.Level}, true
			}
			if ok {
				b.limit, b.depth = seen.Limit*localShare/mo.n, seen.Depth/localShare
			}
			switch {
			case b.rate() == 0:
			case ok && seen.Rate() > 0:
				b.level = min(b.size(), seen.Level/mo.n-b.drawn-mo.bill.of(i, j).used)
			default: // what the others have used nobody knows here
				b.level = min(b.size(), max(1, b.rate()))
			}
		}
	}
	l := s.l
	if mo.known && l.epoch == 1 && l.spent == 0 {
		l.spent = m.p.budget - mo.state.Budget/mo.n
		if mo.state.Breaker != Closed {
			l.state, l.pend = Open, s.now+l.p.open
			l.probe = s.now + max(0, micros(mo.state.NextProbe-at.Sub(mo.at)))
		}
	}
}

// adopt takes over a reservation that the store has granted, so that its end
// can be weighed here.
func (m *memory) adopt(now float64, id ID, r *Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, r)
	if s.o.open[id] != nil {
		return
	}
	v := &reservation{foreign: true, start: s.now, epoch: s.l.epoch, price: float64(r.Price), purse: r.Purse}
	v.income = (&acquisition{Request: r}).income()
	s.o.open[id] = v
}
