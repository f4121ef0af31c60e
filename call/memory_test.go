package call

import (
	"strconv"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// desk is a Memory with one caller at a time in front of it.
type desk struct {
	*Memory
	t   *testing.T
	now time.Time
	id  ID
}

func newDesk(t *testing.T, cfg MemoryConfig) *desk {
	cfg.Rand = half
	cfg.Limits.Fixed = true // limits have tests of their own
	return &desk{Memory: NewMemory(cfg), t: t, now: start}
}

func (d *desk) need() Need {
	d.id++
	k := key
	k.Path = claude.Messages
	return Need{Call: d.id, Key: k, Scope: "tenant", Arrived: d.now, Attempt: 1}
}

func (d *desk) admit(n Need) Decision { return d.Admit(ctx, d.now, n) }

func (d *desk) mustAdmit(n Need) Ticket {
	d.t.Helper()
	dec := d.admit(n)
	if dec.Ticket.ID == 0 {
		d.t.Fatalf("held for %v until %v, want a grant", dec.Hold.Reason, dec.Hold.Until.Sub(start))
	}
	return dec.Ticket
}

// fail plays a call that gives up after one attempt.
func (d *desk) fail() {
	d.t.Helper()
	d.Settle(ctx, d.now, d.mustAdmit(d.need()), End{Verdict: overloaded, Call: GaveUp})
}

func (d *desk) succeed() {
	d.t.Helper()
	d.Settle(ctx, d.now, d.mustAdmit(d.need()), End{Verdict: good, Call: Succeeded})
}

// retry asks for a retry of a failed call: first at Settle, as a Machine does.
func (d *desk) retry(v classify.Verdict) (Need, bool) {
	d.t.Helper()
	n := d.need()
	s := d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: v, Call: Continues, Retry: true})
	n.Attempt, n.Price, n.Purse, n.Paid = 2, v.Price, v.Purse, s.Paid
	return n, s.Paid
}

// spend empties the budget of the upstream.
func (d *desk) spend() {
	for range 100 {
		if _, paid := d.retry(overloaded); !paid {
			d.t.Fatal("the budget ended before a hundred retries")
		}
	}
}

func TestMemory_budget(t *testing.T) {
	t.Run("a hundred retries, then they wait, and one is owed every ten seconds", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		d.spend()
		n, paid := d.retry(overloaded)
		if paid {
			t.Fatal("the 101st retry was paid for")
		}
		dec := d.admit(n)
		if dec.Hold.Reason != HoldBudget || !dec.Hold.Until.Equal(start.Add(10*time.Second)) {
			t.Fatalf("got %+v, want to wait for the budget until 10s", dec.Hold)
		}
		d.now = start.Add(10 * time.Second)
		d.mustAdmit(n)
		n, _ = d.retry(overloaded)
		if dec := d.admit(n); dec.Hold.Reason != HoldBudget {
			t.Errorf("a second one in the same ten seconds: %+v, want to wait", dec)
		}
	})
	t.Run("a success wakes who has waited longest, and only as many as it pays for", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		d.spend()
		first, _ := d.retry(overloaded)
		second, _ := d.retry(overloaded)
		a, b := d.admit(first).Hold.Wake, d.admit(second).Hold.Wake
		for range 4 {
			d.succeed()
		}
		if isClosed(a) {
			t.Error("four tokens woke a retry that costs five")
		}
		d.succeed()
		if !isClosed(a) || isClosed(b) {
			t.Errorf("woke first %v, second %v; want the first alone", isClosed(a), isClosed(b))
		}
		d.mustAdmit(first)
	})
	t.Run("a retry that succeeds gets its price back", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		n, _ := d.retry(overloaded)
		d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: good, Call: Succeeded})
		if got := d.budget(); got != 500 {
			t.Errorf("budget %d, want 500 again", got)
		}
	})
	t.Run("a retry that flies for 5 s pays for the next before it ends, and takes it back if it fails", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		n, _ := d.retry(overloaded)
		ticket := d.mustAdmit(n)
		d.now = d.now.Add(5 * time.Second)
		if got := d.budget(); got != 500 {
			t.Errorf("budget %d after 5 s in flight, want 500", got)
		}
		d.Settle(ctx, d.now, ticket, End{Verdict: overloaded, Call: GaveUp})
		if got := d.budget(); got != 495 {
			t.Errorf("budget %d after it failed, want 495", got)
		}
	})
	t.Run("a retry that was paid for and never sent is given back", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		n, _ := d.retry(overloaded)
		d.Leave(d.now, n, Uncounted)
		if got := d.budget(); got != 500 {
			t.Errorf("budget %d, want 500", got)
		}
	})
	t.Run("a caller's own retry earns nothing", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		d.retry(overloaded)
		n := d.need()
		n.Repeat = true
		d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: good, Call: Succeeded})
		if got := d.budget(); got != 495 {
			t.Errorf("budget %d, want 495", got)
		}
	})
	t.Run("429s of one tenant spend only its own", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		limited := told(time.Second)
		limited.Pause = classify.PauseNone
		for range 200 {
			d.retry(limited)
		}
		if got := d.budget(); got != 500 {
			t.Errorf("the upstream's budget is %d, want it untouched", got)
		}
	})
}

func (d *desk) budget() int { return d.Lanes(d.now)[0].Budget }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestMemory_pause(t *testing.T) {
	d := newDesk(t, MemoryConfig{})
	v := told(20 * time.Second)
	d.Settle(ctx, d.now, d.mustAdmit(d.need()), End{Verdict: v, Call: Uncounted, PauseUntil: d.now.Add(20 * time.Second)})
	held := d.admit(d.need()).Hold
	if wait := held.Until.Sub(d.now); held.Reason != HoldPause || wait < 20*time.Second || wait > 22*time.Second {
		t.Errorf("a call of the same scope: %+v, want to wait 20s and at most a tenth more", held)
	}
	other := d.need()
	other.Scope = "another tenant"
	d.mustAdmit(other)
	model := d.need()
	model.Key.Model = "claude-haiku-5-5"
	d.mustAdmit(model)
	d.now = d.now.Add(20 * time.Second)
	d.mustAdmit(d.need())
}

func TestMemory_breaker(t *testing.T) {
	trip := func(d *desk) {
		d.t.Helper()
		for range 20 {
			d.fail()
		}
		if got := d.Lanes(d.now)[0].State; got != "open" {
			d.t.Fatalf("after 20 failed calls the breaker is %s", got)
		}
	}
	t.Run("one probe every 30 s, the others wait", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		trip(d)
		n := d.need()
		dec := d.admit(n)
		if dec.Hold.Reason != HoldBreaker || !dec.Hold.Until.Equal(start.Add(30*time.Second)) {
			t.Fatalf("got %+v, want to wait for the probe at 30s", dec.Hold)
		}
		d.now = start.Add(30 * time.Second)
		if dec := d.admit(n); !dec.Ticket.Probe {
			t.Fatalf("got %+v, want to be the probe", dec)
		}
		if dec := d.admit(d.need()); dec.Ticket.ID != 0 {
			t.Error("a second probe was let out at once")
		}
	})
	t.Run("a good probe wakes those who wait", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		trip(d)
		first, second := d.need(), d.need()
		d.admit(first)
		waiting := d.admit(second).Hold.Wake
		d.now = start.Add(30 * time.Second)
		probe := d.mustAdmit(first)
		if isClosed(waiting) {
			t.Error("the second was woken for the place of the first")
		}
		d.Content(ctx, d.now, probe, claude.Usage{})
		if !isClosed(waiting) {
			t.Error("the breaker is half-open and the waiting call sleeps on")
		}
	})
	t.Run("a connection that dies under thirty calls is one failure", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		var tickets []Ticket
		for range 30 {
			tickets = append(tickets, d.mustAdmit(d.need()))
		}
		for _, ticket := range tickets {
			d.Settle(ctx, d.now, ticket, End{Verdict: lost, Call: GaveUp})
		}
		if got := d.Lanes(d.now)[0]; got.Failures != 1 || got.State != "closed" {
			t.Errorf("%d failures, breaker %s; want 1, closed", got.Failures, got.State)
		}
	})
	t.Run("a move is told once", func(t *testing.T) {
		d := newDesk(t, MemoryConfig{})
		moved := 0
		for range 25 {
			dec := d.admit(d.need())
			if dec.State.Moved {
				moved++
			}
			if dec.Ticket.ID != 0 && d.Settle(ctx, d.now, dec.Ticket, End{Verdict: overloaded, Call: GaveUp}).State.Moved {
				moved++
			}
		}
		if moved != 1 {
			t.Errorf("the opening was told %d times", moved)
		}
	})
}

// TestMemory_breakerBeforeBudget: a retry that waits for both waits for the
// breaker, and what the breaker lets out one by one is not paid for again.
func TestMemory_breakerBeforeBudget(t *testing.T) {
	d := newDesk(t, MemoryConfig{})
	d.spend()
	poor, _ := d.retry(overloaded)
	if got := d.admit(poor).Hold.Reason; got != HoldBudget {
		t.Fatalf("held by %v, want the budget", got)
	}
	for d.Lanes(d.now)[0].State != "open" {
		d.fail()
	}
	if got := d.admit(poor).Hold.Reason; got != HoldBreaker {
		t.Fatalf("with the breaker open: held by %v, want the breaker", got)
	}
	d.now = start.Add(30 * time.Second)
	probe := d.admit(poor)
	if !probe.Ticket.Probe {
		t.Fatalf("got %+v, want to be the probe without paying", probe)
	}
	d.Settle(ctx, d.now, probe.Ticket, End{Verdict: good, Call: Succeeded})
	if got := d.budget(); got != 0 {
		t.Errorf("budget %d, want 0: what was not paid for earns nothing", got)
	}
}

// TestMemory_callsThatMayOnlyWait: a failed call whose retry is not paid for
// is counted at once, unless others are being answered.
func TestMemory_callsThatMayOnlyWait(t *testing.T) {
	for name, answered := range map[string]bool{"in an outage": false, "while others are answered": true} {
		d := newDesk(t, MemoryConfig{})
		d.spend()
		d.now = d.now.Add(9 * time.Second) // the floor owes nothing yet
		if answered {
			d.succeed()
		}
		for range 25 {
			n := d.need()
			dec := d.admit(n)
			if dec.Ticket.ID == 0 {
				break // the breaker has opened
			}
			s := d.Settle(ctx, d.now, dec.Ticket, End{Verdict: overloaded, Call: Continues, Retry: true})
			if s.Paid || s.Counted == answered {
				t.Fatalf("%s: paid %v, counted %v", name, s.Paid, s.Counted)
			}
			n.Counted = s.Counted
			if n.Counted { // whatever becomes of it, it is one failure
				d.Leave(d.now, n, GaveUp)
			}
		}
		want, failures := "open", 20
		if answered {
			want, failures = "closed", 0
		}
		if got := d.Lanes(d.now)[0]; got.State != want || got.Failures != failures {
			t.Errorf("%s: breaker %s after %d failures, want %s after %d", name, got.State, got.Failures, want, failures)
		}
	}
}

func TestMemory_queueIsBounded(t *testing.T) {
	d := newDesk(t, MemoryConfig{QueueDepth: 3})
	for range 20 {
		d.fail()
	}
	var held []Need
	for range 3 {
		n := d.need()
		held = append(held, n)
		if dec := d.admit(n); dec.Hold.Reason != HoldBreaker {
			t.Fatalf("got %+v, want to wait", dec.Hold)
		}
	}
	if dec := d.admit(d.need()); dec.Hold.Reason != HoldQueue || !dec.Hold.Refuse {
		t.Errorf("the fourth: %+v, want to be refused", dec.Hold)
	}
	if dec := d.admit(held[0]); dec.Hold.Reason != HoldBreaker {
		t.Errorf("one that waits already asks again: %+v, want to wait on", dec.Hold)
	}
	d.Leave(d.now, held[1], Uncounted)
	if dec := d.admit(d.need()); dec.Hold.Reason != HoldBreaker {
		t.Errorf("after one has left: %+v, want to wait", dec.Hold)
	}
}

func TestMemory_settleTwiceIsSettleOnce(t *testing.T) {
	d := newDesk(t, MemoryConfig{})
	ticket := d.mustAdmit(d.need())
	for range 40 {
		d.Settle(ctx, d.now, ticket, End{Verdict: overloaded, Call: GaveUp})
	}
	if got := d.Lanes(d.now)[0]; got.Failures != 1 {
		t.Errorf("%d failures, want 1", got.Failures)
	}
}

func TestMemory_junkModelsAreForgotten(t *testing.T) {
	d := newDesk(t, MemoryConfig{})
	for i := range maxLanes + 500 {
		n := d.need()
		n.Key.Model = strconv.Itoa(i)
		d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: good, Call: Succeeded})
	}
	if got := len(d.Lanes(d.now)); got != maxLanes {
		t.Errorf("%d lanes kept, want %d", got, maxLanes)
	}
	if len(d.flights) != 0 || len(d.held) != 0 {
		t.Errorf("%d flights and %d holdings left", len(d.flights), len(d.held))
	}
}

func BenchmarkMemory(b *testing.B) {
	m := NewMemory(MemoryConfig{})
	n := Need{Call: 1, Key: Key{Upstream: "api", Path: claude.Messages, Model: "claude-opus-5-5"}, Scope: "s", Attempt: 1}
	b.ReportAllocs()
	for b.Loop() {
		d := m.Admit(ctx, start, n)
		m.Settle(ctx, start, d.Ticket, End{Verdict: good, Call: Succeeded})
	}
}

func TestMemory_scopesAreBounded(t *testing.T) {
	d := newDesk(t, MemoryConfig{})
	d.Settle(ctx, d.now, d.mustAdmit(d.need()), End{Verdict: rejected, Call: Uncounted})
	if got := d.scopes.len(); got != 0 {
		t.Errorf("a call that was rejected, as with a wrong key, left %d scopes", got)
	}
	for i := range maxScopes + 100 {
		n := d.need()
		n.Scope = strconv.Itoa(i)
		d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: told(time.Second), Call: Continues, Retry: true})
	}
	if got := d.scopes.len(); got != maxScopes {
		t.Errorf("%d scopes kept, want %d", got, maxScopes)
	}
}
