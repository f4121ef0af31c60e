package call

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// TestShared_histories plays random calls against others who say anything, and
// in the end let everybody go: then nothing is held, counted or waited for. All
// the while somebody who waits has been named a time that the others have named,
// or something is under way that will be followed by news.
func TestShared_histories(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { playShared(t, rand.New(rand.NewPCG(seed, 17))) })
	}
}

// longestNamed is how long those who share the limits tell a call to wait at most.
const longestNamed = 20 * time.Second

type partyState uint8

const (
	partyWaits partyState = iota
	partyAsks             // those who share the limits
	partyBooked
	partyFlies
	partyGone
)

// party is one call of a history.
type party struct {
	need  Need
	state partyState
	due   time.Time // of what happens next; of a wait, its end
	wake  <-chan struct{}
	tk    Ticket
}

// history is all the calls and those who share the limits.
type history struct {
	*Memory
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	parties []*party
	kind    bool // everybody is let go
}

func playShared(t *testing.T, r *rand.Rand) {
	cfg := MemoryConfig{Shared: true, QueueDepth: 5 + r.IntN(60), Rand: r.Float64, Breaker: BreakerConfig{Off: r.IntN(2) == 0, MinCalls: 5}}
	cfg.Limits.Fixed = true
	if r.IntN(2) == 0 {
		cfg.Concurrency.Max = 1 + r.IntN(5)
	}
	h := &history{Memory: NewMemory(cfg), t: t, r: r, now: start}
	for range 60 + r.IntN(200) {
		switch h.r.IntN(12) {
		case 0, 1, 2, 3, 4:
			h.arrive()
		case 5:
			h.somebodyLeaves()
		case 6:
			h.news()
		}
		h.pass(time.Duration(r.IntN(400)) * time.Millisecond)
	}
	h.kind = true
	h.RouseAll(h.now)
	for range 2000 {
		if len(h.parties) == 0 {
			break
		}
		h.pass(time.Second)
	}
	h.over()
}

func (h *history) arrive() {
	n := Need{
		Call: ID(len(h.parties) + 1 + h.r.IntN(1<<40)), Arrived: h.now, Attempt: 1, Class: Class(h.r.IntN(3)),
		Key:    Key{Upstream: "api", Path: claude.Messages, Model: []string{"claude-opus-4-8", "claude-haiku-4-5"}[h.r.IntN(2)]},
		Scope:  []string{"one", "two"}[h.r.IntN(2)],
		Caller: Caller{Flow: fmt.Sprint(h.r.IntN(3))},
		Fast:   h.r.IntN(10) == 0,
	}
	if h.r.IntN(2) == 0 {
		n.Deadline = h.now.Add(time.Duration(1+h.r.IntN(60)) * time.Second)
	}
	p := &party{need: n}
	h.parties = append(h.parties, p)
	h.asks(p)
}

// asks is what a call does that has come to the end of its wait, or was woken.
func (h *history) asks(p *party) {
	if !p.need.Deadline.IsZero() && !h.now.Before(p.need.Deadline) {
		h.leaves(p)
		return
	}
	h.told(p, h.Admit(ctx, h.now, p.need))
}

func (h *history) told(p *party, d Decision) {
	switch {
	case d.Ticket.ID != 0:
		p.state, p.tk, p.due = partyAsks, d.Ticket, h.now.Add(time.Duration(h.r.IntN(50))*time.Millisecond)
	case d.Hold.Refuse:
		h.leaves(p)
	default:
		p.state, p.wake, p.due = partyWaits, d.Hold.Wake, d.Hold.Until
		if !p.need.Deadline.IsZero() && p.due.After(p.need.Deadline) {
			p.due = p.need.Deadline
		}
		if !p.due.After(h.now) {
			h.t.Fatalf("held for %v until %v ago", d.Hold.Reason, h.now.Sub(p.due))
		}
	}
}

func (h *history) leaves(p *party) {
	switch p.state {
	case partyAsks, partyBooked:
		h.Drop(h.now, p.tk)
	}
	p.state = partyGone
	h.Leave(h.now, p.need, []CallEnd{Uncounted, GaveUp}[h.r.IntN(2)])
	h.Last(p.need)
}

func (h *history) somebodyLeaves() {
	if len(h.parties) == 0 {
		return
	}
	if p := h.parties[h.r.IntN(len(h.parties))]; p.state == partyWaits || p.state == partyBooked || p.state == partyAsks {
		h.leaves(p)
	}
}

func (h *history) news() {
	key := Key{Upstream: "api", Path: claude.Messages, Model: "claude-opus-4-8"}
	switch h.r.IntN(5) {
	case 0:
		h.RouseAll(h.now)
	case 4:
		h.Afford(Need{Key: key}, classify.UpstreamPurse, h.r.IntN(30))
	case 1:
		h.Belongs(h.now, []string{"one", "two"}[h.r.IntN(2)], "org", "", false)
	default:
		h.Rouse(h.now, key, h.r.IntN(2) == 0)
	}
}

// answered is what those who share the limits say.
func (h *history) answered(p *party) {
	if !h.kind && h.r.IntN(3) == 0 {
		why := []HoldReason{HoldPause, HoldBreaker, HoldRamp, HoldBudget, HoldLimit, HoldTurn}[h.r.IntN(6)]
		h.told(p, h.Deny(h.now, p.tk, Denial{
			Reason: why, Until: h.now.Add(time.Duration(h.r.Int64N(int64(longestNamed)))), Sooner: h.r.IntN(2) == 0,
			Own: why == HoldLimit && h.r.IntN(3) == 0,
		}))
		return
	}
	booked := h.r.IntN(4) == 0
	h.Pass(h.now, p.tk, booked, limit.News{Sharers: h.r.IntN(3)})
	p.state, p.due = partyFlies, h.now.Add(time.Duration(h.r.IntN(20_000))*time.Millisecond)
	if booked {
		p.state, p.due = partyBooked, h.now.Add(time.Duration(h.r.IntN(1000))*time.Millisecond)
	}
}

func (h *history) lands(p *party) {
	end := End{Verdict: good, Call: Succeeded}
	if h.r.IntN(3) == 0 && !h.kind {
		end = End{Verdict: overloaded, Call: GaveUp}
	}
	h.Settle(ctx, h.now, p.tk, end)
	h.Settle(ctx, h.now, p.tk, end) // told twice
	h.Pass(h.now, p.tk, false, limit.News{})
	h.Drop(h.now, p.tk)
	p.state = partyGone
}

// pass lets time pass, and whatever is due in it happen in order.
func (h *history) pass(d time.Duration) {
	until := h.now.Add(d)
	for range 100_000 {
		h.parties = slices.DeleteFunc(h.parties, func(p *party) bool { return p.state == partyGone })
		h.check()
		p := h.next()
		if p == nil || p.due.After(until) {
			h.now = until
			return
		}
		if p.due.After(h.now) {
			h.now = p.due
		}
		switch p.state {
		case partyWaits:
			h.asks(p)
		case partyAsks:
			h.answered(p)
		case partyBooked:
			p.state, p.due = partyFlies, h.now.Add(time.Second)
		case partyFlies:
			h.lands(p)
		}
	}
	h.t.Fatal("time stands still: somebody asks again and again")
}

// next is who is due first; who has been woken is due at once.
func (h *history) next() (first *party) {
	for _, p := range h.parties {
		if p.state == partyWaits && p.wake != nil && isClosed(p.wake) {
			p.due, p.wake = h.now, nil
		}
		if first == nil || p.due.Before(first.due) {
			first = p
		}
	}
	return first
}

// check wants the books to be right, and nobody to wait for nothing.
func (h *history) check() {
	h.t.Helper()
	asking, waiting, busy := 0, 0, false
	soon := h.now.Add(time.Hour)
	for _, p := range h.parties {
		switch p.state {
		case partyAsks:
			asking++
			busy = true
		case partyWaits:
			waiting++
			if p.wake == nil || isClosed(p.wake) {
				busy = true
			}
			if p.due.Before(soon) {
				soon = p.due
			}
		default:
			busy = true
		}
	}
	if len(h.held) != waiting {
		h.t.Fatalf("%d calls are held, and %d wait", len(h.held), waiting)
	}
	turns := 0
	for _, x := range h.held {
		if x.turn != nil && x.turn.grant.gate != nil {
			turns++
		}
	}
	asks, waits := 0, 0
	for _, g := range h.gates {
		if g.asking < 0 || g.waits < 0 || g.width < 1 {
			h.t.Fatalf("a gate with %d who ask, %d who wait, of width %d", g.asking, g.waits, g.width)
		}
		asks, waits = asks+g.asking, waits+g.waits
	}
	if asks != asking+turns {
		h.t.Fatalf("gates count %d who ask, want %d", asks, asking+turns)
	}
	if entered := len(h.held) - h.poor; waits != entered {
		h.t.Fatalf("gates count %d who wait, want %d", waits, entered)
	}
	// The local breaker holds its own for up to 30 s.
	if waiting > 0 && !busy && soon.Sub(h.now) > 31*time.Second {
		h.t.Fatalf("%d calls wait, the first for %v more, and nothing is under way", waiting, soon.Sub(h.now))
	}
}

// over wants everything to be given back.
func (h *history) over() {
	h.t.Helper()
	if len(h.parties) != 0 || len(h.held) != 0 || len(h.flights) != 0 || h.queue.Len() != 0 || h.poor != 0 || len(h.lines) != 0 {
		h.t.Errorf("%d calls, %d held, %d flights, %d in the queue, %d poor, %d lines are left",
			len(h.parties), len(h.held), len(h.flights), h.queue.Len(), h.poor, len(h.lines))
	}
	for k, l := range h.lanes.all {
		if l.inFlight != 0 || l.waiting.calls != 0 {
			h.t.Errorf("%v: %d in flight and %d wait", k, l.inFlight, l.waiting.calls)
		}
	}
	for k, g := range h.gates {
		if g.asking != 0 || g.waits != 0 {
			h.t.Errorf("%v: %d ask and %d wait", k, g.asking, g.waits)
		}
	}
}
