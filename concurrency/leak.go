package concurrency

import (
	"math"
	"time"
)

// A limit that holds everything back learns nothing. Where answers take a
// minute few attempts end, so few start, and a trial of a limit that does not
// help could last for as long as the answers do. So attempts go in spite of the
// limit. If it is our load that is too much, nearly all of those are refused,
// since they are what goes beyond capacity; if it is not, they fare like those
// within the limit.
//
// This is a sequential test (Wald's): each fate multiplies the odds by how much
// likelier it is if it is not our load than if it is, and at so many to one
// either way that is decided. While nothing is, as many go as can be told apart
// in the time that a refusal takes, so that it takes a second or two where
// refusals are quick. Once it is known to be our load one goes now and then, and
// more only if that one is accepted, or the limit does not keep the share down: a
// cause can pass.

// leaks is what became of them.
type leaks struct {
	last   time.Time             // when one last started
	made   uint64                // since ever
	out    [leakWindow]time.Time // starts of those whose fate is not known; zero for none
	number [leakWindow]uint64
	flying int           // of those
	known  int           // fates since the limit came
	recent counts        // of those, the last ones weigh more
	odds   float64       // log of those that it is not our load; since it was last known to be, and not below that
	ours   bool          // it is known that it is
	every  time.Duration // between two since then
	since  counts        // fates of attempts within the limit since one last started
}

// Numbers of the leak. All are guesses that the simulations bear out.
const (
	leakWindow  = 8               // out at once
	leakSure    = 5.3             // odds that decide, of 200 to 1
	leakMost    = 0.98            // part of those within the limit that is taken to be accepted at most
	leakLeast   = 0.2             // and at least: if even less are, nearly nothing is, and it does not matter why
	leakOurs    = 0.5             // part of that which is accepted beyond the limit though it is our load: there may be room
	leakChance  = 0.1             // of all that is at least
	leakMemory  = 32              // fates that weigh in full
	leakDoubt   = 0.3             // share of overload within the limit above which it does not do what it is for
	leakFew     = 4               // of those that mean something
	leakSoon    = 5 * time.Second // between two at most if so
	leakLate    = 2 * time.Minute // and else, after doubling with each that was refused
	leakHeadway = 10              // one part in so many of the limit may be accepted before that says something
)

// leakEvery is the time between two.
func (l *Limit) leakEvery() time.Duration {
	k := &l.leaks
	soon := l.known() / leakWindow
	switch {
	case !k.ours || k.odds > 0:
		return soon
	case k.since.all() >= leakFew && k.since.share() > leakDoubt:
		return max(min(k.every, leakSoon), soon)
	}
	return max(k.every, soon)
}

// mayLeak says whether an attempt may go in spite of the limit. Where overload
// shows in timeouts alone, what became of it would be known too late.
func (l *Limit) mayLeak(now time.Time) bool {
	return !l.cfg.Fixed && !l.slow() && now.Sub(l.leaks.last) >= l.leakEvery()
}

// leak takes a place beyond the limit.
func (l *Limit) leak(now time.Time) Slot {
	k := &l.leaks
	k.last, k.since = now, counts{}
	k.made++
	i := k.made % leakWindow
	if !k.out[i].IsZero() {
		k.flying--
		l.fate(now, true) // it has been out for so long that others were tried: it was not refused
	}
	k.out[i], k.number[i] = now, k.made
	k.flying++
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
	k.flying--
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
			l.leaks.flying--
			l.fate(now, true)
		}
	}
}

// fate notes what became of one, and lifts a limit that does not help.
func (l *Limit) fate(now time.Time, accepted bool) {
	if l.limit == 0 {
		return
	}
	k := &l.leaks
	taken := l.taken(now)
	k.known++
	k.weigh(accepted, taken)
	switch {
	case accepted:
		k.every /= 2
		l.limit++ // there was room
		l.safe = max(l.safe, l.limit)
	case k.ours && k.odds == 0:
		k.every = min(2*max(k.every, l.known()/leakWindow), leakLate)
	}
	switch {
	case k.odds <= -leakSure:
		k.ours, k.odds, k.recent, l.proven = true, 0, counts{}, true
	case k.odds >= leakSure && k.known >= leakWindow+l.limit/leakHeadway:
		l.lift()
		if !k.ours { // else it was, and may be again
			l.excuse(now, max(1-taken, suspicious))
		}
	}
}

// taken is the part of attempts that is accepted, if what goes beyond the limit
// fares like what stays within it. What was seen before the trial does not
// count: it is mostly of the time before anything was wrong.
func (l *Limit) taken(now time.Time) float64 {
	within, beyond := l.window.counts(now), l.leaks.recent
	taken := float64(within.good+beyond.good+1) / float64(within.all()+beyond.all()+2)
	return min(max(taken, leakLeast), leakMost)
}

// weigh changes the odds by a fate, of which so many are good if it is not our
// load.
func (k *leaks) weigh(accepted bool, taken float64) {
	ours := max(taken*leakOurs, leakChance)
	if accepted {
		k.recent.good++
		k.odds += math.Log(taken / ours)
	} else {
		k.recent.bad++
		k.odds += math.Log((1 - taken) / (1 - ours))
	}
	if k.recent.all() >= leakMemory {
		k.recent.good /= 2
		k.recent.bad /= 2
	}
	if k.ours && k.odds < 0 {
		k.odds, k.recent = 0, counts{} // or it would take the longer to notice that it is not any more
	}
}

// within is how many are in flight that did not go in spite of the limit, or
// have been accepted.
func (l *Limit) within() int { return l.inFlight - l.leaks.flying }
