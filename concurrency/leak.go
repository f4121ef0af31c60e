package concurrency

import "time"

// A limit that holds everything back learns nothing. Where answers take a
// minute few attempts end, so few start, and a trial of a limit that does not
// help could last for as long as the answers do. So now and then an attempt goes
// in spite of the limit, and more rarely the more of them are refused. If it is our load that is too much, nearly all of those are
// refused; if most are accepted, beyond the part by which the limit lies below
// what is served, it is not.

// leaks is what became of them.
type leaks struct {
	last   time.Time             // when one last started
	every  time.Duration         // between two; 0 means leakSoon
	made   uint64                // since ever
	base   uint64                // made when the limit came
	out    [leakWindow]time.Time // starts of those whose fate is not known; zero for none
	number [leakWindow]uint64
	fates  [leakWindow]bool // of the last ones: accepted
	known  int              // fates since the limit came
}

// Numbers of the leak. All are guesses that the simulations bear out.
const (
	leakWindow  = 8               // fates that are looked at
	leakFew     = 1               // of them accepted at most, and it is our load
	leakMost    = 5               // of them accepted, and it is not our load
	leakSoon    = time.Second     // between two at first; and half as long after each that was accepted
	leakLate    = 2 * time.Minute // at most; twice as long after each that was refused
	leakHeadway = 10              // one part in so many of the limit may be accepted before that says something
)

func (l *Limit) leakEvery() time.Duration {
	return max(l.leaks.every, leakSoon)
}

// mayLeak says whether an attempt may go in spite of the limit. Where overload
// shows in timeouts alone, what became of it would be known too late.
func (l *Limit) mayLeak(now time.Time) bool {
	return !l.cfg.Fixed && !l.slow() && now.Sub(l.leaks.last) >= l.leakEvery()
}

// leak takes a place beyond the limit.
func (l *Limit) leak(now time.Time) Slot {
	k := &l.leaks
	k.last = now
	k.made++
	i := k.made % leakWindow
	if !k.out[i].IsZero() {
		l.fate(now, true) // it has been out for so long that others were tried: it was not refused
	}
	k.out[i], k.number[i] = now, k.made
	return Slot{start: now, taken: true, leak: k.made}
}

// leaked notes the end of one.
func (l *Limit) leaked(now time.Time, s Slot, how Outcome) {
	k := &l.leaks
	i := s.leak % leakWindow
	took := now.Sub(s.start)
	if how == Served {
		l.answers.add(took)
	}
	if how == Overloaded {
		l.losses.add(took)
		l.refusal, l.lastBad = l.losses.value(), now
	}
	if k.number[i] != s.leak || k.out[i].IsZero() {
		return // known already
	}
	k.out[i] = time.Time{}
	if how != Other {
		l.fate(now, how == Served)
	}
}

// ripe takes those that were not refused in the time that a refusal takes as
// accepted.
func (l *Limit) ripe(now time.Time, known time.Duration, slow bool) {
	if slow {
		return
	}
	for i, start := range l.leaks.out {
		if !start.IsZero() && now.Sub(start) >= known {
			l.leaks.out[i] = time.Time{}
			l.fate(now, true)
		}
	}
}

// fate notes what became of one, and lifts a limit that most of them got past.
func (l *Limit) fate(now time.Time, accepted bool) {
	if l.limit == 0 {
		return
	}
	k := &l.leaks
	k.fates[k.known%leakWindow] = accepted
	k.known++
	if accepted {
		k.every = max(l.leakEvery()/2, leakSoon)
		l.limit++ // there was room
		l.safe = max(l.safe, l.limit)
	} else {
		k.every = min(2*l.leakEvery(), leakLate)
	}
	if k.known < leakWindow+l.limit/leakHeadway {
		return
	}
	most := 0
	for _, a := range k.fates {
		if a {
			most++
		}
	}
	switch {
	case most >= leakMost:
		l.lift()
		l.again, l.excused = now.Add(l.pause), l.before.share()
		l.pause = min(2*l.pause, longPause)
	case most <= leakFew:
		l.proven = true // and need not be found out with so many of them
	}
}
