package queue

import (
	"slices"
	"time"
)

// group is one line of calls that draw on the same buckets. Counters are in
// seconds of the scarcest bucket over weight.
type group struct {
	name    string
	classes [all]share
	v       float64 // virtual time: the counter of the class served last
	lanes   map[string]*lane
	active  []*lane // with calls that wait
	flows   map[flowKey]*flow
	waiting int
	backlog float64 // summed cost of those
	pushes  int     // since the last sweep
	used    bool    // since the last sweep of the queue
}

// share is one class of a group.
type share struct {
	tag     float64 // counter
	v       float64 // virtual time of its flows: the counter of the one served last
	waiting int
	seen    time.Time // when it last had a call
}

// flowKey names a flow in a class.
type flowKey struct {
	class Class
	name  string
}

// flow is what one caller has used of a group in one class.
type flow struct {
	key     flowKey
	tag     float64
	strands []*strand // those with calls that wait
	used    bool      // since the last sweep of the group
}

// lane is what is held back together.
type lane struct {
	group   *group
	name    string
	strands map[*flow]*strand
	flows   [all]heap[*strand, byTag]
	ends    heap[*entry, byEnd]
	ages    heap[*entry, byAge]
	waiting int
	place   int  // in group.active
	used    bool // since the last sweep of the group

	blocked uint64       // the round of Next in which it was
	stalled bool         // blocked since then, and perhaps still
	ahead   [all]float64 // of virtual time, its flows were when that began
	floor   [all]float64 // least counters of its flows: what others used meanwhile is not owed
}

// strand is the calls of one flow in one lane.
type strand struct {
	flow  *flow
	lane  *lane
	items heap[*entry, byArrival]
	at    int32 // place in lane.flows
}

// group returns the group of that name, which it makes if it must.
func (q *Queue) group(name string) *group {
	g := q.groups[name]
	if g == nil {
		g = &group{name: name, lanes: make(map[string]*lane), flows: make(map[flowKey]*flow)}
		q.groups[name] = g
	}
	g.used = true
	return g
}

// enter lets e wait in a flow and a lane.
func (g *group) enter(e *entry, in string, key flowKey) {
	g.sweep()
	l := g.lanes[in]
	if l == nil {
		l = &lane{group: g, name: in, strands: make(map[*flow]*strand)}
		g.lanes[in] = l
	}
	if l.used = true; l.waiting == 0 {
		l.place = len(g.active)
		l.stalled = false
		l.floor = [all]float64{}
		g.active = append(g.active, l)
	}
	c := &g.classes[key.class]
	if c.waiting == 0 {
		c.tag = max(c.tag, g.lift(key.class))
	}
	f := g.flow(key)
	s := l.strands[f]
	if s == nil {
		s = &strand{flow: f, lane: l}
		l.strands[f] = s
	}
	if f.used = true; f.tag < c.v && f.idle() {
		f.set(c.v)
	}
	e.strand = s
	s.items.push(e)
	if s.items.len() == 1 {
		f.strands = append(f.strands, s)
		l.flows[key.class].push(s)
	} else {
		l.flows[key.class].fix(s)
	}
	if !e.end.IsZero() {
		l.ends.push(e)
	}
	c.waiting++
	l.waiting++
	g.waiting++
	g.backlog += e.cost
}

// credit is how far behind virtual time a class may begin to wait, in seconds
// over weight. Without it a class that leaves something to lower ones most of
// the time would share with them from the first moment in which it wants all:
// at 70 % of a limit in bursts, interactive calls waited twice as long beside
// a flood of batch as without one. With it, what batch got meanwhile counts
// towards its share. 60 s: batch has its share in any ten minutes, if not in
// each one. See decision 0011.
const credit = 60

// lift is the least counter of a class that begins to wait. There is no credit
// towards those above it that wait, and none for batch, which has nobody below,
// nor for late calls.
func (g *group) lift(c Class) float64 {
	if c == Batch || c == late {
		return g.v
	}
	least := g.v - credit
	for _, higher := range ranked {
		if higher == c {
			return least
		}
		if s := g.classes[higher]; s.waiting > 0 {
			least = max(least, s.tag)
		}
	}
	return least
}

func (g *group) flow(key flowKey) *flow {
	f := g.flows[key]
	if f == nil {
		f = &flow{key: key}
		g.flows[key] = f
	}
	return f
}

// exit takes e out of everything that enter put it in, and out of ages.
func (g *group) exit(e *entry) {
	s := e.strand
	l, f := s.lane, s.flow
	class := f.key.class
	s.items.remove(e)
	if s.items.len() > 0 {
		l.flows[class].fix(s)
	} else {
		l.flows[class].remove(s)
		i, last := slices.Index(f.strands, s), len(f.strands)-1
		f.strands[i], f.strands[last] = f.strands[last], nil
		f.strands = f.strands[:last]
	}
	l.ends.remove(e)
	l.ages.remove(e)
	g.classes[class].waiting--
	g.waiting--
	g.backlog -= e.cost
	if g.waiting == 0 {
		g.backlog = 0 // what rounding has left
	}
	if l.waiting--; l.waiting == 0 {
		last := len(g.active) - 1
		g.active[l.place] = g.active[last]
		g.active[l.place].place = l.place
		g.active[last] = nil
		g.active = g.active[:last]
	}
}

// each calls f for each lane with calls that wait; f may empty that lane.
func (g *group) each(f func(*lane)) {
	for _, l := range slices.Backward(g.active) { // the last one takes the place of one that is emptied
		f(l)
	}
}

// counter is that of a flow as its lane sees it.
func (s *strand) counter() float64 { return max(s.flow.tag, s.lane.floor[s.flow.key.class]) }

// best is the flow of a class that is next, in the lanes that are not blocked.
func (g *group) best(c Class, round uint64) (best *strand) {
	for _, l := range g.active {
		if l.blocked == round || l.flows[c].len() == 0 {
			continue
		}
		s := l.flows[c].top()
		if best == nil || s.counter() < best.counter() ||
			s.counter() == best.counter() && (byArrival{}).less(s.items.top(), best.items.top()) {
			best = s
		}
	}
	return best
}

// pick is the flow that is next; nil if none is.
func (g *group) pick(round uint64) (next *strand) {
	var least float64
	for _, c := range ranked { // of equal classes the higher one
		if g.classes[c].waiting == 0 || next != nil && g.classes[c].tag >= least {
			continue
		}
		if s := g.best(c, round); s != nil {
			next, least = s, g.classes[c].tag
		}
	}
	return next
}

// lately is how long ago a class may have had a call to be expected to have
// another. A guess: an agent's next turn comes within minutes.
const lately = 10 * time.Minute

// spare says whether no call of a class above c could go now, while calls of
// one are to be expected.
func (g *group) spare(now time.Time, c Class, round uint64) bool {
	expected := false
	for _, higher := range ranked {
		if higher == c {
			break
		}
		if higher == late {
			continue // they may not take from the reserve either
		}
		s := &g.classes[higher]
		if s.waiting > 0 && g.best(higher, round) != nil {
			return false
		}
		expected = expected || !s.seen.IsZero() && now.Sub(s.seen) < lately
	}
	return expected
}

// charge moves the counters on for a call that has got its turn.
func (g *group) charge(s *strand, e *entry, round uint64) {
	class := s.flow.key.class
	c := &g.classes[class]
	if step := c.tag - g.v; step > 0 {
		g.v = c.tag
		for _, other := range ranked { // who could not have used it is not owed it
			if o := &g.classes[other]; other != class && o.waiting > 0 && g.best(other, round) == nil {
				o.tag += step
			}
		}
	}
	c.tag += e.cost / weights[class]

	s.lane.resume(g)
	at := s.counter()
	c.v = max(c.v, at)
	s.flow.set(at + e.cost/e.share())
}

// set changes a flow's counter, and its places.
func (f *flow) set(tag float64) {
	f.tag = tag
	for _, s := range f.strands {
		s.lane.flows[f.key.class].fix(s)
	}
}

// block notes that a lane is held back.
func (l *lane) block(g *group, round uint64) {
	l.blocked = round
	if l.stalled {
		return
	}
	l.stalled = true
	for c := range all {
		l.ahead[c] = 0
		if l.flows[c].len() > 0 {
			l.ahead[c] = l.flows[c].top().counter() - g.classes[c].v
		}
	}
}

// resume notes that it is not. What the other lanes have used meanwhile is
// not owed to its flows: else a model that comes back after an outage would
// have all of a limit that others share, for as long as the outage took.
func (l *lane) resume(g *group) {
	if !l.stalled {
		return
	}
	l.stalled = false
	for c := range all {
		l.floor[c] = max(l.floor[c], g.classes[c].v+l.ahead[c])
	}
}

// idle says that nothing of a flow could be served now, as far as is known: it
// waits nowhere, or in lanes that are held back.
func (f *flow) idle() bool {
	for _, s := range f.strands {
		if !s.lane.stalled {
			return false
		}
	}
	return true
}

// share is the weight of e where it waits: late calls share by the class that they
// come from.
func (e *entry) share() float64 {
	if e.strand.flow.key.class == late {
		return weights[e.class]
	}
	return e.weight
}

func (g *group) correct(c Charge, delta float64) {
	g.classes[c.Class].tag += delta / weights[c.Class]
	if f := g.flows[flowKey{c.Class, c.Flow}]; f != nil {
		f.set(f.tag + delta/c.Weight)
	}
}

// keep is how many calls may come before names that none of them used are
// forgotten, with what they have used; so it is also about how many are kept.
const keep = 1024

// sweep forgets groups that nobody waits in, and that were not used since it
// last did.
func (q *Queue) sweep() {
	if q.pushes++; q.pushes < keep+len(q.entries) {
		return
	}
	q.pushes = 0
	for name, g := range q.groups {
		if g.waiting == 0 && !g.used {
			delete(q.groups, name)
		}
		g.used = false
	}
}

// sweep does the same for the flows and lanes of a group.
func (g *group) sweep() {
	if g.pushes++; g.pushes < keep+g.waiting {
		return
	}
	g.pushes = 0
	for name, l := range g.lanes {
		if l.waiting == 0 && !l.used {
			delete(g.lanes, name)
			continue
		}
		l.used = l.waiting > 0
		for f, s := range l.strands {
			if s.items.len() == 0 && !f.used {
				delete(l.strands, f)
			}
		}
	}
	for key, f := range g.flows {
		if len(f.strands) == 0 && !f.used {
			delete(g.flows, key)
		}
		f.used = false
	}
}

// age moves calls to the late ones whose time runs out. A lane whose only call
// it is leaves the active ones and comes back at their end.
func (q *Queue) age(now time.Time, g *group) {
	g.each(func(l *lane) {
		for l.ages.len() > 0 && !l.ages.top().ages.After(now) {
			e := l.ages.top()
			g.exit(e)
			g.enter(e, l.name, flowKey{late, lateFlows[e.class]})
		}
	})
}
