package call

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// A call that may wait for some time does, whatever bounds that time.
func TestMemory_waitsAsLongAsItMay(t *testing.T) {
	for _, c := range []struct {
		why    string
		class  Class
		wait   time.Duration
		before time.Duration
	}{
		{"normal, evenkeel-max-wait 20s", Normal, 20 * time.Second, 0},
		{"interactive, whose default is 30s, after a backoff of 1s", Interactive, 30 * time.Second, time.Second},
		{"interactive, evenkeel-max-wait 10s", Interactive, 10 * time.Second, 0},
	} {
		t.Run(c.why, func(t *testing.T) {
			d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true, Models: map[string]Rates{"*": {RPM: 60}}}})
			own := func() Need {
				n := d.need()
				n.Caller.Own = true
				n.Deadline = d.now.Add(10 * time.Minute)
				return n
			}
			var first Need
			for {
				first = own()
				first.Class = c.class
				if d.admit(first).Ticket.ID == 0 {
					break
				}
			} // the bucket is empty, one waits and comes again in a second
			m := New(Policy{Rand: half}, d.Memory, Call{
				ID: 9999, Key: Key{Upstream: key.Upstream, Path: claude.Messages, Model: key.Model}, Scope: "tenant", Class: c.class,
				Arrived: d.now, Deadline: d.now.Add(10 * time.Minute), MaxWait: c.wait, Caller: Caller{Own: true, Flow: ""},
			})
			m.waited = c.before
			a := m.Next(ctx, d.now)
			if a.Kind != Wait {
				t.Errorf("two seconds of backlog, may wait %v: got kind %d (5 is Refuse), for %v, retry at +%v", c.wait, a.Kind, a.Hold, a.RetryAt.Sub(d.now))
			}
		})
	}
}

// A reload that turns the breaker off lets go who waits for it, and who comes.
func TestMemory_reloadWhileCallsWait(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}})
	d.trip()
	old := d.need()
	old.Deadline = d.now.Add(10 * time.Minute)
	x := d.admit(old)
	if x.Hold.Reason != HoldBreaker {
		t.Fatalf("held for %v", x.Hold.Reason)
	}
	d.Configure(MemoryConfig{Rand: half, Limits: Limits{Fixed: true}, Breaker: BreakerConfig{Off: true}})
	if !isClosed(x.Hold.Wake) {
		t.Error("not woken")
	}
	if y := d.admit(d.need()); y.Ticket.ID == 0 {
		t.Errorf("a new call: held for %v until +%v, though the breaker is off", y.Hold.Reason, y.Hold.Until.Sub(d.now))
	}
	if y := d.admit(old); y.Ticket.ID == 0 {
		t.Errorf("the call that waits: held for %v until +%v, though the breaker is off", y.Hold.Reason, y.Hold.Until.Sub(d.now))
	}
}

// A lane that has been forgotten while a call waits in it does not hold back the one that has taken its name.
func TestMemory_forgottenLaneBlocksNobody(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}})
	d.trip()
	old := d.need()
	old.Deadline = d.now.Add(10 * time.Minute)
	if x := d.admit(old); x.Hold.Reason != HoldBreaker {
		t.Fatal(x)
	}
	for i := range maxLanes + 1 { // junk models, each answered 404
		n := d.need()
		n.Key.Model = fmt.Sprint("junk", i)
		d.Settle(ctx, d.now, d.mustAdmit(n), End{Verdict: rejected, Call: Uncounted})
	}
	n := d.need()
	n.Deadline = d.now.Add(10 * time.Minute)
	x := d.admit(n)
	if x.Ticket.ID == 0 && x.Hold.Reason != HoldBreaker {
		t.Errorf("held for %v by a breaker that is not its lane's", x.Hold.Reason)
	}
}

// What a line was told is forgotten with its last call.
func TestMemory_linesAreForgotten(t *testing.T) {
	d := newOffice(t, MemoryConfig{})
	for i := range 2000 {
		var tickets []Ticket
		var left []Need
		for range 9 {
			n := d.need()
			n.Scope = fmt.Sprint("junk", i)
			if x := d.admit(n); x.Ticket.ID != 0 {
				tickets = append(tickets, x.Ticket)
			} else {
				left = append(left, n)
			}
		}
		for _, n := range left {
			d.Leave(d.now, n, Uncounted)
		}
		for _, tk := range tickets {
			d.Settle(ctx, d.now, tk, End{Verdict: rejected, Call: Uncounted})
		}
	}
	if len(d.held) != 0 || d.queue.Len() != 0 {
		t.Fatal("not empty")
	}
	if got := len(d.lines); got > 0 {
		t.Errorf("nobody waits, and %d lines are remembered", got)
	}
}

// Calls that are only relayed (an agent's event stream of an hour) take places in flight.
func TestMemory_otherPathsTakeNoPlaces(t *testing.T) {
	d := newOffice(t, MemoryConfig{Concurrency: Concurrency{Max: 4}})
	other := func() Need {
		n := d.need()
		n.Key.Path, n.Key.Model = claude.Other, ""
		return n
	}
	for range 4 {
		d.mustAdmit(other()) // event streams, open for hours
	}
	if x := d.admit(other()); x.Ticket.ID == 0 {
		t.Errorf("GET /v1/models waits for %v until +%v behind four event streams", x.Hold.Reason, x.Hold.Until.Sub(d.now))
	}
}

// A call that waited for the budget and is in the queue now is counted once, and leaves the wake-up to one that still waits for it.
func TestMemory_poorAndThenQueued(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, RetryBudget: 5, Concurrency: Concurrency{Max: 1, Fixed: true}})
	retry := func() Need {
		n := d.need()
		n.Attempt, n.Price = 2, 5
		n.Deadline = d.now.Add(10 * time.Minute)
		return n
	}
	l := d.lane(retry().Key)
	l.budget.Take(5)
	fl := d.floor(retry())
	fl.Every = time.Hour
	d.purse(retry(), l).WithdrawFor(fl, d.now, 0)
	l.budget.Deposit(5)
	l.budget.WithdrawFor(fl, d.now, 5) // floor used, budget empty
	first, second := retry(), retry()
	w1 := d.admit(first)
	w2 := d.admit(second)
	if w1.Hold.Reason != HoldBudget || w2.Hold.Reason != HoldBudget {
		t.Fatal(w1.Hold, w2.Hold)
	}
	flying := d.mustAdmit(d.need()) // the place is taken
	l.budget.Deposit(5)
	x := d.admit(first) // comes by its timer: could pay now, so it enters the queue
	if x.Hold.Reason != HoldSlot {
		t.Fatal(x.Hold)
	}
	if got := x.State.Waiting; got != 2 {
		t.Errorf("%d wait, want 2", got)
	}
	d.wakeForMoney(first, l)
	if isClosed(x.Hold.Wake) {
		t.Error("money woke a call that waits for a place")
	}
	if !isClosed(w2.Hold.Wake) {
		t.Error("and not the one that waits for money")
	}
	_ = flying
}

func TestMemory_fullQueueNamesATime(t *testing.T) {
	d := newOffice(t, MemoryConfig{QueueDepth: 3, Limits: Limits{Fixed: true, Models: map[string]Rates{"*": {RPM: 60}}}})
	of := func(scope string) Need {
		n := d.need()
		n.Scope, n.Caller.Flow, n.Caller.Own = scope, "same", true
		return n
	}
	for held := 0; held < 3; {
		if d.admit(of("a")).Ticket.ID == 0 {
			held++
		}
	}
	x := d.admit(of("b"))
	if x.Ticket.ID != 0 {
		t.Fatal("it goes")
	}
	if x.Hold.Refuse && x.Hold.Until.IsZero() {
		t.Errorf("refused for %v, and told no time", x.Hold.Reason)
	}
}

// While a ramp lasts calls do not ask again and again. A limit on concurrency
// would hide that they do.
func TestMemory_rampIsNoHerd(t *testing.T) {
	for _, waiters := range []int{250, 500, 1000} {
		d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Concurrency: Concurrency{Fixed: true}})
		r := uint64(1)
		d.cfg.Rand = func() float64 { r = r*6364136223846793005 + 1442695040888963407; return float64(r>>11) / (1 << 53) }
		d.trip()
		w := newCallers(d)
		for range waiters {
			n := d.need()
			n.Deadline = d.now.Add(10 * time.Minute)
			w.ask(n)
		}
		// probes are good
		w.hold = 10 * time.Second
		w.granted = func(Need) {
			if w.closed || d.lane(Key{key.Upstream, claude.Messages, key.Model}).breaker.State(d.now).String() != "closed" {
				return
			}
			w.closed = true
			w.later = append(w.later, func() {
				for range waiters {
					n := d.need()
					n.Deadline = d.now.Add(10 * time.Minute)
					w.ask(n)
				}
			})
		}
		w.run(d.now.Add(5 * time.Minute))
		if w.admits > 30*waiters {
			t.Errorf("%d waiters: %d admits", waiters, w.admits)
		}
	}
}

// Calls whose time ends for all at once are told what they waited for, though
// nobody is left to ask whether it still holds them back.
func TestMemory_leftTogether(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Concurrency: Concurrency{Max: 1, Fixed: true}})
	d.mustAdmit(d.need()) // the place is taken
	var waiting []Need
	for range 3 {
		n := d.need()
		n.Deadline = d.now.Add(30 * time.Second)
		waiting = append(waiting, n)
		if x := d.admit(n); x.Hold.Reason != HoldSlot {
			t.Fatalf("waits for %v, want a place", x.Hold.Reason)
		}
	}
	d.now = d.now.Add(30 * time.Second)
	for i, n := range waiting {
		if x := d.admit(n); !x.Hold.Refuse || x.Hold.Reason != HoldSlot {
			t.Errorf("call %d: refused %v for %v, want for the place", i, x.Hold.Refuse, x.Hold.Reason)
		}
	}
}

// A call whose time ends while it waits behind one that asks the others is told
// what it was told before: the turn is no reason.
func TestShared_leftBehindOneThatAsks(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Shared: true})
	asker, behind := d.need(), d.need()
	asker.Deadline, behind.Deadline = d.now.Add(time.Hour), d.now.Add(30*time.Second)
	tk := d.mustAdmit(asker)
	until := d.now.Add(29 * time.Second)
	d.Deny(d.now, tk, Denial{Reason: HoldBreaker, Until: until})
	if x := d.admit(behind); x.Hold.Reason != HoldBreaker {
		t.Fatalf("waits for %v, want the breaker", x.Hold.Reason)
	}
	d.now = until
	d.mustAdmit(asker) // asks, and gets no answer yet
	if x := d.admit(behind); x.Hold.Reason != HoldTurn {
		t.Fatalf("waits for %v, want its turn", x.Hold.Reason)
	}
	d.now = behind.Deadline
	if x := d.admit(behind); !x.Hold.Refuse || x.Hold.Reason != HoldBreaker {
		t.Errorf("refused %v for %v, want for the breaker", x.Hold.Refuse, x.Hold.Reason)
	}
}

// A call that sleeps since the breaker was open, and is held back by something
// else by the time it leaves, is told of that.
func TestMemory_leftForWhatHasComeSince(t *testing.T) {
	for _, c := range []struct {
		want HoldReason
		cfg  MemoryConfig
	}{
		{HoldSlot, MemoryConfig{Limits: Limits{Fixed: true}, Concurrency: Concurrency{Max: 1, Fixed: true}}},
		{HoldLimit, MemoryConfig{Limits: Limits{Fixed: true, Models: map[string]Rates{"*": {RPM: 1}}}}},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			d := newOffice(t, c.cfg)
			first, second := d.need(), d.need()
			first.Caller.Own, second.Caller.Own = true, true
			first.Deadline, second.Deadline = d.now.Add(time.Hour), d.now.Add(90*time.Second)
			l := d.lane(first.Key)
			for range 20 {
				l.breaker.Count(d.now, breaker.Failure)
			}
			for _, n := range []Need{first, second} {
				if x := d.admit(n); x.Hold.Reason != HoldBreaker {
					t.Fatalf("waits for %v, want the breaker", x.Hold.Reason)
				}
			}
			d.now = d.now.Add(10 * time.Second)
			l.breaker.Reset(d.now)
			d.news(d.now, l)
			d.mustAdmit(first) // has all that there is, and keeps it
			d.now = second.Deadline
			if x := d.admit(second); !x.Hold.Refuse || x.Hold.Reason != c.want {
				t.Errorf("refused %v for %v, want for %v", x.Hold.Refuse, x.Hold.Reason, c.want)
			}
		})
	}
}

// The last of a lane that the breaker holds back is told of that, though another
// lane of its group is asked in the moment in which it leaves, and lacks a limit.
func TestMemory_leftBesideAnotherLane(t *testing.T) {
	d := newOffice(t, MemoryConfig{
		Limits:  Limits{Fixed: true, Models: map[string]Rates{"*": {RPM: 1}}},
		Breaker: BreakerConfig{OpenFor: 10 * time.Second, ProbeEvery: -1, Probes: 1},
	})
	probe, held, other := d.need(), d.need(), d.need()
	for _, n := range []*Need{&probe, &held, &other} {
		n.Caller.Own = true
		n.Deadline = d.now.Add(time.Hour)
	}
	other.Key.Upstream = "another"
	for range 20 {
		d.lane(held.Key).breaker.Count(d.now, breaker.Failure)
	}
	d.now = d.now.Add(10 * time.Second)
	d.mustAdmit(probe) // takes the one request of this minute, too
	held.Deadline = d.now.Add(3 * time.Second)
	for _, w := range []struct {
		Need
		HoldReason
	}{{held, HoldBreaker}, {other, HoldLimit}} {
		if x := d.admit(w.Need); x.Hold.Reason != w.HoldReason {
			t.Fatalf("waits for %v, want %v", x.Hold.Reason, w.HoldReason)
		}
	}
	d.now = held.Deadline
	if x := d.admit(held); !x.Hold.Refuse || x.Hold.Reason != HoldBreaker {
		t.Errorf("refused %v for %v, want for the breaker", x.Hold.Refuse, x.Hold.Reason)
	}
}

// The same where others keep the limit: only the first hears from them.
func TestShared_leftForWhatHasComeSince(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Shared: true})
	asker, behind := d.need(), d.need()
	asker.Deadline, behind.Deadline = d.now.Add(time.Hour), d.now.Add(time.Minute)
	asker.Arrived = d.now.Add(-time.Hour) // it is always next
	asks := func(why HoldReason, wait time.Duration) {
		d.Deny(d.now, d.mustAdmit(asker), Denial{Reason: why, Until: d.now.Add(wait)})
	}
	asks(HoldBreaker, 20*time.Second)
	if x := d.admit(behind); x.Hold.Reason != HoldBreaker {
		t.Fatalf("waits for %v, want the breaker", x.Hold.Reason)
	}
	for d.now = d.now.Add(20 * time.Second); d.now.Before(behind.Deadline); d.now = d.now.Add(time.Second) {
		asks(HoldLimit, time.Second)
	}
	d.mustAdmit(asker)
	if x := d.admit(behind); !x.Hold.Refuse || x.Hold.Reason != HoldLimit {
		t.Errorf("refused %v for %v, want for the limit", x.Hold.Refuse, x.Hold.Reason)
	}
}

// A call whose time ends while others refuse it is told what they said.
func TestShared_leftWhenDenied(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Shared: true})
	n := d.need()
	n.Deadline = d.now.Add(time.Second)
	tk := d.mustAdmit(n)
	d.now = n.Deadline
	x := d.Deny(d.now, tk, Denial{Reason: HoldPause, Until: d.now.Add(time.Minute)})
	if !x.Hold.Refuse || x.Hold.Reason != HoldPause {
		t.Errorf("refused %v for %v, want for the pause", x.Hold.Refuse, x.Hold.Reason)
	}
}

// A call that waited for its own place in the ramp of the others, and then for one that asks, is told of the ramp.
func TestShared_leftAfterItsPlace(t *testing.T) {
	d := newOffice(t, MemoryConfig{Limits: Limits{Fixed: true}, Shared: true})
	asker, n := d.need(), d.need()
	asker.Arrived, asker.Deadline, n.Deadline = d.now.Add(-time.Hour), d.now.Add(time.Hour), d.now.Add(time.Minute)
	d.Deny(d.now, d.mustAdmit(n), Denial{Reason: HoldRamp, Until: d.now.Add(10 * time.Second)})
	d.Deny(d.now, d.mustAdmit(asker), Denial{Reason: HoldTurn, Until: d.now.Add(10 * time.Second)})
	d.now = d.now.Add(10 * time.Second)
	d.mustAdmit(asker)
	if x := d.admit(n); x.Hold.Reason != HoldTurn {
		t.Fatalf("waits for %v, want its turn", x.Hold.Reason)
	}
	d.now = n.Deadline
	if x := d.admit(n); !x.Hold.Refuse || x.Hold.Reason != HoldRamp {
		t.Errorf("refused %v for %v, want for the ramp", x.Hold.Refuse, x.Hold.Reason)
	}
}
