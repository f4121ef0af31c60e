package fleet

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Policy is how breaker and budget of the fleet behave. The zero Policy is
// the default, and the same as those of packages breaker and retry.
type Policy struct {
	BreakerOff bool
	ErrorRate  float64       // above which the breaker opens; 0 means 0.20
	Window     time.Duration // over which calls are counted; 0 means 1 min
	MinCalls   int           // 0 means 20
	OpenFor    time.Duration // 0 means 5 min
	ProbeEvery time.Duration // for the whole fleet; 0 means 30 s, less means none before OpenFor is over
	Probes     int           // 0 means 3
	Lease      time.Duration // of a probe; 0 means 60 s
	Ramp       time.Duration // 0 means 30 s, less means none
	Budget     int           // tokens for retries, per lane and per scope; 0 means 500, less means none
	Headroom   float64       // share of a limit kept back for a minute after a sign of others; 0 means 0.05, less means none
	Floor      time.Duration // one retry in so long is allowed to every scope; 0 means 10 s, less means never
}

// policy is a Policy with everything filled in, in the scripts' units.
type policy struct {
	off                                             bool
	rate, window, least, open, every, probes, lease float64
	ramp, budget, floor, headroom, keepReservations float64
}

func (p Policy) filled() policy {
	or := func(d, otherwise time.Duration) float64 {
		if d == 0 {
			d = otherwise
		}
		return float64(d / time.Microsecond)
	}
	q := policy{
		off: p.BreakerOff, rate: p.ErrorRate, least: float64(p.MinCalls), probes: float64(p.Probes), budget: float64(max(p.Budget, 0)),
		window: or(p.Window, time.Minute), open: or(p.OpenFor, 5*time.Minute), every: or(p.ProbeEvery, 30*time.Second),
		lease: or(p.Lease, time.Minute), ramp: or(p.Ramp, 30*time.Second), floor: or(p.Floor, 10*time.Second),
	}
	if q.rate == 0 {
		q.rate = 0.20
	}
	if q.least <= 0 {
		q.least = 20
	}
	if q.probes <= 0 {
		q.probes = 3
	}
	q.headroom, q.keepReservations = max(p.Headroom, 0), pauseMost
	if p.Headroom == 0 {
		q.headroom = 0.05
	}
	if p.Budget == 0 {
		q.budget = 500
	}
	return q
}

// lane is the breaker and the retry budget of one upstream, path and model.
type lane struct {
	p           *policy
	state       BreakerState
	epoch       float64 // from 1
	moved       bool    // in this request
	pend, probe float64
	leases      []lease
	lastLease   float64
	good        float64
	ramp        float64 // when it closed; 0 if it always was
	slot        float64
	ring        [12]results
	spent       float64
	ok, lost    float64
	fly         map[ID]flight // not counted yet
}

type (
	lease   struct{ id, end float64 }
	results struct{ good, bad float64 }
	flight  struct{ start, epoch, lease, income float64 }
)

func newLane(p *policy) *lane { return &lane{p: p, epoch: 1, fly: map[ID]flight{}} }

func (l *lane) clone() *lane {
	c := *l
	c.leases, c.fly = slices.Clone(l.leases), maps.Clone(l.fly)
	return &c
}

func (l *lane) enter(s BreakerState) {
	l.state, l.leases, l.good, l.moved = s, nil, 0, true
	l.epoch++
}

// tick does what time alone does. Times are bounded by what they can be at
// most, so that a clock that was set back shuts nothing for longer.
func (l *lane) tick(now float64) {
	if l.state == Closed {
		l.ramp = min(l.ramp, now)
		return
	}
	l.pend, l.probe = min(l.pend, now+l.p.open), min(l.probe, now+max(l.p.every, 0))
	if l.state == Open && now >= l.pend {
		l.enter(HalfOpen)
	}
	for i := range l.leases {
		l.leases[i].end = min(l.leases[i].end, now+l.p.lease)
	}
	l.leases = slices.DeleteFunc(l.leases, func(e lease) bool { return now >= e.end })
}

func (l *lane) open(now float64) {
	if l.state == Closed || now >= l.pend {
		l.pend = now + l.p.open
	}
	l.enter(Open)
	l.probe = now + l.p.every
}

func (l *lane) ramping(now float64) bool { return l.ramp > 0 && now-l.ramp < l.p.ramp }

func (l *lane) placeFree(now float64) float64 {
	if float64(len(l.leases)) < l.p.probes {
		return now
	}
	first := l.leases[0].end
	for _, e := range l.leases {
		first = min(first, e.end)
	}
	return first
}

func (l *lane) nextProbe(now float64) float64 {
	at := now
	switch {
	case l.state == Open && l.p.every < 0:
		at = l.pend
	case l.state == Open:
		at = min(max(l.probe, min(l.placeFree(now), now+glance)), l.pend) // nothing tells when a place is given back
	case l.state == HalfOpen:
		at = min(l.placeFree(now), now+glance)
	}
	return max(at, now)
}

// admit asks the breaker; wait is 0 if the attempt may be sent.
func (l *lane) admit(now float64, r *Request) (probe bool, reason Reason, wait float64) {
	switch {
	case l.p.off:
		return false, Granted, 0
	case l.state == Closed:
		if wait := l.place(now, r); wait > 0 {
			return false, ByRamp, wait
		}
		return false, Granted, 0
	case float64(len(l.leases)) < l.p.probes && (!r.NoProbe || now >= l.pend) &&
		(l.state == HalfOpen || l.p.every > 0 && now >= l.probe):
		return true, Granted, 0
	}
	at := l.nextProbe(now)
	if at <= now {
		at = now + glance
		if l.pend > now {
			at = min(at, l.pend)
		}
	}
	return false, ByBreaker, at - now
}

// place is how long until an attempt's place in the ramp: see package breaker.
func (l *lane) place(now float64, r *Request) float64 {
	if !l.ramping(now) || r.Placed {
		return 0
	}
	t, random := now-l.ramp, r.Random
	if !r.Waited {
		f := 0.25 + 0.75*t/l.p.ramp
		if random < f {
			return 0
		}
		random = (random - f) / (1 - f)
	}
	x := t / l.p.ramp
	from := x/4 + 3*x*x/8
	y := from + random*(0.625-from)
	at := min(max(math.Floor((math.Sqrt(1+24*y)-1)/3*l.p.ramp), t), l.p.ramp)
	return max(0, l.ramp+at-now)
}

func (l *lane) newLease(now float64) float64 {
	l.lastLease++
	l.leases = append(l.leases, lease{l.lastLease, now + l.p.lease})
	l.probe = now + l.p.every
	return l.lastLease
}

func (l *lane) slotOf(t float64) float64 { return math.Floor(t / math.Floor(l.p.window/12)) }

// turn clears what has left the window.
func (l *lane) turn(now float64) {
	s := max(l.slotOf(now), l.slot)
	if s-l.slot >= 12 {
		l.ring, l.slot = [12]results{}, s
	}
	for l.slot < s {
		l.slot++
		l.ring[int(l.slot)%12] = results{}
	}
}

func (l *lane) count(slot, good, bad float64) {
	if slot <= l.slot-12 || slot > l.slot {
		return
	}
	r := &l.ring[int(slot)%12]
	r.good += good
	r.bad += bad
}

func (l *lane) fail(now float64) {
	l.count(l.slot, 0, 1)
	var sum results
	for _, r := range l.ring {
		sum.good += r.good
		sum.bad += r.bad
	}
	if all := sum.good + sum.bad; all >= l.p.least && sum.bad/all > l.p.rate {
		l.open(now)
	}
}

func (l *lane) reportProbe(now, id float64, r string) {
	held := false
	l.leases = slices.DeleteFunc(l.leases, func(e lease) bool {
		held = held || e.id == id
		return e.id == id
	})
	switch r {
	case "failure", "retrying":
		if l.state == HalfOpen {
			l.open(now)
		}
	case "good":
		l.goodProbe(now)
	default:
		if held && l.state == Open {
			l.probe = now
		}
	}
}

func (l *lane) goodProbe(now float64) {
	if l.state == Open {
		l.enter(HalfOpen)
		return
	}
	if l.good++; l.good >= l.p.probes {
		l.enter(Closed)
		l.ring, l.ramp = [12]results{}, now
	}
}

// ripen counts attempts as good that have been in flight for long enough.
func (l *lane) ripen(now float64) {
	var ripe []flight
	for id, f := range l.fly {
		if f.start <= now-early {
			ripe = append(ripe, f)
			delete(l.fly, id)
		}
	}
	slices.SortFunc(ripe, func(a, b flight) int { return int(a.start - b.start) })
	for _, f := range ripe {
		l.ok = max(l.ok, f.start)
		if f.epoch == l.epoch && !l.p.off {
			if f.lease != 0 {
				l.reportProbe(now, f.lease, "good")
			} else if l.state == Closed {
				l.count(l.slotOf(f.start+early), 1, 0)
			}
		}
		deposit(&l.spent, f.income)
	}
}

func deposit(spent *float64, n float64) { *spent -= min(max(n, 0), *spent) }

// floorNext is when a scope is owed a retry; false if never.
func (p *policy) floorNext(now float64, g *group) (float64, bool) {
	if p.floor < 0 {
		return 0, false
	}
	if at := min(g.floor, now) + p.floor; g.floor > 0 && at > now {
		return at, true
	}
	return now, true
}

func (p *policy) withdraw(now float64, spent *float64, g *group, price float64) bool {
	if price <= 0 {
		return true
	}
	left := p.budget - *spent
	if price > left {
		if at, ok := p.floorNext(now, g); !ok || at > now {
			return false
		}
	}
	*spent += min(price, left)
	g.floor = now
	return true
}
