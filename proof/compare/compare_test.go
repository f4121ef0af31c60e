// Package compare holds evenkeel to its first promise: never worse than
// without. It plays the same calls against the same failures under four
// policies, and compares how many calls succeed, what that costs in attempts,
// and how long it takes.
//
// Time is virtual, and chance is drawn by call and attempt number, so that all
// policies meet the same luck: if the first three attempts of call 17 fail
// under one policy, they fail under all.
//
// The table of all cells is printed by
//
//	go test -v -run TestNeverWorse ./compare
//
// and written into docs/experiments.md with -update as well.
package compare

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table into docs/experiments.md")

// length is how long calls arrive in a cell. The cell ends with its last call.
const length = 10 * time.Minute

// fault is what the upstream does wrong in a cell.
type fault struct {
	kind  string
	share float64       // of attempts, independent of each other and of our load
	whole time.Duration // or all attempts that begin in so long a time, in the middle
	max   int           // max_tokens of the calls, which says how long an answer may take; 0 means 1,024
}

// The kinds of faults.
const (
	overloaded = "529s"   // 529 at once
	outage     = "outage" // 529 at once, for all
	hanging    = "hangs"  // no byte, ever
)

func (f fault) String() string {
	if f.whole > 0 {
		return fmt.Sprintf("%s for %v min", f.kind, f.whole.Minutes())
	}
	if f.max > 0 {
		return fmt.Sprintf("%s, %g %%, max_tokens %d", f.kind, 100*f.share, f.max)
	}
	return fmt.Sprintf("%s, %g %%", f.kind, 100*f.share)
}

// cell is one experiment: the same for all policies.
type cell struct {
	fault
	answer    time.Duration // until an answer is there
	perSecond float64       // calls, at random moments
	seed      uint64
}

func (c cell) String() string {
	return fmt.Sprintf("%v, answers of %v, %g calls/s", c.fault, c.answer, c.perSecond)
}

// cells lists the experiments that hold the promise.
func cells() (list []cell) {
	add := func(f fault, answers ...time.Duration) {
		for _, answer := range answers {
			for _, perSecond := range []float64{2, 10} {
				list = append(list, cell{f, answer, perSecond, uint64(len(list) + 1)})
			}
		}
	}
	for _, share := range []float64{0.01, 0.05, 0.10, 0.20, 0.30} {
		add(fault{kind: overloaded, share: share}, 5*time.Second, time.Minute)
	}
	add(fault{kind: outage, whole: time.Minute}, 5*time.Second, time.Minute)
	add(fault{kind: outage, whole: 5 * time.Minute}, 5*time.Second, time.Minute)
	add(fault{kind: hanging, share: 0.02}, 5*time.Second, time.Minute)
	add(fault{kind: hanging, share: 0.10}, 5*time.Second, time.Minute)
	add(fault{kind: hanging, whole: time.Minute}, 5*time.Second, time.Minute)
	return list
}

// worse lists experiments in which callers see more failures than with the
// SDK's own rule. They are shown beside the others, with the reason, so that
// nobody has to find them; see docs/experiments.md.
func worse() (list []cell) {
	for i, f := range []fault{
		{kind: overloaded, share: 0.40},
		{kind: overloaded, share: 0.50},
		{kind: hanging, share: 0.10, max: 8192},
	} {
		list = append(list, cell{f, 5 * time.Second, 10, uint64(100 + i)})
	}
	return list
}

func TestNeverWorse(t *testing.T) {
	list := append(cells(), worse()...)
	rows := make([]row, len(list))
	t.Run("cells", func(t *testing.T) {
		for i, c := range list {
			rows[i].cell = c
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				for p := range policies {
					rows[i].results[p] = play(t, c, policies[p])
				}
				if i < len(cells()) {
					check(t, rows[i])
				}
			})
		}
	})
	all := len(rows)
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.results[policyAll].calls == 0 }) // not chosen by -run
	t.Log("\n" + markdown(rows))
	if *update && len(rows) == all {
		if err := writeDocument(markdown(rows[:len(cells())]), markdown(rows[len(cells()):])); err != nil {
			t.Error(err)
		}
	}
}

// check holds one row to the promises.
func check(t *testing.T, r row) {
	sdk, seed := r.results[policySDK], r.results[policySeed]
	for _, p := range []int{policyBudget, policyAll} {
		got, name := r.results[p], policies[p].name
		if got.calls != sdk.calls {
			t.Fatalf("%s made %d calls, the SDK's rule %d: not the same experiment", name, got.calls, sdk.calls)
		}
		if got.succeeded() < sdk.succeeded() {
			t.Errorf("%s: %d of %d calls succeeded, %d by the SDK's own rule", name, got.succeeded(), got.calls, sdk.succeeded())
		}
		if r.kind == outage && got.succeeded() < seed.succeeded() {
			t.Errorf("%s: %d of %d calls succeeded, %d by the seed policy", name, got.succeeded(), got.calls, seed.succeeded())
		}
		attempts, calls, limit := amplification(r.cell, got)
		if ratio := float64(attempts) / float64(calls); ratio > limit {
			t.Errorf("%s: %d attempts for %d calls, %.3f each, want at most %.3f", name, attempts, calls, ratio, limit)
		} else {
			t.Logf("%s: %.3f attempts per call, at most %.3f allowed", name, ratio, limit)
		}
	}
}

// What the retry budget may spend in an outage: 500 tokens at 5 a retry, and
// one retry per 10 s (package retry).
const (
	budgetRetries = 500 / 5
	floorEvery    = 10 * time.Second
)

// amplification returns the attempts and calls to be compared, and the
// attempts per call that are allowed.
func amplification(c cell, r result) (attempts, calls int, limit float64) {
	switch {
	case c.kind == outage:
		// What is made while it lasts: whoever lives through it needs another
		// attempt afterwards.
		attempts, calls, limit = r.inFault.attempts, r.inFault.calls, 1.1
		if calls < 1000 {
			// Too few to make the budget small beside them. Calls in flight
			// when it begins still succeed, and earn a token each.
			earned := int(c.answer.Seconds()*c.perSecond)/5 + 1
			limit = 1 + float64(budgetRetries+int(c.whole/floorEvery)+1+earned)/float64(calls)
		}
	case c.whole > 0: // a minute of ten is a share
		attempts, calls, limit = r.attempts, r.calls, allowed(c.whole.Seconds()/length.Seconds())
	default:
		attempts, calls, limit = r.attempts, r.calls, allowed(c.share)
	}
	return attempts, calls, limit
}

func allowed(p float64) float64 { return 1/(1-p) + 0.05 }
