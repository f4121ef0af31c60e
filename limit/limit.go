// Package limit knows how much an organisation may still send: it reserves
// requests, input and output tokens before an attempt leaves, corrects them
// by what the answer says it cost, and learns limits, levels and the use of
// others from the API's own headers.
//
// The upstream keeps token buckets per organisation and class of models, and
// some workspaces have their own beside them (“Rate limits”,
// platform.claude.com, 2026-08-22). A [Book] mirrors them, and errs on the low
// side: a 429 is a bucket that the mirror showed too full.
//
//	Acquire ──► every bucket of every group the attempt counts against has
//	            what it needs: all are charged, or none, and the wait is told
//	Observe ──► headers have come: limits, levels and whose the call was
//	Correct ──► a stream has begun: its input is known
//	Settle  ──► it has ended: what it cost, or that it never counted
//
// Requests and input are charged when the attempt leaves, as upstream does
// when it arrives. Output counts upstream as it is produced, and so it does
// here: an attempt adds its pace, and is let in if the bucket lasts until all
// that runs has been produced (see flow.go). What is not known is charged at
// once and in full.
//
// Levels are stored with their time, not as the time at which a bucket will
// have room (GCRA): a debt in tokens keeps its size when the rate is
// relearned.
//
// Nothing here reads a clock, waits, or starts a goroutine; now is passed in,
// and one that goes back counts as standing still. Nothing is safe for
// concurrent use: the owner holds a lock. Acquire and Settle do not allocate
// once as many attempts have been in flight at a time.
package limit

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Kind is what a limit counts.
type Kind uint8

// The kinds. Tokens is a limit that a workspace has on both, or on one of
// them that is not named; it is known from headers alone.
const (
	Requests Kind = iota
	Input
	Output
	Tokens
	kinds
)

// String returns the kind as it is spelled in the API's headers.
func (k Kind) String() string {
	return [...]string{"requests", "input-tokens", "output-tokens", "tokens", ""}[min(k, kinds)]
}

// Need describes the attempt that asks to be sent.
type Need struct {
	Credential string // salted hash; never the credential itself. "" is a scope as well
	Client     string // whose configured limits count too; "" is nobody's
	Workspace  string // that the request names; "" leaves it to what answers have told
	Own        bool   // the credential is our own, so that Config.Models counts
	Path       claude.Path
	Model      string
	Fast       bool // asks for fast mode

	// Input is what is reserved: tokens that are expected to count. Sure is
	// the least that it will be in any case, and decides alone whether it can
	// never pass; 0 if nothing is sure.
	Input, Sure int

	// Reads are expected to come from the prompt cache. They count where the
	// limit counts them, on top of Input.
	Reads int

	// Output is how many tokens are expected, and Pace how many a second.
	// Without a pace the output is charged at once.
	Output int
	Pace   float64

	// Spare asks for what is left over: an attempt that goes only while the
	// buckets are nearly full, so that what is kept is there for those who are
	// more urgent. In the long run it is the same amount.
	Spare bool
}

// ID names a reservation of its book. 0 is none.
type ID uint64

// Reason says why an attempt has to wait.
type Reason uint8

// The reasons.
const (
	Granted  Reason = iota
	Scarce          // a bucket has too little
	Paused          // a 429 named a time
	Unknown         // nothing is known of the limits yet, and enough is in flight to learn them
	TooLarge        // it surely needs more than a minute's limit: it can never pass
)

// String returns the reason as logs and snapshots spell it.
func (r Reason) String() string {
	return [...]string{"", "limit", "pause", "unknown limits", "larger than the limit"}[min(r, TooLarge)]
}

// Answer is the reply to Acquire: granted if ID is not 0.
type Answer struct {
	ID     ID
	Reason Reason
	// Wait is the shortest time until it can succeed; 0 with TooLarge. For
	// requests and input it is exact, unless something is given back sooner:
	// ask again after each Observe, Correct and Settle. For output it is when
	// the tokens that lack will have refilled; answers that still run can make
	// it longer.
	Wait time.Duration
	// Own says that this is not what all of the organisation wait for: it is the
	// pause of one credential, or the limit of one workspace or client.
	Own   bool
	Kind  Kind  // the bucket that takes longest; with Scarce and TooLarge
	Limit int64 // that bucket's, per minute; with Scarce and TooLarge
}

// Acquire reserves what an attempt needs from all its buckets, or from none.
func (b *Book) Acquire(now time.Time, n Need) Answer {
	t := b.tick(now)
	groups, s := b.groupsOf(t, n)
	c := costOf(n)
	if a := b.refusal(t, s, &groups, n, c); a.Reason != Granted {
		return a
	}
	id, r := b.open()
	r.start, r.cost, r.groups, r.scope = t, c, groups, s
	s.flying++
	for i, g := range groups {
		if g == nil {
			break
		}
		g.inFlight++
		for k := range g.buckets {
			r.held[i][k] = g.cost(&c, Kind(k))
			r.before[i][k] = g.buckets[k].charge(t, Kind(k), r.held[i][k], c.pace)
		}
	}
	return Answer{ID: id}
}

// Look says what Acquire would, and reserves nothing; the ID is always 0.
func (b *Book) Look(now time.Time, n Need) Answer {
	t := b.tick(now)
	groups, s := b.groupsOf(t, n)
	return b.refusal(t, s, &groups, n, costOf(n))
}

// refusal says what an attempt has to wait for, longest first.
func (b *Book) refusal(t tick, s *scope, groups *[most]*group, n Need, c cost) (worst Answer) {
	if s.paused > t {
		worst = Answer{Reason: Paused, Wait: s.paused - t, Own: true}
	}
	for _, g := range groups {
		if g == nil {
			break
		}
		own := g.key.role == ofWorkspace || g.key.role == ofClient
		if g.paused-t > worst.Wait {
			worst = Answer{Reason: Paused, Wait: g.paused - t, Own: own}
		}
		if wait := g.feel(t); wait > worst.Wait {
			worst = Answer{Reason: Unknown, Wait: wait, Own: own}
		}
		for k := range g.buckets {
			u := &g.buckets[k]
			if !u.limited() {
				continue
			}
			kind := Kind(k)
			if kind == Input && u.limit() > 0 && float64(n.Sure) > u.limit() {
				return Answer{Reason: TooLarge, Kind: kind, Limit: int64(u.limit())}
			}
			if b.cfg.Shared && !u.ramping() {
				continue
			}
			u.refill(t)
			if wait := u.wait(kind, g.cost(&c, kind), c.pace, g.reserve(t, kind, b.headroom(), g.cost(&c, kind), n.Spare), t < g.wary); wait > worst.Wait {
				worst = Answer{Reason: Scarce, Wait: wait, Own: own, Kind: kind, Limit: int64(u.rated() * 60)}
			}
		}
	}
	return worst
}

// Share is the time of the scarcest bucket that an attempt takes: the most of
// cost over rate. It is what fairness weighs; 0 where nothing is limited.
func (b *Book) Share(now time.Time, n Need) time.Duration {
	groups, _ := b.groupsOf(b.tick(now), n)
	c, most := costOf(n), 0.0
	for _, g := range groups {
		if g == nil {
			break
		}
		for k := range g.buckets {
			if u := &g.buckets[k]; u.limited() {
				most = max(most, g.cost(&c, Kind(k))/u.rated())
			}
		}
	}
	return seconds(most)
}

// cost is what an attempt takes of each kind.
type cost struct {
	amount [kinds]float64
	reads  float64 // on top of input, where they count
	pace   float64 // of output, tokens per second; 0 is at once
}

func costOf(n Need) cost {
	if n.Path != claude.Messages {
		return cost{amount: [kinds]float64{Requests: 1}}
	}
	in, out := float64(max(0, n.Input)), float64(max(0, n.Output))
	return cost{[kinds]float64{1, in, out, in + out}, float64(max(0, n.Reads)), max(0, n.Pace)}
}
