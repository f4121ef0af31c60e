package call

import (
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// newFront is a desk whose limits and budget are kept by others.
func newFront(t *testing.T, cfg MemoryConfig) *desk {
	cfg.Shared = true
	return newDesk(t, cfg)
}

// waits asks once, and wants to be held.
func (d *desk) waits(n Need) Hold {
	d.t.Helper()
	x := d.admit(n)
	if x.Ticket.ID != 0 {
		d.t.Fatalf("call %d has a turn, want it to be held", n.Call)
	}
	return x.Hold
}

// denied asks with a new call, and has the others deny it.
func (d *desk) denied(x Denial) (Need, Hold) {
	d.t.Helper()
	n := d.need()
	return n, d.Deny(d.now, d.mustAdmit(n), x).Hold
}

func (d *desk) in(wait time.Duration) time.Time { return d.now.Add(wait) }

func TestShared_onlyOneOfAClassAsksAfterADenial(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	first, hold := d.denied(Denial{Reason: HoldLimit, Until: d.in(5 * time.Second)})
	if hold.Reason != HoldLimit || !hold.Until.Equal(d.in(5*time.Second)) || hold.Refuse {
		t.Fatalf("told %+v, want the limit, in 5 s", hold)
	}
	d.now = d.in(time.Millisecond)
	second := d.need()
	d.waits(second)
	other := d.need()
	other.Class = Batch
	tk := d.mustAdmit(other) // another class asks for itself
	d.Pass(d.now, tk, false, limit.News{})

	d.now = d.in(5*time.Second - 2*time.Millisecond)
	d.waits(first)
	d.waits(second)
	d.now = d.in(time.Millisecond)
	tk = d.mustAdmit(first)
	if hold := d.waits(second); hold.Reason != HoldTurn || hold.Wake == nil {
		t.Errorf("told %+v while another asks, want its turn, with a wake-up", hold)
	}
	x := d.Deny(d.now, tk, Denial{Reason: HoldTurn, Until: d.in(time.Second)})
	if x.Hold.Until != d.in(time.Second) {
		t.Errorf("told to ask in %v, want 1 s", x.Hold.Until.Sub(d.now))
	}
	d.waits(second)
}

func TestShared_widthDoublesWithThoseWhoAreLetGo(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	first, _ := d.denied(Denial{Reason: HoldLimit, Until: d.in(time.Second)})
	var wait []Need
	for range 64 {
		n := d.need()
		d.waits(n)
		wait = append(wait, n)
	}
	d.now = d.in(time.Second)
	asks := []Ticket{d.mustAdmit(first)}
	for _, want := range []int{2, 4, 8, 16, 32, 32} {
		d.Pass(d.now, asks[0], false, limit.News{}) // the others still ask
		asks = asks[1:]
		for i := 0; i < len(wait); {
			if x := d.admit(wait[i]); x.Ticket.ID != 0 {
				asks, wait = append(asks, x.Ticket), append(wait[:i], wait[i+1:]...)
				continue
			}
			i++
		}
		if len(asks) != want {
			t.Fatalf("%d ask at once, want %d", len(asks), want)
		}
	}
}

func TestShared_aBookedCallNarrowsTheGate(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	d.Pass(d.now, d.mustAdmit(d.need()), true, limit.News{})
	d.mustAdmit(d.need())
	d.waits(d.need())
}

// Who has asked keeps the room that it had, however many have come meanwhile.
func TestShared_aFullQueueTakesBackWhoHasAsked(t *testing.T) {
	for _, why := range []HoldReason{HoldLimit, HoldBudget} {
		d := newFront(t, MemoryConfig{QueueDepth: 2})
		first := d.need()
		tk := d.mustAdmit(first)
		d.shut(time.Second)
		d.waits(d.need())
		for d.queue.Len() < 2 {
			d.waits(d.need())
		}
		if x := d.Deny(d.now, tk, Denial{Reason: why, Until: d.in(time.Second)}); x.Hold.Refuse {
			t.Errorf("%v: refused, %v: the queue has filled while it asked", why, x.Hold.Reason)
		}
		if x := d.admit(d.need()); !x.Hold.Refuse {
			t.Errorf("%v: a new call is not refused, and the queue is full", why)
		}
	}
}

// shut has the class of new calls wait.
func (d *desk) shut(wait time.Duration) {
	d.t.Helper()
	d.denied(Denial{Reason: HoldLimit, Until: d.in(wait)})
}

// What a client or workspace has to itself holds back nobody else.
func TestShared_aLimitOfOnesOwn(t *testing.T) {
	cfg := MemoryConfig{}
	cfg.Limits.Clients = map[string]map[string]Rates{"small": {"*": {RPM: 1}}}
	d := newFront(t, cfg)
	n := d.need()
	n.Caller = Caller{Name: "small", Flow: "small"}
	x := d.Deny(d.now, d.mustAdmit(n), Denial{Reason: HoldLimit, Until: d.in(time.Minute), Own: true})
	if x.Hold.Reason != HoldLimit || !x.Hold.Until.Equal(d.in(time.Minute)) {
		t.Errorf("told %+v, want the limit, in a minute", x.Hold)
	}
	same := d.need()
	same.Caller = n.Caller
	d.waits(same)
	d.mustAdmit(d.need())
	d.mustAdmit(d.need())
	if d.Last(n) {
		t.Error("the others are told to forget a place in a line that it does not have")
	}
}

// Where several ask at once, a large one does not hold the others back for as
// long as it has to wait; a pause does.
func TestShared_whatSeveralAreTold(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then Denial
		want        time.Duration
	}{
		{"a small one first", Denial{Reason: HoldLimit, Until: start.Add(time.Second)}, Denial{Reason: HoldLimit, Until: start.Add(time.Minute)}, time.Second},
		{"a large one first", Denial{Reason: HoldLimit, Until: start.Add(time.Minute)}, Denial{Reason: HoldTurn, Until: start.Add(time.Second)}, time.Second},
		{"a pause first", Denial{Reason: HoldPause, Until: start.Add(time.Minute)}, Denial{Reason: HoldLimit, Until: start.Add(time.Second)}, time.Minute},
		{"a pause last", Denial{Reason: HoldLimit, Until: start.Add(time.Second)}, Denial{Reason: HoldPause, Until: start.Add(time.Minute)}, time.Minute},
		{"a longer pause", Denial{Reason: HoldPause, Until: start.Add(time.Second)}, Denial{Reason: HoldPause, Until: start.Add(time.Minute)}, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newFront(t, MemoryConfig{})
			a, b := d.need(), d.need()
			ta, tb := d.mustAdmit(a), d.mustAdmit(b)
			d.Deny(d.now, ta, c.first)
			d.Deny(d.now, tb, c.then)
			d.now = d.in(c.want - time.Millisecond)
			d.waits(a)
			d.waits(b)
			d.now = d.in(time.Millisecond)
			if x := d.admit(a); x.Ticket.ID == 0 {
				t.Errorf("held until %v after it may ask", x.Hold.Until.Sub(d.now))
			}
		})
	}
}

// What a call has been told holds back those behind it no longer than itself.
func TestShared_whoLeavesReopensTheGate(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	large, _ := d.denied(Denial{Reason: HoldLimit, Until: d.in(time.Minute)})
	small := d.need()
	hold := d.waits(small)
	d.Leave(d.now, large, Uncounted)
	if !isClosed(hold.Wake) {
		t.Error("nobody is woken when the one that was to ask leaves")
	}
	d.mustAdmit(small)

	t.Run("but no pause", func(t *testing.T) {
		d := newFront(t, MemoryConfig{})
		n, _ := d.denied(Denial{Reason: HoldPause, Until: d.in(time.Minute)})
		d.Leave(d.now, n, Uncounted)
		d.waits(d.need())
	})
	t.Run("also by the end of its time", func(t *testing.T) {
		d := newFront(t, MemoryConfig{})
		n := d.need()
		n.Deadline = d.in(2 * time.Second)
		tk := d.mustAdmit(n)
		small := d.need()
		x := d.Deny(d.now, tk, Denial{Reason: HoldLimit, Until: d.in(time.Minute)})
		if !x.Hold.Refuse {
			t.Fatalf("told %+v, want to be refused: it has no minute", x.Hold)
		}
		d.mustAdmit(small)
	})
}

// A breaker that moves while a call asks is asked for again at once: what the
// call is told may be of before.
func TestShared_newsWhileSomebodyAsks(t *testing.T) {
	for name, rouse := range map[string]func(d *desk, k Key){
		"of the lane": func(d *desk, k Key) { d.Rouse(d.now, k, true) },
		"of all":      func(d *desk, _ Key) { d.RouseAll(d.now) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newFront(t, MemoryConfig{})
			n := d.need()
			tk := d.mustAdmit(n)
			rouse(d, n.Key)
			x := d.Deny(d.now, tk, Denial{Reason: HoldBreaker, Until: d.in(30 * time.Second)})
			if wait := x.Hold.Until.Sub(d.now); wait > 10*time.Millisecond {
				t.Errorf("waits %v for a breaker that has moved", wait)
			}
			d.now = d.in(time.Millisecond)
			d.mustAdmit(n)
		})
	}
}

func TestShared_rouse(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	n, hold := d.denied(Denial{Reason: HoldBreaker, Until: d.in(30 * time.Second)})
	d.Rouse(d.now, n.Key, false)
	if !isClosed(hold.Wake) {
		t.Error("not woken by its breaker")
	}
	d.Deny(d.now, d.mustAdmit(n), Denial{Reason: HoldBreaker, Until: d.in(30 * time.Second)})
	hold = d.waits(n)
	poor, poorHold := func() (Need, Hold) {
		o := d.need()
		o.Key.Model = "other"
		return o, d.Deny(d.now, d.mustAdmit(o), Denial{Reason: HoldBudget, Until: d.in(10 * time.Second)}).Hold
	}()
	d.RouseAll(d.now)
	if !isClosed(hold.Wake) || !isClosed(poorHold.Wake) {
		t.Error("not woken when the others are back")
	}
	d.mustAdmit(n)
	d.mustAdmit(poor)
}

// A call that has left while it asked takes its turn with it, and says nothing
// about the others.
func TestShared_drop(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	n := d.need()
	tk := d.mustAdmit(n)
	d.shut(time.Minute)
	d.Drop(d.now, tk)
	d.Drop(d.now, tk)
	d.Leave(d.now, n, Uncounted)
	if len(d.held) != 1 || len(d.flights) != 0 {
		t.Errorf("%d held and %d in flight, want the one that waits", len(d.held), len(d.flights))
	}
	d.waits(d.need())
}

// The breaker here still opens, and is tested, beneath that of the others; it
// closes with it.
func TestShared_theBreakerHereStays(t *testing.T) {
	d := newFront(t, MemoryConfig{Breaker: BreakerConfig{MinCalls: 4, ProbeEvery: 10 * time.Second}})
	for range 4 {
		tk := d.mustAdmit(d.need())
		d.Pass(d.now, tk, false, limit.News{})
		d.Settle(ctx, d.now, tk, End{Verdict: overloaded, Call: GaveUp})
	}
	n := d.need()
	if hold := d.waits(n); hold.Reason != HoldBreaker {
		t.Fatalf("held for %v, want the breaker", hold.Reason)
	}
	d.now = d.in(10 * time.Second)
	x := d.admit(n)
	if !x.Ticket.Probe {
		t.Fatalf("got %+v, want a probe", x)
	}
	d.Deny(d.now, x.Ticket, Denial{Reason: HoldLimit, Until: d.in(time.Second)})
	d.now = d.in(time.Second)
	if x = d.admit(n); !x.Ticket.Probe {
		t.Errorf("got %+v, want the probe again: it was not sent", x)
	}
	d.Pass(d.now, x.Ticket, false, limit.News{})
	d.Rouse(d.now, n.Key, true)
	if x := d.admit(d.need()); x.Ticket.ID == 0 || x.State.Breaker != "closed" {
		t.Errorf("got %+v after the others' has closed, want a turn", x)
	}
}

func TestShared_paysNothing(t *testing.T) {
	d := newFront(t, MemoryConfig{RetryBudget: 5, Breaker: BreakerConfig{Off: true}})
	for range 20 {
		n := d.need()
		tk := d.mustAdmit(n)
		d.Pass(d.now, tk, false, limit.News{})
		s := d.Settle(ctx, d.now, tk, End{Verdict: overloaded, Call: Continues, Retry: true, Told: &Settled{Counted: true}})
		if s.Paid || !s.Counted {
			t.Fatalf("%+v, want what was told", s)
		}
	}
	n := d.need()
	n.Attempt, n.Price, n.Purse = 2, 5, classify.UpstreamPurse
	d.mustAdmit(n) // the others say whether it can be paid
}

// What comes into the budget of the others wakes as many as it pays for.
func TestShared_afford(t *testing.T) {
	d := newFront(t, MemoryConfig{})
	var holds []Hold
	var last Need
	for i := range 4 {
		n := d.need()
		n.Attempt, n.Price, n.Purse = 2, 5, classify.UpstreamPurse
		if i == 3 {
			n.Purse = classify.ScopePurse
		}
		d.now = d.in(time.Millisecond)
		holds = append(holds, d.Deny(d.now, d.mustAdmit(n), Denial{Reason: HoldBudget, Until: d.in(10 * time.Second)}).Hold)
		last = n
	}
	woken := func() (who []bool) {
		for _, h := range holds {
			who = append(who, isClosed(h.Wake))
		}
		return who
	}
	d.Afford(last, classify.UpstreamPurse, 4)
	if got := woken(); slices.Contains(got, true) {
		t.Errorf("woken: %v by less than a retry costs", got)
	}
	d.Afford(last, classify.UpstreamPurse, 12)
	if got := woken(); !slices.Equal(got, []bool{true, true, false, false}) {
		t.Errorf("woken: %v by what pays for two of three", got)
	}
	d.Afford(last, classify.ScopePurse, 100)
	if got := woken(); !slices.Equal(got, []bool{true, true, false, true}) {
		t.Errorf("woken: %v, want the one that waits for that purse as well", got)
	}
}

// A call that is denied after an answer has told whose its credential is waits
// with the organisation's others, and with no turn that it does not know of.
func TestShared_deniedInAnotherGroup(t *testing.T) {
	m := NewMemory(MemoryConfig{Shared: true})
	n := Need{Call: 1, Key: key, Scope: "a", Arrived: start, Attempt: 1}
	n.Key.Path = claude.Messages
	d := m.Admit(ctx, start, n)
	if d.Ticket.ID == 0 {
		t.Fatalf("held for %v, want a turn", d.Hold.Reason)
	}
	m.Belongs(start, "a", "org", "", false)
	until := start.Add(time.Minute)
	d = m.Deny(start, d.Ticket, Denial{Reason: HoldLimit, Until: until})
	other := n
	other.Call = 2
	if x := m.Admit(ctx, start, other); x.Ticket.ID != 0 || x.Hold.Reason != HoldLimit {
		t.Errorf("another of its organisation got %+v, want to be held for the limit", x)
	}
	if !d.Hold.Until.Equal(until) {
		t.Errorf("told to ask again in %v, want in a minute", d.Hold.Until.Sub(start))
	}
	if x := m.Admit(ctx, until, n); x.Ticket.ID == 0 {
		t.Errorf("in a minute it is held for %v, want a turn", x.Hold.Reason)
	}
}
