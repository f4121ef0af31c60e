package refit

import (
	"context"
	"sync"
	"time"
)

// pace spaces the beginnings of probes evenly. It starts at the pace that was
// told. When the upstream asks for less it falls to that at which answers have
// come lately, which is what the upstream grants; then it creeps back, so that
// a limit that has gone is noticed.
type pace struct {
	fastest time.Duration // between two beginnings; 0 for no limit

	mu      sync.Mutex // guards what follows
	every   time.Duration
	turn    time.Time         // when the next may begin
	slowed  time.Time         // when busy has last changed every
	times   [recent]time.Time // of the last answers, a ring
	answers int
}

const (
	// recent answers say how fast they come: enough to even out, and few
	// enough to forget a burst soon. A guess.
	recent = 32

	// slowest is six in a minute.
	slowest = 10 * time.Second

	// slowStart is what the pace falls to when nothing is known of answers:
	// 1,200 in a minute.
	slowStart = 50 * time.Millisecond

	// creepAfter answers the pace is raised by a ninth.
	creepAfter = 200
)

func newPace(rpm int) *pace {
	p := &pace{}
	if rpm > 0 {
		p.fastest = time.Minute / time.Duration(rpm)
	}
	p.every = p.fastest
	return p
}

// wait returns when a probe may begin, with the time, or when ctx ends, with
// its cause.
func (p *pace) wait(ctx context.Context) (began time.Time, err error) {
	p.mu.Lock()
	now := time.Now()
	if p.turn.Before(now) {
		p.turn = now // a pause is not made up for by a rush
	}
	wait := p.turn.Sub(now)
	p.turn = p.turn.Add(p.every)
	p.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return time.Now(), context.Cause(ctx)
}

// answered counts an answer. tooFast is that the upstream had asked for less
// before it came.
func (p *pace) answered(tooFast bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[p.answers%recent] = time.Now()
	p.answers++
	if tooFast {
		p.every = max(p.every, min(p.granted()*21/20, slowest))
	} else if p.answers%creepAfter == 0 {
		p.every = max(p.fastest, p.every*9/10)
	}
}

// busy slows down for a probe that was not answered at all, unless that has
// been done since it began: those that are under way together count once.
func (p *pace) busy(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if began.Before(p.slowed) {
		return
	}
	p.slowed = time.Now()
	p.every = min(max(p.every, p.granted(), slowStart)*3/2, slowest)
}

// granted is the time between two answers lately, 0 if there were fewer.
func (p *pace) granted() time.Duration {
	n := min(p.answers, recent)
	if n < 2 {
		return 0
	}
	last, first := p.times[(p.answers-1)%recent], p.times[(p.answers-n)%recent]
	return last.Sub(first) / time.Duration(n-1)
}
