// Package concurrency says how many attempts may be in flight at once while
// the upstream is overloaded. While it is not, there is no limit, and none is
// sought: a healthy API tells nothing of where its capacity ends.
//
//	         more than 10 % of at least 20 attempts   their share is down, or what
//	         in 10 s met overload: cut                goes beyond it is refused
//	┌──────┐ ──────────────────────────▶ ┌───────┐ ────────────────────▶ ┌─────────┐
//	│ none │                             │ trial │                       │ episode │
//	└──────┘ ◀────────────────────────── └───────┘                       └─────────┘
//	    ▲     it is not: no trial for a                                       │
//	    │     minute, then for two, … ten;                                    │
//	    │     or 3 s without overload or need                                 │
//	    └─────────────────────────────────────────────────────────────────────┘
//	          nothing met overload for 60 s, or for so long the limit held nobody
//	          back; or the share is up again: as after a trial
//
// # Is it our load?
//
// An upstream can answer 529 at a rate that has nothing to do with us; a limit
// would then cost throughput and gain nothing. Watching cannot tell: errors and
// load rise and fall together by chance, and with everybody else's day. So the
// limit itself is the experiment. It is set a little below what is being served,
// which costs a twentieth at first, and those attempts are counted that start
// after it. If our load is the cause nearly all refusals end at once, since what
// was refused is what went beyond capacity. If it is not, their share stays, and
// the limit goes. A trial can be won by luck, and a cause can pass, so the same
// is asked of every twenty attempts and more for as long as the limit stands;
// it goes when it fails twice in a row.
//
// That takes long where answers do or refusals are many, and meanwhile the limit
// falls. So the experiment is also made the other way round: attempts go in spite
// of the limit, as many at a time as can be told apart (leak.go). Beyond a limit
// that helps nearly all are refused; beyond one that does not they fare like those
// within it. This decides nearly all trials, in a second or two where refusals
// are quick: before what is held back makes a difference.
//
// What a trial has found not to be our load is not tried again for a while,
// unless the share doubles.
//
// # How the limit moves
//
// A cut sets it to 0.95 of the attempts being served: those in flight, less those
// that will be refused (by Little's law: refusals per second times how long one
// takes). There is at most one per max(1 s, median time of an answer).
//
// Besides, while it binds, a refusal lowers the limit to what is in flight
// without the refused attempt. The place of an answer that ends after 20 s is
// given again; that of a refusal after 0.1 s is not, or it would be refused
// again ten times a second.
//
// It grows by round trips. A round trip is not the time of an answer, but the
// time after which an attempt that has not been refused is taken as accepted:
// half as long again as a refusal takes. Up to the last level that was not too much
// the limit grows at once. Beyond it, it is raised by one after fifteen
// acceptances, or after eight if those took 12 s, so that searching costs about
// one attempt in thirteen; and if that one is accepted by 3, 9, 27, … a round trip
// each. Decision 0011 says why it is not the plain rule of one more per answer.
//
// Where overload shows only in timeouts nothing is known before an attempt ends;
// then a round trip is two median answers, and what a timeout tells of the load
// before the last change is ignored.
//
// # How it is wired
//
// Ask Room for the call that is next and no other, since a no is taken as a wish
// for more; Start when it has all else that it needs; End when the attempt has
// ended, however it did. After each End, and after Wait, there may be room for
// the next.
//
// The package is pure: it takes the time as an argument, starts no goroutine,
// never sleeps, has no lock, and uses the same memory whatever happens. Nothing in
// it is safe for concurrent use; whoever owns a Limit serialises.
package concurrency

import "time"

// Config sets up a [Limit]. The zero value is the default.
type Config struct {
	Max   int  // never more in flight than this; 0 means no such maximum
	Fixed bool // Max alone, and nothing learned
}

// Outcome is how an attempt ended, as far as capacity goes.
type Outcome uint8

// The outcomes.
const (
	Other      Outcome = iota // says nothing: an error of ours, a 429, a caller that left
	Served                    // answered
	Overloaded                // 529, overloaded_error, or a timeout
)

// Slot is the place of one attempt in flight.
type Slot struct {
	start time.Time
	tick  int64
	taken bool
	leak  uint64 // its number, if it went in spite of the limit
}

// A Limit bounds the attempts in flight to one upstream and model. Use [New].
// It is not safe for concurrent use.
type Limit struct {
	cfg      Config
	ready    bool
	origin   time.Time // of ticks
	inFlight int
	young    young
	window   window
	answers  median // times of answers
	losses   median // and of attempts that met overload

	limit   int // 0: none
	proven  bool
	began   time.Time // of the trial
	before  counts    // of attempts that started before it, in the ten seconds until then
	top     int       // in flight when it began
	check   counts    // of attempts that started since the limit came, or since the last check
	strikes int       // checks in a row that it failed
	again   time.Time // no trial before
	excused float64   // unless the share is far above this one, of which it was found that it is not our load
	pause   time.Duration

	refusal time.Duration // median time of one; 0 if none was seen
	lastCut time.Time
	lastBad time.Time // when an attempt last met overload
	bound   time.Time // when the limit last held an attempt back

	safe   int       // the last level that was not too much
	step   int       // of the next search beyond it
	credit int       // acceptances since a level was too much
	fresh  int       // acceptances of attempts that started since the limit last moved
	from   int64     // ticks of starts from which those count
	gain   int       // by how much the limit has just grown; 0: its new attempts have been accepted
	lost   int       // of those that were refused
	moved  time.Time // when the limit last grew, or was cut
	stood  time.Time // when a level was too much
	wanted bool      // the limit has held an attempt back since it last grew
	leaks  leaks
}

// counts is attempts whose fate is known.
type counts struct{ good, bad int }

func (c counts) all() int { return c.good + c.bad }

func (c counts) share() float64 { return float64(c.bad) / float64(max(c.all(), 1)) }

// New returns a Limit with nothing in flight and nothing to limit.
func New(cfg Config) *Limit { return &Limit{cfg: cfg, pause: pause} }

// Configure changes the configuration at once.
func (l *Limit) Configure(cfg Config) {
	l.cfg = cfg
	if cfg.Fixed {
		l.limit = 0
	}
}

// Room says whether one more attempt may start. That it may not is taken as a
// wish for more.
func (l *Limit) Room(now time.Time) bool {
	l.advance(now)
	if l.cfg.Max > 0 && l.inFlight >= l.cfg.Max {
		return false
	}
	if l.limit == 0 || l.within() < l.limit {
		return true
	}
	l.bound, l.wanted = now, true
	return l.mayLeak(now)
}

// Start takes a place for an attempt. It is for those who have asked Room, and
// does not ask itself.
func (l *Limit) Start(now time.Time) Slot {
	l.advance(now)
	if l.limit > 0 && l.within() >= l.limit && l.mayLeak(now) {
		l.inFlight++
		return l.leak(now)
	}
	l.inFlight++
	s := Slot{start: now, tick: l.young.add(l.tick(now)), taken: true}
	if l.from == never {
		l.from = s.tick
	}
	return s
}

// End gives the place back. A second End of a Slot is the caller's mistake; the
// zero Slot is none and is ignored.
func (l *Limit) End(now time.Time, s Slot, how Outcome) {
	if !s.taken {
		return
	}
	l.advance(now)
	l.inFlight--
	if s.leak != 0 {
		l.leaked(now, s, how)
		return
	}
	young := l.young.remove(s.tick)
	switch took := now.Sub(s.start); how {
	case Served:
		l.answers.add(took)
		if young || l.slow() {
			l.accept(now, s.tick, 1)
		}
	case Overloaded:
		l.refused(now, s, took)
	}
}

// tick counts steps of tickTime, from 0.
func (l *Limit) tick(now time.Time) int64 {
	return max(int64(now.Sub(l.origin)/tickTime), 0)
}

// advance takes the attempts that are old enough as accepted, and lifts a
// limit that is of no use.
func (l *Limit) advance(now time.Time) {
	if !l.ready {
		l.ready, l.origin = true, now
	}
	tick := l.tick(now)
	known := l.known()
	slow := l.slow()
	for {
		at, n := l.young.oldest()
		if n == 0 || at > tick-horizon && (slow || now.Sub(l.origin)-time.Duration(at+1)*tickTime < known) {
			break
		}
		l.young.drop(at)
		if !slow {
			l.accept(now, at, n)
		}
	}
	l.ripe(now, known, slow)
	if l.limit > 0 && l.useless(now) {
		l.lift()
	}
}

// useless says that the limit has met no overload for long enough, though it
// was raised in that time and what was added has been accepted; or that it has
// held nobody back for as long, while overload was no more than chance. On trial
// that takes seconds, since leaks would tell soon if it was of use; and nothing is
// lost, since another trial can begin at once. A timeout takes its time to tell.
func (l *Limit) useless(now time.Time) bool {
	long := max(quiet, 2*l.refusal)
	if now.Sub(l.lastBad) >= long && l.step > 1 && l.gain == 0 {
		return true
	}
	if !l.leaks.ours && !l.slow() {
		if long = max(idle, 2*l.refusal); now.Sub(l.began) >= long && now.Sub(l.lastBad) >= long {
			return true
		}
	}
	return now.Sub(l.bound) >= long && now.Sub(l.began) >= long && l.window.counts(now).share() <= suspicious
}

// known is the time after which an attempt that was not refused is accepted.
func (l *Limit) known() time.Duration {
	if l.refusal == 0 {
		return usualWait
	}
	return max(leastWait, l.refusal+l.refusal/2)
}

// slow says that overload shows itself so late (a timeout) that only the end
// of an attempt tells.
func (l *Limit) slow() bool { return l.known() >= horizon*tickTime }

// Wait is the time after which Room may be true without the end of an attempt;
// 0 if there is none.
func (l *Limit) Wait(now time.Time) time.Duration {
	l.advance(now)
	if l.limit == 0 {
		return 0
	}
	until := l.lastBad.Add(max(quiet, 2*l.refusal))
	if next := l.leaks.last.Add(l.leakEvery()); next.Before(until) {
		until = next
	}
	if tick, n := l.young.oldest(); n > 0 && !l.slow() {
		if ripe := l.origin.Add(time.Duration(tick+1)*tickTime + l.known()); ripe.Before(until) {
			until = ripe
		}
	}
	return max(until.Sub(now), time.Millisecond)
}

// State is a Limit at one moment, for those who look.
type State struct {
	InFlight int
	Limit    int  // the lower of what was learned and Max; 0 if there is none
	Trial    bool // not known yet whether the limit helps
	Since    time.Time
	Overload float64 // share of attempts in the last ten seconds
}

// State returns the state at now.
func (l *Limit) State(now time.Time) State {
	l.advance(now)
	s := State{InFlight: l.inFlight, Limit: l.limit, Overload: l.window.counts(now).share()}
	if l.limit > 0 {
		s.Trial, s.Since = !l.proven, l.began
	}
	if l.cfg.Max > 0 && (s.Limit == 0 || l.cfg.Max < s.Limit) {
		s.Limit = l.cfg.Max
	}
	return s
}
