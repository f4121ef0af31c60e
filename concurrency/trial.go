package concurrency

import (
	"math"
	"time"
)

// The rule's numbers. Those of the first block are the design's, the rest was
// chosen by the simulation in this folder.
const (
	suspicious = 0.10             // share of overload above which a trial begins
	enough     = 20               // attempts that mean something
	cutTo      = 0.95             // of the attempts being served
	leastCut   = time.Second      // between cuts, or the median answer
	quiet      = 60 * time.Second // without overload, or without need: no limit
	idle       = 3 * time.Second  // or for so long, as long as the limit is on trial

	deepestCut  = 4                      // part of what is in flight, below which no cut goes: timeouts come in bursts
	less        = 0.6                    // of the share before, and the limit helps
	telling     = 8                      // attempts in a check that would be refused if the limit did nothing
	other       = 2                      // times a share that was not our load, and it is another matter
	pause       = time.Minute            // after a trial that failed; doubles
	longPause   = 10 * time.Minute       // most of it
	searchEvery = 15                     // acceptances after a level that was too much, before more is tried again
	searchLeast = 8                      // or so many
	searchTime  = 12 * time.Second       // and so long
	faster      = 3                      // times the last growth, if that was accepted
	tolerated   = 4                      // one in so many of a growth may be refused, or one if it is more than one: background
	leastWait   = 300 * time.Millisecond // until an attempt is accepted, if refusals are quicker
	usualWait   = time.Second            // while no refusal has been seen
	binding     = 0.9                    // of the limit in flight, and a refusal is about the limit
	hopeless    = 0.5                    // share of overload at which the limit may still be far too high
	deepestFall = 16                     // part of what was in flight, down to which that may be
)

// refused notes an attempt that met overload.
func (l *Limit) refused(now time.Time, s Slot, took time.Duration) {
	l.window.add(now, counts{bad: 1}, took)
	l.lastBad = now
	l.losses.add(took)
	l.refusal = l.losses.value()
	if l.cfg.Fixed {
		return
	}
	c := l.window.counts(now)
	c.good += l.young.n // they may still be refused; counted out, a burst of refusals would be 100 %
	bad := l.window.counts(now).all() >= enough && c.share() > suspicious
	if l.limit == 0 {
		if bad && (!now.Before(l.again) || c.share() > other*l.excused) {
			l.try(now)
		}
		return
	}
	l.leaks.since.bad++
	stale := l.slow() && s.start.Before(l.moved) // of the load that the limit had before
	if float64(l.within()+1) >= binding*float64(l.limit) && !stale {
		l.shrink(now, s)
	}
	if !s.start.Before(l.began) {
		l.check.bad++
		l.verify(now)
	} else if !l.proven {
		l.before.bad++
	}
	if l.limit > 0 && !stale && c.share() > suspicious+1./(searchLeast+1) && bad && now.Sub(l.lastCut) >= max(leastCut, l.answers.value()) {
		l.cut(now)
	}
}

// cut sets the limit to a little less than what is being served.
func (l *Limit) cut(now time.Time) {
	l.lastCut, l.moved = now, now
	served := max(float64(l.within())-l.window.doomed(now), float64(l.within())/deepestCut)
	l.limit = max(min(l.limit, int(math.Round(cutTo*served))), 1)
	l.stand(now)
	l.window = window{} // what led to this cut is not to lead to another
}

// try begins a trial.
func (l *Limit) try(now time.Time) {
	l.limit, l.top = l.inFlight+1, l.inFlight
	l.began, l.before, l.bound = now, l.window.counts(now), now
	l.proven, l.check, l.strikes, l.wanted = false, counts{}, 0, false
	l.leaks = leaks{made: l.leaks.made, last: now}
	l.cut(now)
}

// verify asks whether the limit does what it is there for.
func (l *Limit) verify(now time.Time) {
	before := l.before.share()
	if n := float64(l.check.all()); n < enough || n*before < telling {
		return
	}
	check := l.check
	l.check = counts{}
	switch share := float64(check.bad) / float64(check.all()+l.young.n); { // the young may still be refused; without them the quick ones would count for more
	case share <= less*before:
		l.proven, l.strikes, l.pause = true, 0, pause
	case share > hopeless && l.inFlight > l.top/deepestFall:
		// What was accepted before capacity fell is still being answered.
		if share > before {
			l.before = check // what the limit is for has only now begun
		}
	case l.strikes == 0:
		l.strikes++
	default:
		l.lift()
		l.excuse(now, share)
	}
}

func (l *Limit) lift() { l.limit = 0 }

// excuse puts off the next trial, since so large a share was found not to be
// our load.
func (l *Limit) excuse(now time.Time, share float64) {
	l.again, l.excused = now.Add(l.pause), share
	l.pause = min(2*l.pause, longPause)
}
