package fleet

import (
	"context"
	"crypto/rand"
	"slices"
	"time"
)

// While a process goes on with its share it keeps an account, so that in the
// end every attempt is charged to the store once, wherever it was granted.
//
//	granted by      the store's copy          this process's account
//	the store       charged, and settled      –, or a mirror: see [Store.mirror]
//	the share       refunded, if it had one   drawn, and told in a bill
//
// A share begins with the level that was last seen by the number of
// processes, and is not given what has refilled since it was seen: others may
// have used that. It refills at 0.8 of the rate by that number. So all shares
// together grant at most what the store had, and 0.8 of what refills.
//
// A bill takes that from the store's level, which has refilled for as long as
// the store was out of reach. Processes come back one after the other, and
// until the last has sent its bill the level is too high. So for a while each
// is held by its share as well as by the store: see settleFor.
//
// A store that comes back empty begins a group with the share of the process
// that asks first, and each bill adds another's. Between the two the group has
// refilled at the full rate and the share at its own, which is taken off
// again. What is not billed, of processes that had no calls, refills.

// bill is what a process has used of its share of a request's groups, since the
// bill before. It is sent until it is answered: told twice it counts once.
// What is used meanwhile is in the next.
type bill struct {
	id      ID
	entries [][]entry // of each group and bucket
}

// entry is one bucket's part of a bill.
type entry struct {
	used float64 // less than 0 is given back
	// What is left of the share, what it refills a second, and how long ago the
	// bill before was, in microseconds.
	left, rate, ran float64
}

// take is what an entry takes from a group of an age. To one that was born since
// the bill before, which that has not reached, it brings all of the share.
func (e entry) take(age float64) float64 {
	if age < e.ran {
		return e.rate*age/second - e.left
	}
	return e.used
}

func (b *bill) of(i, j int) entry {
	if b == nil || i >= len(b.entries) || j >= len(b.entries[i]) {
		return entry{}
	}
	return b.entries[i][j]
}

// draw notes what a reservation takes from the local share.
func (b *bucket) draw(r *reservation, n float64) {
	if !r.mirror {
		b.drawn += n
	}
}

// again is a bill that may have been heard, or else by a store that is no more:
// what is left is in the next.
func (b *bill) again() *bill {
	plain := &bill{id: b.id}
	for _, es := range b.entries {
		var all []entry
		for _, e := range es {
			all = append(all, entry{used: e.used})
		}
		plain.entries = append(plain.entries, all)
	}
	return plain
}

// bill makes one, or none if there is nothing to tell: after an outage there
// always is. What another lane shares is told once: done are the groups that
// have been. What is left is noted for a store that should have forgotten.
func (m *memory) bill(now float64, at time.Time, mo *memo, outage bool, done map[string]bool) *bill {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, b, some := m.see(now, mo.req), &bill{id: ID(rand.Text()[:16])}, false
	for i, g := range s.groups {
		b.entries = append(b.entries, make([]entry, len(mo.req.Groups[i].Buckets)))
		if g.born == 0 || done[mo.req.Groups[i].Name] {
			continue
		}
		done[mo.req.Groups[i].Name] = true
		drawn := outage
		for _, w := range mo.req.Groups[i].Buckets {
			v := g.buckets[w.Kind]
			g.refill(s.now, v)
			drawn = drawn || v.drawn != 0
		}
		if !drawn {
			continue
		}
		some = true
		for j, w := range mo.req.Groups[i].Buckets {
			v := g.buckets[w.Kind]
			e := entry{used: v.drawn}
			if v.rate() > 0 {
				e.left, e.rate, e.ran = v.level, v.rate(), s.now-g.told
				mo.leave(at, i, j, v, m.p.budget)
			}
			if outage && v.rate() > 0 {
				// A store that was frozen for long is full, and not more: no more is
				// missing from it than from the share.
				e.used = min(e.used, v.size()-v.level)
			}
			b.entries[i][j], v.drawn = e, 0
		}
		g.told = s.now
	}
	if !some {
		return nil
	}
	return b
}

// leave notes what is left of a share, as of a fleet whose other shares are
// like this one.
func (m *memo) leave(at time.Time, i, j int, b *bucket, budget float64) {
	if !m.known { // the store has never been seen: what was learned is worth telling it
		m.known, m.at, m.state = true, at, State{Live: int(m.n), Budget: budget}
		for _, g := range m.req.Groups {
			m.state.Groups = append(m.state.Groups, GroupState{Budget: budget, Buckets: make([]BucketState, len(g.Buckets))})
		}
	}
	v, ok := m.bucket(i, j)
	if !ok {
		return
	}
	if v.Rate() == 0 {
		v = BucketState{Kind: b.kind, Limit: b.limit * m.n / localShare, Cap: b.cap * m.n / localShare, Depth: b.depth * localShare}
	}
	v.Level = b.level * m.n
	m.state.Groups[i].Buckets[j] = v
}

// endShare ends an owner's share, and reports whether its account is closed:
// no attempt that it has granted is still on its way.
func (m *memory) endShare(now float64, owner string) (closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.owners[owner]
	if o == nil {
		return true
	}
	for _, r := range o.open {
		if !r.foreign && !r.mirror && now-r.start < m.p.keepReservations {
			clear(o.lanes)
			return false
		}
	}
	delete(m.owners, owner)
	return true
}

// reckon tells the store what was used of shares, and reports whether it has
// heard all.
func (s *Store) reckon(ctx context.Context, now time.Time, memos []*memo, outage bool) bool {
	done := map[string]map[string]bool{}
	for _, m := range memos {
		if done[m.owner] == nil {
			done[m.owner] = map[string]bool{}
		}
		s.mu.Lock()
		old := m.bill
		s.mu.Unlock()
		if old != nil && !s.tell(ctx, m, old.again()) {
			return false
		}
		s.mu.Lock()
		if m.account {
			m.bill = s.alone.bill(s.since(now), now, m, outage, done[m.owner])
		}
		made := m.bill
		s.mu.Unlock()
		if made != nil && !s.tell(ctx, m, made) {
			return false
		}
	}
	return true
}

// tell sends a bill, and reports whether it was answered.
func (s *Store) tell(ctx context.Context, m *memo, b *bill) bool {
	if err := s.look(ctx, m, b); err != nil && !causeOf(err).ofKeys() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.bill = nil
	return true
}

// owing lists, by owner, the memos with an account that the store can be told.
func (s *Store) owing() map[string][]*memo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]*memo{}
	if s.server.down {
		return nil
	}
	for _, m := range s.memos {
		if g := s.owners[m.owner]; m.account && (g == nil || !g.down) {
			all[m.owner] = append(all[m.owner], m)
		}
	}
	for _, memos := range all {
		slices.SortFunc(memos, func(a, b *memo) int { return b.used.Compare(a.used) })
	}
	return all
}
