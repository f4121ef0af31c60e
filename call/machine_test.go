package call

import (
	"context"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	key   = Key{Upstream: "api.example", Model: "claude-opus-5-5"}

	overloaded = classify.Verdict{Action: classify.Again, Reason: classify.OverloadedReason, Health: classify.Failure, Price: 5}
	lost       = classify.Verdict{Action: classify.Again, Reason: classify.ConnectionLost, Health: classify.Failure, Price: 5}
	good       = classify.Verdict{Action: classify.Answer, Reason: classify.OK, Health: classify.Good, Price: 0}
	rejected   = classify.Verdict{Action: classify.Final, Reason: classify.Rejected}
)

func told(d time.Duration) classify.Verdict {
	return classify.Verdict{
		Action: classify.Again, Reason: classify.RateLimited, RetryAfter: d,
		Pause: classify.PauseScope, Price: 5, Purse: classify.ScopePurse,
	}
}

// open is an Admission that grants everything but what hold says.
type open struct {
	hold    func(now time.Time, n Need) (Hold, bool)
	poor    bool // the budget never pays in advance
	given   uint64
	out     map[uint64]bool // tickets not yet settled
	settled []End
	left    []CallEnd
	unspent int // retries paid for and neither sent nor given back
}

func (o *open) Admit(_ context.Context, now time.Time, n Need) Decision {
	if o.hold != nil {
		if h, held := o.hold(now, n); held {
			return Decision{Hold: h}
		}
	}
	if n.Paid {
		o.unspent--
	}
	o.given++
	if o.out == nil {
		o.out = make(map[uint64]bool)
	}
	o.out[o.given] = true
	return Decision{Ticket: Ticket{ID: o.given, Call: n.Call}}
}

func (o *open) Answered(context.Context, time.Time, Ticket, limit.Response) {}

func (o *open) Content(context.Context, time.Time, Ticket, claude.Usage) {}

func (o *open) Settle(_ context.Context, _ time.Time, t Ticket, e End) Settled {
	if !o.out[t.ID] {
		panic("a ticket was settled twice, or never given")
	}
	delete(o.out, t.ID)
	o.settled = append(o.settled, e)
	if e.Retry && !o.poor {
		o.unspent++
		return Settled{Paid: true}
	}
	return Settled{}
}

func (o *open) Leave(_ time.Time, n Need, end CallEnd) {
	if n.Paid {
		o.unspent--
	}
	o.left = append(o.left, end)
}

// always returns half of any window, so that waits can be told in advance.
func half() float64 { return 0.5 }

type flat time.Duration

func (f flat) Delay(int) time.Duration { return time.Duration(f) }

func testPolicy() Policy { return Policy{Backoff: flat(time.Second), Rand: half} }

func TestMachine_oneOverload(t *testing.T) {
	adm := &open{}
	m := New(testPolicy(), adm, Call{ID: 1, Key: key, Arrived: start, Deadline: start.Add(time.Minute)})
	if a := m.Next(ctx, start); a.Kind != Send || a.Attempt != 1 {
		t.Fatalf("first action is %+v, want Send 1", a)
	}
	a := m.Judge(ctx, start, overloaded, true)
	if want := start.Add(time.Second); a.Kind != Wait || !a.Until.Equal(want) || a.Hold != HoldBackoff {
		t.Fatalf("after a 529: %+v, want Wait until %v", a, want)
	}
	if early := m.Next(ctx, start.Add(time.Millisecond)); early.Kind != Wait || !early.Until.Equal(a.Until) {
		t.Errorf("woken early: %+v, want to wait on until %v", early, a.Until)
	}
	if a = m.Next(ctx, a.Until); a.Kind != Send || a.Attempt != 2 {
		t.Fatalf("after the wait: %+v, want Send 2", a)
	}
	if a = m.Judge(ctx, start.Add(2*time.Second), good, true); a.Kind != Deliver || a.Ended || a.GaveUp {
		t.Fatalf("after a 200: %+v, want Deliver, to be finished", a)
	}
	m.Finish(ctx, start.Add(3*time.Second), good)
	m.Finish(ctx, start.Add(4*time.Second), overloaded) // a second Close: nothing
	if got := len(adm.settled); got != 2 {
		t.Errorf("settled %d times, want 2", got)
	}
	if got := adm.settled[1].Call; got != Succeeded {
		t.Errorf("the call ended as %v, want Succeeded", got)
	}
	if got := m.Waited(start.Add(time.Hour)); got != time.Second {
		t.Errorf("waited %v, want 1s", got)
	}
}

// TestMachine_end plays calls whose end is a decision: what is returned, after
// how many attempts, and what the breaker is told.
func TestMachine_end(t *testing.T) {
	type answer struct {
		v        classify.Verdict
		answered bool
	}
	times := func(n int, v classify.Verdict, answered bool) []answer {
		var all []answer
		for range n {
			all = append(all, answer{v, answered})
		}
		return all
	}
	throttled := classify.Verdict{Action: classify.Again, Reason: classify.Throttled, Price: 5, MaxRetries: 2}
	tests := []struct {
		name     string
		call     Call
		answers  []answer
		want     Kind
		attempts int
		gaveUp   bool
		end      CallEnd
	}{
		{"what cannot succeed is not retried", Call{}, times(1, rejected, true), Deliver, 1, false, Uncounted},
		{"six attempts, then the upstream's own answer", Call{}, times(6, overloaded, true), Deliver, 6, true, GaveUp},
		{"six attempts without any answer", Call{}, times(6, lost, false), Refuse, 6, false, GaveUp},
		{
			"later attempts bring no answer: the last one stands",
			Call{},
			append(times(1, overloaded, true), times(5, lost, false)...), Return, 6, true, GaveUp,
		},
		{"a body that cannot be sent again: the caller may do it", Call{Once: true}, times(1, overloaded, true), Deliver, 1, false, GaveUp},
		{"the next wait would pass the deadline", Call{Deadline: start.Add(900 * time.Millisecond)}, times(1, overloaded, true), Deliver, 1, true, GaveUp},
		{"the next wait would pass the caller's max-wait", Call{MaxWait: 500 * time.Millisecond}, times(1, overloaded, true), Deliver, 1, true, GaveUp},
		{"told to wait longer than is silently waited", Call{}, times(1, told(61*time.Second), true), Deliver, 1, true, Uncounted},
		{"a 429 that names nothing: two retries", Call{}, times(3, throttled, true), Deliver, 3, true, Uncounted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			adm := &open{}
			tt.call.ID, tt.call.Arrived = 1, start
			m := New(testPolicy(), adm, tt.call)
			now := start
			a := m.Next(ctx, now)
			for _, ans := range tt.answers {
				for a.Kind == Wait {
					now = a.Until
					a = m.Next(ctx, now)
				}
				if a.Kind != Send {
					t.Fatalf("got %+v, want Send", a)
				}
				a = m.Judge(ctx, now, ans.v, ans.answered)
			}
			if a.Kind != tt.want || a.GaveUp != tt.gaveUp || !a.Ended {
				t.Errorf("ended with %+v, want kind %d, gave up %v", a, tt.want, tt.gaveUp)
			}
			if got := m.Attempts(); got != tt.attempts {
				t.Errorf("%d attempts, want %d", got, tt.attempts)
			}
			if got := adm.settled[len(adm.settled)-1].Call; got != tt.end {
				t.Errorf("the call is told to have ended as %d, want %d", got, tt.end)
			}
			if len(adm.out) != 0 || adm.unspent != 0 {
				t.Errorf("%d tickets and %d paid retries left over", len(adm.out), adm.unspent)
			}
		})
	}
}

func TestMachine_retryAfterIsAFloor(t *testing.T) {
	for _, draw := range []float64{0, 0.5, 0.999999} {
		p := testPolicy()
		p.Rand = func() float64 { return draw }
		m := New(p, &open{}, Call{ID: 1, Arrived: start})
		m.Next(ctx, start)
		a := m.Judge(ctx, start, told(7*time.Second), true)
		if got := a.Until.Sub(start); got < 7*time.Second || got > 7700*time.Millisecond {
			t.Errorf("draw %v: told 7s, waits %v, want 7s to 7.7s", draw, got)
		}
	}
}

// TestMachine_heldBack plays what happens when Admission holds a call.
func TestMachine_heldBack(t *testing.T) {
	breakerUntil := func(d time.Duration) func(time.Time, Need) (Hold, bool) {
		return func(_ time.Time, n Need) (Hold, bool) {
			return Hold{Reason: HoldBreaker, Until: start.Add(d)}, n.Attempt > 1
		}
	}
	t.Run("a re-admission that is refused returns the last upstream answer", func(t *testing.T) {
		adm := &open{hold: breakerUntil(2 * time.Minute)}
		m := New(testPolicy(), adm, Call{ID: 1, Arrived: start, Deadline: start.Add(time.Minute)})
		m.Next(ctx, start)
		a := m.Judge(ctx, start, overloaded, true)
		a = m.Next(ctx, a.Until)
		if a.Kind != Return || !a.GaveUp {
			t.Errorf("got %+v, want Return", a)
		}
		if adm.unspent != 0 {
			t.Error("the retry was paid for, not sent, and not given back")
		}
	})
	t.Run("an open breaker whose next probe fits is waited for", func(t *testing.T) {
		adm := &open{hold: breakerUntil(30 * time.Second)}
		m := New(testPolicy(), adm, Call{ID: 1, Arrived: start, Deadline: start.Add(time.Minute)})
		m.Next(ctx, start)
		a := m.Judge(ctx, start, overloaded, true)
		a = m.Next(ctx, a.Until)
		if a.Kind != Wait || a.Hold != HoldBreaker || !a.Until.Equal(start.Add(30*time.Second)) {
			t.Errorf("got %+v, want to wait for the probe", a)
		}
	})
	t.Run("an open breaker refuses where the configuration says so", func(t *testing.T) {
		p := testPolicy()
		p.RefuseOpen = true
		adm := &open{hold: func(time.Time, Need) (Hold, bool) {
			return Hold{Reason: HoldBreaker, Until: start.Add(time.Second)}, true
		}}
		a := New(p, adm, Call{ID: 1, Arrived: start}).Next(ctx, start)
		if a.Kind != Refuse || a.Hold != HoldBreaker || !a.RetryAt.Equal(start.Add(time.Second)) {
			t.Errorf("got %+v, want Refuse with the time of the next probe", a)
		}
	})
	t.Run("an empty budget is waited for a minute, then the last answer stands", func(t *testing.T) {
		adm := &open{poor: true, hold: func(now time.Time, n Need) (Hold, bool) {
			return Hold{Reason: HoldBudget, Until: now.Add(10 * time.Second)}, n.Attempt > 1
		}}
		m := New(testPolicy(), adm, Call{ID: 1, Arrived: start, Deadline: start.Add(10 * time.Minute)})
		m.Next(ctx, start)
		a := m.Judge(ctx, start, overloaded, true)
		now := start
		for a.Kind == Wait {
			now = a.Until
			a = m.Next(ctx, now)
		}
		if waited := now.Sub(start); a.Kind != Return || waited < 45*time.Second || waited > time.Minute {
			t.Errorf("ended with %+v after %v, want Return within the minute", a, waited)
		}
		if got := adm.left; len(got) != 1 || got[0] != Uncounted {
			t.Errorf("told %v, want nothing new: Settle has told it", got)
		}
	})
	t.Run("a deadline that has passed while waiting", func(t *testing.T) {
		m := New(testPolicy(), &open{}, Call{ID: 1, Arrived: start, Deadline: start.Add(time.Second)})
		if a := m.Next(ctx, start.Add(time.Second)); a.Kind != Refuse || a.Attempt != 0 {
			t.Errorf("got %+v, want Refuse without an attempt", a)
		}
	})
}

func TestMachine_actionsOutOfTurnPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a second Send before the first was judged did not panic")
		}
	}()
	m := New(testPolicy(), &open{}, Call{ID: 1, Arrived: start})
	m.Next(ctx, start)
	m.Next(ctx, start)
}

// TestMachine_waitsForMoneyToTheEnd: the next retry that is owed may be beyond a
// call's time. A success may pay for one before that, so nobody gives up early.
func TestMachine_waitsForMoneyToTheEnd(t *testing.T) {
	for name, c := range map[string]Call{
		"a deadline":       {ID: 1, Arrived: start, Deadline: start.Add(5 * time.Second)},
		"what it may wait": {ID: 1, Arrived: start, MaxWait: 5 * time.Second},
	} {
		for _, paid := range []bool{false, true} {
			wake, poor := make(chan struct{}), true
			adm := &open{poor: true, hold: func(now time.Time, n Need) (Hold, bool) {
				return Hold{Reason: HoldBudget, Until: now.Add(10 * time.Second), Wake: wake}, poor && n.Attempt > 1
			}}
			m := New(testPolicy(), adm, c)
			m.Next(ctx, start)
			a := m.Judge(ctx, start, overloaded, true)
			for a.Kind == Wait && a.Hold != HoldBudget {
				a = m.Next(ctx, a.Until)
			}
			if a.Kind != Wait || !a.Until.Equal(start.Add(5*time.Second)) || a.Wake != wake {
				t.Fatalf("%s: got %+v, want a wait to the end, or until it is woken", name, a)
			}
			now, want := a.Until, Return
			if paid {
				now, want, poor = start.Add(3*time.Second), Send, false
			}
			if a = m.Next(ctx, now); a.Kind != want {
				t.Errorf("%s, paid for in time %v: got %+v, want %v", name, paid, a, want)
			}
		}
	}
}

// TestMachine_drawsAgain: a wait that is too long by chance is no reason to give
// up with time left; one that is always too long is.
func TestMachine_drawsAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		waits drawn
		want  time.Duration // 0: it gives up
	}{
		{"the third fits", drawn{30 * time.Second, 20 * time.Second, 5 * time.Second}, 5 * time.Second},
		{"none fits", drawn{30 * time.Second}, 0},
	} {
		adm := &open{}
		m := New(Policy{Backoff: &tt.waits, Rand: half}, adm, Call{ID: 1, Arrived: start, Deadline: start.Add(15 * time.Second)})
		m.Next(ctx, start)
		a := m.Judge(ctx, start, overloaded, true)
		if waits := a.Kind == Wait; waits != (tt.want > 0) || waits && a.Until.Sub(start) != tt.want {
			t.Errorf("%s: got %+v, want a wait of %v", tt.name, a, tt.want)
		}
	}
}

// drawn is a policy that draws these waits, the last one again and again.
type drawn []time.Duration

func (d *drawn) Delay(int) time.Duration {
	wait := (*d)[0]
	if len(*d) > 1 {
		*d = (*d)[1:]
	}
	return wait
}
