package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestHeld_forAnHour: a reservation that nobody has settled for an hour is
// forgotten, and stays charged.
func TestHeld_forAnHour(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, r := e(Policy{}.filled()), simple(newOwner())
		for _, age := range []time.Duration{time.Hour - time.Second, time.Hour + time.Second} {
			id := ID(fmt.Sprint("aged ", age))
			if _, err := engine.acquire(t.Context(), dawn, &acquisition{Request: &r, id: id, instance: "i", hints: none(&r)}); err != nil {
				t.Fatal(err)
			}
			got, err := engine.settle(t.Context(), dawn+micros(age), &settlement{mode: atEnd, id: id, req: &r, Outcome: &Outcome{Charge: Refunded}})
			if want := age < time.Hour; err != nil || got.Known != want {
				t.Errorf("after %v it is known: %v, want %v; %v", age, got.Known, want, err)
			}
		}
	})
}

// TestHeld_expires: what is never settled leaves nothing behind. Reservations of
// an hour have one key, which a process that acquires has made to expire before.
func TestHeld_expires(t *testing.T) {
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			place := single(t, kind)
			c, engine, r := place.client, place.engine(Policy{}.filled()), simple("o")
			acquire := func(id ID, touch bool) {
				t.Helper()
				got, err := engine.acquire(t.Context(), 0, &acquisition{Request: &r, id: id, instance: "i", touch: touch, hints: none(&r)})
				if err != nil || got.ID != id {
					t.Fatal(got, err)
				}
			}
			acquire("498808.a", true)
			acquire("498808.b", false)
			key := "test:2:{o}:held:498808"
			if ttl := c.PTTL(t.Context(), key).Val(); ttl < 2*time.Hour-time.Minute || ttl > 2*time.Hour {
				t.Errorf("they expire after %v, want 2 h", ttl)
			}
			settle := &settlement{mode: atEnd, id: "498808.a", req: &r, Outcome: &Outcome{Succeeded: true}}
			if got, err := engine.settle(t.Context(), 0, settle); err != nil || !got.Known {
				t.Fatal(got, err)
			}
			if all := c.HKeys(t.Context(), key).Val(); len(all) != 2 || strings.Join(all, " ") != "- 498808.b" && strings.Join(all, " ") != "498808.b -" {
				t.Errorf("there are %q, want the one that is open, and -", all)
			}
			for _, key := range c.Keys(t.Context(), "test:2:{o}:*").Val() {
				if c.PTTL(t.Context(), key).Val() < 0 {
					t.Errorf("%s does not expire", key)
				}
			}
		})
	}
}

// TestTouch_everyHour: a process tells that it lives every five seconds, and
// with its first reservation of an hour, which has another key.
func TestTouch_everyHour(t *testing.T) {
	s, m := &Store{}, &memo{}
	hour := time.Unix(3600*500_000, 0)
	for _, step := range []struct {
		at   time.Time
		want bool
	}{
		{hour.Add(-10 * time.Second), true},
		{hour.Add(-6 * time.Second), false},
		{hour.Add(-2 * time.Second), true},
		{hour.Add(-time.Second), false},
		{hour.Add(time.Second), true},
		{hour.Add(2 * time.Second), false},
	} {
		m.touched = step.at.Add(-time.Millisecond) // looks tell so too, and leave the keys alone
		if got := s.touch(step.at, m); got != step.want {
			t.Errorf("%v from the hour it tells: %v, want %v", step.at.Sub(hour), got, step.want)
		}
	}
	k, r := keyspace{"evenkeel"}, simple("o")
	if before, after := k.held(&r, newID(hour.Add(-time.Second))), k.held(&r, newID(hour)); before == after || !strings.HasSuffix(after, ":held:500000") {
		t.Errorf("reservations are kept in %s, and an hour later in %s", before, after)
	}
}

// TestHeld_orNothing: where another's value is in the place of one of the keys,
// nothing is reserved, and nobody counts as on his way.
func TestHeld_orNothing(t *testing.T) {
	place := single(t, servertest.Redis)
	c, engine, r, ctx := place.client, place.engine(Policy{}.filled()), simple("o"), t.Context()
	held, fly := "test:2:{o}:held:0", "test:2:{o}:fly:api/messages/opus"
	if got, err := engine.acquire(ctx, 0, &acquisition{Request: &r, id: "first", instance: "i", hints: none(&r)}); err != nil || got.ID == "" {
		t.Fatal(got, err)
	}
	for _, spoilt := range []string{held, fly} {
		c.Del(ctx, held, fly)
		c.Set(ctx, spoilt, "another's", 0)
		for i, way := range []acquisition{{touch: false}, {touch: true}} {
			way.Request, way.id, way.instance = &r, ID(fmt.Sprint(i)), "i"
			if got, err := engine.acquire(ctx, 0, &way); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("%s is another's, touch is %v: %+v, %v; want that told", spoilt, way.touch, got, err)
			}
		}
		if n, m := c.HLen(ctx, held).Val(), c.ZCard(ctx, fly).Val(); n > 0 || m > 0 {
			t.Errorf("%s is another's: %d reservations are noted, and %d on their way", spoilt, n, m)
		}
	}
}

// TestHeld_ofManyGroups: a request may have any number of groups.
func TestHeld_ofManyGroups(t *testing.T) {
	engines(t, func(t *testing.T, e func(policy) engine) {
		engine, r := e(Policy{}.filled()), &Request{Owner: newOwner(), Lane: "l"}
		var l Lesson
		for i := range 12 {
			r.Groups = append(r.Groups, Group{Name: fmt.Sprint("g", i), Buckets: []Bucket{
				{Kind: Requests, Cost: 1, Cap: 600}, {Kind: Input, Cost: 1, Cap: 600}, {Kind: Output, Cost: 1, Cap: 600},
			}})
			l.Views = append(l.Views, make([]View, 3))
		}
		l.Views[11][2] = View{Limit: 600, Remaining: 42}
		for _, id := range []ID{"a", "b"} {
			if got, err := engine.acquire(t.Context(), dawn, &acquisition{Request: r, id: id, instance: "i", hints: none(r)}); err != nil || got.ID != id {
				t.Fatal(got, err)
			}
		}
		got, err := engine.learn(t.Context(), dawn, &lesson{Request: r, id: "b", Lesson: &l})
		if err != nil || !got.Known || got.Groups[11].Buckets[2].Level > 42 {
			t.Errorf("of the last of 36 buckets it has learned %+v, %v; want 42 at most", got.Groups[11].Buckets[2], err)
		}
	})
}
