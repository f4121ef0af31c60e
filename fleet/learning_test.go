package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestLearn_forAll: what one process's answers show holds for the next
// attempt of any other. Cuts hold at once, raises are bounded, and a
// correction is not made twice.
func TestLearn_forAll(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, ctx, now := e(Policy{}.filled()), t.Context(), float64(dawn)
		r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Input, Cost: 100}}}}}
		n := 0
		acquire := func() Reply {
			n++
			got, err := engine.acquire(ctx, now, &acquisition{Request: r, id: ID(fmt.Sprint(n)), instance: "i", hints: none(r)})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		learn := func(id ID, v View) BucketState {
			got, err := engine.learn(ctx, now, &lesson{Request: r, id: id, Lesson: &Lesson{Views: [][]View{{v}}}})
			if err != nil {
				t.Fatal(err)
			}
			return got.Groups[0].Buckets[0]
		}
		first := acquire()
		if b := first.Groups[0].Buckets[0]; b.Rate() != 0 {
			t.Fatalf("nothing is known, and yet %+v is limited", b)
		}
		now += second
		if b := learn(first.ID, View{Limit: 60_000, Remaining: 9_000, Low: 10, High: 12}); b.Limit != 60_000 || b.Depth != 9.75 || b.Level != 8_512.5 {
			t.Errorf("after the first answer %+v, want 60,000 a minute, and 9,000 less what is rounded", b)
		}
		now += 70 * second // a group that is younger has not heard of all
		next := acquire()
		now += second
		if b := learn(next.ID, View{Limit: 60_000}); b.Level > 0 {
			t.Errorf("an answer shows nothing left, and the level is %v", b.Level)
		}
		third := acquire()
		if third.ID != "" || third.Reason != ByLimit || third.Groups[0].Wary <= 0 {
			t.Errorf("after an answer that shows nothing left: %+v, want a wait for the limit, and others reckoned with", third)
		}
		now += second
		if b := learn(next.ID, View{Limit: 600_000, Remaining: 600_000}); b.Limit != 120_000 {
			t.Errorf("a limit ten times as high makes %+v, want twice the limit", b)
		}
		now += second / 2
		if b := learn(next.ID, View{Limit: 600_000, Remaining: 600_000}); b.Limit != 120_000 {
			t.Errorf("half a second later the limit is %v, want no second raise yet", b.Limit)
		}
		if b := learn(next.ID, View{Limit: 30_000, Remaining: 30_000}); b.Limit != 30_000 {
			t.Errorf("a lower limit makes %v, want it at once", b.Limit)
		}
		learn(next.ID, View{Limit: 30_000})
		now += second
		if b := learn(next.ID, View{Limit: 30_000, Remaining: 30_000}); b.Level < 500 || b.Level > 1_500 {
			t.Errorf("a second after nothing was left a full bucket is shown, and the level is %v: want what refills in a second, and about as much again", b.Level)
		}
	})
}

// TestLearn_ofABurst: an answer in the middle of a burst may have seen all of it,
// or none. What came after the attempt is taken off once more while that is not
// known, and given back as soon as one that came last tells of it.
func TestLearn_ofABurst(t *testing.T) {
	tests := []struct {
		name   string
		flight float64
		view   View
		want   float64 // the level after it: 20 refill in a second
	}{
		{"short", second / 2, View{Limit: 1200, Remaining: 30}, 30 + 20/2 - 99},
		{"long, of the end", 20 * second, View{Limit: 1200, Remaining: 30, Late: true}, 30 - 99*0.25/20},
		{"long, of the beginning", 2 * second, View{Limit: 1200, Remaining: 130, Early: true}, 130 + 2*20 - 99},
		{"long, of no known time", 3 * second, View{Limit: 1200, Remaining: 90}, 90 + 3*20 - 99},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, func(t *testing.T, e func(policy) engine) {
				engine, ctx, now := e(Policy{}.filled()), t.Context(), float64(dawn)
				r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Requests, Cost: 1, Cap: 1200}}}}}
				for i := range 100 {
					got, err := engine.acquire(ctx, now, &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "i", hints: none(r)})
					if err != nil || got.ID == "" {
						t.Fatal(got, err)
					}
				}
				now += tt.flight
				got, err := engine.learn(ctx, now, &lesson{Request: r, id: "0", Lesson: &Lesson{Views: [][]View{{tt.view}}}})
				if err != nil {
					t.Fatal(err)
				}
				if level := got.Groups[0].Buckets[0].Level; level < tt.want-0.01 || level > tt.want+0.01 {
					t.Errorf("the level is %v, want %v", level, tt.want)
				}
				got, err = engine.learn(ctx, now, &lesson{Request: r, id: "99", Lesson: &Lesson{Views: [][]View{{tt.view}}}})
				if err != nil {
					t.Fatal(err)
				}
				least := min(tt.view.Remaining, max(tt.want, tt.want+200)) // what ten seconds refill, at most
				if level := got.Groups[0].Buckets[0].Level; level < least-1 {
					t.Errorf("after the last of the burst the level is %v, want %v", level, least)
				}
			})
		})
	}
}

// TestLearn_correctsOnce: input that an answer's first event has told is not
// given back again at its end.
func TestLearn_correctsOnce(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, ctx := e(Policy{}.filled()), t.Context()
		r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Input, Cost: 600, Cap: 6000}}}}}
		if _, err := engine.acquire(ctx, dawn, &acquisition{Request: r, id: "a", instance: "i", hints: none(r)}); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.learn(ctx, dawn, &lesson{Request: r, id: "a", Lesson: &Lesson{Views: [][]View{{{Actual: 100, Known: true}}}}}); err != nil {
			t.Fatal(err)
		}
		got, err := engine.settle(ctx, dawn, &settlement{mode: atEnd, id: "a", req: r, Outcome: &Outcome{Charge: Settled, Actual: []Amounts{{Input: 100}}}})
		if err != nil || got.Groups[0].Buckets[0].Level != 900 {
			t.Errorf("of 1,000 are left %+v, %v; want 900", got.Groups, err)
		}
	})
}

// TestPause_isForAll: after one process's 429 nobody is sent until it said.
func TestPause_isForAll(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, ctx := e(Policy{}.filled()), t.Context()
		r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Requests, Cost: 1, Cap: 600}}}}}
		got, err := engine.acquire(ctx, dawn, &acquisition{Request: r, id: "a", instance: "one", hints: none(r)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.settle(ctx, dawn, &settlement{mode: atEnd, id: got.ID, req: r, Outcome: &Outcome{Charge: Refunded, Pause: 7 * time.Second, Empty: Requests}}); err != nil {
			t.Fatal(err)
		}
		other := *r
		other.Lane = "another model of the class"
		got, err = engine.acquire(ctx, dawn+second, &acquisition{Request: &other, id: "b", instance: "two", hints: none(r)})
		if err != nil || got.Reason != ByPause || got.Wait != 6*time.Second {
			t.Errorf("a second later another is told %+v, %v; want to wait 6 s for the pause", got, err)
		}
		got, err = engine.acquire(ctx, dawn+8*second, &acquisition{Request: &other, id: "c", instance: "two", hints: none(r)})
		if err != nil || got.ID == "" {
			t.Errorf("after it: %+v, %v; want a grant", got, err)
		}
	})
}

// TestBreaker_oneOpens: of many who see the upstream fail at once, one opens
// the breaker, and one probe goes out in thirty seconds.
func TestBreaker_oneOpens(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, ctx := e(Policy{}.filled()), t.Context()
		r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g"}}}
		const n = 60
		for i := range n {
			if _, err := engine.acquire(ctx, dawn, &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "i", hints: none(r)}); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var group sync.WaitGroup
		moved := 0
		for i := range n {
			group.Go(func() {
				got, err := engine.settle(ctx, dawn, &settlement{mode: atEnd, id: ID(fmt.Sprint(i)), req: r, Outcome: &Outcome{Failure: true}})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if got.Moved {
					moved++
				}
			})
		}
		group.Wait()
		if moved != 1 {
			t.Errorf("%d have opened the breaker, want 1", moved)
		}
		for _, tt := range []struct {
			at     float64
			probes int
		}{{29, 0}, {30, 1}, {59, 0}, {61, 1}} {
			probes := 0
			for i := range 10 {
				got, err := engine.acquire(ctx, dawn+tt.at*second, &acquisition{Request: r, id: ID(fmt.Sprintf("%g-%d", tt.at, i)), instance: "i"})
				if err != nil {
					t.Fatal(err)
				}
				if !got.Probe {
					continue
				}
				probes++
				bad := &settlement{mode: atEnd, id: got.ID, req: r, Outcome: &Outcome{Failure: true}}
				if _, err := engine.settle(ctx, dawn+tt.at*second, bad); err != nil {
					t.Fatal(err)
				}
			}
			if probes != tt.probes {
				t.Errorf("after %g s %d probes went out of ten that asked, want %d", tt.at, probes, tt.probes)
			}
		}
	})
}
