package fleet

import (
	"context"
	"math"
	"strings"
)

// The line, once more in Go: see lua/line.lua.

const (
	grace    = second / 2    // how late a flow may be before it is taken for gone
	calm     = 5 * second    // how long after the last wait those who ask are still compared
	farthest = 3600 * second // how far ahead a wait is believed, should the clock be set back
	maxFlows = 256           // in a line; who comes then is served as if there were none
)

// line is who waits for a group that has too little for all. It counts until
// then, and what is in it is forgotten after.
type line struct {
	until float64
	v     float64 // the tag of who was served last; never above that of one who waits
	flows map[string]standing
}

// standing is what is known of a flow.
type standing struct {
	tag   float64 // what it has had, over its weight
	due   float64 // when it asks again; 0 does not wait
	share float64 // what it wants, in seconds of the scarcest bucket
}

// need is what an attempt finds of what it needs. The line is of the first
// group alone: of the others a process may have one that nobody shares.
type need struct {
	longest, beyond, short float64 // the wait: for all, for groups but the first, for the first
	group                  int     // where it is longest
	kind                   Kind
	share, spare           float64 // of the first group: what it takes, and what would be left, in seconds
}

func (s *sight) need() need {
	n := need{spare: math.Inf(1)}
	s.each(func(i, j int, g *group, b *bucket) {
		want := s.r.Groups[i].Buckets[j]
		lack, ok := g.lack(s.now, b, want.Cost, s.r.Groups[i].Pace, want.Keep, s.m.p.headroom)
		if !ok {
			return
		}
		rate, wait := b.rate(), 0.0
		if lack > slack {
			wait = math.Ceil((lack - slack/2) / rate * second)
		}
		if i == 0 {
			n.share, n.spare = max(n.share, want.Cost/rate), min(n.spare, -lack/rate)
			n.short = max(n.short, wait)
		} else {
			n.beyond = max(n.beyond, wait)
		}
		if wait > n.longest {
			n.longest, n.group, n.kind = wait, i, b.kind
		}
	})
	return n
}

// stand is an attempt's place in the line. nil is the place of one that needs
// none.
type stand struct {
	l      *line
	now    float64
	until  float64 // the line counts
	fresh  bool    // it does not yet
	flow   string
	weight float64
	tag    float64
	listed bool     // the flow has a place
	room   bool     // it has, or may have one
	ahead  bool     // somebody is before it
	sum    float64  // what those take, in seconds
	peers  float64  // how many of its class wait, itself included
	gone   []string // flows of which nothing need be known any more
}

// lineUp finds the place of an attempt that has to wait, or asks while others
// do.
func (s *sight) lineUp(a *acquisition, n *need) *stand {
	name := a.Groups[0].Name
	l := s.o.lines[name]
	if n.share <= 0 || n.short <= 0 && (l == nil || l.until <= s.now) {
		return nil
	}
	if l == nil {
		l = &line{flows: map[string]standing{}}
		s.o.lines[name] = l
	}
	t := &stand{
		l: l, now: s.now, until: min(l.until, s.now+farthest), fresh: l.until <= s.now, flow: a.Class.flow(a.instance),
		weight: a.Class.weight(), peers: 1, room: true,
	}
	if !t.fresh {
		t.compare()
	}
	return t
}

func (t *stand) compare() {
	own, listed := t.l.flows[t.flow]
	t.listed, t.tag = listed, max(t.l.v, own.tag)
	class, _, _ := strings.Cut(t.flow, "|")
	for name, p := range t.l.flows {
		other, _, _ := strings.Cut(name, "|")
		switch {
		case name == t.flow:
		case min(p.due, t.now+farthest)+grace > t.now:
			w := weights[other]
			if p.tag < t.tag || p.tag == t.tag && (w > t.weight || w == t.weight && name < t.flow) {
				t.ahead = true
				t.sum += p.share
			}
			if other == class {
				t.peers++
			}
		case p.tag <= t.l.v:
			t.gone = append(t.gone, name)
		}
	}
	t.room = listed || len(t.l.flows)-len(t.gone) < maxFlows
}

// rest is how long until there is enough for those before it and for itself.
// Who is not the first is granted what leaves enough for them, and never books:
// one that may not book would never come to its turn.
func (t *stand) rest(n *need) float64 {
	if t == nil || !t.ahead || t.sum-n.spare <= 1e-7 {
		return 0
	}
	return math.Ceil((t.sum - n.spare) * second)
}

// judge says what the attempt waits for, and how long.
func (t *stand) judge(n *need, horizon float64) (Reason, float64) {
	switch rest := t.rest(n); {
	case n.longest > horizon:
		return ByLimit, max(n.longest, rest)
	case rest > 0:
		return ByTurn, max(n.longest, rest)
	}
	return Granted, n.longest
}

// refused notes that the flow waits. What is held by something else than this
// line is not waited for by others.
func (t *stand) refused(n *need, horizon, wait float64) {
	if t == nil {
		return
	}
	due := t.now + min(wait, farthest)
	if n.beyond > horizon && n.beyond > max(n.short, t.rest(n)) {
		if !t.listed {
			return
		}
		due = 0
	} else {
		t.until = max(t.until, t.now+calm, due+grace)
	}
	t.write(standing{t.tag, due, n.share})
}

// granted charges the flow its share. The line's v stays below the tags of all
// that wait: who passes them does not move it.
func (t *stand) granted(n *need) {
	if t == nil {
		return
	}
	if n.short > 0 {
		t.until = max(t.until, t.now+calm)
	}
	// Whoever passes those who wait takes what they leave, and is owed the less for
	// it, but not for longer than four rounds: in a burst that is there for all
	// one of them could else take on a debt of many seconds.
	round := n.share * t.peers / t.weight
	t.write(standing{min(t.tag+round, max(t.tag, t.l.v+4*round)), 0, n.share})
	if !t.ahead {
		t.l.v = t.tag
	}
}

func (t *stand) write(p standing) {
	if t.fresh {
		t.l.v = 0
		clear(t.l.flows)
	}
	for _, name := range t.gone {
		delete(t.l.flows, name)
	}
	if t.room {
		t.l.flows[t.flow] = p
	}
	t.l.until = t.until
}

// leave takes a flow out. Its tag stays, so that coming back at once gains
// nothing.
func (l *line) leave(flow string) {
	if p, ok := l.flows[flow]; ok {
		p.due = 0
		l.flows[flow] = p
	}
}

// Quit tells that nothing of a class waits in this process any more. The turn
// of its flow passes to those behind it at once, and not half a second after
// it was to ask again.
func (s *Store) Quit(ctx context.Context, owner, lane, group string, class Class) {
	s.Leave(ctx, Ending{Owner: owner, Lane: lane, Group: group, Last: true, Class: class})
}
