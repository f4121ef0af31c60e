package limit

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Claim is what a reservation asks of those who keep the levels, with
// [Config.Shared].
type Claim struct {
	Credential   string
	Organization string // "" until an answer has told
	Parts        []Part // of each group that the attempt counts against
}

// Part is what an attempt asks of one group.
type Part struct {
	Of        string // "organization", "workspace", "client", or "credential" until that is known
	Owner     string
	Workspace string
	Class     string
	Fast      bool
	Messages  bool    // tokens count, not requests alone
	Reads     bool    // what is read from the prompt cache counts as input
	Pace      float64 // of output, tokens per second; 0 is at once
	Asks      [kinds]Ask
}

// Ask is what an attempt asks of one bucket.
type Ask struct {
	Cost float64
	Cap  float64 // per minute, as configured, or told by the Rate Limits API and by nobody else; 0 is none
	Keep float64 // of the level, to be left
	Heard
}

// Heard is what is known of a bucket's level elsewhere. The zero Heard is
// nothing.
type Heard struct {
	Limit float64 // per minute, of the upstream; 0 is not known
	Depth float64 // seconds of rate that it holds
	Level float64
}

// Shown is what an answer showed of the buckets of its reservation: by part of
// the claim and kind.
type Shown [most][kinds]Showing

// Showing is what an answer showed of one bucket. The zero Showing is nothing.
type Showing struct {
	Limit, Remaining float64 // per minute
	Low, High        float64 // bounds of the seconds of rate that it holds; High 0 says nothing
	Early, Late      bool    // it speaks of when the attempt was let in, or of when the answer was sent, as far as its reset tells
}

// Claim returns what a reservation asks of others; false if it is not known.
func (b *Book) Claim(now time.Time, id ID) (c Claim, ok bool) {
	r := b.reservation(id)
	if r == nil {
		return c, false
	}
	t := b.tick(now)
	c.Credential, c.Organization = r.scope.key, r.scope.organization
	for i, g := range r.groups {
		if g == nil {
			break
		}
		g = g.final()
		p := Part{
			Of: g.key.role.String(), Owner: g.key.owner, Workspace: g.key.workspace, Class: g.key.class, Fast: g.key.fast,
			Messages: g.key.class[0] != '/', Reads: g.reads, Pace: r.cost.pace,
		}
		for k := range g.buckets {
			u := &g.buckets[k]
			u.refill(t)
			a := &p.Asks[k]
			a.Cost, a.Cap = r.held[i][k], u.cap()
			if u.limited() {
				a.Keep = g.cushion(t, Kind(k), 0)
				a.Limit, a.Depth, a.Level = max(u.told[Fleet], u.told[Headers]), u.depth, u.level+r.held[i][k]
			}
		}
		c.Parts = append(c.Parts, p)
	}
	return c, true
}

// cap is a limit that the upstream's own answers do not know of.
func (b *bucket) cap() float64 {
	if c := b.told[Configured]; c > 0 || b.told[Headers] > 0 || b.told[Fleet] > 0 {
		return c
	}
	return b.told[API]
}

// begins is how many may be in flight to a group of which nothing is known. Of
// many who share it each begins with one, until it has heard how many they are.
func (b *Book) begins() int {
	if b.cfg.Shared {
		return 1
	}
	return slowStart
}

// News is what those who keep the levels have said about a reservation.
type News struct {
	Levels  [][kinds]Heard  // by part of its claim, and kind
	Paused  []time.Duration // by part: nobody is sent before
	Sharers int             // how many processes share the limits; 0 is not known
}

// Hear takes over news.
func (b *Book) Hear(now time.Time, id ID, n News) {
	r := b.reservation(id)
	if r == nil {
		return
	}
	t := b.tick(now)
	for i, g := range r.groups {
		if g == nil || i >= len(n.Levels) {
			break
		}
		g = g.final()
		if n.Sharers > 0 && !g.shared {
			g.shared, g.open = true, max(g.open, slowStart/n.Sharers)
		}
		for k, h := range n.Levels[i] {
			if h.Limit <= 0 {
				continue
			}
			u := &g.buckets[k]
			if u.told[Fleet] != h.Limit {
				u.tell(t, Fleet, h.Limit)
			}
			u.refill(t)
			u.depth, u.level = h.Depth, h.Level
			u.trim()
		}
		if i < len(n.Paused) && n.Paused[i] > 0 {
			g.paused = max(g.paused, t+min(n.Paused[i], longestPause))
		}
		g.check()
	}
}

// Shown is what the last answer that was observed showed, with Config.Shared.
func (b *Book) Shown() Shown { return b.shown }

func (b *Book) shows(i int, k Kind, u *bucket, v view) {
	if !b.cfg.Shared {
		return
	}
	s := Showing{Limit: v.limit, Remaining: v.remaining}
	if v.dated {
		s.Low, s.High = u.depths(v)
	}
	when := u.speaks(v)
	s.Early, s.Late = when == early, when == late
	b.shown[i][k] = s
}

// Belongs tells whose a credential is, as others have been told. own says that it
// is ours, as in [Need].
func (b *Book) Belongs(now time.Time, credential, organization, workspace string, own bool) {
	s := b.scopeOf(Need{Credential: credential, Own: own})
	b.accept(s)
	if workspace != "" {
		s.workspace = workspace
	}
	b.identifyAs(b.tick(now), s, organization)
}

// Counts is what an answer's usage counts in a part of a claim, by kind.
func (p *Part) Counts(u claude.Usage) (n [kinds]float64) {
	n[Requests] = 1
	n[Input] = float64(u.Input + u.CacheWrite)
	if p.Reads {
		n[Input] += float64(u.CacheRead)
	}
	n[Output] = float64(u.Output)
	n[Tokens] = n[Input] + n[Output]
	return n
}
