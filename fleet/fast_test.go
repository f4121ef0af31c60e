package fleet

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestFast_isTaken: in calm histories, which TestConformance plays too, most that
// are granted something have gone the fast way: it alone leaves the text as it was.
func TestFast_isTaken(t *testing.T) {
	place := single(t, servertest.Redis)
	granted, fast := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.calm = true
		engine := place.engine(Policy{}.filled())
		text := func() string {
			return place.client.HGet(t.Context(), "test:2:{"+h.owner+"}:group:org/opus", "levels").Val()
		}
		for range 30 {
			play, before := h.draw(), text()
			r, err := play(engine)
			if err != nil {
				t.Fatal(err)
			}
			h.note(r)
			if r.ID != "" && r.ID == h.last.id && strings.HasPrefix(h.what, "acquire") && before != "" {
				if granted++; text() == before {
					fast++
				}
			}
		}
	})
	t.Logf("%d of %d have gone the fast way", fast, granted)
	if fast < granted/2 || granted < 40 {
		t.Errorf("%d of %d have gone the fast way, want half at least, and 40", fast, granted)
	}
}

// TestLevels_areToldToPeople: beside the numbers that scripts work with are the
// same as text, as they were when an attempt last ended, or later.
func TestLevels_areToldToPeople(t *testing.T) {
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			place := single(t, kind)
			c, engine := place.client, place.engine(Policy{}.filled())
			r := Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Pace: 50, Buckets: []Bucket{
				{Kind: Requests, Cost: 1, Cap: 600}, {Kind: Input, Cost: 0.5, Cap: 6000}, {Kind: Output, Cost: 500, Cap: 60_000},
			}}}}
			acquire := func(id ID, now float64, hints [][]hint) Reply {
				got, err := engine.acquire(t.Context(), now, &acquisition{Request: &r, id: id, instance: "i", hints: hints})
				if err != nil || got.ID != id {
					t.Fatal(got, err)
				}
				return got
			}
			text := func() string { return c.HGet(t.Context(), "test:2:{o}:group:g", "levels").Val() }
			acquire("a", dawn, none(&r))
			first := text()
			if want := "1800000000000000 50.000 500.000 1800000010000000 99.000 1.000 999.500 0.500 10000.000 0.000"; first != want {
				t.Errorf("levels are %q, want %q", first, want)
			}
			acquire("b", dawn+100, nil)
			if now := text(); now != first {
				t.Errorf("an acquire that waits for nothing has written %q", now)
			}
			if _, err := engine.settle(t.Context(), dawn+second, &settlement{mode: atEnd, id: "a", req: &r, Outcome: &Outcome{}}); err != nil {
				t.Fatal(err)
			}
			if want, now := "1800000001000000 50.000 450.005 1800000010000100 100.000 2.000 1000.000 1.000 ", text(); !strings.HasPrefix(now, want) {
				t.Errorf("a second later they are %q, want %q…", now, want)
			}
			if limits := c.HGet(t.Context(), "test:2:{o}:group:g", "limits").Val(); limits != "600 10 0 0 6000 10 0 0 60000 10 0 0" {
				t.Errorf("limits are %q", limits)
			}
		})
	}
}

// TestRamp_holdsBack: after a breaker has closed the load returns bit by bit,
// also of those of whom nothing else is to be said.
func TestRamp_holdsBack(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		p := Policy{MinCalls: 1, Probes: 1}.filled()
		engine, r, now, n := e(p), simple(newOwner()), float64(dawn), 0
		acquire := func(random float64) Reply {
			t.Helper()
			n++
			r := r
			r.Random = random
			got, err := engine.acquire(t.Context(), now, &acquisition{Request: &r, id: ID(fmt.Sprint(n)), instance: "i", hints: none(&r)})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		settle := func(id ID, out Outcome) {
			t.Helper()
			if got, err := engine.settle(t.Context(), now, &settlement{mode: atEnd, id: id, req: &r, Outcome: &out}); err != nil || !got.Known {
				t.Fatal(got, err)
			}
		}
		settle(acquire(0).ID, Outcome{Failure: true})
		if got := acquire(0); got.Reason != ByBreaker {
			t.Fatalf("after a failure: %+v, want an open breaker", got)
		}
		now += p.open
		settle(acquire(0).ID, Outcome{Succeeded: true})
		closed := now
		for _, tt := range []struct {
			after, random float64
			want          Reason
		}{
			{1000, 0.2, Granted}, {1000, 0.3, ByRamp}, {p.ramp / 2, 0.6, Granted}, {p.ramp / 2, 0.7, ByRamp}, {p.ramp, 0.99, Granted},
		} {
			now = closed + tt.after
			if got := acquire(tt.random); got.Reason != tt.want {
				t.Errorf("%g s after it has closed, drawn %g: %v, want %v", tt.after/second, tt.random, got.Reason, tt.want)
			}
		}
	})
}
