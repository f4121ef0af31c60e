package call

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// FuzzMachine plays random histories against the invariants in the package
// comment: any order of outcomes, holds, early wake-ups and hang-ups.
func FuzzMachine(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, seed*7919)
	}
	f.Add(uint64(343), uint64(791895)) // held for less than the shortest wait, just before the deadline
	f.Fuzz(func(t *testing.T, a, b uint64) { playHistory(t, rand.New(rand.NewPCG(a, b))) })
}

func playHistory(t *testing.T, r *rand.Rand) {
	seconds := func(n int) time.Duration { return time.Duration(r.Int64N(int64(n) * int64(time.Second))) }
	p := Policy{MaxAttempts: 1 + r.IntN(8), LongestWait: time.Second + seconds(90), Rand: r.Float64, RefuseOpen: r.IntN(4) == 0}
	here, there := Key{Model: "here"}, Key{Model: "there"}
	c := Call{ID: 1, Key: here, Arrived: start, Once: r.IntN(10) == 0, Spare: r.IntN(2) == 0}
	if r.IntN(3) > 0 {
		c.Deadline = start.Add(seconds(300))
	}
	if r.IntN(3) == 0 {
		c.MaxWait = time.Second + seconds(60)
	}
	adm := &open{poor: r.IntN(4) == 0}
	var m *Machine
	adm.hold = func(now time.Time, n Need) (Hold, bool) {
		if want := map[bool]Key{false: here, true: there}[m.Diverted()]; n.Key != want {
			t.Fatalf("asks for %+v, want %+v", n.Key, want)
		}
		if n.Attempt == 1 && n.Price != 0 || n.Paid && n.Price == 0 {
			t.Fatalf("attempt %d costs %d, paid: %v", n.Attempt, n.Price, n.Paid)
		}
		why := HoldReason(1 + r.IntN(int(HoldTurn)))
		return Hold{Reason: why, Until: now.Add(seconds(40) - time.Second), Refuse: r.IntN(20) == 0}, r.IntN(3) == 0
	}
	m = New(p, adm, c)
	// answered: upstream has given an answer to any attempt here; kept: to one before the last.
	now, answered, kept := start, false, false
	offers := 0
	var v classify.Verdict
	a := m.Next(ctx, now)
	for steps := 0; ; steps++ {
		if steps > 5000 {
			t.Fatal("the history does not end")
		}
		if len(adm.out) > 1 || (a.Kind == Send) != (len(adm.out) == 1) {
			if a.Kind != Deliver || a.Ended {
				t.Fatalf("%d tickets out at action %+v", len(adm.out), a)
			}
		}
		switch a.Kind {
		case Wait:
			if !c.Deadline.IsZero() && a.Until.After(c.Deadline) {
				t.Fatalf("waits until %v, past the deadline %v", a.Until, c.Deadline)
			}
			if !a.Until.After(now) && a.Hold != HoldBackoff {
				t.Fatalf("a wait that does not let time pass: %+v at %v", a, now)
			}
			if r.IntN(40) == 0 {
				m.Abandon(now)
				checkOver(t, p, m, adm)
				return
			}
			now = wakeAt(r, now, a)
			a = m.Next(ctx, now)
		case Send:
			if a.Attempt != m.Attempts() || a.Attempt > p.MaxAttempts || c.Once && a.Attempt > 1 {
				t.Fatalf("attempt %d of at most %d", a.Attempt, p.MaxAttempts)
			}
			if !c.Deadline.IsZero() && !now.Before(c.Deadline) {
				t.Fatal("sent past the deadline")
			}
			now = now.Add(seconds(30))
			var has bool
			v, has = randomVerdict(r)
			if !m.Diverted() {
				kept = answered
				answered = answered || has
			}
			a = m.Judge(ctx, now, v, has)
		case Offer:
			if offers++; offers > 1 || !c.Spare || c.Once || m.Attempts() >= p.MaxAttempts {
				t.Fatalf("offer %d after %d attempts of %d, spare: %v, once: %v", offers, m.Attempts(), p.MaxAttempts, c.Spare, c.Once)
			}
			if r.IntN(4) == 0 {
				if a = m.Stay(ctx, now); m.Diverted() {
					t.Fatal("stays, and has gone")
				}
			} else {
				a = m.Redirect(ctx, now, there, Cost{})
			}
		case Deliver:
			if m.Diverted() && v.Action != classify.Answer {
				t.Fatalf("delivers %+v of the other target", v)
			}
			if !a.Ended {
				now = now.Add(seconds(100))
				m.Content(ctx, now, claude.Usage{})
				if r.IntN(3) == 0 { // it breaks, and the rest is asked for
					if next, ok := m.Resume(ctx, now, lost, now.Add(seconds(300))); ok {
						if a, c.Deadline = next, m.Deadline(); a.Kind != Wait {
							t.Fatalf("goes on with %+v, want a wait", a)
						}
						if !m.Diverted() {
							answered = kept // what was delivered is no answer to fall back on
						}
						continue
					}
				}
				m.Finish(ctx, now, good)
			}
			checkOver(t, p, m, adm)
			return
		case Return:
			if m.Diverted() {
				t.Fatal("ends at the other target without an answer")
			}
			if !answered {
				t.Fatal("returns an answer that nobody gave")
			}
			checkOver(t, p, m, adm)
			return
		case Refuse:
			if answered {
				t.Fatal("upstream has answered, and the caller is refused")
			}
			checkOver(t, p, m, adm)
			return
		case Abort:
			checkOver(t, p, m, adm)
			return
		}
	}
}

// wakeAt is when the performer calls Next: at the end of the wait, or earlier
// if it was woken.
func wakeAt(r *rand.Rand, now time.Time, a Action) time.Time {
	if d := a.Until.Sub(now); d > 0 && r.IntN(4) == 0 {
		return now.Add(time.Duration(r.Int64N(int64(d))))
	}
	return a.Until
}

func randomVerdict(r *rand.Rand) (v classify.Verdict, answered bool) {
	switch r.IntN(12) {
	case 0:
		return good, true
	case 1:
		return rejected, true
	case 2:
		return classify.Verdict{Action: classify.Stop, Reason: classify.CallerLeft}, false
	case 3:
		return classify.Verdict{Action: classify.Stop, Reason: classify.DeadlinePassed}, false
	case 4, 5:
		return told(time.Duration(r.Int64N(int64(100 * time.Second)))), true
	case 6, 7, 8:
		return lost, false
	default:
		return overloaded, true
	}
}

func checkOver(t *testing.T, p Policy, m *Machine, adm *open) {
	t.Helper()
	if len(adm.out) != 0 {
		t.Errorf("%d tickets never settled", len(adm.out))
	}
	if adm.unspent != 0 {
		t.Errorf("%d retries paid for, neither sent nor given back", adm.unspent)
	}
	if m.Attempts() > p.MaxAttempts {
		t.Errorf("%d attempts, at most %d allowed", m.Attempts(), p.MaxAttempts)
	}
}
