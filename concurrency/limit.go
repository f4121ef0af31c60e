// Package concurrency says how many attempts may be in flight at once while
// the upstream is overloaded. While it is not, there is no limit, and none is
// sought: a healthy API tells nothing of where its capacity ends.
//
//	         more than 10 % of at least 20 attempts in
//	         10 s met overload: cut                       their share has halved
//	┌──────┐ ──────────────────────────────▶ ┌───────┐ ──────────────────────▶ ┌─────────┐
//	│ none │                                 │ trial │                         │ episode │
//	└──────┘ ◀────────────────────────────── └───────┘                         └─────────┘
//	    ▲     it has not: not our load. None                                        │
//	    │     for a minute, then two, up to ten                                     │
//	    └───────────────────────────────────────────────────────────────────────────┘
//	          nothing met overload for 60 s, or the limit held nobody back for so
//	          long; or the share is up again, twice: as after a trial
//
// # Is it our load?
//
// An upstream can answer 529 at a rate that has nothing to do with us; a limit
// would then cost throughput and gain nothing. Watching cannot tell: errors and
// load rise and fall together by chance, and with everybody else's day. So the
// limit itself is the experiment. It is set a little below what is being served,
// which costs a twentieth at most, and those attempts are counted that start
// after it. If we are the cause nearly all refusals end at once, since what was
// refused is what went beyond capacity; if we are not, their share stays. What
// is decided is checked again on every twenty attempts for as long as the limit
// stands, since a trial of twenty can be won by luck: one with 15 % of errors
// that mean nothing halves them in one trial of six.
//
// # How the limit moves
//
// A cut sets it to 0.95 of the attempts being served: those in flight, less those
// that will be refused (by Little's law: refusals per second times how long one
// takes). There is at most one per max(1 s, median time of an answer).
//
// Besides, while it binds, a refusal lowers the limit to what is in flight
// without the refused attempt. An answer of 20 s that ends makes room for one;
// a refusal after 0.1 s does not, or the place would be refused again ten times a
// second.
//
// It grows by round trips, and a round trip is not the time of an answer but the
// time after which an attempt that has not been refused is taken as accepted:
// three times what a refusal takes. One refusal is followed by twelve acceptances
// before it grows at all, so that searching costs at most one attempt in
// thirteen; then by 1, 2, 4, … as soon as each of the last ones has been accepted,
// with a stop at the last level that was known to be too much. See decision 0012.
//
// The package is pure: it takes the time as an argument, starts no goroutine,
// never sleeps, has no lock, and uses the same memory whatever happens. Nothing in
// it is safe for concurrent use; whoever owns a Limit serialises.
package concurrency

import (
	"math"
	"time"
)

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
}

// The rule's numbers. Those of the first block are the design's, the rest was
// chosen by the simulation in this folder.
const (
	suspicious = 0.10             // share of overload above which a trial begins
	enough     = 20               // attempts that mean something
	cutTo      = 0.95             // of the attempts being served
	leastCut   = time.Second      // between cuts, or the median answer
	quiet      = 60 * time.Second // without overload, or without need: no limit

	halved      = 0.5              // of the share before, and the limit helps
	worse       = 1.5              // times the share before, and capacity is still falling
	pause       = time.Minute      // after a trial that failed; doubles
	longPause   = 10 * time.Minute // most of it
	searchEvery = 11               // acceptances after a level that was too much, before it is tried again
	tolerated   = 8                // one in so many of a growth may be refused: background
	refusals    = 3                // times a refusal's time, and an attempt is accepted
	leastWait   = 300 * time.Millisecond
	usualWait   = time.Second // while no refusal has been seen
	binding     = 0.9         // of the limit in flight, and a refusal is about the limit
	hopeless    = 0.5         // share of overload at which the limit may still be far too high
	deepestFall = 16          // part of what was in flight, down to which that may be
)

// A Limit bounds the attempts in flight to one upstream and model. Use [New].
// It is not safe for concurrent use.
type Limit struct {
	cfg      Config
	ready    bool
	origin   time.Time // of ticks
	inFlight int
	young    young
	window   window
	answers  median

	limit   int // 0: none
	proven  bool
	began   time.Time // of the trial
	before  float64   // share of overload when it began
	top     int       // in flight when it began
	check   counts    // of attempts that started since the limit came, or since the last check
	strikes int       // checks in a row that it failed
	again   time.Time // no trial before
	pause   time.Duration

	refusal time.Duration // time that one takes, on average; 0 if none was seen
	lastCut time.Time
	lastBad time.Time // when an attempt last met overload
	bound   time.Time // when the limit last held an attempt back

	safe   int   // the last level that was not too much
	step   int   // of the next search beyond it
	credit int   // acceptances since a level was too much
	fresh  int   // acceptances of attempts that started since the limit last moved
	from   int64 // ticks of starts from which those count
	gain   int   // by how much the limit has just grown; 0: its new attempts have been accepted
	lost   int   // of those that were refused
	wanted bool  // the limit has held an attempt back since it last grew
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
	if l.limit == 0 || l.inFlight < l.limit {
		return true
	}
	l.bound, l.wanted = now, true
	return false
}

// Start takes a place for an attempt. It is for those who have asked Room, and
// does not ask itself.
func (l *Limit) Start(now time.Time) Slot {
	l.advance(now)
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

// tick counts tenths of a second, from 0.
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
	if l.limit > 0 && (now.Sub(l.lastBad) >= quiet || now.Sub(l.bound) >= quiet && now.Sub(l.began) >= quiet && l.window.counts(now).share() <= suspicious) {
		l.lift()
	}
}

// known is the time after which an attempt that was not refused is accepted.
func (l *Limit) known() time.Duration {
	if l.refusal == 0 {
		return usualWait
	}
	return max(leastWait, refusals*l.refusal)
}

// slow says that overload shows itself so late (a timeout) that only the end
// of an attempt tells.
func (l *Limit) slow() bool { return l.known() >= horizon*tickTime }

// accept notes n attempts that started at a tick and were not refused.
func (l *Limit) accept(now time.Time, tick int64, n int) {
	l.window.add(now, counts{good: n}, 0)
	if l.limit == 0 {
		return
	}
	l.credit += n
	if tick >= l.from {
		l.fresh += n
	}
	if started := l.origin.Add(time.Duration(tick+1) * tickTime); started.After(l.began) {
		l.check.good += n
		l.verify(now)
	}
	l.grow()
}

// grow raises the limit if more is wanted, and its last growth has been
// accepted: back to the last level that was not too much, or beyond.
func (l *Limit) grow() {
	if l.gain > 0 {
		if l.fresh+l.lost < l.gain {
			return
		}
		l.gain = 0
	}
	was := l.limit
	switch {
	case !l.wanted || was == 0:
		return
	case was < l.safe:
		if l.fresh == 0 {
			return
		}
		l.limit = l.safe
	case l.step == 1 && l.credit < searchEvery:
		return
	default:
		l.limit += l.step
		l.safe = l.limit // until a refusal says otherwise
		l.step *= 2
	}
	l.gain, l.lost, l.wanted = l.limit-was, 0, false
	l.fresh, l.from = 0, never // the next to start is the first of the new ones
}

// shrink lowers the limit to what is in flight without a refused attempt. If
// too many of those are refused by which the limit has just grown, that was
// too much. Otherwise it was chance, or capacity has fallen: the next that is
// accepted, or refused, will tell.
func (l *Limit) shrink() {
	l.limit = max(min(l.limit, l.inFlight), 1)
	if l.gain == 0 {
		l.fresh, l.from = 0, never
		return
	}
	if l.lost++; l.lost*tolerated > l.gain {
		l.stand()
	}
}

// stand takes the limit as the level to search from, and begins to wait until
// the next search.
func (l *Limit) stand() {
	l.safe, l.step, l.credit, l.gain = l.limit, 1, 0, 0
	l.fresh, l.from = 0, never
}

// never is a tick that does not come.
const never = math.MaxInt64

// refused notes an attempt that met overload.
func (l *Limit) refused(now time.Time, s Slot, took time.Duration) {
	l.window.add(now, counts{bad: 1}, took)
	l.lastBad = now
	if l.refusal == 0 {
		l.refusal = took
	}
	l.refusal += (took - l.refusal) / 8
	if l.cfg.Fixed {
		return
	}
	c := l.window.counts(now)
	c.good += l.young.n // they may still be refused; counted out, a burst of refusals would be 100 %
	bad := l.window.counts(now).all() >= enough && c.share() > suspicious
	if l.limit == 0 {
		if bad && !now.Before(l.again) {
			l.try(now, c.share())
		}
		return
	}
	if float64(l.inFlight+1) >= binding*float64(l.limit) {
		l.shrink()
	}
	if !s.start.Before(l.began) {
		l.check.bad++
		l.verify(now)
	}
	if l.limit > 0 && c.share() > suspicious+1./(searchEvery+1) && bad && now.Sub(l.lastCut) >= max(leastCut, l.answers.value()) {
		l.cut(now)
	}
}

// cut sets the limit to a little less than what is being served.
func (l *Limit) cut(now time.Time) {
	l.lastCut = now
	served := float64(l.inFlight) - l.window.doomed(now)
	l.limit = max(min(l.limit, int(math.Round(cutTo*served))), 1)
	l.stand()
	l.window = window{} // what led to this cut is not to lead to another
}

// try begins a trial.
func (l *Limit) try(now time.Time, share float64) {
	l.limit, l.top = l.inFlight+1, l.inFlight
	l.began, l.before, l.bound = now, share, now
	l.proven, l.check, l.strikes, l.wanted = false, counts{}, 0, false
	l.cut(now)
}

// verify asks whether the limit does what it is there for.
func (l *Limit) verify(now time.Time) {
	if l.check.all() < enough {
		return
	}
	share := l.check.share()
	l.check = counts{}
	switch {
	case share <= halved*l.before:
		l.proven, l.strikes, l.pause = true, 0, pause
	case share >= worse*l.before:
		l.before = share // it began while the window still told of better times
	case share > hopeless && l.inFlight > l.top/deepestFall:
		// What was accepted before capacity fell is still being answered.
	case l.proven && l.strikes == 0:
		l.strikes++
	default:
		l.lift()
		l.again = now.Add(l.pause)
		l.pause = min(2*l.pause, longPause)
	}
}

func (l *Limit) lift() { l.limit = 0 }

// Wait is the time after which Room may be true without the end of an attempt;
// 0 if there is none.
func (l *Limit) Wait(now time.Time) time.Duration {
	l.advance(now)
	if l.limit == 0 {
		return 0
	}
	until := l.lastBad.Add(quiet)
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
