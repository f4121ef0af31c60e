package call

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
)

// A limit that one client has of its own holds back that client and nobody else.
func TestMemory_clientsOwnLimit(t *testing.T) {
	for _, c := range []struct {
		why      string
		ci, jobs Class
		weight   float64
	}{
		{"interactive client of 60 a minute, beside batch", Interactive, Batch, 1},
		{"interactive client of 60 a minute, beside normal", Interactive, Normal, 1},
		{"normal client of 60 a minute and weight 10, beside normal", Normal, Normal, 10},
		{"same class and weight", Normal, Normal, 1},
	} {
		t.Run(c.why, func(t *testing.T) {
			d := newOffice(t, MemoryConfig{Limits: Limits{
				Fixed: true, Models: map[string]Rates{"*": {RPM: 6000}},
				Clients: map[string]map[string]Rates{"ci": {"*": {RPM: 60}}},
			}})
			w := newCallers(d)
			w.hold = 2 * time.Second
			served := map[string]int{}
			ask := func(name string, class Class, weight float64) {
				n := d.need()
				n.Deadline = d.now.Add(time.Hour)
				n.Class = class
				n.Caller = Caller{Name: name, Flow: "client " + name, Own: true, Weight: weight}
				w.ask(n)
			}
			w.granted = func(n Need) {
				served[n.Caller.Name]++
				w.later = append(w.later, func() { // another one in its place
					if n.Caller.Name == "ci" {
						ask("ci", c.ci, c.weight)
					} else {
						ask("jobs", c.jobs, 1)
					}
				})
			}
			for range 5 {
				ask("ci", c.ci, c.weight)
			}
			for range 300 {
				ask("jobs", c.jobs, 1)
			}
			w.run(start.Add(5 * time.Minute))
			if served["jobs"] < 27000 {
				t.Errorf("jobs got %d of the organisation's 30,000: held back by a limit that is ci's alone", served["jobs"])
			}
		})
	}
}

// A pause of one credential holds back no other of its organisation.
func TestMemory_pauseOfOneCredential(t *testing.T) {
	d := newAcme(t)
	of := func(scope string) Need { return d.ofScope(scope, 2*time.Minute) }
	// b waits for the bucket
	var last Decision
	var waiting []Need
	for range 12 {
		n := of("b")
		if last = d.admit(n); last.Ticket.ID == 0 {
			waiting = append(waiting, n)
		} else {
			d.finish(last.Ticket)
		}
	}
	// a is told to come back in 30 s: a plan's limit, of a alone
	d.now = d.now.Add(time.Duration(len(waiting)+2) * time.Second)
	v := told(30 * time.Second)
	v.Pause = classify.PauseCredential
	na := of("a")
	dec := d.admit(na)
	for dec.Ticket.ID == 0 { // let it get its turn
		d.now = d.now.Add(time.Second)
		for i, w := range waiting {
			if w.Call == 0 {
				continue
			}
			if x := d.admit(w); x.Ticket.ID != 0 {
				d.finish(x.Ticket)
				waiting[i].Call = 0
			}
		}
		dec = d.admit(na)
	}
	d.Settle(ctx, d.now, dec.Ticket, End{Verdict: v, Call: Uncounted, PauseUntil: d.now.Add(30 * time.Second)})
	// b fills up again
	waiting = nil
	for range 5 {
		n := of("b")
		n.Deadline = d.now.Add(20 * time.Second)
		if x := d.admit(n); x.Ticket.ID == 0 {
			if x.Hold.Refuse {
				t.Fatalf("b refused: %v", x.Hold)
			}
			waiting = append(waiting, n)
		} else {
			d.finish(x.Ticket)
		}
	}
	if len(waiting) == 0 {
		t.Fatal("nobody waits")
	}
	n := of("a")
	n.Arrived = d.now.Add(-time.Hour)
	d.admit(n)
	for _, w := range waiting {
		if x := d.admit(w); x.Hold.Refuse {
			t.Errorf("a call of b, which is not paused, is refused: %v", x.Hold.Reason)
		}
	}
	d.now = d.now.Add(12 * time.Second)
	if x := d.admit(of("b")); x.Ticket.ID == 0 {
		t.Errorf("12 s later, with a bucket of 60 a minute and nobody else: b waits for %v until +%v", x.Hold.Reason, x.Hold.Until.Sub(d.now))
	}
}

// Who is refused because of its own pause is told that, and not why others wait.
func TestMemory_refusedForItsOwnReason(t *testing.T) {
	d := newAcme(t)
	of := func(scope string) Need { return d.ofScope(scope, 2*time.Minute) }
	v := told(10 * time.Minute)
	v.Pause = classify.PauseCredential
	d.Settle(ctx, d.now, d.mustAdmit(of("a")), End{Verdict: v, Call: Uncounted, PauseUntil: d.now.Add(10 * time.Minute)})
	for {
		if x := d.admit(of("b")); x.Ticket.ID == 0 {
			break
		}
	}
	na := of("a")
	na.Arrived = start.Add(-time.Hour)
	x := d.admit(na)
	if x.Hold.Refuse && (x.Hold.Reason != HoldPause || x.Hold.Until.Sub(d.now) < 9*time.Minute) {
		t.Error("not true")
	}
}

// A place that has become free goes round among those who wait for it.
func TestMemory_placesGoRound(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Concurrency: Concurrency{Max: 1, Fixed: true}})
	of := func(scope string) Need { return d.ofScope(scope, 10*time.Minute) }
	flying := d.mustAdmit(of("a"))
	type w struct {
		n    Need
		wake <-chan struct{}
	}
	var as []w
	for range 3 {
		n := of("a")
		as = append(as, w{n, d.admit(n).Hold.Wake})
	}
	nb := of("b")
	wb := d.admit(nb).Hold.Wake
	for range 200 {
		d.now = d.now.Add(time.Second)
		d.finish(flying)
		if isClosed(wb) {
			return
		}
		found := false
		for j, a := range as {
			if isClosed(a.wake) {
				x := d.admit(a.n)
				if x.Ticket.ID == 0 {
					t.Fatal("woken for nothing")
				}
				flying, found = x.Ticket, true
				n := of("a") // a always has more
				as[j] = w{n, d.admit(n).Hold.Wake}
				break
			}
		}
		if !found {
			t.Fatal("nobody has the slot")
		}
	}
	t.Error("200 slots have come free, all went to a; b's call has waited 200 s for none")
}

// A turn that cannot be paid for frees its place for whoever waits for it, in any line.
func TestMemory_unpaidTurnFreesItsPlace(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Concurrency: Concurrency{Max: 1, Fixed: true}, RetryBudget: 5})
	of := func(scope string) Need { return d.ofScope(scope, 10*time.Minute) }
	retry := func(scope string) Need {
		n := of(scope)
		n.Attempt, n.Price = 2, 5
		return n
	}
	// a's floor is used up
	d.floor(retry("a")).Every = time.Hour
	d.purse(retry("a"), d.lane(of("a").Key)).WithdrawFor(d.floor(retry("a")), d.now, 5)
	d.lane(of("a").Key).budget.Deposit(5)
	flying := d.mustAdmit(of("c"))
	ra := retry("a")
	wa := d.admit(ra).Hold.Wake // enters: the budget could pay
	rb := of("b")
	wb := d.admit(rb).Hold.Wake
	d.lane(ra.Key).budget.Take(5)                                         // somebody else spends it
	d.Settle(ctx, d.now, flying, End{Verdict: rejected, Call: Uncounted}) // the place is free
	if !isClosed(wb) && isClosed(wa) {
		d.admit(ra)
		if !isClosed(wb) {
			t.Error("the place is free, a waits for the budget, and b sleeps on: nobody will wake it")
		}
	}
}

// A credential whose organisation changes again and again keeps the end of its wait.
func TestMemory_organizationChanges(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true, Organizations: map[string]map[string]Rates{"one": {"*": {RPM: 60}}, "two": {"*": {RPM: 60}}}}})
	of := func(scope string) Need {
		n := d.need()
		n.Scope, n.Caller.Flow = scope, scope
		n.Class = Interactive
		n.Deadline = start.Add(30 * time.Second)
		return n
	}
	tk := d.mustAdmit(of("a"))
	d.Answered(ctx, d.now, tk, ofOrganization("one"))
	tb := d.mustAdmit(of("b"))
	d.Answered(ctx, d.now, tb, ofOrganization("one"))
	var holds []struct {
		n Need
		h Hold
	}
	for range 40 {
		n := of("a")
		if x := d.admit(n); x.Ticket.ID == 0 {
			holds = append(holds, struct {
				n Need
				h Hold
			}{n, x.Hold})
		}
	}
	nb := of("b")
	hb := d.admit(nb).Hold
	_ = hb
	for i := range 29 { // a pool of keys behind one: each answer names another
		d.now = d.now.Add(time.Second)
		d.Answered(ctx, d.now, tk, ofOrganization([]string{"two", "one"}[i%2]))
	}
	last := holds[len(holds)-1]
	if got := d.queue.Latest(uint64(last.n.Call)); got.After(last.h.Until) {
		t.Errorf("its 30 s have become %v", got.Sub(start))
	}
}

// The limits of an organisation are known per credential in the book, and per credential and class in the queue:
// calls of another class begin in a line of their own and share nothing fairly with the organisation's.
func TestMemory_oneLinePerOrganization(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true, Organizations: map[string]map[string]Rates{"acme": {"*": {RPM: 60}}}}})
	of := func(scope, model string) Need {
		n := d.need()
		n.Scope, n.Caller.Flow, n.Key.Model = scope, scope, model
		n.Deadline = d.now.Add(10 * time.Minute)
		return n
	}
	for _, s := range []string{"a", "b"} {
		tk := d.mustAdmit(of(s, "claude-opus-5-5"))
		d.Answered(ctx, d.now, tk, ofOrganization("acme"))
		d.finish(tk)
	}
	a, b := of("a", "claude-haiku-5-5"), of("b", "claude-haiku-5-5")
	if x, y := d.groupOf(scopeOf(a)), d.groupOf(scopeOf(b)); x != y {
		t.Errorf("two keys known to be acme's draw on one bucket and wait in %q and %q", x, y)
	}
}
