package sim

import (
	"context"
	"sync"
	"time"
)

// await waits until due, or until a ping is due before it.
func (f *feed) await(ctx context.Context, due time.Time) (pinged bool, err error) {
	if ping := f.sent.Add(f.ping); f.ping > 0 && ping.Before(due) {
		due, pinged = ping, true
	}
	if err := f.pause(ctx, time.Until(due)); err != nil {
		return false, err
	}
	f.sent = time.Now()
	return pinged, nil
}

// produce asks for leave to produce the tokens of the pending piece. If that
// takes until the next ping is due, it is asked again after the ping.
func (f *feed) produce(ctx context.Context) (pinged bool, err error) {
	waited := f.leave.waited
	f.leave = patience{Context: ctx, feed: f}
	err = f.charge(&f.leave, f.pending.tokens) //nolint:contextcheck // it wraps ctx, see patience
	over := f.leave.stop()
	f.leave.waited += waited
	if f.leave.until != nil {
		f.sent = time.Now()
	}
	switch {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case over:
		return true, nil
	}
	return false, err
}

// patience is the context of asking for leave to produce: that of the request,
// and it ends when the next ping is due. What that takes is made when somebody
// waits for its end, because most never do.
type patience struct {
	context.Context // of the request
	feed            *feed

	once   sync.Once
	until  context.Context // nil if nobody waits
	cancel context.CancelFunc
	since  time.Time
	waited time.Duration // for leave, since the piece before
}

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} {
	p.once.Do(func() {
		p.feed.push()
		p.since = time.Now()
		if p.feed.ping > 0 {
			p.until, p.cancel = context.WithDeadline(p.Context, p.feed.sent.Add(p.feed.ping))
		} else {
			p.until, p.cancel = p.Context, func() {}
		}
	})
	return p.until.Done()
}

// Err implements [context.Context].
func (p *patience) Err() error {
	if p.until != nil {
		return p.until.Err()
	}
	return p.Context.Err()
}

// Value implements [context.Context].
func (p *patience) Value(key any) any {
	if p.until != nil {
		return p.until.Value(key)
	}
	return p.Context.Value(key)
}

// stop ends the wait for leave, takes its time, and reports whether it has run
// out.
func (p *patience) stop() (over bool) {
	if p.until == nil {
		return false
	}
	over = p.until.Err() != nil
	p.waited = time.Since(p.since)
	p.cancel()
	return over
}

// pause waits for d, with the feed's own timer.
func (f *feed) pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	f.push()
	if f.timer == nil {
		f.timer = time.NewTimer(d)
	} else {
		f.timer.Reset(d)
	}
	select {
	case <-f.timer.C:
		return nil
	case <-ctx.Done():
		f.timer.Stop()
		return context.Cause(ctx)
	}
}

// push sends on what was given out, before a wait.
func (f *feed) push() {
	if f.flush != nil && !f.flushed {
		f.flushed = true
		f.flush()
	}
}

// sleep waits for d, or returns the cause of ctx's end at once.
func sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
