package limit

import (
	"cmp"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Bounds of what is remembered. Credentials that no answer has accepted yet
// are kept apart, so that made-up keys push out each other only.
const (
	maxScopes    = 10_000
	maxStrangers = 1_000
	maxGroups    = 20_000
)

// Book keeps the limits of everyone a process calls for. See the package
// comment for its use.
type Book struct {
	cfg   Config
	epoch time.Time // tick 0
	last  tick

	scopes    *lru[string, *scope] // by credential
	strangers *lru[string, *scope]
	groups    *lru[groupKey, *group]
	api       map[string]map[toldKey]Rates // by organisation, as the Rate Limits API told
	shown     Shown                        // by the last answer, with Config.Shared

	reservations []reservation
	free         []uint32
}

// scope is what is known of a credential.
type scope struct {
	node[string]
	organization, workspace string // "" until an answer has told
	accepted                bool   // some answer was not a 401
	paused                  tick   // this credential alone, until
	flying                  int
	own                     bool
	alone                   []*group // its groups until the organisation is known
}

// reservation is what an attempt holds.
type reservation struct {
	number uint32
	inUse  bool
	start  tick
	cost   cost
	scope  *scope
	groups [most]*group
	before [most][kinds]float64 // charged to the bucket before this one
	held   [most][kinds]float64 // what it is charged now, but for output
	seen   [most][kinds]bool    // an answer has set the level with it in view
}

// NewBook returns an empty book.
func NewBook(cfg Config) *Book {
	return &Book{
		cfg:       cfg.classed(),
		scopes:    newLRU(func(s *scope) *node[string] { return &s.node }),
		strangers: newLRU(func(s *scope) *node[string] { return &s.node }),
		groups:    newLRU(func(g *group) *node[groupKey] { return &g.node }),
		api:       map[string]map[toldKey]Rates{},
	}
}

// Configure changes the configuration. Levels, and what answers have told,
// stay.
func (b *Book) Configure(now time.Time, cfg Config) {
	b.cfg = cfg.classed()
	t := b.tick(now)
	b.groups.all(func(g *group) bool {
		b.configure(t, g)
		return true
	})
}

// tick is now on the book's clock.
func (b *Book) tick(now time.Time) tick {
	if b.epoch.IsZero() {
		b.epoch = now.Add(-time.Hour) // so that no time of a group is 0 by chance
	}
	b.last = max(b.last, now.Sub(b.epoch))
	return b.last
}

// groupsOf finds, and makes where they are missing, the groups that an
// attempt counts against. Those that are there come first.
func (b *Book) groupsOf(t tick, n Need) (groups [most]*group, s *scope) {
	s = b.scopeOf(n)
	class := classOf(n.Path, n.Model)
	if class == "" {
		return groups, s
	}
	i := 0
	add := func(g *group) { groups[i] = g; i++ }
	whose := groupKey{role: ofCredential, owner: s.key, class: class, fast: n.Fast && n.Path == claude.Messages}
	if s.organization != "" {
		whose.role, whose.owner = ofOrganization, s.organization
	}
	g := b.group(t, whose, s, n.Model)
	if g.usual {
		whose.fast = false
		g = b.group(t, whose, s, n.Model)
	}
	add(g)
	if workspace := cmp.Or(n.Workspace, s.workspace); workspace != "" && s.organization != "" {
		whose.role, whose.workspace = ofWorkspace, workspace
		if g, ok := b.groups.get(whose); ok {
			add(g)
		}
	}
	if n.Client != "" && b.cfg.Clients[n.Client] != nil {
		add(b.group(t, groupKey{role: ofClient, owner: n.Client, class: class}, s, n.Model))
	}
	return groups, s
}

// classOf names the pool that a path and model draw from; "" for paths that
// are not limited here. Counting tokens and creating batches have requests of
// their own (“Rate limits”).
func classOf(p claude.Path, model string) string {
	switch p {
	case claude.Messages:
		if model == "" {
			return "?"
		}
		return claude.ModelClass(model)
	case claude.CountTokens:
		return ClassCountTokens
	case claude.Batches:
		return ClassBatches
	}
	return ""
}

func (b *Book) scopeOf(n Need) *scope {
	if s, ok := b.scopes.get(n.Credential); ok {
		return s
	}
	if s, ok := b.strangers.get(n.Credential); ok {
		return s
	}
	s := &scope{own: n.Own}
	b.strangers.put(n.Credential, s)
	b.strangers.trim(maxStrangers, func(s *scope) bool { return s.flying > 0 })
	return s
}

func (b *Book) group(t tick, k groupKey, s *scope, model string) *group {
	if g, ok := b.groups.get(k); ok {
		return g
	}
	g := &group{open: b.begins(), grown: t, reads: claude.CountsCacheReads(model)}
	for i := range g.buckets {
		g.buckets[i].at = t
	}
	g.silent = k.role == ofClient || k.role == ofWorkspace // nothing is to be found out by trying
	b.groups.put(k, g)
	b.groups.trim(maxGroups, func(g *group) bool { return g.inFlight > 0 })
	if k.role == ofCredential {
		s.alone = append(s.alone, g)
	}
	g.ours = s.own
	b.configure(t, g)
	return g
}

// open returns a reservation that is free.
func (b *Book) open() (ID, *reservation) {
	if len(b.free) == 0 {
		b.reservations = append(b.reservations, reservation{})
		b.free = append(b.free, uint32(len(b.reservations)-1))
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	r := &b.reservations[i]
	*r = reservation{number: r.number + 1, inUse: true}
	return ID(uint64(r.number)<<32 | uint64(i+1)), r
}

// reservation finds one that is not settled.
func (b *Book) reservation(id ID) *reservation {
	i := uint64(id) & (1<<32 - 1)
	if i == 0 || i > uint64(len(b.reservations)) {
		return nil
	}
	if r := &b.reservations[i-1]; r.inUse && r.number == uint32(uint64(id)>>32) {
		return r
	}
	return nil
}

func (b *Book) close(id ID, r *reservation) {
	r.inUse, r.scope, r.groups = false, nil, [most]*group{}
	b.free = append(b.free, uint32(uint64(id)&(1<<32-1))-1)
}
