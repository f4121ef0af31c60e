package evenkeel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// body is an answer on its way to the caller. It watches for silence and for
// an incomplete end, and tells the call how it ended.
type body struct {
	x      *exchange
	at     *attempt // nil for a stored answer
	src    io.ReadCloser
	events *stream.Reader // nil unless it is a stream of messages
	side   *sideReader    // nil unless that stream is compressed
	timed  bool           // the idle limit is in force
	status int
	ended  bool // the machine knows the end already

	mu      sync.Mutex // guards reading and closed: a body may be closed under a blocked Read
	reading bool
	closed  bool

	// The rest belongs to whoever reads, and to Close when nobody does.
	content bool
	last    time.Time // of the last byte
	done    bool
}

// Read implements [io.Reader]. Of a stream it returns whole events only. A
// stream that ends before the message does ends with an error, never with io.EOF.
func (b *body) Read(p []byte) (n int, err error) {
	if !b.begin() {
		return 0, errClosed
	}
	if b.events != nil {
		n, err = b.events.Read(p)
		b.sawContent()
	} else {
		n, err = b.src.Read(p)
		if b.side != nil && n > 0 {
			b.side.write(p[:n])
		}
	}
	if n > 0 {
		b.cameAlive()
	}
	if b.leave() {
		err = errClosed
	}
	if err != nil {
		return n, b.finish(err)
	}
	return n, nil
}

// cameAlive notes that a byte has come. An answer that is in memory, or not
// bound by a limit, needs no note.
func (b *body) cameAlive() {
	if b.events == nil && b.side == nil && !b.timed {
		return
	}
	b.last = time.Now()
	if b.timed {
		b.at.alive(b.last)
	}
}

// begin takes the right to read; it is refused once the body is closed.
func (b *body) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = !b.closed
	return b.reading
}

// leave gives the right back, and tells that the body was closed meanwhile.
func (b *body) leave() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	return b.closed
}

// sawContent tells the call, once, that content has come.
func (b *body) sawContent() {
	if !b.content && b.events.State().Content {
		b.content = true
		now := time.Now()
		b.x.machine.Content(b.x.req.Context(), now)
		if b.timed {
			b.at.unbind(now)
		}
	}
}

// Close implements [io.Closer]. Closing before the end cancels the attempt.
// It may be called while a Read blocks; that Read then ends the call.
func (b *body) Close() error {
	b.mu.Lock()
	first, reading := !b.closed, b.reading
	b.closed = true
	b.mu.Unlock()
	if first && !reading {
		_ = b.finish(errClosed)
	}
	if b.at != nil {
		b.at.end(errClosed)
	}
	return b.src.Close()
}

var errClosed = errors.New("body was closed")

// finish settles the call with how its answer ended, and returns the error
// that the caller is to see.
func (b *body) finish(err error) error {
	if b.done {
		return err
	}
	if b.timed {
		b.at.disarm()
	}
	o := b.outcome(err)
	switch o.Fault {
	case classify.FaultIdle:
		err = context.Cause(b.at.ctx)
	case classify.FaultCut:
		switch {
		case errors.Is(err, io.EOF):
			err = ErrTruncated
		case b.events != nil || b.side != nil:
			err = fmt.Errorf("%w: %w", ErrTruncated, redacted(err))
		}
	}
	b.done = true
	if !b.ended {
		b.x.machine.Finish(b.x.req.Context(), o.Now, classify.Judge(o))
	}
	b.x.end(o.Now, nil)
	return err
}

// outcome says how the answer ended.
func (b *body) outcome(err error) classify.Outcome {
	o := classify.Outcome{
		Path: b.x.desc.path, Effects: b.x.desc.effects, Status: b.status,
		Sent: true, Content: b.content, Now: time.Now(),
	}
	var s stream.State
	follows := b.events != nil || b.side != nil
	switch {
	case b.events != nil:
		s = b.events.State()
	case b.side != nil:
		s = b.side.close()
		o.Content = s.Content
	}
	switch {
	case s.Error.Type != "":
		o.Fault, o.Error = classify.FaultErrorEvent, s.Error
	case follows && s.Whole():
	case errors.Is(err, io.EOF) && !follows:
	case errors.Is(err, io.EOF):
		o.Fault = classify.FaultCut
	case errors.Is(err, errClosed) && b.events == nil && b.complete():
	case b.at == nil:
	case overdue(b.at):
		o.Fault = classify.FaultIdle
	case errors.Is(err, errClosed) || b.at.parent.Err() != nil:
		o.Fault = classify.FaultCaller
		if !b.last.IsZero() {
			o.SinceByte = o.Now.Sub(b.last)
		}
	default:
		o.Fault = classify.FaultCut
	}
	return o
}

// overdue tells that a limit of ours has cut the answer.
func overdue(a *attempt) bool {
	cause := context.Cause(a.ctx)
	return errors.Is(cause, ErrIdle) || errors.Is(cause, ErrContent)
}

// complete tells that everything had arrived before the caller closed the body.
func (b *body) complete() bool {
	_, whole := b.src.(*memoryBody)
	return whole
}
