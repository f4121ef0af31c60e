package quota

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// use is something that a limit counts, and when.
type use struct {
	at     time.Time
	amount float64
}

// ledger holds what went through a pool, by kind.
type ledger [kinds][]use

// mostOver returns by how much the uses exceed size + rate · window in the
// worst window: the plain definition, every window tried.
func mostOver(uses []use, size, rate float64) float64 {
	slices.SortStableFunc(uses, func(a, b use) int { return a.at.Compare(b.at) })
	worst := math.Inf(-1)
	for i := range uses {
		sum := 0.0
		for _, u := range uses[i:] {
			sum += u.amount
			worst = max(worst, sum-size-rate*u.at.Sub(uses[i].at).Seconds())
		}
	}
	return worst
}

// TestInvariant: over random histories of calls, answers, callers that leave
// and other users, no window holds more than burst + rate · window.
func TestInvariant(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		var pools []*Pool
		for range 1 + rng.IntN(2) {
			pools = append(pools, NewPool(Limit{
				Requests: rng.IntN(3) * 60, Input: rng.IntN(3) * 6000, Output: rng.IntN(3) * 1200,
				CacheReads: rng.IntN(2) == 0, Burst: time.Duration(1+rng.IntN(60)) * time.Second,
			}, now))
		}
		books := make([]ledger, len(pools))
		var waiting []Reservation
		others := 0.0
		for range 400 {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64(200*time.Millisecond)))
			switch rng.IntN(6) {
			case 0:
				others = rng.Float64() * float64(rng.IntN(2))
			case 1, 2, 3:
				c := Cost{Input: rng.IntN(300), CacheRead: rng.IntN(300)}
				if _, ok := Admit(now, pools, c, others); !ok {
					continue
				}
				if rng.IntN(10) == 0 { // turned away after all, for want of capacity
					Refund(now, pools, c, others)
					continue
				}
				for i, p := range pools {
					_, take := p.need(c)
					books[i][Requests] = append(books[i][Requests], use{now, take[Requests]})
					books[i][Input] = append(books[i][Input], use{now, take[Input]})
				}
			default:
				if len(waiting) > 0 && rng.IntN(4) == 0 { // one who waits leaves
					i := rng.IntN(len(waiting))
					if waiting[i].At.After(now) {
						Withdraw(pools, waiting[i])
						waiting = slices.Delete(waiting, i, i+1)
					}
					continue
				}
				waiting = append(waiting, Produce(now, pools, 1+rng.IntN(5), others))
			}
		}
		for i, p := range pools {
			for _, r := range waiting {
				books[i][Output] = append(books[i][Output], use{r.At, float64(r.Tokens)})
			}
			for k := range kinds {
				b := p.buckets[k]
				if over := mostOver(books[i][k], b.size, b.rate); b.limited() && over > 1e-3+b.rate*1e-6 {
					t.Fatalf("seed %d: %v exceed burst + rate · window by %v of %+v", seed, k, over, p.limit)
				}
			}
		}
	}
}

func TestAdmit(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	organization := Limit{Requests: 60, Input: 6000, Output: 600, Burst: time.Minute}
	for _, tt := range []struct {
		why       string
		workspace Limit
		calls     []Cost
		produced  int
		refused   string // of the last call
	}{
		{"the first call of a full pool", Limit{}, []Cost{{Input: 100}}, 0, ""},
		{"requests", Limit{}, make([]Cost, 61), 0, "requests 1s"},
		{"input: the rest is 1,000 short", Limit{}, []Cost{{Input: 4000}, {Input: 3000}}, 0, "input tokens 10s"},
		{"cache reads are free", Limit{}, []Cost{{Input: 1, CacheRead: 1e6}, {Input: 5999}}, 0, ""},
		{"but not where the workspace counts them", Limit{Input: 600, CacheReads: true, Burst: time.Minute}, []Cost{{CacheRead: 300}, {CacheRead: 310}}, 0, "input tokens 1s"},
		{"the workspace is asked as well", Limit{Requests: 6, Burst: 10 * time.Second}, make([]Cost, 2), 0, "requests 10s"},
		{"no output left", Limit{}, []Cost{{}, {}}, 600, "output tokens 100ms"},
		{"larger than the bucket: refused however long it waits", Limit{}, []Cost{{Input: 12000}}, 0, "input tokens 1m0s"},
	} {
		pools := []*Pool{NewPool(organization, now), NewPool(tt.workspace, now)}
		got := ""
		for i, c := range tt.calls {
			if i == len(tt.calls)-1 {
				Produce(now, pools, tt.produced, 0)
			}
			if r, ok := Admit(now, pools, c, 0); !ok {
				got = fmt.Sprint(r.Kind, " ", r.Wait.Round(time.Millisecond))
				continue
			}
		}
		if got != tt.refused {
			t.Errorf("%s: refused for %q, want %q", tt.why, got, tt.refused)
		}
	}
}

func TestProduce_slowsDown(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	pools := []*Pool{NewPool(Limit{Output: 60, Burst: 2 * time.Second}, now)}
	var got []time.Duration
	for range 5 {
		got = append(got, Produce(now, pools, 1, 0).At.Sub(now))
	}
	if want := []time.Duration{0, 0, 1e9, 2e9, 3e9}; !slices.Equal(got, want) {
		t.Errorf("five tokens at once leave after %v, want %v", got, want)
	}
	if s, _ := pools[0].State(now.Add(10*time.Second), Output, 0.5); s.Remaining != 1 || s.Limit != 60 {
		t.Errorf("with half of it taken by others %+v is left, want 1 of 60 at most", s)
	}
}

// TestWithdraw_sellsNothingTwice: what leavers give back must not let those
// who come after them leave together with those who waited.
func TestWithdraw_sellsNothingTwice(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	pools := []*Pool{NewPool(Limit{Output: 60, Burst: time.Second}, now)}
	var kept []use
	for range 30 {
		left := Produce(now, pools, 1, 0)
		stays := Produce(now, pools, 1, 0)
		Withdraw(pools, left)
		next := Produce(now, pools, 1, 0)
		kept = append(kept, use{stays.At, 1}, use{next.At, 1})
		now = now.Add(100 * time.Millisecond)
	}
	if over := mostOver(kept, 1, 1); over > 1e-3 {
		t.Errorf("output exceeds burst + rate · window by %v", over)
	}
	// The newest gives back all that it had.
	before := pools[0].buckets[Output].level
	Withdraw(pools, Produce(now, pools, 7, 0))
	if after := pools[0].buckets[Output].level; after < before {
		t.Errorf("the newest withdrew, and the level fell from %v to %v", before, after)
	}
}
