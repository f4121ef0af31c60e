// Package breaker stops calls to an upstream that keeps failing, finds out
// when it is back, and lets the load return step by step.
//
// One [Breaker] stands for one upstream, path class and model: a breaker wider
// than the failure would turn a partial outage into a total one. Its unit is
// the call after its retries, not the attempt, so that calls which retries
// save do not stop the calls that need no saving.
//
//	           more than ErrorRate of at least
//	           MinCalls calls failed in Window
//	 ┌────────┐ ─────────────────────────────────────▶ ┌────────┐
//	 │ closed │                                        │  open  │ one probe
//	 │        │             a bad probe                │        │ per ProbeEvery
//	 └────────┘      ┌────────────────────────────────▶└────────┘
//	     ▲           │                                     │
//	     │     ┌───────────┐                               │
//	     └─────│ half-open │◀──────────────────────────────┘
//	Probes good│           │  the first good probe, or OpenFor has passed
//	           └───────────┘
//	            up to Probes at once
//
// Time in the open and half-open states is counted in periods of OpenFor,
// from the trip. A bad probe opens the breaker again without starting a new
// period, so that no run of bad luck puts off the serious try at its end. A
// bad probe after the end starts the next period.
//
// Closing leads through a ramp: for the time Ramp the share of calls that pass
// at once grows from 25 % to 100 %, and those held back are spread over the
// rest (see [Breaker.Admit]).
//
// Every transition starts an epoch. A [Ticket] remembers the epoch it was
// given in, and a result from an earlier one is dropped: calls last minutes,
// and how a call ended that was sent before the trip says nothing about now.
//
// Results are booked when they arrive, not when the call began: a call that
// hangs for three minutes is a failure of the minute in which it is noticed.
//
// A probe holds a lease. It is a real call, and may hang or be given up; a
// lease not heard of in time expires and the next call may probe, so a lost
// probe never wedges the breaker.
//
// The package is pure: it takes the time as an argument, starts no goroutine,
// never sleeps, and has no lock. Nothing in it is safe for concurrent use;
// whoever owns a Breaker serialises.
package breaker

import "time"

// Config sets up a [Breaker]. The zero value is the default.
type Config struct {
	// ErrorRate is the share of failed calls, 0 to 1, above which the breaker
	// opens; strictly more is needed. 0 means 0.20.
	ErrorRate float64

	// Window is the time over which calls are counted, in twelve steps.
	// 0 or less means 1 min.
	Window time.Duration

	// MinCalls is how many calls the window must hold before their rate means
	// anything. 0 or less means 20: of 20 calls at a background error rate of
	// 5 % more than four fail once in 400 looks.
	MinCalls int

	// OpenFor is the longest time without a serious try. 0 or less means 5 min.
	OpenFor time.Duration

	// ProbeEvery is the time between probes while open, and from the trip to
	// the first. 0 means 30 s; less than 0 means that nothing passes until
	// OpenFor is over.
	ProbeEvery time.Duration

	// Probes is how many probes may be out at once, and how many must be good
	// while half-open before the breaker closes. 0 or less means 3.
	Probes int

	// Lease is how long a probe that is not heard of keeps others from
	// probing. 0 or less means 60 s.
	Lease time.Duration

	// Ramp is the time from closing to full load. 0 means 30 s; less than 0
	// means none.
	Ramp time.Duration

	// Off lets everything pass and counts nothing.
	Off bool
}

func (c Config) withDefaults() Config {
	if c.ErrorRate == 0 {
		c.ErrorRate = 0.20
	}
	if c.MinCalls <= 0 {
		c.MinCalls = 20
	}
	if c.Probes <= 0 {
		c.Probes = 3
	}
	if c.ProbeEvery == 0 {
		c.ProbeEvery = 30 * time.Second
	}
	if c.Ramp == 0 {
		c.Ramp = 30 * time.Second
	}
	positive(&c.Window, time.Minute)
	positive(&c.OpenFor, 5*time.Minute)
	positive(&c.Lease, time.Minute)
	return c
}

func positive(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

// State is what a [Breaker] does with calls.
type State uint8

// The states.
const (
	Closed   State = iota // calls pass and are counted
	Open                  // calls are held, but for a probe now and then
	HalfOpen              // probes decide
)

// String is "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	default:
		return "half-open"
	}
}

// A Breaker is the state machine drawn above. The zero value is closed and
// has the default configuration. It is not safe for concurrent use.
type Breaker struct {
	cfg     Config
	ready   bool
	state   State
	epoch   uint64 // from 1, so that the zero Ticket belongs to none
	changed uint64 // transitions
	freed   uint64 // places of probes given back without a transition

	window window // closed: results; kept while open, for those who look

	periodEnd time.Time // open, half-open: when OpenFor is over
	probeAt   time.Time // open: when the next probe is due, if probes are on
	leases    []lease   // open, half-open: probes out in this epoch
	lastLease uint64    // id given last
	good      int       // half-open: good probes so far

	rampStart time.Time // closed: when it closed; zero if it always was
}

// lease is the right of one probe to be the only one in its place.
type lease struct {
	id  uint64
	end time.Time
}

// New returns a closed Breaker.
func New(cfg Config) *Breaker {
	b := &Breaker{cfg: cfg}
	b.begin()
	return b
}

// begin completes a zero value.
func (b *Breaker) begin() {
	if b.ready {
		return
	}
	b.cfg = b.cfg.withDefaults()
	b.window.step = max(b.cfg.Window/buckets, 1)
	b.epoch = 1
	b.ready = true
}

// tick does what time alone does: a period ends, leases expire.
func (b *Breaker) tick(now time.Time) {
	b.begin()
	if b.state == Closed {
		return
	}
	if b.state == Open && !now.Before(b.periodEnd) {
		b.halfOpen()
	}
	kept := b.leases[:0]
	for _, l := range b.leases {
		if now.Before(l.end) {
			kept = append(kept, l)
		}
	}
	b.leases = kept
}

// enter makes a transition: whatever belonged to the epoch before is void.
func (b *Breaker) enter(s State) {
	b.state = s
	b.epoch++
	b.changed++
	b.leases = b.leases[:0]
	b.good = 0
}

// open is a trip, or the answer to a bad probe.
func (b *Breaker) open(now time.Time) {
	if b.state == Closed || !now.Before(b.periodEnd) {
		b.periodEnd = now.Add(b.cfg.OpenFor)
	}
	b.enter(Open)
	b.probeAt = now.Add(b.cfg.ProbeEvery)
}

func (b *Breaker) halfOpen() { b.enter(HalfOpen) }

func (b *Breaker) close(now time.Time) {
	b.enter(Closed)
	b.window.clear()
	b.rampStart = now
}

// Reset closes the breaker at once, and without a ramp: somebody else has found
// that the upstream answers, and lets the load return.
func (b *Breaker) Reset(now time.Time) {
	b.tick(now)
	if b.state == Closed {
		return
	}
	b.close(now)
	b.rampStart = time.Time{}
}

// State is the state at time now.
func (b *Breaker) State(now time.Time) State {
	b.tick(now)
	return b.state
}

// Changed is a number that grows at every transition, and only then.
func (b *Breaker) Changed() uint64 { return b.changed }

// Wakes is a number that grows whenever a held call may do better to ask again
// than to wait for its Until: at every transition, and when a probe's place
// becomes free. Every method that takes the time can make it grow. The owner
// compares it with the number it last saw, and wakes those who wait.
func (b *Breaker) Wakes() uint64 { return b.changed + b.freed }

// Rate is how many calls failed, of how many, within the window. While the
// breaker is open this fades; nothing is added.
func (b *Breaker) Rate(now time.Time) (errors, calls int) {
	b.begin()
	return b.window.counts(now)
}
