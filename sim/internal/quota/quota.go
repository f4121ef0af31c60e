// Package quota keeps the books of the simulated API's limits: requests, input
// and output tokens per minute, as the API documents them (“Rate limits”,
// platform.claude.com, 2026-08-22).
//
// Each limit is a token bucket that refills continuously. A call is let in when
// all its buckets have what it needs, and takes from all or from none:
//
//	requests   one
//	input      what it reads, known when it begins
//	output     nothing yet; there must be some left
//
// Output is counted as it is produced, in the order in which it is asked for:
// where answers that run would overdraw the bucket, they slow down. That they
// are slowed, and not let run into debt, is a guess, and what makes the
// invariant strict:
//
//	in every window, what was let in and what was produced is at most
//	what the bucket holds when full + rate · window
//
// Nothing here knows the time or waits: now is passed in. It shares no code
// with what is tested against it. It is not safe for concurrent use.
package quota

import "time"

// Limit is what a pool may use per minute; 0 is no limit.
type Limit struct {
	Requests, Input, Output int
	CacheReads              bool          // input counts cache reads
	Burst                   time.Duration // of rate that the buckets hold
}

// Kind is what a limit counts.
type Kind int

// The kinds.
const (
	Requests Kind = iota
	Input
	Output
	kinds
)

// String returns the name in headers and messages: "input tokens".
func (k Kind) String() string { return [...]string{"requests", "input tokens", "output tokens"}[k] }

// Pool is what shares one limit: an organisation's, or a workspace's, use of
// one class of models.
type Pool struct {
	limit   Limit
	buckets [kinds]bucket
	newest  uint64 // number of the newest reservation of output
}

// NewPool returns a pool that is full.
func NewPool(l Limit, now time.Time) *Pool {
	p := &Pool{limit: l}
	for k, n := range [kinds]int{l.Requests, l.Input, l.Output} {
		if n > 0 {
			p.buckets[k] = newBucket(n, l.Burst, now)
		}
	}
	return p
}

// Since is up to when the pool has been refilled.
func (p *Pool) Since() time.Time {
	var since time.Time
	for _, b := range p.buckets {
		if b.limited() && (since.IsZero() || b.at.Before(since)) {
			since = b.at
		}
	}
	return since
}

// Refill brings the pool up to now, with the share that others have taken
// since.
func (p *Pool) Refill(now time.Time, others float64) {
	for k := range p.buckets {
		if b := &p.buckets[k]; b.limited() && now.After(b.at) {
			b.refill(now, others)
		}
	}
}

// Limit returns what the pool was made with.
func (p *Pool) Limit() Limit { return p.limit }

// Cost is what a call takes when it is let in.
type Cost struct{ Input, CacheRead int }

// need is what must be in each bucket, and what is taken of it.
func (p *Pool) need(c Cost) (need, take [kinds]float64) {
	input := c.Input
	if p.limit.CacheReads {
		input += c.CacheRead
	}
	need = [kinds]float64{1, float64(input), 1}
	take = [kinds]float64{1, float64(input), 0}
	return need, take
}

// Refusal says which bucket lacks what a call needs, and for how long.
type Refusal struct {
	Pool *Pool
	Kind Kind
	Wait time.Duration // exact
}

// Admit takes what a call needs from all pools, or, if one of their buckets
// lacks it, nothing; it then returns the one that lacks it longest. others is
// the share that other users take.
func Admit(now time.Time, pools []*Pool, c Cost, others float64) (Refusal, bool) {
	var worst Refusal
	for _, p := range pools {
		need, _ := p.need(c)
		for k := range p.buckets {
			b := &p.buckets[k]
			if !b.limited() {
				continue
			}
			b.refill(now, others)
			if wait := b.wait(need[k]); wait > worst.Wait {
				worst = Refusal{p, Kind(k), wait}
			}
		}
	}
	if worst.Pool != nil {
		return worst, false
	}
	Charge(now, pools, c, others)
	return Refusal{}, true
}

// Charge takes what a call needs, whether or not it is there.
func Charge(now time.Time, pools []*Pool, c Cost, others float64) {
	change(now, pools, c, others, -1)
}

// Refund gives back what a call took that does not count.
func Refund(now time.Time, pools []*Pool, c Cost, others float64) {
	change(now, pools, c, others, +1)
}

func change(now time.Time, pools []*Pool, c Cost, others, sign float64) {
	for _, p := range pools {
		_, take := p.need(c)
		for k := range p.buckets {
			if b := &p.buckets[k]; b.limited() {
				b.refill(now, others)
				b.level = min(b.size, b.level+sign*take[k])
			}
		}
	}
}

// Reservation is output that has been counted.
type Reservation struct {
	At     time.Time // when it may leave
	Tokens int
	number [2]uint64 // in each pool
}

// Produce counts output, and tells when it may leave: now, or when the buckets
// have refilled what it and all before it have taken. There are at most two
// pools: an organisation's and a workspace's.
func Produce(now time.Time, pools []*Pool, tokens int, others float64) Reservation {
	r := Reservation{At: now, Tokens: tokens}
	for i, p := range pools {
		b := &p.buckets[Output]
		if !b.limited() {
			continue
		}
		p.newest++
		r.number[i] = p.newest
		b.refill(now, others)
		b.level -= float64(tokens)
		if free := now.Add(b.wait(0)); free.After(r.At) {
			r.At = free
		}
	}
	return r
}

// Withdraw gives back output that was counted and never left. Where others
// have reserved since, their time is fixed and what is given back is lost: sold
// again, it would leave together with theirs.
func Withdraw(pools []*Pool, r Reservation) {
	for i, p := range pools {
		if b := &p.buckets[Output]; b.limited() && r.number[i] == p.newest {
			b.level = min(b.size, b.level+float64(r.Tokens))
			p.newest++ // nobody else is the newest any more
		}
	}
}

// CountsOutput reports whether any pool limits output.
func CountsOutput(pools []*Pool) bool {
	for _, p := range pools {
		if p.buckets[Output].limited() {
			return true
		}
	}
	return false
}

// State is one bucket as headers show it.
type State struct {
	Limit     int
	Remaining float64       // never below 0
	Full      time.Duration // until it is fully replenished
}

// State returns a bucket at now; false if there is no limit.
func (p *Pool) State(now time.Time, k Kind, others float64) (State, bool) {
	b := &p.buckets[k]
	if !b.limited() {
		return State{}, false
	}
	b.refill(now, others)
	limit := [kinds]int{p.limit.Requests, p.limit.Input, p.limit.Output}[k]
	return State{Limit: limit, Remaining: max(0, b.level), Full: b.full()}, true
}
