package breaker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomHistories plays seeded random histories and compares each step
// with a model that keeps everything and counts anew.
func TestRandomHistories(t *testing.T) {
	var seen [3]int
	for seed := range uint64(80) {
		h := newHistory(seed)
		for i := range 1500 {
			if err := h.step(); err != nil {
				t.Fatalf("seed %d, step %d, %+v: %v", seed, i, h.cfg, err)
			}
			seen[h.state]++
		}
		if err := h.recovers(); err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, h.cfg, err)
		}
	}
	for s, n := range seen {
		if n < 3_000 {
			t.Errorf("the histories spent %d steps %v: too few to prove anything", n, State(s))
		}
	}
}

// history is a breaker in an upstream whose health changes at random.
type history struct {
	r       *rand.Rand
	cfg     Config // with defaults
	percent int    // cfg.ErrorRate in whole percent
	b       *Breaker
	now     time.Time
	sick    float64 // share of failures at present

	state    State
	epochs   uint64
	out      []*flight
	booked   []booking // of this epoch
	probedAt time.Time // last probe of this open state; zero after an ignored one
	openedAt time.Time // beginning of this open state
}

type flight struct {
	ticket Ticket
	epoch  uint64
	sent   time.Time
	early  int // index in history.booked, if not -1
	told   bool
}

type booking struct {
	slot int64
	bad  bool
	void bool
}

func newHistory(seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 11))
	h := &history{r: r, now: start, percent: 5 + r.IntN(40)}
	second := func(n int) time.Duration { return time.Duration(1+r.IntN(n)) * time.Second }
	h.cfg = Config{
		ErrorRate: float64(h.percent) / 100,
		Window:    second(60), MinCalls: 1 + r.IntN(20), OpenFor: second(100), ProbeEvery: second(30),
		Probes: 1 + r.IntN(4), Lease: second(60), Ramp: second(30),
	}
	if r.IntN(5) == 0 {
		h.cfg.ProbeEvery = -1
	}
	h.b = New(h.cfg)
	h.b.Rate(start) // slot 0 begins
	return h
}

func (h *history) slot() int64 { return int64(h.now.Sub(start) / (h.cfg.Window / buckets)) }

// counts is the model's window.
func (h *history) counts() (bad, all int) {
	for _, k := range h.booked {
		if !k.void && k.slot > h.slot()-buckets {
			all++
			if k.bad {
				bad++
			}
		}
	}
	return bad, all
}

func (h *history) step() error {
	if h.r.IntN(300) == 0 {
		h.sick = max(0, h.r.Float64()*1.5-0.5)
	}
	h.now = h.now.Add(time.Duration(h.r.ExpFloat64() * float64(400*time.Millisecond)))
	if err := h.moved("time", h.b.State(h.now)); err != nil {
		return err
	}
	switch h.r.IntN(10) {
	case 0, 1, 2, 3:
		return h.admit()
	case 4:
		return h.early()
	default:
		return h.report()
	}
}

// moved checks a transition against the drawing.
func (h *history) moved(why string, to State) error {
	if h.b.Changed() == h.epochs {
		if to != h.state {
			return fmt.Errorf("%s: %v became %v without a change", why, h.state, to)
		}
		return nil
	}
	legal := map[State][]State{Closed: {Open}, Open: {HalfOpen}, HalfOpen: {Open, Closed}}
	for _, next := range legal[h.state] {
		if next == to && h.b.Changed() == h.epochs+1 {
			h.state, h.epochs = to, h.b.Changed()
			h.booked = nil
			h.openedAt, h.probedAt = h.now, time.Time{}
			return nil
		}
	}
	return fmt.Errorf("%s: %v became %v in %d changes, not drawn", why, h.state, to, h.b.Changed()-h.epochs)
}

// leases is how many probes of this epoch are out and not lost.
func (h *history) leases() (n int) {
	for _, f := range h.out {
		if f.ticket.Probe && f.epoch == h.epochs && !f.told && h.now.Before(f.sent.Add(h.cfg.Lease)) {
			n++
		}
	}
	return n
}

func (h *history) admit() error {
	mayProbe, waited := h.r.IntN(4) > 0, h.r.IntN(4) == 0
	d := h.b.Admit(h.now, mayProbe, waited, h.r.Float64())
	if !d.OK {
		if !d.Until.After(h.now) {
			return fmt.Errorf("held until %v from now", d.Until.Sub(h.now))
		}
		if d.Ramp && (h.state != Closed || d.Until.Sub(h.now) > h.cfg.Ramp) {
			return fmt.Errorf("a place in the ramp %v from now while %v", d.Until.Sub(h.now), h.state)
		}
		return nil
	}
	if d.Ticket.Probe != (h.state != Closed) {
		return fmt.Errorf("while %v a ticket with Probe = %v", h.state, d.Ticket.Probe)
	}
	if h.state == Open {
		if !mayProbe {
			return fmt.Errorf("a call that may not probe passed while open")
		}
		if h.cfg.ProbeEvery < 0 || h.now.Sub(h.openedAt) < h.cfg.ProbeEvery {
			return fmt.Errorf("a probe %v after opening", h.now.Sub(h.openedAt))
		}
		if !h.probedAt.IsZero() && h.now.Sub(h.probedAt) < h.cfg.ProbeEvery {
			return fmt.Errorf("a probe %v after the last", h.now.Sub(h.probedAt))
		}
		h.probedAt = h.now
	}
	h.out = append(h.out, &flight{ticket: d.Ticket, epoch: h.epochs, sent: h.now, early: -1})
	if n := h.leases(); n > h.cfg.Probes {
		return fmt.Errorf("%d probes out, want at most %d", n, h.cfg.Probes)
	}
	return nil
}

func (h *history) early() error {
	if len(h.out) == 0 {
		return nil
	}
	f := h.out[h.r.IntN(len(h.out))]
	h.b.Early(h.now, &f.ticket)
	if h.state == Closed && f.epoch == h.epochs && !f.told && f.early < 0 {
		f.early = len(h.booked)
		h.booked = append(h.booked, booking{slot: h.slot()})
	}
	return h.same("early")
}

func (h *history) report() error {
	if len(h.out) == 0 {
		return nil
	}
	i := h.r.IntN(len(h.out))
	f := h.out[i]
	r := h.result()
	if r == Good && h.r.IntN(2) == 0 {
		h.b.Content(h.now, &f.ticket)
		f.told = f.told || f.ticket.Probe
	}
	h.b.Report(h.now, &f.ticket, r)
	want := h.expect(f, r)
	if r != Retrying || f.ticket.Probe {
		f.told = true
		if h.r.IntN(8) > 0 { // else it is reported again, to no effect
			h.out = append(h.out[:i], h.out[i+1:]...)
		}
	}
	if got := h.b.State(h.now); f.epoch == h.epochs && !f.ticket.Probe && got != want {
		bad, all := h.counts()
		return fmt.Errorf("after result %d with %d of %d failed: %v, want %v", r, bad, all, got, want)
	} else if f.epoch != h.epochs && got != h.state {
		return fmt.Errorf("a result of an earlier epoch made it %v from %v", got, h.state)
	}
	if r == Ignored {
		h.probedAt = time.Time{}
	}
	if err := h.moved("report", h.b.State(h.now)); err != nil {
		return err
	}
	return h.same("report")
}

func (h *history) result() Result {
	if h.r.Float64() < h.sick {
		return []Result{Failure, Failure, Retrying}[h.r.IntN(3)]
	}
	if h.r.IntN(6) == 0 {
		return Ignored
	}
	return Good
}

// expect books r in the model, and says what state must follow for a call
// that is no probe.
func (h *history) expect(f *flight, r Result) State {
	if f.told || f.epoch != h.epochs || f.ticket.Probe {
		return h.state
	}
	if f.early >= 0 && r != Good {
		h.booked[f.early].void = true
	}
	switch {
	case r == Good && f.early < 0:
		h.booked = append(h.booked, booking{slot: h.slot()})
	case r == Failure:
		h.booked = append(h.booked, booking{slot: h.slot(), bad: true})
		if bad, all := h.counts(); all >= h.cfg.MinCalls && 100*bad > h.percent*all {
			return Open
		}
	}
	if r != Good {
		f.early = -1
	}
	return h.state
}

// same compares the window with the model's.
func (h *history) same(what string) error {
	if h.state != Closed {
		return nil
	}
	bad, all := h.counts()
	if gotBad, gotAll := h.b.Rate(h.now); gotBad != bad || gotAll != all {
		return fmt.Errorf("after %s %d of %d failed, want %d of %d", what, gotBad, gotAll, bad, all)
	}
	return nil
}

// recovers lets one call after the other ask when told to. The upstream has
// become well, and nothing more is heard of any probe sent before: the breaker
// closes all the same.
func (h *history) recovers() error {
	begun, limit := h.now, h.cfg.OpenFor+h.cfg.Lease+time.Minute
	for h.b.State(h.now) != Closed {
		if h.now.Sub(begun) > limit {
			return fmt.Errorf("still %v %v after the upstream was well", h.b.State(h.now), limit)
		}
		d := h.b.Admit(h.now, true, true, h.r.Float64())
		if d.OK {
			h.b.Report(h.now, &d.Ticket, Good)
			continue
		}
		h.now = d.Until
	}
	return nil
}
