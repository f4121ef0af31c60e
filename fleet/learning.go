package fleet

import "context"

// Learning, once more in Go: see lua/learn.lua.

// when is how scripts are told of which moment a view speaks.
func (v View) when() float64 {
	switch {
	case v.Early:
		return 1
	case v.Late:
		return 2
	}
	return 0
}

func (m *memory) learn(_ context.Context, now float64, t *lesson) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, t.Request)
	s.l.tick(s.now)
	r := s.o.open[t.id]
	if r != nil && s.now > r.start+m.p.keepReservations {
		r = nil
	}
	for i, g := range s.groups {
		window := min(max(s.now-g.raised, 0), depth*second) / second
		raised := false
		if g.born == 0 {
			g.born = s.now
		}
		for j, w := range t.Groups[i].Buckets {
			raised = s.teach(t, r, i, j, g, g.buckets[w.Kind], window) || raised
		}
		if i == 0 && t.Lesson.Pause > 0 {
			g.paused = max(g.pause(s.now), s.now+min(micros(t.Lesson.Pause), pauseMost))
		}
		if raised {
			g.raised = s.now
		}
	}
	return s.reply(Reply{Known: r != nil}), nil
}

// teach lets a bucket learn, and says whether anything was raised.
func (s *sight) teach(t *lesson, r *reservation, i, j int, g *group, b *bucket, window float64) (raised bool) {
	h, ours := holding{before: b.charged}, r != nil && !r.foreign && g.born <= r.start
	if ours {
		h = r.held[i][j]
	}
	if b.at == 0 {
		b.at = s.now
	}
	g.refill(s.now, b)
	v := t.view(i, j)
	if ours && v.Known && b.kind != Output {
		b.draw(r, v.Actual-h.n)
		if b.rate() > 0 && r.start >= b.seen {
			b.level = min(b.size(), b.level+h.n-v.Actual)
		}
		h.n = v.Actual
		r.held[i][j].n = v.Actual
	}
	if v.Limit <= 0 {
		return false
	}
	first, mirrored := b.limit == 0, b.cap == 0 || v.Limit <= b.cap
	switch {
	case first || v.Limit <= b.limit:
		b.limit = v.Limit
	case window >= 1:
		b.limit, raised = min(v.Limit, 2*b.limit), true
	}
	if v.High > 0 {
		if first {
			b.depth = max(v.Low, 0.5)
		} else {
			b.depth = min(max(b.depth, v.Low), max(v.High, 0.5))
		}
		b.depth = min(b.depth, depthMost)
	}
	flight := 0.0
	if ours {
		flight = max(0, s.now-micros(t.Age)-r.start)
	}
	low, high, up := s.bounds(t, v, g, b, h, ours, flight)
	seen := s.now - micros(t.Age)
	if v.Early && b.kind != Output && r != nil {
		seen = r.start
	}
	seen = max(b.seen, seen)
	switch {
	case !mirrored:
		// A lower limit of our own is in force; the upstream's level only bounds it.
		b.level = min(b.level, high)
	case first:
		b.level, b.seen = low, seen
	case b.level > high+slack:
		if b.level-high > 0.01*b.limited() && s.now-g.born > wariness { // a young group has not heard of all
			g.wary = max(g.wary, s.now+wariness)
		}
		b.level, b.seen = low, seen
	case b.level < up && ours:
		if up = min(up, b.level+b.rate()*window); up > b.level {
			b.level, b.seen, raised = up, seen, true
		}
	}
	b.level = min(b.level, b.size())
	return raised
}

// bounds tells by what an answer showed to what a level is cut, what it is at
// most, and to what it may be raised. What is shown is true of a moment in the
// past, and is rounded to a thousand where tokens are counted.
//
// If the moment was when the attempt was let in, more has been charged since; if
// it was when the answer was sent, nearly all of that has been seen. While that
// is not known a cut believes the later, for what comes next shows if that was
// too much, and a raise believes both. Of a long flight all believe both.
func (s *sight) bounds(t *lesson, v View, g *group, b *bucket, h holding, ours bool, flight float64) (low, high, up float64) {
	off, below := 1.0, 0.0
	if b.kind != Requests {
		off = min(500, b.size()/20)
		below = off
	}
	since := max(0, b.charged-h.before)
	if ours && !t.Refused && (b.kind != Output || h.pace == 0) {
		since = max(0, since-h.n)
	}
	age := micros(t.Age)
	refilled := b.rate() * age / second
	high = v.Remaining + off + refilled
	if b.kind == Output {
		low = min(v.Remaining-below+refilled-g.pace*age/second-since, b.size())
		return low, high, low
	}
	early := min(v.Remaining+b.rate()*(age+flight)/second, b.size()) - below - since
	late := v.Remaining - below + refilled
	if flight+age > 0 {
		late -= since * age / (flight + age)
	}
	late = min(late, b.size())
	both := min(early, late)
	switch {
	case v.Early:
		return early, early + below + off, early
	case v.Late:
		return late, high, late
	case flight > fresh:
		return both, high, both
	}
	return late, high, both
}

func (m *memory) look(_ context.Context, now float64, t *glimpse) (Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.see(now, t.Request)
	s.l.tick(s.now)
	charge := t.bill != nil && !m.billed[t.bill.id]
	if charge {
		m.billed[t.bill.id] = true
	}
	s.each(func(i, j int, g *group, b *bucket) {
		if g.born == 0 {
			return
		}
		g.refill(s.now, b)
		if charge && b.rate() > 0 {
			take := t.bill.of(i, j).take(s.now - g.born)
			b.level = min(b.size(), max(b.level-take, min(b.level, -b.size())))
		}
	})
	s.beat(t.instance)
	if !charge {
		defer s.restore()
	}
	return s.reply(Reply{Known: true}), nil
}
