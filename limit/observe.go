package limit

import (
	"math"
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Response is what the headers of an answer tell.
type Response struct {
	Status       int
	At           time.Time // when they came
	Date         time.Time // when they were sent, by the upstream's clock, cut to a second; zero is At
	Organization string    // "" if it did not say
	Workspace    string    // "" if it is the default one, or it did not say
	Limits       claude.RateLimits
}

// Read reads a Response from headers that have just come.
func Read(status int, h http.Header, now time.Time) Response {
	var date time.Time
	if v := h.Get(claude.HeaderDate); v != "" { // parsing nothing costs three errors
		if d, err := http.ParseTime(v); err == nil {
			date = d
		}
	}
	return Response{
		Status: status, At: now, Date: date,
		Organization: h.Get(claude.HeaderOrganizationID), Workspace: h.Get(claude.HeaderWorkspaceID),
		Limits: claude.ReadRateLimits(h),
	}
}

// Observe learns from the headers of an attempt's answer: whose it was, what
// the limits are, and how full the buckets were. To be told as soon as they
// come, and before Settle.
func (b *Book) Observe(now time.Time, id ID, a Response) {
	r := b.reservation(id)
	if r == nil {
		return
	}
	t := b.tick(now)
	if a.At.IsZero() {
		a.At = now
	}
	if b.cfg.Shared {
		b.shown = Shown{}
	}
	b.identify(t, r, a)
	if b.cfg.Fixed || r.groups[0] == nil {
		return
	}
	g := r.groups[0].final()
	l := a.Limits
	refused := a.Status == http.StatusTooManyRequests
	switch {
	case g.key.fast && (l.FastInput.Told() || l.FastOutput.Told()):
		b.see(t, r, g, Input, l.FastInput, a, refused)
		b.see(t, r, g, Output, l.FastOutput, a, refused)
	case l.Told():
		if g.key.fast { // counted as any other: what follows is charged there
			g.usual = true
			g = b.group(t, groupKey{role: g.key.role, owner: g.key.owner, class: g.key.class}, r.scope, g.key.class)
			r = &reservation{start: r.start} // of which nothing is charged there
		}
		b.see(t, r, g, Requests, l.Requests, a, refused)
		b.see(t, r, g, Input, l.Input, a, refused)
		b.see(t, r, g, Output, l.Output, a, refused)
		b.tightest(t, r, g, a, refused)
	case refused:
		g.open = max(1, g.open/2)
	case a.Status/100 == 2 && !g.sure:
		g.silent = true // it answers, and says nothing: there is nothing to wait for
	default:
		g.doubles(t)
	}
	g.check()
}

// identify learns whose a credential is. A key that is not accepted is nobody.
func (b *Book) identify(t tick, r *reservation, a Response) {
	s := r.scope
	if a.Status == http.StatusUnauthorized {
		return
	}
	b.accept(s)
	if a.Workspace != "" {
		s.workspace = a.Workspace
	}
	b.identifyAs(t, s, a.Organization)
}

// accept notes that a credential is somebody's.
func (b *Book) accept(s *scope) {
	if s.accepted {
		return
	}
	s.accepted = true
	if b.strangers.byKey[s.key] == s {
		b.strangers.remove(s)
		b.scopes.put(s.key, s)
		b.scopes.trim(maxScopes, func(s *scope) bool { return s.flying > 0 })
	}
}

// identifyAs makes what a credential has been counted under its organisation's.
func (b *Book) identifyAs(t tick, s *scope, organization string) {
	if organization == "" || organization == s.organization {
		return
	}
	s.organization = organization
	for _, g := range s.alone {
		b.join(t, g, organization)
	}
	s.alone = nil
}

// join makes a group of a credential one of its organisation.
func (b *Book) join(t tick, g *group, organization string) {
	if kept, ok := b.groups.byKey[g.key]; !ok || kept != g {
		return // forgotten meanwhile
	}
	b.groups.remove(g)
	k := g.key
	k.role, k.owner = ofOrganization, organization
	if known, ok := b.groups.get(k); ok {
		known.ours = known.ours || g.ours
		b.configure(t, known)
		known.absorb(t, g)
		return
	}
	b.groups.put(k, g)
	b.configure(t, g)
}

// tightest learns from anthropic-ratelimit-tokens-*: where it is not input and
// output summed it is a limit of the workspace, and of everybody else's there
// is at least as much left.
func (b *Book) tightest(t tick, r *reservation, g *group, a Response, refused bool) {
	w := a.Limits.Tokens
	if !w.Told() || a.Limits.Summed() || r.scope == nil {
		return
	}
	workspace := r.scope.workspace
	if g.key.role != ofOrganization || workspace == "" || g.key.class[0] == '/' {
		return // whose it is cannot be said
	}
	k := g.key
	k.role, k.workspace = ofWorkspace, workspace
	own, ok := b.groups.get(k)
	if !ok {
		own = b.group(t, k, r.scope, "")
	}
	if r.groups[1] == nil { // it is charged there from now on
		r = &reservation{start: r.start}
	}
	b.see(t, r, own, Tokens, w, a, refused)
}

// see lets a bucket learn from what an answer showed of it, and the group
// from what that says about others.
func (b *Book) see(t tick, r *reservation, g *group, k Kind, w claude.Window, a Response, refused bool) {
	if !w.Told() {
		return
	}
	at := min(t, max(r.start, a.At.Sub(b.epoch)))
	v := view{
		kind: k, start: r.start, at: at, refused: refused, wary: t < g.wary,
		limit: float64(w.Limit), remaining: float64(w.Remaining),
	}
	if !w.Reset.IsZero() {
		v.full, v.blur = w.Reset.Sub(a.At).Seconds(), 1
		if !a.Date.IsZero() {
			v.full, v.blur = w.Reset.Sub(a.Date).Seconds(), 2
		}
		v.dated = true
	}
	for i, o := range r.groups {
		if o != nil && o.final() == g {
			// Of an attempt from before a merge it is not known what else the
			// bucket was charged since.
			v.own, v.before, v.charged = r.held[i][k], r.before[i][k], o == g
			b.shows(i, k, &g.buckets[k], v)
			set, surprise := g.buckets[k].see(t, v)
			r.seen[i][k] = r.seen[i][k] || set && !refused
			g.suspect(t, &g.buckets[k], surprise)
			return
		}
	}
	_, surprise := g.buckets[k].see(t, v)
	g.suspect(t, &g.buckets[k], surprise)
}

// Levels that are lower than ours are a sign of others if they add up: to this
// share of the limit per minute, within about this time. It is a drain of a
// sixteenth of the rate that nobody explains. Both are guesses.
const (
	surprising = 0.01
	remembered = 10 * time.Second
	drained    = 0.1 // of the rate, known to be taken by others
)

func (g *group) suspect(t tick, b *bucket, surprise float64) {
	b.surprise *= math.Exp(-(t - b.surprised).Seconds() / remembered.Seconds())
	b.surprise += surprise
	b.surprised = t
	if b.surprise > surprising*b.rated()*60 || b.flow.drain.rate > drained*b.rated() {
		g.wary = t + wariness
	}
}
