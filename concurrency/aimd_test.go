package concurrency

import "time"

// aimd is the rule from which this limit started, without a trial and with an
// answer as its round trip: a cut to 0.95 of the attempts being served, at most
// one per max(1 s, median answer); doubling per round trip up to the last cut,
// then one more per round trip; none after 60 s without overload.
type aimd struct {
	inFlight         int
	limit, last      float64 // 0: none; where it was last cut
	window           window
	answers          median
	lastCut, lastBad time.Time
}

func (a *aimd) Room(now time.Time) bool {
	if now.Sub(a.lastBad) >= quiet {
		a.limit = 0
	}
	return a.limit == 0 || a.inFlight < int(a.limit)
}

func (a *aimd) Start(now time.Time) Slot {
	a.inFlight++
	return Slot{start: now}
}

func (a *aimd) End(now time.Time, s Slot, how Outcome) {
	a.inFlight--
	took := now.Sub(s.start)
	switch how {
	case Served:
		a.window.add(now, counts{good: 1}, 0)
		a.answers.add(took)
		switch {
		case a.limit == 0:
		case a.limit < a.last:
			a.limit++
		default:
			a.limit += 1 / a.limit
		}
	case Overloaded:
		a.window.add(now, counts{bad: 1}, took)
		a.lastBad = now
		c := a.window.counts(now)
		if c.all() < enough || c.share() <= suspicious || now.Sub(a.lastCut) < max(leastCut, a.answers.value()) {
			return
		}
		a.lastCut, a.last = now, a.limit
		served := float64(a.inFlight) - a.window.doomed(now)
		a.limit = max(cutTo*served, 1)
	}
}

func (a *aimd) Wait(time.Time) time.Duration { return 0 }
