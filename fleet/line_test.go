package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// queue asks one after the other, for a number of tokens of a bucket that holds
// ten and gets one a second.
type queue struct {
	t      *testing.T
	engine engine
	owner  string
	n      int
}

func newQueue(t *testing.T, e engine) *queue {
	q := &queue{t: t, engine: e, owner: newOwner()}
	q.ask(0, Normal, "drain", 10)
	return q
}

func (q *queue) request(c Class, n float64) *Request {
	return &Request{Owner: q.owner, Lane: "l", Class: c, Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Tokens, Cost: n, Cap: 60}}}}}
}

func (q *queue) ask(at float64, c Class, instance string, n float64) Reply {
	q.t.Helper()
	r := q.request(c, n)
	return q.asked(at, r, instance)
}

func (q *queue) asked(at float64, r *Request, instance string) Reply {
	q.t.Helper()
	q.n++
	got, err := q.engine.acquire(q.t.Context(), dawn+at*second, &acquisition{
		Request: r, id: ID(fmt.Sprint(q.n)), instance: instance, hints: none(r),
	})
	if err != nil {
		q.t.Fatal(err)
	}
	return got
}

// wait checks that one who asks is told to ask again at a time.
func (q *queue) wait(at float64, c Class, instance string, n, until float64, why Reason) {
	q.t.Helper()
	got := q.ask(at, c, instance, n)
	if got.ID != "" || got.Reason != why || (got.Wait-time.Duration((until-at)*second)*time.Microsecond).Abs() > 2*time.Microsecond {
		q.t.Fatalf("%s of %s, at %g s: granted %t, %v, %v to wait, want %v and %g s", c, instance, at, got.ID != "", got.Reason, got.Wait, why, until-at)
	}
}

func (q *queue) grant(at float64, c Class, instance string, n float64) {
	q.t.Helper()
	if got := q.ask(at, c, instance, n); got.ID == "" || got.Wait != 0 {
		q.t.Fatalf("%s of %s, at %g s: %+v, want a grant", c, instance, at, got)
	}
}

func (q *queue) quit(at float64, c Class, instance string) {
	q.t.Helper()
	s := &settlement{mode: atLeave, id: "-", flow: c.flow(instance), Outcome: &Outcome{}}
	s.req = &Request{Owner: q.owner, Lane: "l", Groups: []Group{{Name: "g"}}}
	if _, err := q.engine.settle(q.t.Context(), dawn+at*second, s); err != nil {
		q.t.Fatal(err)
	}
}

// TestLine_steps: who waits is told when there will be enough for those before
// it and for itself, and is not overtaken meanwhile.
func TestLine_steps(t *testing.T) {
	tests := []struct {
		name  string
		steps func(q *queue)
	}{
		{"those who sleep are not overtaken", func(q *queue) {
			q.wait(0, Normal, "a", 4, 4, ByLimit)
			q.wait(1, Normal, "b", 1, 5, ByTurn) // there is one, but not for it
			q.wait(2, Batch, "c", 1, 6, ByTurn)
			q.grant(4, Normal, "a", 4)
			q.grant(5, Normal, "b", 1)
			q.grant(6, Batch, "c", 1)
		}},
		{"there is enough for all before it, and for it", func(q *queue) {
			q.wait(0, Normal, "a", 4, 4, ByLimit)
			q.grant(4.4, Batch, "b", 0.4)
			q.grant(4.4, Normal, "a", 4)
		}},
		{"one that vanishes holds up others until half a second after its time", func(q *queue) {
			q.wait(0, Normal, "a", 8, 8, ByLimit)
			q.wait(8.4, Normal, "b", 1, 9, ByTurn)
			q.grant(8.51, Normal, "b", 1)
		}},
		{"one that quits holds up nobody", func(q *queue) {
			q.wait(0, Normal, "a", 8, 8, ByLimit)
			q.wait(2, Normal, "b", 1, 9, ByTurn)
			q.quit(2.1, Normal, "a")
			q.grant(2.2, Normal, "b", 1)
		}},
		{"who quits and comes back has gained nothing", func(q *queue) {
			q.wait(0, Batch, "a", 1, 1, ByLimit)
			q.grant(1, Batch, "a", 1)
			q.wait(1, Batch, "a", 1, 2, ByLimit)
			q.quit(1, Batch, "a")
			q.wait(1, Normal, "b", 1, 2, ByLimit)
			q.wait(1, Batch, "a", 1, 3, ByLimit)
		}},
		{"who is late by more than that has gained nothing, either", func(q *queue) {
			q.wait(0, Batch, "a", 1, 1, ByLimit)
			q.grant(1, Batch, "a", 1)
			q.wait(1, Batch, "a", 1, 2, ByLimit)
			q.wait(1, Normal, "b", 9, 10, ByLimit)
			q.wait(3, Batch, "a", 1, 11, ByTurn)
		}},
		{"after five seconds in which nobody waits nothing of it counts", func(q *queue) {
			q.wait(0, Batch, "a", 1, 1, ByLimit)
			q.grant(1, Batch, "a", 1)
			q.grant(6, Batch, "a", 5)
			q.wait(6, Batch, "a", 1, 7, ByLimit)
			q.wait(6, Batch, "b", 1, 8, ByLimit)
		}},
		{"a wait that is longer than that is waited for all the same", func(q *queue) {
			q.wait(0, Normal, "a", 10, 10, ByLimit)
			q.wait(7, Normal, "b", 1, 11, ByTurn)
			q.grant(10, Normal, "a", 10)
		}},
		{"what is larger than the bucket comes to its turn", func(q *queue) {
			q.wait(0, Normal, "a", 15, 10, ByLimit)
			q.wait(9, Normal, "b", 1, 16, ByTurn)
			q.grant(10, Normal, "a", 15)
			q.wait(10, Normal, "b", 1, 16, ByLimit)
		}},
		{"a line has an end, and who finds no place in it is not waited for", func(q *queue) {
			for i := range maxFlows {
				q.wait(0, Normal, fmt.Sprintf("%03d", i), 0.01, 0.01*float64(i+1), ByLimit)
			}
			q.wait(0, Interactive, "late", 4, 4, ByLimit)
			q.grant(3, Normal, "000", 0.01)
		}},
		{"who waits for a limit of its own is not waited for", func(q *queue) {
			r := q.request(Normal, 4)
			r.Groups = append(r.Groups, Group{Name: "client", Buckets: []Bucket{{Kind: Tokens, Cost: 10, Cap: 60}}})
			q.asked(6, r, "a")
			if got := q.asked(6, r, "a"); got.ID != "" || got.Reason != ByLimit || got.Group != 1 || got.Wait != 10*time.Second {
				q.t.Fatalf("%+v", got)
			}
			q.grant(8, Normal, "b", 2)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, func(t *testing.T, e func(policy) engine) {
				q := newQueue(t, e(Policy{}.filled()))
				q.t = t
				tt.steps(q)
			})
		})
	}
}

// TestStore_quit: a process that has nothing left to wait for says so, and
// those behind it need not wait for it.
func TestStore_quit(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	o := on(server)
	o.Instance = "a" // before the other, where both have had nothing yet
	one := newStore(t, o)
	o.Instance = "b"
	two := newStore(t, o)
	warm(t, one, "o")
	warm(t, two, "o")
	r := Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Tokens, Cost: 90, Cap: 600}}}}} // 100 when full
	mustAcquire(t, one, r)
	if got := mustAcquire(t, one, r); got.Reason != ByLimit || got.ID != "" {
		t.Fatalf("%+v, want a wait", got)
	}
	small := r
	small.Groups = []Group{{Name: "g", Buckets: []Bucket{{Kind: Tokens, Cost: 1, Cap: 600}}}}
	if got := mustAcquire(t, two, small); got.Reason != ByTurn || got.ID != "" || got.Wait < 5*time.Second {
		t.Fatalf("%+v, want to wait for the turn of the other, more than 5 s", got)
	}
	one.Quit(t.Context(), "o", "l", "g", Normal)
	if got := mustAcquire(t, two, small); got.ID == "" {
		t.Errorf("after the other has quit: %+v, want a grant", got)
	}
}
