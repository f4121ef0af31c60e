package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// errCut is the cause of the end of calls that outlived Drain.Grace.
var errCut = errors.New("gateway: the call outlived the grace of a drain")

// CutError reports calls that were still open when Drain.Grace had passed.
type CutError struct {
	Calls int
	Grace time.Duration
}

// Error says how many calls were cut.
func (e *CutError) Error() string {
	if e.Calls == 1 {
		return fmt.Sprintf("gateway: 1 call was still open after %v of draining and was cut off", e.Grace)
	}
	return fmt.Sprintf("gateway: %d calls were still open after %v of draining and were cut off", e.Calls, e.Grace)
}

// drain counts the calls in flight and knows whether new ones are taken. It
// goes one way, and whoever starts it second joins the first:
//
//	ready ──begin──► unready ──Delay──► refusing ──none in flight, or Grace──► over
type drain struct {
	leaving atomic.Bool // begun; read for every answer

	mu       sync.Mutex // guards what follows
	inFlight int
	begun    time.Time     // zero while ready
	closed   bool          // refusing
	empty    chan struct{} // closed when refusing and nothing is in flight
	emptied  bool
}

func (d *drain) init() { d.empty = make(chan struct{}) }

// enter counts a call in, unless new calls are refused.
func (d *drain) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.inFlight++
	return true
}

// leave counts a call out.
func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	d.checkEmpty()
}

// checkEmpty is called with mu held.
func (d *drain) checkEmpty() {
	if d.closed && d.inFlight == 0 && !d.emptied {
		d.emptied = true
		close(d.empty)
	}
}

// ready tells whether new calls should come here.
func (d *drain) ready() bool { return !d.leaving.Load() }

// refusing tells whether new calls are turned away.
func (d *drain) refusing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// calls is the number in flight.
func (d *drain) calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inFlight
}

// begin makes us unready and returns when that was.
func (d *drain) begin(now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begun.IsZero() {
		d.begun = now
		d.leaving.Store(true)
	}
	return d.begun
}

// refuse makes us take no more calls.
func (d *drain) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.checkEmpty()
}

// run drains and returns the number of calls that are left: 0, unless Grace
// or ctx has ended first.
func (d *drain) run(ctx context.Context, cfg Drain) int {
	begun := d.begin(time.Now())
	if !sleep(ctx, time.Until(begun.Add(cfg.Delay))) {
		return d.calls()
	}
	d.refuse()
	grace := time.NewTimer(time.Until(begun.Add(cfg.Delay + cfg.Grace)))
	defer grace.Stop()
	select {
	case <-d.empty:
	case <-grace.C:
	case <-ctx.Done():
	}
	return d.calls()
}

// wait returns when nothing is in flight, or after limit.
func (d *drain) wait(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-d.empty:
	case <-t.C:
	}
}

// sleep waits for t, and reports whether it did.
func sleep(ctx context.Context, t time.Duration) bool {
	if t <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
