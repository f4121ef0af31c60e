package fleet

import (
	"context"
	"math"
	"time"
)

// missing is answered, by an engine only, when a group is not there and the
// request says nothing of it.
const missing Reason = 255

func micros(d time.Duration) float64 { return float64(d / time.Microsecond) }

func duration(us float64) time.Duration {
	return time.Duration(max(-math.MaxInt64/2000, min(us, math.MaxInt64/2000))) * time.Microsecond
}

func (m *memory) settle(_ context.Context, now float64, t *settlement) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, t.req)
	s.l.tick(s.now)
	s.l.turn(s.now)
	s.l.ripen(s.now)
	if t.mode == atLeave {
		s.restore()
		s.leave(t)
		return s.reply(Reply{Known: true}), nil
	}
	r := s.o.open[t.id]
	if r == nil || s.now > r.start+m.p.keepReservations {
		delete(s.o.open, t.id)
		defer s.restore()
		return s.reply(Reply{}), nil
	}
	if t.mode == atContent {
		s.content(t.id, r)
		defer s.restore()
		return s.reply(Reply{Known: true}), nil
	}
	delete(s.o.open, t.id)
	delete(s.l.fly, t.id)
	s.each(func(i, j int, g *group, b *bucket) {
		if g.born > 0 && g.born <= r.start && !r.foreign {
			s.correct(t, r, i, j, g, b)
		}
	})
	if g := s.groups[0]; g.born > 0 && (t.Pause > 0 || t.Empty > 0) {
		g.wary = max(g.wary, s.now+wariness)
		if t.Pause > 0 {
			g.paused = max(g.pause(s.now), s.now+min(micros(t.Pause), pauseMost))
		}
	}
	paid, counted := s.pay(t, r)
	s.report(t, r, counted)
	return s.reply(Reply{Known: true, Paid: paid, Counted: counted}), nil
}

// leave gives back what a call has paid for and not sent, and counts it.
func (s *sight) leave(t *settlement) {
	if t.Price > 0 && t.Purse == ScopePurse {
		deposit(&s.groups[0].spent, float64(t.Price))
	} else if t.Price > 0 {
		deposit(&s.l.spent, float64(t.Price))
	}
	if t.Failure && !t.Counted && s.l.state == Closed && !s.l.ramping(s.now) && !s.l.p.off {
		s.l.fail(s.now)
	}
	if l := s.o.lines[t.req.Groups[0].Name]; l != nil {
		l.leave(t.flow)
	}
}

// content: a probe is good from its first content on, however it ends.
func (s *sight) content(id ID, r *reservation) {
	s.l.ok = max(s.l.ok, r.start)
	if r.lease == 0 || r.told || s.now-r.start >= early {
		return
	}
	if r.epoch == s.l.epoch && !s.l.p.off {
		s.l.reportProbe(s.now, r.lease, "good")
	}
	r.told = true
	delete(s.l.fly, id)
}

// correct replaces what is held of a bucket by what it was. If an answer has
// set the level since, the truth is in it already: of output, the part that
// had been produced by then.
func (s *sight) correct(t *settlement, r *reservation, i, j int, g *group, b *bucket) {
	h := r.held[i][j]
	g.refill(s.now, b)
	ran := max(0, s.now-r.start) / second
	actual, known, hadTime := t.actual(i, b.kind)
	switch {
	case !known:
		actual = h.n
	case hadTime:
		actual = max(actual, min(h.n, h.pace*ran))
	}
	if b.kind != Output {
		b.draw(r, actual-h.n)
		if b.rate() > 0 && r.start >= b.seen {
			b.level = min(b.size(), b.level+h.n-actual)
		}
	} else {
		was, unseen := h.n, 1.0
		if _, runs := g.flows[flowKey{t.id, r.start}]; runs {
			was = h.pace * ran
			g.pace, g.promised = max(0, g.pace-h.pace), max(0, g.promised-h.n+was)
			delete(g.flows, flowKey{t.id, r.start})
			g.tidy()
		}
		b.draw(r, actual-was)
		if b.seen > r.start && ran > 0 {
			unseen = (s.now - b.seen) / second / ran
		}
		switch {
		case b.rate() == 0:
		case h.pace > 0:
			b.level = min(b.size(), b.level+(was-actual)*unseen)
		default:
			b.level = min(b.size(), b.level+was-actual*unseen)
		}
	}
	if i == 0 && t.Empty == b.kind && b.rate() > 0 {
		b.level = min(b.level, 0)
	}
}

// pay earns what the attempt was worth, and pays for the next.
func (s *sight) pay(t *settlement, r *reservation) (paid, counted bool) {
	own, deposited := &s.l.spent, s.now-r.start >= early && r.income > 0
	if r.price > 0 && r.purse == ScopePurse {
		own, deposited = &s.groups[0].spent, false
	}
	if t.Succeeded && !deposited {
		deposit(own, r.income)
	}
	if t.Failure && deposited {
		s.l.spent += min(r.income, s.m.p.budget-s.l.spent)
	}
	if !t.Retry {
		return false, false
	}
	purse := &s.l.spent
	if t.Purse == ScopePurse {
		purse = &s.groups[0].spent
	}
	paid = s.m.p.withdraw(s.now, purse, s.groups[0], float64(t.Price))
	return paid, !paid && !t.Counted && t.Failure && s.now-s.l.ok > answering
}

// report tells the breaker. A call is one failure at most, and a connection
// that dies under many streams is one, too.
func (s *sight) report(t *settlement, r *reservation, counted bool) {
	l, ripe := s.l, s.now-r.start >= early
	result := "failure"
	switch {
	case t.Succeeded:
		l.ok = max(l.ok, r.start)
		result = "good"
	case !t.Failure:
		result = "ignored"
	case t.Continues && !counted || t.Counted:
		result = "retrying"
	case t.Lost && s.now-l.lost < together:
		result = "ignored"
	case t.Lost:
		l.lost = s.now
	}
	switch {
	case r.epoch != l.epoch || l.p.off:
	case r.lease > 0:
		if !r.told && !ripe {
			l.reportProbe(s.now, r.lease, result)
		}
	case l.state != Closed:
	case result == "good":
		if !ripe {
			l.count(l.slot, 1, 0)
		}
	default:
		if ripe {
			l.count(l.slotOf(r.start+early), -1, 0)
		}
		if result == "failure" {
			l.fail(s.now)
		}
	}
}
