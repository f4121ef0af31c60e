package sim

import (
	"slices"
	"time"
)

// What is forgiven: clocks that differ (guess), and attempts that were on
// their way while the answer was (guess).
const (
	earlySlack = 10 * time.Millisecond
	pauseSlack = 100 * time.Millisecond
)

// asks returns until when the answer to an attempt asks not to come back.
func (t *try) asks() (until time.Time, ok bool) {
	if t.RetryAfter <= 0 || t.fate != fateFailed || t.Status < 400 {
		return time.Time{}, false
	}
	return t.over.Add(t.RetryAfter), true
}

// obedienceOf judges the retries of each call by what the attempt before was
// told.
func obedienceOf(calls []*judged) RetryAfter {
	var r RetryAfter
	for _, c := range calls {
		for i, t := range c.tries {
			until, ok := t.asks()
			if !ok {
				continue
			}
			r.Asked++
			if i+1 == len(c.tries) || c.tries[i+1].At.Before(t.over) {
				continue // not retried, or by one that could not know
			}
			r.Retried++
			if early := until.Sub(c.tries[i+1].At); early > earlySlack {
				r.Early++
				r.Worst = max(r.Worst, early)
			}
		}
	}
	return r
}

// pauseScope is what a pause is for.
type pauseScope struct{ key, class string }

// intoPause counts attempts that began in a pause another call was told of.
func intoPause(tries []*try) int {
	byScope := map[pauseScope][]*try{}
	for _, t := range tries {
		s := pauseScope{t.KeyTag, specOf(t.Model).class}
		byScope[s] = append(byScope[s], t)
	}
	n := 0
	for _, group := range byScope {
		n += pausedIn(group)
	}
	return n
}

// pausedIn is intoPause of one scope.
func pausedIn(group []*try) int {
	var told []*try
	for _, t := range group {
		if _, ok := t.asks(); ok && t.Status == 429 {
			told = append(told, t)
		}
	}
	slices.SortStableFunc(told, func(a, b *try) int { return a.over.Compare(b.over) })
	var p pauses
	n := 0
	for _, t := range group {
		for len(told) > 0 && told[0].over.Add(pauseSlack).Before(t.At) {
			until, _ := told[0].asks()
			p.add(toldPause{told[0].call, until})
			told = told[1:]
		}
		if t.At.Before(p.until(t.call).Add(-earlySlack)) {
			n++
		}
	}
	return n
}

type toldPause struct {
	call  *judged
	until time.Time
}

// pauses are the longest pause, and the longest that another call was told of.
type pauses struct{ first, second toldPause }

func (p *pauses) add(q toldPause) {
	switch {
	case q.call == p.first.call:
		p.first.until = later(p.first.until, q.until)
	case q.until.After(p.first.until):
		p.first, p.second = q, p.first
	case q.until.After(p.second.until):
		p.second = q
	}
}

// until returns the end of the longest pause that calls other than c were told
// of.
func (p *pauses) until(c *judged) time.Time {
	if p.first.call == c {
		return p.second.until
	}
	return p.first.until
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
