package fleet

import (
	"context"
	"sync"
)

// memory is the [engine] of one process.
type memory struct {
	mu     sync.Mutex // guards all below
	p      policy
	owners map[string]*owner
	billed map[ID]bool
}

// owner is all that one hash tag holds.
type owner struct {
	live   map[string]float64
	lanes  map[string]*lane
	groups map[string]*group
	lines  map[string]*line
	open   map[ID]*reservation
}

// reservation is what an attempt holds.
type reservation struct {
	start, epoch, lease, price, income float64
	purse                              Purse
	told                               bool // the probe's result
	foreign                            bool // the store has charged it: nothing is held here
	mirror                             bool // the store has charged it too: held here, and not drawn
	held                               [][]holding
}

type holding struct{ n, before, pace float64 }

func newMemory(p policy) *memory {
	return &memory{p: p, owners: map[string]*owner{}, billed: map[ID]bool{}}
}

func (m *memory) owner(name string) *owner {
	o := m.owners[name]
	if o == nil {
		o = &owner{map[string]float64{}, map[string]*lane{}, map[string]*group{}, map[string]*line{}, map[ID]*reservation{}}
		m.owners[name] = o
	}
	return o
}

// view is what one request sees of its owner.
type sight struct {
	m      *memory
	o      *owner
	l      *lane
	r      *Request
	groups []*group
	now    float64
	was    []*group // before this request
}

func (m *memory) see(now float64, r *Request) *sight {
	s := &sight{m: m, o: m.owner(r.Owner), r: r, now: now}
	if s.l = s.o.lanes[r.Lane]; s.l == nil {
		s.l = newLane(&m.p)
		s.o.lanes[r.Lane] = s.l
	}
	s.l.moved = false
	for _, want := range r.Groups {
		g := s.o.groups[want.Name]
		if g == nil {
			g = &group{flows: map[flowKey]flow{}, buckets: map[Kind]*bucket{}}
			s.o.groups[want.Name] = g
		}
		for _, b := range want.Buckets {
			if g.buckets[b.Kind] == nil {
				g.buckets[b.Kind] = &bucket{kind: b.Kind, depth: depth}
			}
		}
		s.groups, s.was = append(s.groups, g), append(s.was, g.clone())
	}
	s.steady()
	return s
}

// each calls f for every bucket of the request.
func (s *sight) each(f func(i, j int, g *group, b *bucket)) {
	for i, want := range s.r.Groups {
		for j, w := range want.Buckets {
			f(i, j, s.groups[i], s.groups[i].buckets[w.Kind])
		}
	}
}

// steady makes time stand still where the clock steps back. Back by more than
// step, it is the clock that holds.
func (s *sight) steady() {
	last := 0.0
	s.each(func(_, _ int, _ *group, b *bucket) { last = max(last, b.at) })
	switch {
	case last <= s.now:
	case last-s.now <= step:
		s.now = last
	default:
		s.each(func(_, _ int, _ *group, b *bucket) { b.at, b.seen = min(b.at, s.now), min(b.seen, s.now) })
	}
}

func (m *memory) acquire(_ context.Context, now float64, a *acquisition) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, a.Request)
	for i, g := range s.groups {
		if g.born != 0 {
			continue
		}
		if a.hints == nil {
			defer s.restore()
			return s.reply(Reply{Reason: missing, Group: i}), nil
		}
		g.born = s.now
	}
	s.each(func(i, j int, g *group, b *bucket) {
		if b.at == 0 {
			s.begin(a, i, j, b)
		}
		g.refill(s.now, b)
		b.setCap(a.Groups[i].Buckets[j].Cap)
	})
	before := s.l.clone()
	r, again := s.decide(a)
	if again {
		s.restore()
		*s.l = *before
	} else if a.touch {
		s.beat(a.instance)
		r.Live = len(s.o.live)
	}
	return r, nil
}

// restore makes as if the groups had not been touched.
func (s *sight) restore() {
	for i, was := range s.was {
		*s.groups[i] = *was
	}
}

// changes reports whether a request makes a group something else, granted or
// not: a limit is configured anew.
func (s *sight) changes(i int, was *group) bool {
	for _, w := range s.r.Groups[i].Buckets {
		if b := was.buckets[w.Kind]; b.at > 0 && b.cap != w.Cap {
			return true
		}
	}
	return false
}

// begin starts a bucket that was forgotten, or never known: where it was, if
// anybody remembers, and else at ten seconds of rate, not at a minute.
func (s *sight) begin(a *acquisition, i, j int, b *bucket) {
	b.at, b.cap = s.now, a.Groups[i].Buckets[j].Cap
	var h hint
	if a.hints != nil {
		h = a.hints[i][j]
		b.limit, b.depth = h.limit, depth
		if h.depth > 0 {
			b.depth = h.depth
		}
	}
	if b.rate() == 0 {
		return
	}
	b.level = min(b.size(), depth*b.rate())
	if h.levelled {
		b.level = min(b.size(), h.level)
	}
}

// decide asks everything that can hold an attempt back, and takes from none of
// it unless all agree.
func (s *sight) decide(a *acquisition) (r Reply, again bool) {
	now, l, scope := s.now, s.l, s.groups[0]
	l.tick(now)
	if l.state != Closed || a.Price > 0 && !a.Paid {
		l.turn(now)
		l.ripen(now)
	}
	if i, wait := s.paused(); wait > 0 {
		return s.refuse(ByPause, wait, i, 0), false
	}
	probe, reason, wait := l.admit(now, a.Request)
	if reason != Granted {
		return s.refuse(reason, wait, 0, 0), false
	}
	price, income, mustPay := float64(a.Price), a.income(), a.Price > 0 && !a.Paid
	if mustPay && (probe || a.Waited || a.Placed) {
		price, income, mustPay = 0, 0, false // what is let out one by one needs no paying
	}
	purse := &l.spent
	if price > 0 && a.Purse == ScopePurse {
		purse = &scope.spent
	}
	if mustPay && price > s.m.p.budget-*purse {
		if at, ok := s.m.p.floorNext(now, scope); !ok {
			return s.refuse(ByBudget, -1, 0, 0), false
		} else if at > now {
			return s.refuse(ByBudget, at-now, 0, 0), false
		}
	}
	n := s.need()
	turn := s.lineUp(a, &n)
	if reason, wait := turn.judge(&n, micros(a.Horizon)); reason != Granted {
		turn.refused(&n, micros(a.Horizon), wait)
		if reason == ByTurn {
			return s.refuse(ByTurn, wait, 0, 0), false
		}
		return s.refuse(ByLimit, wait, n.group, n.kind), false
	}
	if held := s.o.open[a.id]; held != nil { // sent twice: charged once
		return s.reply(Reply{ID: a.id, Probe: held.lease != 0}), true
	}
	v := &reservation{start: now, epoch: l.epoch, price: price, income: income, purse: a.Purse, mirror: a.mirror}
	if probe {
		v.lease = l.newLease(now)
	}
	if mustPay {
		s.m.p.withdraw(now, purse, scope, price)
	}
	turn.granted(&n)
	s.charge(a.id, v)
	return s.reply(Reply{ID: a.id, Wait: duration(n.longest), Group: n.group, Kind: n.kind, Probe: probe}), false
}

func (s *sight) paused() (at int, wait float64) {
	for i, g := range s.groups {
		if left := g.pause(s.now) - s.now; left > wait {
			at, wait = i, left
		}
	}
	return at, wait
}

// charge takes what the attempt needs from every bucket.
func (s *sight) charge(id ID, r *reservation) {
	s.o.open[id] = r
	f := flight{r.start, r.epoch, r.lease, r.income}
	if r.price > 0 && r.purse == ScopePurse {
		f.income = 0
	}
	s.l.fly[id] = f
	for i := range s.groups {
		r.held = append(r.held, make([]holding, len(s.r.Groups[i].Buckets)))
	}
	s.each(func(i, j int, g *group, b *bucket) {
		n, pace := s.r.Groups[i].Buckets[j].Cost, s.r.Groups[i].Pace
		h := holding{n: n, before: b.charged}
		if b.kind == Output {
			h.pace = pace
		}
		r.held[i][j] = h
		if h.pace > 0 {
			if n > 0 {
				f := newFlow(n, pace, s.now)
				f.mirror = r.mirror
				g.flows[flowKey{id, s.now}] = f
				g.pace += pace
				g.promised += n
			}
			return
		}
		b.charged += n
		b.draw(r, n)
		if b.rate() > 0 {
			b.level -= n
		}
	})
}

func (s *sight) refuse(why Reason, wait float64, group int, kind Kind) Reply {
	r := s.reply(Reply{Reason: why, Wait: duration(wait), Group: group, Kind: kind})
	for i, was := range s.was { // a refusal writes nothing
		if was.born > 0 && !s.changes(i, was) {
			*s.groups[i] = *was
		}
	}
	return r
}

func (s *sight) beat(instance string) {
	s.o.live[instance] = s.now + beatEvery*3
	for name, end := range s.o.live {
		if end <= s.now {
			delete(s.o.live, name)
		}
	}
}

// reply adds the state.
func (s *sight) reply(r Reply) Reply {
	l := s.l
	r.State = State{
		Breaker: l.state, Epoch: uint64(l.epoch), Moved: l.moved, NextProbe: duration(l.nextProbe(s.now) - s.now),
		Budget: s.m.p.budget - l.spent, Live: len(s.o.live),
	}
	if l.ramping(s.now) {
		r.Ramp = duration(l.ramp + l.p.ramp - s.now)
	}
	for i, want := range s.r.Groups {
		g := s.groups[i]
		v := GroupState{
			Paused: duration(max(0, g.pause(s.now)-s.now)), Wary: duration(max(0, min(g.wary, s.now+wariness)-s.now)),
			Budget: s.m.p.budget - g.spent, born: g.born,
		}
		for _, w := range want.Buckets {
			b := g.buckets[w.Kind]
			v.Buckets = append(v.Buckets, BucketState{b.kind, b.level, b.limit, b.cap, b.depth})
		}
		r.Groups = append(r.Groups, v)
	}
	return r
}
