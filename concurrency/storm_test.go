package concurrency

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// epoch is when storms begin.
var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// storm is workers that make one call after another against an upstream with
// so many places, on a virtual clock. The waits before retries are those of
// backoff, and what pays for them is the budget of retry. The breaker is not in
// it, and calls that wait for a place go by their arrival.
type storm struct {
	now     time.Time
	agenda  agenda
	seq     int
	r       *rand.Rand
	answer  time.Duration // mean time of an answer; ± a half
	places  func(time.Duration) int
	noise   float64                     // share of attempts refused whatever the load
	random  func(time.Duration) float64 // more of them, by time; may be nil
	slow    time.Duration               // that a refusal takes; 0 means refusal
	costs   time.Duration               // that a refusal keeps a place busy
	busy    int                         // attempts being served
	refuses int                         // places that are busy refusing
	shared  bool                        // nothing is refused: beyond the places all answers take longer
	limit   gate
	budget  *retry.Budget
	rule    rule
	waiting waiting
	open    bool      // calls arrive by themselves; no worker makes one after another
	wakes   time.Time // when somebody asks because the limit has named a time

	served   int // answers
	attempts int
	refused  int
	failed   int // calls given up

	took []time.Duration // of answered calls that arrived by themselves
}

// refusal is how long a 529 takes: an edge that says so.
const refusal = 100 * time.Millisecond

// gate is what holds attempts back.
type gate interface {
	Room(now time.Time) bool
	Start(now time.Time) Slot
	End(now time.Time, s Slot, how Outcome)
	Wait(now time.Time) time.Duration
}

// rule is how a client retries.
type rule struct {
	attempts int
	wait     func(n int, r *rand.Rand) time.Duration
	budget   bool
}

var ours = rule{attempts: 6, budget: true, wait: func(n int, r *rand.Rand) time.Duration {
	return backoff.Exponential{Rand: r.Float64}.Delay(n)
}}

// tenacity is six attempts with full jitter from 1 s to 60 s.
var tenacity = rule{attempts: 6, wait: ours.wait}

// sdk is the official SDKs' own rule: two retries, 0.5 s doubling to 8 s, less
// up to a quarter.
var sdk = rule{attempts: 3, wait: func(n int, r *rand.Rand) time.Duration {
	return time.Duration(float64(min(8*time.Second, 500*time.Millisecond<<(n-1))) * (1 - r.Float64()/4))
}}

// call is one call of a worker.
type call struct {
	arrived time.Time
	n       int // attempts made
	paid    int // for the attempt that is next
}

func (s *storm) begin(workers int) {
	s.now = epoch
	s.budget = retry.New(retry.Config{})
	for range workers {
		s.call()
	}
}

// call is what a worker does next, always.
func (s *storm) call() {
	if !s.open {
		s.ask(&call{arrived: s.now})
	}
}

// arrive has calls come at random, so many a second until then.
func (s *storm) arrive(perSecond float64, until time.Duration) {
	for at := time.Duration(0); at < until; at += time.Duration(s.r.ExpFloat64() / perSecond * float64(time.Second)) {
		s.in(at, func() { s.ask(&call{arrived: s.now}) })
	}
}

func (s *storm) ask(c *call) {
	heap.Push(&s.waiting, c)
	s.pump()
}

// pump starts those attempts for which there is room.
func (s *storm) pump() {
	for len(s.waiting) > 0 && s.limit.Room(s.now) {
		s.start(heap.Pop(&s.waiting).(*call))
	}
	if len(s.waiting) == 0 {
		return
	}
	at := s.now.Add(s.limit.Wait(s.now))
	if at.After(s.now) && (!s.wakes.After(s.now) || at.Before(s.wakes)) {
		s.wakes = at
		s.in(at.Sub(s.now), s.pump)
	}
}

func (s *storm) start(c *call) {
	slot := s.limit.Start(s.now)
	s.attempts++
	c.n++
	places := s.places(s.now.Sub(epoch))
	share := s.noise
	if s.random != nil {
		share += s.random(s.now.Sub(epoch))
	}
	noise := s.r.Float64() < share
	if s.shared && !noise {
		s.share(c, slot, places)
		return
	}
	if noise || s.busy+min(s.refuses, places*8/10) >= places { // a server that is hammered still serves some
		if !noise && s.costs > 0 {
			s.refuses++
			s.in(s.costs, func() { s.refuses-- })
		}
		s.in(cmp.Or(s.slow, refusal), func() {
			s.refused++
			s.limit.End(s.now, slot, Overloaded)
			s.again(c)
			s.pump()
		})
		return
	}
	s.busy++
	s.answers(c, slot, s.takes())
}

// takes draws the time of an answer.
func (s *storm) takes() time.Duration {
	return time.Duration(float64(s.answer) * (0.5 + s.r.Float64()))
}

// answers is an attempt that is answered after a while.
func (s *storm) answers(c *call, slot Slot, after time.Duration) {
	paid := c.paid
	early := min(after, 5*time.Second) // an attempt in flight for so long counts as good
	s.in(early, func() { s.budget.Deposit(max(paid, 1)) })
	s.in(after, func() {
		s.busy--
		s.served++
		s.limit.End(s.now, slot, Served)
		if s.open {
			s.took = append(s.took, s.now.Sub(c.arrived))
		}
		s.call()
		s.pump()
	})
}

// share is an attempt that takes as much longer as there are more than places,
// and is given up after s.slow.
func (s *storm) share(c *call, slot Slot, places int) {
	s.busy++
	took := time.Duration(float64(s.takes()) * max(1, float64(s.busy)/float64(places)))
	if took < s.slow {
		s.answers(c, slot, took)
		return
	}
	s.in(s.slow, func() {
		s.busy--
		s.refused++
		s.limit.End(s.now, slot, Overloaded)
		s.again(c)
		s.pump()
	})
}

// again plans a retry, or gives the call up.
func (s *storm) again(c *call) {
	if c.n >= s.rule.attempts {
		s.failed++
		s.call()
		return
	}
	if s.rule.budget {
		s.pay(c, s.now)
		return
	}
	s.in(s.rule.wait(c.n, s.r), func() { s.ask(c) })
}

// pay has a retry wait until the budget pays for it, for a minute at most.
func (s *storm) pay(c *call, since time.Time) {
	const price = 5
	switch {
	case s.budget.Withdraw(s.now, price):
		c.paid = price
		s.in(s.rule.wait(c.n, s.r), func() { s.ask(c) })
	case s.now.Sub(since) >= time.Minute:
		s.failed++
		s.call()
	default:
		s.in(time.Second, func() { s.pay(c, since) })
	}
}

func (s *storm) in(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.agenda, event{s.now.Add(d), s.seq, do})
}

// until plays until so long after the epoch.
func (s *storm) until(t time.Duration) {
	end := epoch.Add(t)
	for len(s.agenda) > 0 && !s.agenda[0].at.After(end) {
		e := heap.Pop(&s.agenda).(event)
		s.now = e.at
		e.do()
	}
	s.now = end
}

// mean is the mean number of attempts being served, from now until t, looked
// at ten times a second.
func (s *storm) mean(t time.Duration) float64 {
	sum, n := 0, 0
	for at := s.now.Sub(epoch); at <= t; at += 100 * time.Millisecond {
		s.until(at)
		sum += s.busy
		n++
	}
	return float64(sum) / float64(n)
}

// fixed is a plain cap on attempts at once; 0 is none.
type fixed struct{ most, inFlight int }

func (f *fixed) Room(time.Time) bool          { return f.most == 0 || f.inFlight < f.most }
func (f *fixed) Start(time.Time) Slot         { f.inFlight++; return Slot{} }
func (f *fixed) End(time.Time, Slot, Outcome) { f.inFlight-- }
func (f *fixed) Wait(time.Time) time.Duration { return 0 }

type event struct {
	at  time.Time
	seq int
	do  func()
}

type agenda []event

func (a agenda) Len() int      { return len(a) }
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a agenda) Less(i, j int) bool {
	if c := a[i].at.Compare(a[j].at); c != 0 {
		return c < 0
	}
	return a[i].seq < a[j].seq
}

func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

type waiting []*call

func (w waiting) Len() int           { return len(w) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*call)) }
func (w waiting) Less(i, j int) bool { return w[i].arrived.Before(w[j].arrived) }

func (w *waiting) Pop() any {
	old := *w
	c := old[len(old)-1]
	*w = old[:len(old)-1]
	return c
}
