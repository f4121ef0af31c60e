package sim

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// piece is a part of a body and how long after the piece before it is due.
// In a stream it is one event.
type piece struct {
	data []byte
	wait time.Duration
	ping bool
}

// source yields the pieces of a body; false means there are no more.
type source func() (piece, bool)

// once is a source of pieces that are due at once.
func once(parts ...[]byte) source {
	return func() (piece, bool) {
		if len(parts) == 0 {
			return piece{}, false
		}
		p := piece{data: parts[0]}
		parts = parts[1:]
		return p, true
	}
}

// garbage is what a proxy in the way puts between events.
const garbage = "<html><head><title>502 Bad Gateway</title></head><body>\n<center><h1>502 Bad Gateway</h1></center>\n</body></html>\n"

const pingEvent = "event: ping\ndata: {\"type\":\"ping\"}\n\n"

// errReset is what a reader of a reset connection sees.
var errReset error = &net.OpError{Op: "read", Net: "tcp", Addr: remote, Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// feed gives out a body on time, and breaks it where its fault says.
type feed struct {
	body   source
	fault  Fault
	failed []byte        // the frame of an ErrorEventAt
	ping   time.Duration // longest silence; 0 for a plain body

	begun   bool
	due     time.Time // of the piece before
	sent    time.Time // when the last bytes left
	events  int       // that passed whole, pings not counted
	pending *piece    // comes next; nil if there is none
	end     error     // what follows, once set; io.EOF as soon as the last piece is out
}

// next returns the next bytes when they are due, or how the body ends: io.EOF,
// io.ErrUnexpectedEOF, a reset, or the cause of ctx's end.
func (f *feed) next(ctx context.Context) ([]byte, error) {
	if !f.begun {
		f.begun = true
		f.due = time.Now()
		f.sent = f.due
		f.pull()
	}
	if f.end != nil {
		return nil, f.end
	}
	if f.strikes() {
		return f.strike(ctx)
	}
	due := f.due.Add(f.pending.wait)
	switch pinged, err := f.await(ctx, due); {
	case err != nil:
		return nil, err
	case pinged:
		return []byte(pingEvent), nil
	}
	p := *f.pending
	f.due = due
	if !p.ping {
		f.events++
	}
	f.pull()
	return p.data, nil
}

// pull gets the next piece; if there is none, the body is whole.
func (f *feed) pull() {
	f.pending = nil
	if p, ok := f.body(); ok {
		f.pending = &p
	} else {
		f.end = io.EOF
	}
}

// strikes reports whether now is when the body breaks.
func (f *feed) strikes() bool { return f.fault.Kind != "" && f.events >= f.fault.Events }

// await waits until due, or until a ping is due before it.
func (f *feed) await(ctx context.Context, due time.Time) (pinged bool, err error) {
	if ping := f.sent.Add(f.ping); f.ping > 0 && ping.Before(due) {
		due, pinged = ping, true
	}
	if err := sleep(ctx, time.Until(due)); err != nil {
		f.end = err
		return false, err
	}
	f.sent = time.Now()
	return pinged, nil
}

// strike ends the body as the fault says.
func (f *feed) strike(ctx context.Context) ([]byte, error) {
	switch f.fault.Kind {
	case ResetAfter:
		f.end = errReset
	case CloseAfter:
		f.end = io.ErrUnexpectedEOF
	case EndAfter:
		f.end = io.EOF
	case StallAfter:
		return f.stall(ctx)
	case ErrorEventAt:
		f.end = io.EOF
		return f.failed, nil
	case Garbage:
		f.end = io.EOF
		return []byte(garbage), nil
	case HalfEvent:
		f.end = io.ErrUnexpectedEOF
		return f.pending.data[:len(f.pending.data)/2], nil
	}
	return nil, f.end
}

// stall is silent, but for pings if they go on, until ctx ends.
func (f *feed) stall(ctx context.Context) ([]byte, error) {
	if f.fault.Pings && f.ping > 0 {
		if _, err := f.await(ctx, f.sent.Add(f.ping)); err != nil {
			return nil, err
		}
		return []byte(pingEvent), nil
	}
	<-ctx.Done()
	f.end = context.Cause(ctx)
	return nil, f.end
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
