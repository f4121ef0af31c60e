package call

import (
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
)

var other = Key{Upstream: key.Upstream, Model: "claude-sonnet-5-5"}

// step is what a performer tells, and what it must be asked for then.
type step struct {
	tell func(m *Machine, now time.Time) Action
	want Kind
	hold HoldReason
	at   time.Duration // Wait: its end; else 0
}

func next(m *Machine, now time.Time) Action     { return m.Next(ctx, now) }
func stay(m *Machine, now time.Time) Action     { return m.Stay(ctx, now) }
func redirect(m *Machine, now time.Time) Action { return m.Redirect(ctx, now, other, Cost{Input: 7}) }

func judge(v classify.Verdict, answered bool) func(*Machine, time.Time) Action {
	return func(m *Machine, now time.Time) Action { return m.Judge(ctx, now, v, answered) }
}

// holds is an Admission that holds calls for a model as told, the first time or always.
func holds(here, there Hold, retries bool) *open {
	return &open{hold: func(_ time.Time, n Need) (Hold, bool) {
		if retries && n.Attempt == 1 {
			return Hold{}, false
		}
		h := here
		if n.Key == other {
			h = there
		}
		return h, h.Reason != HoldNone
	}}
}

func holdFor(why HoldReason, d time.Duration) Hold { return Hold{Reason: why, Until: start.Add(d)} }

func TestDetour(t *testing.T) {
	const probe = 20 * time.Second
	breaks := holdFor(HoldBreaker, probe)
	soon, late := Call{Deadline: start.Add(10 * time.Second)}, Call{Deadline: start.Add(time.Minute)}
	tests := []struct {
		reason  string
		call    Call
		adm     *open
		steps   []step
		stores  bool // an answer of the first target is returned in the end
		refused HoldReason
		ends    []CallEnd // of what was settled
		left    int
	}{
		{"an open breaker: the other answers at once", late, holds(breaks, Hold{}, false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Send, 0, 0}, {judge(good, true), Deliver, 0, 0},
		}, false, 0, nil, 1},
		{"an open breaker, and it stays: waits for the probe", late, holds(breaks, Hold{}, false), []step{
			{next, Offer, HoldBreaker, 0}, {stay, Wait, HoldBreaker, probe},
		}, false, 0, nil, 0},
		{"an open breaker that is waited for too long, and it stays", soon, holds(breaks, Hold{}, false), []step{
			{next, Offer, HoldBreaker, 0}, {stay, Refuse, HoldBreaker, 0},
		}, false, HoldBreaker, nil, 1},
		{"both breakers open: waits for the first as if nothing were", late, holds(breaks, holdFor(HoldBreaker, time.Second), false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Wait, HoldBreaker, probe},
		}, false, 0, nil, 2},
		{"the other has a limit for longer than the probe takes", late, holds(breaks, holdFor(HoldLimit, 30*time.Second), false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Wait, HoldBreaker, probe},
		}, false, 0, nil, 2},
		{"the other has a limit for less", late, holds(breaks, holdFor(HoldLimit, time.Second), false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Wait, HoldLimit, time.Second},
		}, false, 0, nil, 1},
		{"the other refuses the request: waits for the probe after all", late, holds(breaks, Hold{}, false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Send, 0, 0}, {judge(rejected, true), Wait, HoldBreaker, probe},
		}, false, 0, []CallEnd{Uncounted}, 1},
		{"both open, too long: refused as by the first", soon, holds(breaks, holdFor(HoldBreaker, time.Second), false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Refuse, HoldBreaker, 0},
		}, false, HoldBreaker, nil, 2},
		{"too long, and the other fails: refused as by the first", soon, holds(breaks, Hold{}, false), []step{
			{next, Offer, HoldBreaker, 0}, {redirect, Send, 0, 0}, {judge(told(time.Minute), true), Refuse, HoldBreaker, 0},
		}, false, HoldBreaker, []CallEnd{Uncounted}, 1},
		{"told to wait too long: the other answers", soon, &open{}, []step{
			{next, Send, 0, 0}, {judge(told(30*time.Second), true), Offer, HoldBackoff, 0}, {redirect, Send, 0, 0}, {judge(good, true), Deliver, 0, 0},
		}, false, 0, []CallEnd{Uncounted}, 0},
		{"told to wait too long, and it stays: the answer comes now", soon, &open{}, []step{
			{next, Send, 0, 0}, {judge(told(30*time.Second), true), Offer, HoldBackoff, 0}, {stay, Deliver, 0, 0},
		}, false, 0, []CallEnd{Uncounted}, 0},
		{"the other fails: the first's answer", soon, &open{}, []step{
			{next, Send, 0, 0},
			{judge(told(30*time.Second), true), Offer, HoldBackoff, 0},
			{redirect, Send, 0, 0},
			{judge(overloaded, true), Wait, HoldBackoff, time.Second},
			{func(m *Machine, now time.Time) Action { return next(m, now.Add(time.Second)) }, Send, 0, 0},
			{judge(rejected, true), Return, 0, 0},
		}, true, 0, []CallEnd{Uncounted, Continues, Uncounted}, 0},
		{"lost, and no time for a wait: the other, and then as without", Call{Deadline: start.Add(time.Second / 2)}, &open{}, []step{
			{next, Send, 0, 0}, {judge(lost, false), Offer, HoldBackoff, 0}, {redirect, Send, 0, 0}, {judge(lost, false), Refuse, 0, 0},
		}, false, HoldNone, []CallEnd{GaveUp, GaveUp}, 0},
		{"a breaker that opens between two attempts", late, holds(breaks, Hold{}, true), []step{
			{next, Send, 0, 0},
			{judge(overloaded, true), Wait, HoldBackoff, time.Second},
			{func(m *Machine, now time.Time) Action { return next(m, now.Add(time.Second)) }, Offer, HoldBreaker, 0},
			{redirect, Send, 0, 0},
			{judge(good, true), Deliver, 0, 0},
		}, false, 0, []CallEnd{Continues}, 1},
		{"a limit that fits is waited for", late, holds(holdFor(HoldLimit, time.Second), Hold{}, false), []step{
			{next, Wait, HoldLimit, time.Second},
		}, false, 0, nil, 0},
		{"a limit that does not", soon, holds(holdFor(HoldLimit, probe), Hold{}, false), []step{
			{next, Offer, HoldLimit, 0}, {redirect, Send, 0, 0},
		}, false, 0, nil, 1},
		{"a full queue is ours: another model is no way round it", late, holds(Hold{Reason: HoldQueue, Refuse: true}, Hold{}, false), []step{
			{next, Refuse, HoldQueue, 0},
		}, false, HoldQueue, nil, 1},
		{"nor is it round an empty budget", soon, holds(holdFor(HoldBudget, probe), Hold{}, true), []step{
			{next, Send, 0, 0},
			{judge(overloaded, true), Wait, HoldBackoff, time.Second},
			{func(m *Machine, now time.Time) Action { return next(m, now.Add(time.Second)) }, Return, 0, 0},
		}, true, 0, []CallEnd{Continues}, 1},
		{"a body that passes once", Call{Deadline: soon.Deadline, Once: true}, holds(breaks, Hold{}, false), []step{
			{next, Refuse, HoldBreaker, 0},
		}, false, HoldBreaker, nil, 1},
		{"what cannot succeed goes nowhere", late, &open{}, []step{
			{next, Send, 0, 0}, {judge(rejected, true), Deliver, 0, 0},
		}, false, 0, []CallEnd{Uncounted}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			tt.call.ID, tt.call.Key, tt.call.Arrived, tt.call.Spare = 1, key, start, true
			m := New(testPolicy(), tt.adm, tt.call)
			var a Action
			for i, s := range tt.steps {
				a = s.tell(m, start)
				if a.Kind != s.want || s.want != Send && s.hold != HoldNone && a.Hold != s.hold {
					t.Fatalf("step %d: got %+v, want kind %d, hold %v", i+1, a, s.want, s.hold)
				}
				if s.at > 0 && !a.Until.Equal(start.Add(s.at)) {
					t.Errorf("step %d: waits until %v, want %v", i+1, a.Until.Sub(start), s.at)
				}
			}
			if a.Kind == Refuse && a.Hold != tt.refused {
				t.Errorf("refused because of %v, want %v", a.Hold, tt.refused)
			}
			if got := a.Kind == Return; got != tt.stores {
				t.Errorf("returns what was stored: %v, want %v", got, tt.stores)
			}
			if len(tt.adm.settled) != len(tt.ends) {
				t.Fatalf("settled %+v, want %v", tt.adm.settled, tt.ends)
			}
			for i, end := range tt.ends {
				if got := tt.adm.settled[i].Call; got != end {
					t.Errorf("attempt %d ended the call as %v, want %v", i+1, got, end)
				}
			}
			if got := len(tt.adm.left); got != tt.left {
				t.Errorf("left %d times, want %d", got, tt.left)
			}
		})
	}
}

// TestDetour_paysLikeARetry: what was paid where the call was is given back, and
// what goes elsewhere is paid for there, if an attempt was made before.
func TestDetour_paysLikeARetry(t *testing.T) {
	breaks := holdFor(HoldBreaker, 20*time.Second)
	for _, first := range []bool{true, false} {
		var asked []Need
		adm := holds(breaks, Hold{}, !first)
		inner := adm.hold
		adm.hold = func(now time.Time, n Need) (Hold, bool) {
			asked = append(asked, n)
			return inner(now, n)
		}
		m := New(testPolicy(), adm, Call{ID: 1, Key: key, Arrived: start, Spare: true, Cost: Cost{Input: 3}})
		a := m.Next(ctx, start)
		price := 0
		if !first {
			price = overloaded.Price
			a = m.Judge(ctx, start, overloaded, true)
			a = m.Next(ctx, a.Until)
		}
		if a.Kind != Offer {
			t.Fatalf("got %+v, want an Offer", a)
		}
		if a = m.Redirect(ctx, start, other, Cost{Input: 7}); a.Kind != Send {
			t.Fatalf("got %+v, want Send", a)
		}
		n := asked[len(asked)-1]
		if n.Key != other || n.Price != price || n.Paid || n.Cost.Input != 7 || adm.unspent != 0 {
			t.Errorf("after an attempt: %v: asked with %+v, %d paid and not spent; want price %d, unpaid, for the other", !first, n, adm.unspent, price)
		}
	}
}

// TestDetour_notOnceTheCallerIsTold who answers.
func TestDetour_notOnceTheCallerIsTold(t *testing.T) {
	breaks := holdFor(HoldBreaker, 20*time.Second)
	c := Call{ID: 1, Key: key, Arrived: start, Deadline: start.Add(time.Minute), Spare: true}
	t.Run("that it is the first", func(t *testing.T) {
		m := New(testPolicy(), holds(breaks, Hold{}, true), c)
		m.Next(ctx, start)
		m.HeadersOut()
		a := m.Judge(ctx, start, overloaded, false)
		if a = m.Next(ctx, a.Until); a.Kind != Wait || a.Hold != HoldBreaker {
			t.Errorf("got %+v, want to wait for the breaker", a)
		}
	})
	t.Run("that it is the other", func(t *testing.T) {
		m := New(testPolicy(), holds(breaks, Hold{}, false), c)
		m.Next(ctx, start)
		m.Redirect(ctx, start, other, Cost{})
		m.HeadersOut()
		if a := m.Judge(ctx, start, rejected, true); a.Kind != Refuse || a.Hold != HoldBreaker {
			t.Errorf("got %+v, want the refusal of the first", a)
		}
	})
	t.Run("with half an answer", func(t *testing.T) {
		m := New(testPolicy(), holds(breaks, Hold{}, true), c)
		m.Next(ctx, start)
		m.Judge(ctx, start, good, true)
		a, ok := m.Resume(ctx, start, lost, c.Deadline)
		if !ok {
			t.Fatal("does not go on")
		}
		if a = m.Next(ctx, a.Until); a.Kind != Wait || a.Hold != HoldBreaker {
			t.Errorf("got %+v, want to wait for the breaker", a)
		}
	})
}

// TestDetour_eachBreakerCounts a call for itself, and once.
func TestDetour_eachBreakerCounts(t *testing.T) {
	var asked []Need
	adm := holds(holdFor(HoldBreaker, 20*time.Second), Hold{}, true)
	inner := adm.hold
	adm.hold = func(now time.Time, n Need) (Hold, bool) {
		asked = append(asked, n)
		return inner(now, n)
	}
	m := New(testPolicy(), adm, Call{ID: 1, Key: key, Arrived: start, Spare: true})
	m.Next(ctx, start)
	a := m.Judge(ctx, start, overloaded, true)
	m.counted = true // as an Admission says that cannot pay
	m.Next(ctx, a.Until)
	m.Redirect(ctx, a.Until, other, Cost{})
	m.Judge(ctx, a.Until, rejected, true)
	var got []bool
	for _, n := range asked {
		got = append(got, n.Counted)
	}
	if want := []bool{false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("counted as a failure already: %v, want %v", got, want)
	}
}
