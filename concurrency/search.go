package concurrency

import (
	"math"
	"time"
)

// accept notes n attempts that started at a tick and were not refused.
func (l *Limit) accept(now time.Time, tick int64, n int) {
	l.window.add(now, counts{good: n}, 0)
	if l.limit == 0 {
		return
	}
	l.leaks.since.good += n
	started := l.origin.Add(time.Duration(tick+1) * tickTime) // or a little before
	if started.After(l.stood) {
		l.credit += n
	}
	if tick >= l.from {
		l.fresh += n
	}
	if started.After(l.began) {
		l.check.good += n
		l.verify(now)
	} else if !l.proven {
		l.before.good += n
	}
	l.grow(now)
}

// grow raises the limit by 1, 3, 9, … if more is wanted and its last growth has
// been accepted: at once up to the last level that was not too much, beyond it
// after a while.
func (l *Limit) grow(now time.Time) {
	if l.gain > 0 {
		if l.fresh+l.lost < l.gain {
			return
		}
		if l.lost > 0 {
			l.step = max(l.gain/2, 1)
		}
		l.gain, l.safe = 0, max(l.safe, l.limit) // until a refusal says otherwise
	}
	was := l.limit
	switch {
	case !l.wanted || was == 0, l.slow() && now.Sub(l.moved) < min(l.refusal, 2*l.answers.value()):
		return
	case was < l.safe && l.fresh == 0:
		return // not even one is accepted at this level
	case was >= l.safe && l.step == 1 && !l.maySearch(now):
		return
	}
	if l.limit += l.step; was < l.safe && l.limit >= l.safe {
		l.limit, l.step = l.safe, 1
	} else {
		l.step *= faster
	}
	l.gain, l.lost, l.wanted, l.moved = l.limit-was, 0, false, now
	l.fresh, l.from = 0, never // the next to start is the first of the new ones
}

// maySearch says whether it is time to try more than what was not too much.
func (l *Limit) maySearch(now time.Time) bool {
	return l.credit >= searchEvery || l.credit >= searchLeast && now.Sub(l.stood) >= searchTime
}

// shrink lowers the limit to what is in flight without a refused attempt. If
// too many of those are refused by which the limit has just grown, that was
// too much. Otherwise it was chance, or capacity has fallen: the next that is
// accepted, or refused, will tell.
func (l *Limit) shrink(now time.Time, s Slot) {
	l.limit = max(min(l.limit, l.within()), 1)
	if s.start.Before(l.stood) {
		l.safe = l.limit // what was thought to be served was not
	}
	if l.gain == 0 {
		l.step, l.fresh, l.from = 1, 0, never
		return
	}
	if l.lost++; l.gain == 1 || l.lost > max(l.gain/tolerated, 1) {
		l.stand(now)
	}
}

// stand takes the limit as the level to search from, and begins to wait until
// the next search.
func (l *Limit) stand(now time.Time) {
	l.safe, l.step, l.credit, l.gain, l.stood = l.limit, 1, 0, 0, now
	l.fresh, l.from = 0, never
}

// never is a tick that does not come.
const never = math.MaxInt64
