package fleet

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLine_conformance draws histories in which hardly anybody finds enough,
// and plays each in memory and on a server: every reply has to be the same.
// What was granted keeps to the limits all the same; for windows see
// TestWindows_neverMoreThanBurstAndRate.
func TestLine_conformance(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		rapid.Check(t, func(t *rapid.T) {
			policy := Policy{}.filled()
			c := &crush{t: t, owner: newOwner(), now: dawn, rate: rapid.SampledFrom([]float64{1, 10, 50}).Draw(t, "rate")}
			c.pace = float64(rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "pace"))
			c.client = rapid.IntRange(0, 3).Draw(t, "client") == 0
			model, server := newMemory(policy), p.engine(policy)
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				play := c.draw()
				c.check(agree(t, c.what, play, model, server))
			}
		})
	})
}

// crush draws who asks next for what there is too little of.
type crush struct {
	t          *rapid.T
	owner      string
	now        float64
	rate, pace float64
	client     bool // with a limit of its own
	n          int
	what       string
	asked      *Request // by the last step
	told       []float64
	open       []ending
}

type ending struct {
	*settlement
	at float64 // when it was asked for
}

func (c *crush) draw() func(engine) (Reply, error) {
	t := c.t
	switch rapid.IntRange(0, 3).Draw(t, "pass") {
	case 0: // at the same moment
	case 1, 2:
		c.now += float64(rapid.IntRange(0, 1_500_000).Draw(t, "µs"))
	default: // when somebody was told to ask again, or so
		if len(c.told) > 0 {
			c.now = max(c.now, rapid.SampledFrom(c.told).Draw(t, "told")+float64(rapid.SampledFrom([]int{0, 1000, 499_000, 501_000}).Draw(t, "late")))
		}
	}
	if rapid.IntRange(0, 99).Draw(t, "clock") == 0 {
		c.now -= 200 * second
	}
	now := c.now
	c.asked = nil
	for len(c.open) > 0 && now-c.open[0].at > 1800*second {
		c.open = c.open[1:] // a server forgets it after an hour of its own time, not of this one
	}
	switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
	case op == 0:
		flow := c.class().flow(c.instance())
		s := &settlement{mode: atLeave, id: "-", req: c.request(Normal, 1, 0), flow: flow, Outcome: &Outcome{}}
		s.req.Groups = []Group{{Name: "g"}}
		c.what = "quit " + flow
		return func(e engine) (Reply, error) { return e.settle(t.Context(), now, s) }
	case op < 3 && len(c.open) > 0:
		s := c.open[0].settlement
		c.open = c.open[1:]
		s.Outcome = &Outcome{Charge: Charge(rapid.IntRange(0, 1).Draw(t, "charge")), Actual: []Amounts{{-1, -1, -1, -1, -1}}, Succeeded: true}
		c.what = fmt.Sprintf("settle %s %+v", s.id, *s.Outcome)
		return func(e engine) (Reply, error) { return e.settle(t.Context(), now, s) }
	}
	c.n++
	r := c.request(c.class(), float64(rapid.IntRange(0, 12).Draw(t, "cost"))*c.rate, rapid.IntRange(0, 1).Draw(t, "horizon"))
	a := &acquisition{Request: r, id: ID(fmt.Sprint(c.n)), instance: c.instance(), hints: none(r)}
	c.asked = r
	c.open = append(c.open, ending{&settlement{mode: atEnd, id: a.id, req: r}, now})
	c.what = fmt.Sprintf("%s at %.0f: %+v", a.Class.flow(a.instance), now, *r)
	return func(e engine) (Reply, error) { return e.acquire(t.Context(), now, a) }
}

func (c *crush) class() Class { return Class(rapid.IntRange(0, 2).Draw(c.t, "class")) }

func (c *crush) instance() string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(c.t, "instance")
}

func (c *crush) request(class Class, cost float64, horizon int) *Request {
	bucket := func(k Kind) Bucket { return Bucket{Kind: k, Cost: cost, Cap: 60 * c.rate} }
	r := &Request{Owner: c.owner, Lane: "l", Class: class, Horizon: time.Duration(horizon) * time.Second, Groups: []Group{
		{Name: "g", Buckets: []Bucket{bucket(Input)}},
	}}
	if c.pace > 0 {
		r.Groups[0].Pace = c.pace * c.rate
		r.Groups[0].Buckets = append(r.Groups[0].Buckets, bucket(Output))
	}
	if c.client {
		r.Groups = append(r.Groups, Group{Name: "client", Buckets: []Bucket{bucket(Input)}})
		r.Groups[1].Buckets[0].Cap /= 2
	}
	return r
}

// check compares what was granted with what may be: no wait beyond the
// horizon, and no level above the bucket's size.
func (c *crush) check(r Reply) {
	if r.ID == "" {
		if c.asked != nil {
			if r.Wait <= 0 {
				c.t.Fatalf("%s: refused, and told to wait %v", c.what, r.Wait)
			}
			c.told = append(c.told, c.now+micros(r.Wait))
		}
		return
	}
	if r.Wait > c.asked.Horizon {
		c.t.Fatalf("%s: granted %v ahead", c.what, r.Wait)
	}
	for _, g := range r.Groups {
		for _, b := range g.Buckets {
			if b.Level > b.Size()+1e-6 {
				c.t.Fatalf("%s: level %g of %g", c.what, b.Level, b.Size())
			}
		}
	}
}
