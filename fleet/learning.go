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
		used := -1.0
		if g.born == 0 {
			g.born = s.now
		}
		for j, w := range t.Groups[i].Buckets {
			used = max(used, s.teach(t, r, i, j, g, g.buckets[w.Kind], window))
		}
		if i == 0 && t.Lesson.Pause > 0 {
			g.paused = max(g.pause(s.now), s.now+min(micros(t.Lesson.Pause), pauseMost))
		}
		if used >= 0 {
			g.raised = s.now - (window-used)*second
		}
	}
	return s.reply(Reply{Known: r != nil}), nil
}

// teach lets a bucket learn, and says how much of the window a raise has used;
// less than 0 if nothing was raised.
func (s *sight) teach(t *lesson, r *reservation, i, j int, g *group, b *bucket, window float64) (used float64) {
	used = -1
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
		return used
	}
	first, mirrored := b.limit == 0, b.cap == 0 || v.Limit <= b.cap
	switch {
	case first || v.Limit <= b.limit:
		b.limit = v.Limit
	case window >= 1:
		b.limit, used = min(v.Limit, 2*b.limit), window
	}
	if v.High > 0 {
		if first {
			b.depth = arriving(v.Low)
		} else {
			b.depth = min(max(b.depth, arriving(v.Low)), arriving(v.High))
		}
		b.depth = min(b.depth, depthMost)
	}
	flight := 0.0
	if ours {
		flight = max(0, s.now-micros(t.Age)-r.start)
	}
	low, high := s.bounds(t, v, g, b, h, ours, flight)
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
	case b.level < low && ours:
		if up := min(low, b.level+b.rate()*window); up > b.level {
			used = max(used, (up-b.level)/b.rate())
			b.level, b.seen = up, seen
		}
	}
	b.level = min(b.level, b.size())
	return used
}

// arriving is how many seconds of rate may be let go at once of a bucket that
// holds so many when it is full: it does not refill until they have come.
func arriving(seconds float64) float64 { return max(seconds-transit/second, seconds/2, 0.5) }

// bounds is between what the level must be, by what an answer showed. It is
// true of a moment in the past, and is rounded to a thousand where tokens are
// counted.
//
// If the moment was when the attempt was let in, more has been charged since; if
// it was when the answer was sent, all of that has been seen but what was on its
// way. While that is not known both hold.
func (s *sight) bounds(t *lesson, v View, g *group, b *bucket, h holding, ours bool, flight float64) (low, high float64) {
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
		return min(v.Remaining-below+refilled-g.pace*age/second-since, b.size()), high
	}
	early := min(v.Remaining+b.rate()*(age+flight)/second, b.size()) - below - since
	late := v.Remaining - below + refilled
	if since > 0 {
		late -= since * min(1, (age+transit)/(flight+age))
	}
	late = min(late, b.size())
	switch {
	case v.Early:
		return early, early + below + off
	case v.Late:
		return late, high
	}
	return min(early, late), high
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
