package retry

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is the time s seconds after start.
func at(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }

func TestBudget_timeLine(t *testing.T) {
	type step struct {
		at    float64
		do    string // withdraw, deposit, take
		n     int
		ok    bool // of a withdrawal
		level int
	}
	for _, c := range []struct {
		why   string
		cfg   Config
		steps []step
	}{
		{"the zero budget is full and a retry costs its price", Config{}, []step{
			{0, "withdraw", 5, true, 495},
			{0, "withdraw", 14, true, 481},
		}},
		{"a full budget does not grow", Config{}, []step{
			{0, "deposit", 1, true, 500},
			{0, "withdraw", 5, true, 495},
			{1, "deposit", 100, true, 500},
		}},
		{"time alone brings nothing in", Config{Tokens: 5}, []step{
			{0, "withdraw", 5, true, 0},
			{9, "withdraw", 5, false, 0},
		}},
		{"too empty: one retry ten seconds after the last, then again", Config{Tokens: 5}, []step{
			{0, "withdraw", 5, true, 0},
			{9.999, "withdraw", 5, false, 0},
			{10, "withdraw", 5, true, 0},
			{10, "withdraw", 5, false, 0},
			{19.999, "withdraw", 5, false, 0},
			{20, "withdraw", 5, true, 0},
		}},
		{"the floor takes what is there and never more", Config{Tokens: 8}, []step{
			{0, "withdraw", 5, true, 3},
			{5, "withdraw", 5, false, 3},
			{10, "withdraw", 5, true, 0},
		}},
		{"income pays before the floor is due", Config{Tokens: 5}, []step{
			{0, "withdraw", 5, true, 0},
			{1, "deposit", 4, true, 4},
			{1, "withdraw", 5, false, 4},
			{2, "deposit", 1, true, 5},
			{2, "withdraw", 5, true, 0},
			{11, "withdraw", 5, false, 0}, // the last retry was at 2
			{12, "withdraw", 5, true, 0},
		}},
		{"an early deposit is taken back", Config{Tokens: 10}, []step{
			{0, "withdraw", 5, true, 5},
			{1, "deposit", 1, true, 6},
			{2, "take", 1, true, 5},
			{3, "take", 100, true, 0},
		}},
		{"no tokens: the floor alone, and deposits go nowhere", Config{Tokens: -1}, []step{
			{0, "withdraw", 5, true, 0},
			{1, "deposit", 50, true, 0},
			{1, "withdraw", 5, false, 0},
			{10, "withdraw", 5, true, 0},
		}},
		{"no floor: empty is empty", Config{Tokens: 5, Floor: -1}, []step{
			{0, "withdraw", 5, true, 0},
			{3600, "withdraw", 5, false, 0},
		}},
		{"a floor of one's own", Config{Tokens: 5, Floor: time.Second}, []step{
			{0, "withdraw", 5, true, 0},
			{0.5, "withdraw", 5, false, 0},
			{1, "withdraw", 5, true, 0},
		}},
		{"what is free needs no tokens and does not use up the floor", Config{Tokens: -1}, []step{
			{0, "withdraw", 0, true, 0},
			{0, "withdraw", -3, true, 0},
			{0, "withdraw", 5, true, 0},
			{1, "withdraw", 0, true, 0},
		}},
		{"negative amounts do nothing", Config{Tokens: 10}, []step{
			{0, "withdraw", 5, true, 5},
			{0, "deposit", -3, true, 5},
			{0, "take", -3, true, 5},
		}},
	} {
		t.Run(c.why, func(t *testing.T) {
			b := New(c.cfg)
			for i, s := range c.steps {
				ok := true
				switch s.do {
				case "withdraw":
					ok = b.Withdraw(at(s.at), s.n)
				case "deposit":
					b.Deposit(s.n)
				case "take":
					b.Take(s.n)
				}
				if ok != s.ok {
					t.Errorf("step %d: %s(%d) at %vs = %v, want %v", i, s.do, s.n, s.at, ok, s.ok)
				}
				if got := b.Level(); got != s.level {
					t.Errorf("step %d: level after %s(%d) = %d, want %d", i, s.do, s.n, got, s.level)
				}
			}
		})
	}
}

func TestBudget_zeroValueIsReady(t *testing.T) {
	var b Budget
	if got, want := b.Level(), DefaultTokens; got != want {
		t.Errorf("level of the zero value = %d, want %d", got, want)
	}
	if !b.Withdraw(start, 5) {
		t.Error("the zero value refused its first retry")
	}
}

func TestBudget_nextTellsWhenToAskAgain(t *testing.T) {
	b := New(Config{Tokens: 5})
	if got := b.Next(start); !got.Equal(start) {
		t.Errorf("next before any retry = %v, want now", got)
	}
	b.Withdraw(start, 5)
	if got, want := b.Next(at(3)), at(10); !got.Equal(want) {
		t.Errorf("next = %v, want %v", got, want)
	}
	if got, want := b.Next(at(30)), at(30); !got.Equal(want) {
		t.Errorf("next long after = %v, want %v", got, want)
	}
	if got := New(Config{Floor: -1}).Next(start); !got.IsZero() {
		t.Errorf("next without a floor = %v, want the zero time", got)
	}
}

func TestBudget_floorPerCredential(t *testing.T) {
	b := New(Config{Tokens: 5})
	var one, other Floor
	if !b.WithdrawFor(&one, at(0), 5) {
		t.Fatal("the full budget refused a retry")
	}
	if b.WithdrawFor(&one, at(1), 5) {
		t.Error("the first credential got a second retry from an empty budget")
	}
	if !b.WithdrawFor(&other, at(1), 5) {
		t.Error("the other credential's floor was used up by the first")
	}
}

// A total outage: the budget alone keeps attempts per call near 1, where six
// blind attempts would make it 6.
func TestBudget_totalOutage(t *testing.T) {
	const calls, perSecond = 2000, 20
	b, attempts := New(Config{}), 0
	for call := range calls {
		now := at(float64(call) / perSecond)
		attempts++
		for n := 2; n <= 6 && b.Withdraw(now, 5); n++ {
			attempts++
		}
	}
	if got, want := float64(attempts)/calls, 1.06; got > want {
		t.Errorf("attempts per call = %.3f, want at most %.2f", got, want)
	}
}

// TestBudget_randomHistories holds every history to the promise in the
// comment of Budget.
func TestBudget_randomHistories(t *testing.T) {
	for seed := range uint64(500) {
		if err := randomHistory(rand.New(rand.NewPCG(seed, 7))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func randomHistory(r *rand.Rand) error {
	cfg := Config{Tokens: r.IntN(60) - 5, Floor: time.Duration(r.IntN(20)) * time.Second}
	b := New(cfg)
	capacity, floor := b.Level(), cfg.Floor
	if floor == 0 {
		floor = DefaultFloor
	}
	const price = 5
	now, first := start, start
	retries, income := 0, 0
	last := time.Time{}
	for step := range 400 {
		now = now.Add(time.Duration(r.ExpFloat64() * float64(time.Second)))
		before := b.Level()
		switch r.IntN(4) {
		case 0:
			n := r.IntN(4)
			b.Deposit(n)
			income += n
		case 1:
			b.Take(r.IntN(3))
		default:
			next := b.Next(now)
			ok := b.Withdraw(now, price)
			if want := before >= price || !next.After(now); ok != want {
				return fmt.Errorf("step %d: withdraw = %v at level %d with the floor due at %v, want %v", step, ok, before, next.Sub(now), want)
			}
			if !ok && !last.IsZero() && now.Sub(last) >= floor {
				return fmt.Errorf("step %d: refused %v after the last retry, floor %v", step, now.Sub(last), floor)
			}
			if ok {
				retries++
				last = now
			}
		}
		if l := b.Level(); l < 0 || l > capacity {
			return fmt.Errorf("step %d: level %d outside 0…%d", step, l, capacity)
		}
		floors := int(now.Sub(first)/floor) + 1
		if got, most := retries*price, capacity+income+price*floors; got > most {
			return fmt.Errorf("step %d: retries cost %d, want at most %d", step, got, most)
		}
	}
	return nil
}

func BenchmarkBudget(b *testing.B) {
	budget := New(Config{})
	b.ReportAllocs()
	for b.Loop() {
		budget.Withdraw(start, 5)
		budget.Deposit(5)
	}
}
