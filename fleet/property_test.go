package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// engines are what properties are drawn for: quickly in memory, and the same
// on scripts.
func engines(t *testing.T, test func(t *testing.T, e func(policy) engine)) {
	t.Run("memory", func(t *testing.T) {
		test(t, func(p policy) engine { return asking{newMemory(p)} })
	})
	t.Run("miniredis", func(t *testing.T) {
		place := inMiniredis(t)
		test(t, func(p policy) engine { return place.engine(p) })
	})
	t.Run("redis", func(t *testing.T) {
		place := single(t, "redis")
		test(t, func(p policy) engine { return place.engine(p) })
	})
}

const dawn = 1_800_000_000_000_000 // a time on the border of a step of the breaker's window

// TestWindows_neverMoreThanBurstAndRate draws attempts of any size and time,
// booked ahead or not, settled or not: what was admitted in any window is at
// most what a full bucket holds and what refills, and the one that may leave a
// debt. An attempt counts when it is sent, so when its wait is over; what was
// given back counts as never sent. One process by itself is told exactly how
// long to wait; among several, others may come first.
func TestWindows_neverMoreThanBurstAndRate(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		rapid.Check(t, func(t *rapid.T) {
			engine, owner, now := e(Policy{}.filled()), newOwner(), float64(dawn)
			perMinute := float64(rapid.SampledFrom([]int{60, 600, 6000}).Draw(t, "limit"))
			rate, burst := perMinute/60, max(1, perMinute/60*10)
			several := rapid.Bool().Draw(t, "several")
			type sent struct{ at, n float64 }
			var all []sent
			for i := range rapid.IntRange(1, 80).Draw(t, "attempts") {
				now += float64(rapid.IntRange(0, 2_000_000).Draw(t, "pass"))
				cost := float64(rapid.IntRange(1, int(burst)).Draw(t, "cost"))
				r := &Request{Owner: owner, Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Input, Cost: cost, Cap: perMinute}}}}}
				r.Horizon = time.Duration(rapid.IntRange(0, 1).Draw(t, "horizon")) * time.Second
				a := &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "i", hints: none(r)}
				if several {
					a.instance, r.Class = rapid.SampledFrom([]string{"i", "j", "k"}).Draw(t, "instance"), Class(rapid.IntRange(0, 2).Draw(t, "class"))
				}
				got, err := engine.acquire(context.Background(), now, a)
				if err != nil {
					t.Fatal(err)
				}
				if got.ID == "" {
					if got.Wait <= 0 {
						t.Fatalf("refused, and told to wait %v", got.Wait)
					}
					if rapid.Bool().Draw(t, "wait") { // exact: it succeeds then, and not a microsecond before
						now += micros(got.Wait)
						a.id += "w"
						if got, _ = engine.acquire(context.Background(), now, a); got.ID == "" && !several {
							t.Fatalf("after waiting as told it is refused: %+v", got)
						}
					}
				}
				if got.ID == "" {
					continue
				}
				s := &settlement{mode: atEnd, id: got.ID, req: r, Outcome: &Outcome{Charge: Kept, Succeeded: true}}
				if rapid.IntRange(0, 3).Draw(t, "refund") == 0 {
					s.Charge = Refunded // for nothing was sent
				} else {
					all = append(all, sent{now + micros(got.Wait), cost})
				}
				for range rapid.IntRange(0, 3).Draw(t, "times settled") {
					if _, err := engine.settle(context.Background(), now, s); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range all {
				sum := 0.0
				for _, b := range all[i:] {
					sum += b.n
					if most := burst + rate*(b.at-all[i].at)/second; sum > most+0.001*most {
						t.Fatalf("%g were admitted within %g s, want at most %g", sum, (b.at-all[i].at)/second, most)
					}
				}
			}
		})
	})
}

// TestSettle_onceIsAll: settled twice, three times, or long after, a
// reservation changes nothing that settling it once has not.
func TestSettle_onceIsAll(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		rapid.Check(t, func(t *rapid.T) {
			engine, owner, now := e(Policy{MinCalls: 2}.filled()), newOwner(), float64(dawn)
			h := &history{t: t, owner: owner, now: now, shape: drawShape(t)}
			ctx := context.Background()
			a := h.acquisition()
			a.hints = none(a.Request)
			got, err := engine.acquire(ctx, now, a)
			if err != nil {
				t.Fatal(err)
			}
			s := h.settlement()
			s.mode, s.id, s.req = atEnd, a.id, a.Request
			now += float64(rapid.IntRange(0, 20_000_000).Draw(t, "flight"))
			first, err := engine.settle(ctx, now, s)
			if err != nil || first.Known != (got.ID != "") {
				t.Fatal(first.Known, got.ID, err)
			}
			after, err := engine.look(ctx, now, &glimpse{Request: a.Request, instance: "i"})
			if err != nil {
				t.Fatal(err)
			}
			again, err := engine.settle(ctx, now, s)
			if err != nil || again.Known || again.Paid || again.Counted {
				t.Fatalf("settled again it is known: %+v, %v", again, err)
			}
			then, err := engine.look(ctx, now, &glimpse{Request: a.Request, instance: "i"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := differ(then, after); diff != "" {
				t.Fatalf("the second settle changed something: %s", diff)
			}
		})
	})
}

// TestCrash_chargesUntilItRefills: a process that dies between acquire and
// settle leaves nothing behind that time does not mend: output ends when it
// must have been produced, leases and heartbeats expire.
func TestCrash_chargesUntilItRefills(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, ctx := e(Policy{}.filled()), t.Context()
		r := &Request{Owner: newOwner(), Lane: "l", Groups: []Group{{Name: "g", Pace: 50, Buckets: []Bucket{
			{Kind: Requests, Cost: 1, Cap: 60}, {Kind: Output, Cost: 500, Cap: 3000},
		}}}}
		for i := range 5 {
			if _, err := engine.acquire(ctx, dawn, &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "dead", touch: true, hints: none(r)}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := engine.acquire(ctx, dawn+60*second, &acquisition{Request: r, id: "later", instance: "alive", touch: true})
		if err != nil || got.ID == "" || got.Live != 1 {
			t.Fatalf("a minute later: %+v, %v; want a grant, and one process alive", got, err)
		}
		if level := got.Groups[0].Buckets[1].Level; level != 500 {
			t.Errorf("output is at %g, want 500, full", level)
		}
	})
}

// TestBreaker_likeTheRoom plays the same calls to package breaker and to the
// fleet's: they open, probe, close and ramp alike.
func TestBreaker_likeTheRoom(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		rapid.Check(t, func(t *rapid.T) {
			engine, owner, ctx := e(Policy{Floor: -1}.filled()), newOwner(), context.Background()
			room := breaker.New(breaker.Config{})
			start := time.UnixMicro(dawn)
			room.Rate(start) // its steps begin when it is first asked for results, the fleet's at round times
			now := start
			type flying struct {
				ticket breaker.Ticket
				req    *Request
				start  time.Time
			}
			flights := map[ID]*flying{}
			for i := range rapid.IntRange(1, 120).Draw(t, "steps") {
				now = now.Add(time.Duration(rapid.IntRange(0, 6000).Draw(t, "ms")) * time.Millisecond)
				for n := range i { // the owner of a room counts early
					f := flights[ID(fmt.Sprint(n))]
					if f == nil {
						continue
					}
					if at := f.start.Add(5 * time.Second); !at.After(now) {
						if f.ticket.Probe {
							room.Content(now, &f.ticket)
						} else {
							room.Early(at, &f.ticket)
						}
					}
				}
				random := rapid.Float64Range(0, 0.999).Draw(t, "random")
				r := &Request{Owner: owner, Lane: "l", Groups: []Group{{Name: "g"}}, Random: random}
				want := room.Admit(now, true, false, random)
				got, err := engine.acquire(ctx, float64(now.UnixMicro()), &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "i", hints: none(r)})
				if err != nil {
					t.Fatal(err)
				}
				if (got.ID != "") != want.OK || got.Probe != want.Ticket.Probe {
					t.Fatalf("step %d: the fleet says %+v, the room %+v", i, got, want)
				}
				if d := want.Until.Sub(now) - got.Wait; !want.OK && d.Abs() > time.Millisecond {
					t.Fatalf("step %d: ask again in %v, the room says %v", i, got.Wait, want.Until.Sub(now))
				}
				if want.OK {
					flights[got.ID] = &flying{want.Ticket, r, now}
				}
				if rapid.IntRange(0, 2).Draw(t, "land") > 0 && len(flights) > 0 {
					var ids []ID
					for n := range i + 1 {
						if id := ID(fmt.Sprint(n)); flights[id] != nil {
							ids = append(ids, id)
						}
					}
					id := rapid.SampledFrom(ids).Draw(t, "id")
					f := flights[id]
					delete(flights, id)
					out := &Outcome{}
					result := breaker.Ignored
					switch rapid.IntRange(0, 3).Draw(t, "result") {
					case 0, 1:
						out.Failure, result = true, breaker.Failure
					case 2:
						out.Succeeded, result = true, breaker.Good
					}
					room.Report(now, &f.ticket, result)
					if _, err := engine.settle(ctx, float64(now.UnixMicro()), &settlement{mode: atEnd, id: id, req: f.req, Outcome: out}); err != nil {
						t.Fatal(err)
					}
				}
				look, err := engine.look(ctx, float64(now.UnixMicro()), &glimpse{Request: r, instance: "i"})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := look.Breaker.String(), room.State(now).String(); got != want {
					t.Fatalf("step %d: the fleet is %s, the room %s", i, got, want)
				}
			}
		})
	})
}

// TestBudget_likeTheRoom plays the same retries to package retry and to the
// fleet's budget.
func TestBudget_likeTheRoom(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		rapid.Check(t, func(t *rapid.T) {
			tokens := rapid.SampledFrom([]int{500, 20, -1}).Draw(t, "tokens")
			engine, owner, ctx := e(Policy{BreakerOff: true, Budget: tokens}.filled()), newOwner(), context.Background()
			room := retry.New(retry.Config{Tokens: tokens})
			now := time.UnixMicro(dawn)
			for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
				at := float64(now.UnixMicro())
				r := &Request{Owner: owner, Lane: "l", Groups: []Group{{Name: "g"}}}
				if rapid.Bool().Draw(t, "retry") {
					r.Price = 5
				}
				got, err := engine.acquire(ctx, at, &acquisition{Request: r, id: ID(fmt.Sprint(i)), instance: "i", hints: none(r)})
				if err != nil {
					t.Fatal(err)
				}
				if want := room.Withdraw(now, r.Price); (got.ID != "") != want {
					t.Fatalf("step %d: the fleet says %+v, the room %v", i, got, want)
				}
				if got.ID != "" {
					out := &Outcome{Succeeded: rapid.Bool().Draw(t, "succeeded")}
					if out.Succeeded {
						room.Deposit(max(1, r.Price))
					}
					if _, err := engine.settle(ctx, at, &settlement{mode: atEnd, id: got.ID, req: r, Outcome: out}); err != nil {
						t.Fatal(err)
					}
				} else if want := room.Next(now).Sub(now); (want - got.Wait).Abs() > time.Millisecond {
					t.Fatalf("step %d: ask again in %v, the room says %v", i, got.Wait, want)
				}
				look, err := engine.look(ctx, at, &glimpse{Request: r, instance: "i"})
				if err != nil || int(look.Budget) != room.Level() {
					t.Fatalf("step %d: the fleet has %v tokens, the room %d; %v", i, look.Budget, room.Level(), err)
				}
			}
		})
	})
}
