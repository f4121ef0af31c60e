package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// party is a flow that wants as much as it can get: it asks for the next as
// soon as it has one, and else when it was told to.
type party struct {
	class    Class
	instance string
	horizon  time.Duration
	costs    []float64     // drawn from
	from     time.Duration // when it joins
	to       time.Duration // when it vanishes, without a word; 0 is never

	next         float64
	cost         float64
	got          float64 // since the crowd began to be watched
	asks, grants float64
	longest      float64 // between two grants, in seconds
	first, last  float64 // grant
}

// crowd plays parties on one group in time that does not pass by itself.
type crowd struct {
	t       *testing.T
	engine  engine
	limit   float64 // a minute
	pace    float64 // of output; 0 has none
	parties []*party
	watch   time.Duration // from when on what they get is counted

	owner  string
	now    float64
	random *rand.Rand
	n      int
	used   float64 // by all, from the start
}

func (c *crowd) request(p *party) *Request {
	g := Group{Name: "g", Buckets: []Bucket{{Kind: Tokens, Cost: p.cost, Cap: c.limit}}}
	if c.pace > 0 {
		g.Pace, g.Buckets = c.pace, []Bucket{{Kind: Requests, Cost: 1, Cap: 1e6}, {Kind: Output, Cost: p.cost, Cap: c.limit}}
	}
	return &Request{Owner: c.owner, Lane: "l", Class: p.class, Horizon: p.horizon, Groups: []Group{g}}
}

func (c *crowd) play(d time.Duration) {
	c.t.Helper()
	c.owner, c.random = newOwner(), rand.New(rand.NewPCG(1, 2))
	for _, p := range c.parties {
		p.next = dawn + micros(p.from)
		p.draw(c.random)
	}
	for end := dawn + micros(d); ; {
		var p *party
		for _, q := range c.parties {
			if (p == nil || q.next < p.next) && (q.to == 0 || q.next < dawn+micros(q.to)) {
				p = q
			}
		}
		if p.next >= end {
			return
		}
		c.now = p.next
		c.ask(p)
	}
}

func (p *party) draw(r *rand.Rand) { p.cost = p.costs[r.IntN(len(p.costs))] }

func (c *crowd) ask(p *party) {
	c.t.Helper()
	c.n++
	r := c.request(p)
	a := &acquisition{Request: r, id: ID(fmt.Sprint(c.n)), instance: p.instance}
	got, err := c.engine.acquire(context.Background(), c.now, a)
	if got.Reason == missing {
		a.hints = none(r)
		got, err = c.engine.acquire(context.Background(), c.now, a)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	late := float64(200 + c.random.IntN(2000)) // what a network and a scheduler add
	watched := c.now >= dawn+micros(c.watch)
	if watched {
		p.asks++
	}
	if got.ID == "" {
		if got.Wait <= 0 {
			c.t.Fatalf("refused, and told to wait %v", got.Wait)
		}
		p.next = c.now + micros(got.Wait) + late
		if c.pace > 0 { // how long it takes depends on what others produce meanwhile: look again
			p.next = c.now + min(micros(got.Wait), second) + late
		}
		return
	}
	if watched {
		p.got += p.cost
		p.grants++
		if p.last > 0 {
			p.longest = max(p.longest, (c.now-p.last)/second)
		} else {
			p.first = c.now
		}
		p.last = c.now
	}
	c.used += p.cost
	p.draw(c.random)
	p.next = c.now + late
}

// jain is 1 where all got the same, and 1/n where one got all.
func jain(parties []*party) float64 {
	sum, squares := 0.0, 0.0
	for _, p := range parties {
		sum += p.got
		squares += p.got * p.got
	}
	return sum * sum / float64(len(parties)) / squares
}

func (c *crowd) asksPerGrant() float64 {
	asks, grants := 0.0, 0.0
	for _, p := range c.parties {
		asks, grants = asks+p.asks, grants+p.grants
	}
	return asks / grants
}

// note logs what everybody got: memory's, since that of the scripts is the same.
func (c *crowd) note() {
	if _, ok := c.engine.(*memory); ok {
		c.t.Logf("Jain %.4f, used %.2f %%: %v", jain(c.parties), 100*c.used/(c.limit/6+c.limit*(c.now-dawn)/60/second), c)
	}
}

func (c *crowd) String() string {
	var b strings.Builder
	for _, p := range c.parties {
		fmt.Fprintf(&b, "%s %.1f in %.0f grants, %.0f asks, longest %.1f s; ", p.class.flow(p.instance), p.got, p.grants, p.asks, p.longest)
	}
	fmt.Fprintf(&b, "%.2f asks per grant", c.asksPerGrant())
	return b.String()
}

// crowded runs a test on the two kinds of engine: one of each, as crowds take
// their time. That all are the same is for TestLine_conformance.
func crowded(t *testing.T, test func(t *testing.T, e func(policy) engine)) {
	t.Run("memory", func(t *testing.T) { test(t, func(p policy) engine { return newMemory(p) }) })
	t.Run("redis", func(t *testing.T) {
		place := single(t, "redis")
		test(t, func(p policy) engine { return place.engine(p) })
	})
}

func same(n int, p party) (all []*party) {
	for i := range n {
		q := p
		q.instance = string(rune('a' + i))
		all = append(all, &q)
	}
	return all
}

// TestLine_processesGetTheSame: eight processes that all want more than there
// is get the same, all of it is used, and nobody polls.
func TestLine_processesGetTheSame(t *testing.T) {
	tests := []struct {
		name  string
		limit float64
		costs []float64 // drawn by all
		apart bool      // each takes one of them for itself
	}{
		{"1000 a minute, equal costs", 1000, []float64{1}, false},
		{"1000 a minute, mixed costs", 1000, []float64{1, 2, 3, 5, 8}, false},
		{"1000 a minute, each other costs", 1000, []float64{1, 2, 3, 5}, true},
		{"60 a minute, equal costs", 60, []float64{1}, false},
		{"60 a minute, mixed costs", 60, []float64{0.5, 1, 1.5}, false},
	}
	for _, tt := range tests {
		for _, horizon := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%s, %v ahead", tt.name, horizon), func(t *testing.T) {
				crowded(t, func(t *testing.T, e func(policy) engine) {
					c := &crowd{t: t, engine: e(Policy{}.filled()), limit: tt.limit}
					c.parties = same(8, party{costs: tt.costs, horizon: horizon})
					for i, p := range c.parties {
						if tt.apart {
							p.costs = tt.costs[i%len(tt.costs):][:1]
						}
					}
					c.play(time.Minute)
					c.note()
					if got := jain(c.parties); got < 0.98 {
						t.Errorf("Jain's index is %.3f, want 0.98", got)
					}
					// What is there for one that still waits has not been used, and is not lost.
					if got, want := c.used+tt.costs[len(tt.costs)-1], 0.99*(tt.limit/6+tt.limit); got < want {
						t.Errorf("%.1f were used, want %.1f", c.used, want)
					}
					if got := c.asksPerGrant(); got > 3 {
						t.Errorf("%.1f asks for each grant, want at most 3", got)
					}
				})
			})
		}
	}
}

// shares checks what parts parties got of what all of them did.
func (c *crowd) shares(within float64, want ...float64) {
	c.t.Helper()
	got, all := 0.0, 0.0
	for i, p := range c.parties {
		got, all = got+p.got, all+want[i]
	}
	for i, p := range c.parties {
		if part, want := p.got/got, want[i]/all; part < want*(1-within) || part > want*(1+within) {
			c.t.Errorf("%s got %.1f %%, want %.1f", p.class.flow(p.instance), 100*part, 100*want)
		}
	}
}

// TestLine_classesByWeight: interactive, normal and batch calls share 8:4:1,
// wherever they come from; a process does not get more of a class for asking
// for another as well, nor the less for not being able to book ahead.
func TestLine_classesByWeight(t *testing.T) {
	mixed := []float64{1, 2, 3, 5, 8}
	tests := []struct {
		name    string
		limit   float64
		parties []*party
		want    []float64
	}{
		{"one class for each process", 1000, []*party{
			{class: Interactive, instance: "a", costs: mixed},
			{class: Normal, instance: "b", costs: mixed},
			{class: Batch, instance: "c", costs: mixed},
		}, []float64{8, 4, 1}},
		{"interactive books ahead, batch does not", 1000, []*party{
			{class: Interactive, instance: "a", costs: mixed, horizon: time.Second},
			{class: Batch, instance: "b", costs: mixed},
		}, []float64{8, 1}},
		{"a process with two classes", 1000, []*party{
			{class: Interactive, instance: "a", costs: mixed, horizon: time.Second},
			{class: Batch, instance: "a", costs: mixed},
			{class: Batch, instance: "b", costs: mixed},
			{class: Batch, instance: "c", costs: mixed},
		}, []float64{24, 1, 1, 1}},
		{"all classes in all processes", 2000, []*party{
			{class: Interactive, instance: "a", costs: mixed, horizon: time.Second},
			{class: Interactive, instance: "b", costs: mixed, horizon: time.Second},
			{class: Normal, instance: "a", costs: mixed},
			{class: Normal, instance: "b", costs: mixed},
			{class: Batch, instance: "a", costs: mixed},
			{class: Batch, instance: "b", costs: mixed},
		}, []float64{8, 8, 4, 4, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			crowded(t, func(t *testing.T, e func(policy) engine) {
				c := &crowd{t: t, engine: e(Policy{}.filled()), limit: tt.limit, watch: 15 * time.Second}
				for _, p := range tt.parties {
					q := *p
					c.parties = append(c.parties, &q)
				}
				c.play(4 * time.Minute)
				c.note()
				c.shares(0.10, tt.want...)
				if got := c.asksPerGrant(); got > 3 {
					t.Errorf("%.1f asks for each grant, want at most 3", got)
				}
			})
		})
	}
}

// TestLine_largeBesideSmall: a call that takes two fifths of what the bucket
// can hold gets it, beside many that are always small enough.
func TestLine_largeBesideSmall(t *testing.T) {
	crowded(t, func(t *testing.T, e func(policy) engine) {
		c := &crowd{t: t, engine: e(Policy{}.filled()), limit: 1000, watch: 15 * time.Second}
		c.parties = same(8, party{costs: []float64{1}, horizon: time.Second})
		c.parties[0].costs, c.parties[0].horizon = []float64{0.4 * 1000 / 6}, 0
		c.play(5 * time.Minute)
		c.note()
		c.shares(0.10, 1, 1, 1, 1, 1, 1, 1, 1)
		if rounds := 8 * 0.4 * 10.0; c.parties[0].longest > 1.3*rounds {
			t.Errorf("the large ones waited %.1f s, want at most %.1f: until all had the same", c.parties[0].longest, rounds)
		}
	})
}

// TestLine_output: output is charged as it comes, so that the wait for it is
// only a guess; it is shared all the same, and all of it used.
func TestLine_output(t *testing.T) {
	crowded(t, func(t *testing.T, e func(policy) engine) {
		c := &crowd{t: t, engine: e(Policy{}.filled()), limit: 60_000, pace: 80, watch: 20 * time.Second}
		c.parties = same(6, party{costs: []float64{200, 400, 600, 800}, horizon: time.Second})
		for i, p := range c.parties {
			p.class = []Class{Interactive, Normal, Batch}[i%3]
		}
		c.play(5 * time.Minute)
		c.note()
		c.shares(0.10, 8, 4, 1, 8, 4, 1)
		if got, want := c.used, 0.99*(10_000+60_000*5); got < want {
			t.Errorf("%.0f were used, want %.0f", got, want)
		}
	})
}

// TestLine_whoComesLate: a process that joins gets from then on what the others
// get: nothing for the time before, and no less because of it.
func TestLine_whoComesLate(t *testing.T) {
	crowded(t, func(t *testing.T, e func(policy) engine) {
		for _, from := range []time.Duration{30 * time.Second, 31500 * time.Millisecond} {
			c := &crowd{t: t, engine: e(Policy{}.filled()), limit: 1000, watch: from}
			c.parties = same(4, party{costs: []float64{2}})
			c.parties[0].from = from
			c.play(from + 10*time.Second)
			c.note()
			c.shares(0.10, 1, 1, 1, 1)
			if c.parties[0].asks > 1 && c.parties[0].first-(dawn+micros(from)) > second {
				t.Errorf("it was first served after %.1f s", (c.parties[0].first-(dawn+micros(from)))/second)
			}
		}
	})
}
