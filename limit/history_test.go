package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// use is what was let in and counted, and when.
type use struct {
	at     time.Time
	amount float64
}

// mostOver returns by how much the uses exceed burst + rate · window in the
// worst window: the plain definition, every window tried.
func mostOver(uses []use, burst, rate float64) float64 {
	slices.SortStableFunc(uses, func(a, b use) int { return a.at.Compare(b.at) })
	worst := math.Inf(-1)
	for i := range uses {
		sum := 0.0
		for _, u := range uses[i:] {
			sum += u.amount
			worst = max(worst, sum-burst-rate*u.at.Sub(uses[i].at).Seconds())
		}
	}
	return worst
}

// held is an attempt that a history has in flight.
type held struct {
	id     limit.ID
	need   limit.Need
	at     time.Time
	actual claude.Usage
}

// ledgers checks the accounts of all buckets, and returns those of the class.
func ledgers(tb testing.TB, b *limit.Book, now time.Time) (of [3]limit.Ledger) {
	tb.Helper()
	for _, g := range b.Groups(now) {
		for _, u := range g.Buckets {
			l := u.Ledger
			if off := math.Abs(l.Reserved - l.Settled - l.Refunded - l.Outstanding); off > 1e-6*max(1, l.Reserved) || l.Outstanding < -1e-6 {
				tb.Fatalf("%v: reserved %v is not settled %v + refunded %v + outstanding %v", u.Kind, l.Reserved, l.Settled, l.Refunded, l.Outstanding)
			}
			if u.Level > u.Burst+1e-6 || math.IsNaN(u.Level) {
				tb.Fatalf("%v: level %v of %v", u.Kind, u.Level, u.Burst)
			}
			if g.Class == "opus-5-5" && u.Kind < limit.Tokens {
				of[u.Kind] = l
			}
		}
	}
	return of
}

// TestHistory_noWindowHoldsMore: over random histories of calls that cost at
// most what was reserved, are settled late, twice, or never, no window holds
// more than burst + rate · window of any kind; the accounts balance, and
// nothing is left when all have ended.
func TestHistory_noWindowHoldsMore(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rates := limit.Rates{RPM: int64(60 * (1 + rng.IntN(5))), ITPM: int64(6000 * (1 + rng.IntN(5))), OTPM: int64(1200 * (1 + rng.IntN(5)))}
		b, now := configured(rates), begin
		burst := [3]float64{float64(rates.RPM) / 6, float64(rates.ITPM) / 6, float64(rates.OTPM) / 6}
		var uses [3][]use
		var flying []held
		end := func(i int) {
			h := flying[i]
			counted := [3]float64{1, float64(h.actual.Input), float64(h.actual.Output)}
			e := limit.End{Outcome: limit.Settled, Usage: h.actual}
			switch rng.IntN(5) {
			case 0:
				e.Outcome, counted = limit.Refunded, [3]float64{}
			case 1:
				e.Outcome, counted = limit.Kept, [3]float64{1, float64(h.need.Input), float64(h.need.Output)}
			}
			for range 1 + rng.IntN(2) {
				b.Settle(now, h.id, e)
			}
			for k, n := range counted {
				uses[k] = append(uses[k], use{h.at, n})
			}
			flying = slices.Delete(flying, i, i+1)
		}
		for range 300 {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64(150*time.Millisecond)))
			if len(flying) > 0 && rng.IntN(3) == 0 {
				end(rng.IntN(len(flying)))
				continue
			}
			n := need(rng.IntN(int(burst[1])), rng.IntN(int(burst[2])))
			if a := b.Acquire(now, n); a.ID != 0 {
				flying = append(flying, held{a.ID, n, now, claude.Usage{Input: 1 + rng.IntN(1+n.Input), Output: rng.IntN(1 + n.Output)}})
				flying[len(flying)-1].actual.Input = min(flying[len(flying)-1].actual.Input, max(1, n.Input))
			}
			ledgers(t, b, now)
		}
		for len(flying) > 0 {
			end(0)
		}
		for k, l := range ledgers(t, b, now) {
			if math.Abs(l.Outstanding) > 1e-6 {
				t.Fatalf("seed %d: %v of %v are outstanding when all have ended", seed, l.Outstanding, limit.Kind(k))
			}
		}
		for k, rate := range [3]float64{float64(rates.RPM) / 60, float64(rates.ITPM) / 60, float64(rates.OTPM) / 60} {
			if over := mostOver(uses[k], burst[k], rate); over > 1+1e-3 { // an input of 0 counts as 1
				t.Fatalf("seed %d: %v exceed burst + rate · window by %v of %+v", seed, limit.Kind(k), over, rates)
			}
		}
	}
}

// TestHistory_outputAsItComes: answers that come at their pace, all of the
// length that was expected, produce in no window more than burst + rate ·
// window and what flow.go says it can be wrong by.
func TestHistory_outputAsItComes(t *testing.T) {
	for seed := range uint64(16) {
		rng := rand.New(rand.NewPCG(seed, 2))
		perMinute := int64(6000 * (1 + rng.IntN(4)))
		rate := float64(perMinute) / 60
		b := configured(limit.Rates{OTPM: perMinute})
		type answer struct {
			held
			pace, left float64
		}
		var running []answer
		var produced []use
		promised, now := 0.0, begin
		for range 1200 {
			const step = 100 * time.Millisecond
			now = now.Add(step)
			sum := 0.0
			for i := 0; i < len(running); i++ {
				a := &running[i]
				n := min(a.left, a.pace*step.Seconds())
				a.left -= n
				sum += n
				if a.left <= 1e-9 {
					b.Settle(now, a.id, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Output: a.need.Output}})
					running = slices.Delete(running, i, i+1)
					i--
				}
			}
			produced = append(produced, use{now, sum})
			n := need(0, 10+rng.IntN(600))
			n.Pace = 5 + 20*rng.Float64()
			if a := b.Acquire(now, n); a.ID != 0 {
				running = append(running, answer{held{id: a.ID, need: n, at: now}, n.Pace, float64(n.Output)})
			}
			promised = max(promised, bucket(b, now, "opus-5-5", limit.Output).Promised)
		}
		if over := mostOver(produced, rate*10, rate); over > promised/4+rate/10 {
			t.Errorf("seed %d: %v more than burst + rate · window is produced, with %v promised at most", seed, over, promised)
		}
	}
}

// TestHistory_waitGrowsWithCost: who wants more never waits less.
func TestHistory_waitGrowsWithCost(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b, now := configured(limit.Rates{RPM: 600, ITPM: 60_000, OTPM: 12_000}), begin
		for range rng.IntN(40) {
			n := need(rng.IntN(4000), rng.IntN(800))
			n.Pace = float64(rng.IntN(2)) * 50 * rng.Float64()
			b.Acquire(now, n)
			now = now.Add(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
		small := need(rng.IntN(8000), rng.IntN(2000))
		small.Pace = float64(rng.IntN(2)) * 50 * rng.Float64()
		large := small
		large.Input += rng.IntN(8000)
		large.Output += rng.IntN(2000)
		large.Pace *= 1 + rng.Float64()
		// Both are asked of the same state: what is let in is given back.
		wait := func(n limit.Need) time.Duration {
			a := b.Acquire(now, n)
			b.Settle(now, a.ID, limit.End{Outcome: limit.Refunded})
			return a.Wait
		}
		if s, l := wait(small), wait(large); s > l {
			t.Fatalf("seed %d: %+v waits %v, %+v only %v", seed, small, s, large, l)
		}
	}
}

// TestHistory_cancelledAtAnyMoment leaves nothing: whatever has happened to an
// attempt, in any order, once it is settled nothing of it is outstanding.
func TestHistory_cancelledAtAnyMoment(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		b, now := limit.NewBook(limit.Config{}), begin
		var flying []limit.ID
		for range 200 {
			now = now.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			chaos(b, rng, now, &flying)
			ledgers(t, b, now)
		}
		for _, id := range flying {
			b.Settle(now, id, limit.End{Outcome: limit.Outcome(rng.IntN(5))})
		}
		for _, g := range b.Groups(now) {
			if g.InFlight != 0 {
				t.Fatalf("seed %d: %d in flight when all have ended: %+v", seed, g.InFlight, g)
			}
			for _, u := range g.Buckets {
				if math.Abs(u.Ledger.Outstanding) > 1e-3 || math.Abs(u.Promised) > 1e-3 {
					t.Fatalf("seed %d: %v: %v outstanding, %v promised when all have ended", seed, u.Kind, u.Ledger.Outstanding, u.Promised)
				}
			}
		}
	}
}

// chaos does one thing that can happen.
func chaos(b *limit.Book, rng *rand.Rand, now time.Time, flying *[]limit.ID) {
	var id limit.ID
	if len(*flying) > 0 {
		id = (*flying)[rng.IntN(len(*flying))]
	}
	shown := func(most int64) claude.Window {
		if rng.IntN(4) == 0 {
			return claude.Window{}
		}
		n := 1 + rng.Int64N(most)
		return claude.Window{Limit: n, Remaining: rng.Int64N(2 * n), Reset: now.Add(time.Duration(rng.IntN(90_000)-10_000) * time.Millisecond)}
	}
	switch rng.IntN(8) {
	case 0, 1, 2:
		n := need(rng.IntN(20_000), rng.IntN(2000))
		n.Credential, n.Fast, n.Pace = fmt.Sprint(rng.IntN(4)), rng.IntN(5) == 0, float64(rng.IntN(60))
		n.Path = claude.Path(rng.IntN(4))
		if a := b.Acquire(now, n); a.ID != 0 {
			*flying = append(*flying, a.ID)
		}
	case 3, 4:
		r := limit.Response{
			Status: []int{200, 200, 429, 529, 401, 500}[rng.IntN(6)], At: now.Add(-time.Duration(rng.IntN(3000)) * time.Millisecond),
			Limits: claude.RateLimits{Requests: shown(1000), Input: shown(1e6), Output: shown(1e5), Tokens: shown(1e6), FastInput: shown(1e6), FastOutput: shown(1e5)},
		}
		if rng.IntN(3) > 0 {
			r.Organization = fmt.Sprint("org", rng.IntN(2))
		}
		if rng.IntN(3) == 0 {
			r.Workspace = fmt.Sprint("wrk", rng.IntN(2))
		}
		b.Observe(now, id, r)
	case 5:
		b.Correct(now, id, claude.Usage{Input: rng.IntN(20_000), CacheRead: rng.IntN(20_000)})
	case 6:
		b.Settle(now, id, limit.End{
			Outcome: limit.Outcome(rng.IntN(5)), Usage: claude.Usage{Input: rng.IntN(20_000), Output: rng.IntN(2000)},
			RetryAfter: time.Duration(rng.IntN(3)) * time.Second, Ramp: rng.IntN(10) == 0, Credential: rng.IntN(20) == 0,
			Empty: limit.Kind(rng.IntN(5)), IsEmpty: rng.IntN(2) == 0, Rejected: rng.IntN(10) == 0,
		})
		*flying = slices.DeleteFunc(*flying, func(f limit.ID) bool { return f == id })
	case 7:
		c := limit.Config{}
		if rng.IntN(2) == 0 {
			c.Models = map[string]limit.Rates{limit.ClassAny: {RPM: rng.Int64N(1000), ITPM: rng.Int64N(1e6)}}
		}
		b.Configure(now, c)
		b.Tell(now, "org0", []limit.Told{{Class: "opus-5-5", Rates: limit.Rates{OTPM: rng.Int64N(1e5)}}})
	}
}

// FuzzBook: whatever happens, in whatever order, the accounts balance.
func FuzzBook(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(50), int64(300))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8, step int64) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b, now := limit.NewBook(limit.Config{}), begin
		var flying []limit.ID
		for range steps {
			now = now.Add(time.Duration(step) * time.Millisecond) // may go back
			chaos(b, rng, now, &flying)
			ledgers(t, b, now)
		}
	})
}
