package limit

import "time"

// Group is the state of one set of buckets, for those who look.
type Group struct {
	Of        string // "organization", "workspace", "client", or "credential" until that is known
	Owner     string // its id or name; of a credential the hash
	Workspace string
	Class     string // of models, or ClassCountTokens, ClassBatches
	Fast      bool

	InFlight int
	Probing  bool      // no limit is known yet: at most Open fly at a time
	Open     int       // with Probing
	Paused   time.Time // until; zero if it is not
	Wary     time.Time // until when Headroom is kept; zero if it is not
	Buckets  []Bucket  // those that have a limit
}

// Bucket is the state of one bucket.
type Bucket struct {
	Kind     Kind
	Limit    int64   // per minute
	Rate     float64 // per second, in force: lower than Limit says on a ramp
	Burst    float64 // what it holds when full
	Level    float64 // below 0 is a debt
	Headroom float64 // of Level, kept back
	Promised float64 // output that attempts in flight are still expected to produce
	Others   float64 // tokens per second of output that others seem to take
	Ledger   Ledger
	From     Source // who told the limit
	Ramp     bool   // use grew too fast a while ago
}

// Groups returns the state of all groups, the latest used first. What it
// returns is the caller's.
func (b *Book) Groups(now time.Time) []Group {
	t := b.tick(now)
	var list []Group
	when := func(until tick) time.Time {
		if until <= t {
			return time.Time{}
		}
		return b.epoch.Add(until)
	}
	b.groups.all(func(g *group) bool {
		s := Group{
			Of: g.key.role.String(), Owner: g.key.owner, Workspace: g.key.workspace, Class: g.key.class, Fast: g.key.fast,
			InFlight: g.inFlight, Probing: !g.sure && !g.silent, Paused: when(g.paused), Wary: when(g.wary),
		}
		if s.Probing {
			s.Open = g.open
		}
		for k := range g.buckets {
			u := &g.buckets[k]
			if !u.limited() {
				continue
			}
			u.refill(t)
			n, from := u.source()
			s.Buckets = append(s.Buckets, Bucket{
				Kind: Kind(k), Limit: int64(n), Rate: u.rated(), Burst: u.size(), Level: u.level,
				Headroom: g.cushion(t, Kind(k), b.headroom()), Promised: u.flow.promised, Others: u.flow.drain.rate, Ledger: u.ledger,
				From: from, Ramp: u.ramp.rate > 0,
			})
		}
		list = append(list, s)
		return true
	})
	return list
}

// Len returns how many credentials, accepted or not, and groups are
// remembered.
func (b *Book) Len() (scopes, groups int) {
	return len(b.scopes.byKey) + len(b.strangers.byKey), len(b.groups.byKey)
}
