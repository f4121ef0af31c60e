package calltest

import (
	"context"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
)

// late is what a test allows a machine to be late that has much else to do.
const late = 5 * time.Second

var tests = []struct {
	name string
	cfg  Config
	play func(d *desk)
}{
	{"an end counts once", Config{Budget: 10}, func(d *desk) {
		n, s := d.retry()
		if !s.Paid {
			d.t.Fatal("the first retry is not paid for")
		}
		t := d.now(n)
		d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
		if s := d.settle(t, call.End{Verdict: overloaded, Call: call.Continues, Retry: true}); s.Paid {
			d.t.Error("a second end of one attempt has paid for a retry")
		}
	}},
	{"the budget pays for so many retries, and a success gives back", Config{Budget: 10}, func(d *desk) {
		first, s := d.retry()
		_, s2 := d.retry()
		if !s.Paid || !s2.Paid {
			d.t.Fatal("ten tokens do not pay for two retries")
		}
		poor, s := d.retry()
		if s.Paid {
			d.t.Fatal("ten tokens have paid for three retries")
		}
		hold := d.held(poor, call.HoldBudget)
		if in := time.Until(hold.Until); in < time.Second || in > 10*time.Second {
			d.t.Errorf("told to ask again in %v, want when one is owed: at most 10 s from the last", in)
		}
		d.Leave(time.Now(), poor, call.Uncounted)
		d.settle(d.now(first), call.End{Verdict: good, Call: call.Succeeded}) // gets its price back
		d.soon("a retry is paid for with what another has given back", func() bool {
			n, s := d.retry()
			d.Leave(time.Now(), n, call.Uncounted)
			return s.Paid
		})
	}},
	{"a retry that was paid for and not sent is given back", Config{Budget: 5}, func(d *desk) {
		n, s := d.retry()
		if !s.Paid {
			d.t.Fatal("five tokens do not pay for a retry")
		}
		d.Leave(time.Now(), n, call.Uncounted)
		d.soon("another is paid for", func() bool {
			n, s := d.retry()
			d.Leave(time.Now(), n, call.Uncounted)
			return s.Paid
		})
	}},
	{"what a 429 names is waited out by all, and by nobody longer", Config{}, func(d *desk) {
		const pause = 700 * time.Millisecond
		t := d.now(d.need())
		d.answer(t, 429, 6000, 0)
		began := time.Now()
		d.settle(t, call.End{Call: call.Uncounted, Verdict: classify.Verdict{
			Action: classify.Again, Reason: classify.RateLimited, Health: classify.Ignored, RetryAfter: pause, Pause: classify.PauseScope, Settle: classify.Empty,
		}, PauseUntil: began.Add(pause)})
		d.soon("others are held", func() bool { return !d.admitted(good) })
		d.granted(d.need(), pause+late)
		if took := time.Since(began); took < pause {
			d.t.Errorf("sent after %v, want not before %v", took, pause)
		}
	}},
	{"a limit that an answer shows is kept, with the wait told", Config{}, func(d *desk) {
		t := d.now(d.need())
		d.answer(t, 200, 120, 0) // two a second, and nothing left
		d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
		n := d.need()
		var hold call.Hold
		d.soon("the next is held", func() bool {
			x := d.admit(n)
			if x.Ticket.ID != 0 {
				d.settle(x.Ticket, call.End{Verdict: good, Call: call.Succeeded})
				n = d.need()
			}
			hold = x.Hold
			return x.Ticket.ID == 0
		})
		if in := time.Until(hold.Until); hold.Reason != call.HoldLimit || in > 10*time.Second {
			d.t.Errorf("held for %v, %v from now; want for the limit, until it has refilled", hold.Reason, in)
		}
		t = d.granted(n, 2*late)
		d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
	}},
	{"a breaker opens, lets a probe out, and closes", Config{Breaker: call.BreakerConfig{
		MinCalls: 4, ProbeEvery: 300 * time.Millisecond, Probes: 1, Ramp: -1, OpenFor: time.Minute,
	}}, func(d *desk) {
		for range 4 {
			d.settle(d.now(d.need()), call.End{Verdict: overloaded, Call: call.GaveUp})
		}
		d.soon("it opens", func() bool { return !d.admitted(overloaded) })
		n := d.need()
		d.held(n, call.HoldBreaker)
		// The first probe half-opens it, and the second closes it; who waits hears of both.
		var wg sync.WaitGroup
		probes := make(chan bool, 2)
		for _, n := range []call.Need{n, d.need()} {
			wg.Go(func() {
				t, ok := d.patient(n, 2*late)
				if !ok {
					d.t.Errorf("a call is still held %v after a probe was due", 2*late)
					return
				}
				probes <- t.Probe
				d.Content(context.Background(), time.Now(), t, used)
				d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
			})
		}
		wg.Wait()
		close(probes)
		for probe := range probes {
			if !probe {
				d.t.Error("let out while it is open, and not as a probe")
			}
		}
		d.soon("it is closed", func() bool { return d.admitted(good) })
	}},
	{"a call that leaves takes its place with it", Config{Depth: 2}, func(d *desk) {
		t := d.now(d.need())
		d.answer(t, 200, 60, 0)
		d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
		var waiting []call.Need
		d.soon("two wait", func() bool {
			n := d.need()
			x := d.admit(n)
			switch {
			case x.Ticket.ID != 0:
				d.settle(x.Ticket, call.End{Verdict: good, Call: call.Succeeded})
			case !x.Hold.Refuse:
				waiting = append(waiting, n)
			}
			return len(waiting) == 2
		})
		n := d.need()
		if x := d.admit(n); !x.Hold.Refuse || x.Hold.Reason != call.HoldQueue {
			d.t.Errorf("got %+v, want to be refused by a full queue", x)
		}
		for _, n := range waiting {
			d.Leave(time.Now(), n, call.Uncounted)
		}
		t = d.granted(d.need(), 3*late)
		d.settle(t, call.End{Verdict: good, Call: call.Succeeded})
	}},
	{"what can never pass is refused", Config{Limits: call.Limits{Models: map[string]call.Rates{"*": {ITPM: 1000}}}}, func(d *desk) {
		n := d.need()
		n.Caller.Own = true
		n.Cost.Input, n.Cost.Sure = 2000, 2000
		if x := d.admit(n); !x.Hold.Refuse || x.Hold.Reason != call.HoldSize {
			d.t.Errorf("got %+v, want to be refused for its size", x)
		}
	}},
}

// soon asks until it holds: what an Admission tells its store may take a moment.
func (d *desk) soon(what string, holds func() bool) {
	d.t.Helper()
	for began := time.Now(); time.Since(began) < late; {
		if holds() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	d.t.Fatalf("after %v not yet: %s", late, what)
}
