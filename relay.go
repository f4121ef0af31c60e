package evenkeel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	events source      // nil unless it is a stream of messages
	side   *sideReader // nil unless that stream is compressed
	timed  bool        // the idle limit is in force
	status int
	ended  bool // the machine knows the end already
	misfit bool // no stream, where the caller has been promised one

	mu      sync.Mutex // guards at, src, late, reading and closed: a body may be closed under a blocked Read
	late    bool       // the headers are out, and what follows is not known yet
	reading bool       // a Read is under way, or has failed and ends the call itself
	closed  bool

	// The rest belongs to whoever reads, and to Close when nobody does.
	last time.Time // when the Read under way began, or of the last byte if nobody else counts them
	done bool
	tail []byte // what Read returns before end: an error event
	end  error  // what Read returns once the call is over
}

// bind makes b the body of an answer.
func (b *body) bind(x *exchange, at *attempt, resp *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at, b.src = at, resp.Body
	if !x.out {
		b.status = resp.StatusCode // else the caller has seen another
	}
}

// Read implements [io.Reader]. Of a stream it returns whole events only. A
// stream that ends before the message does ends with an error event.
func (b *body) Read(p []byte) (n int, err error) {
	if !b.begin() {
		return 0, errClosed
	}
	if b.late {
		b.goOn()
	}
	return b.read(p)
}

// read is Read for whoever has the right to.
func (b *body) read(p []byte) (n int, err error) {
	if b.done {
		return b.lastWords(p)
	}
	b.expect()
	switch {
	case b.events != nil:
		n, err = b.events.Read(p)
	default:
		n, err = b.src.Read(p)
		if n > 0 && b.timed {
			b.last = time.Now()
		}
		if b.side != nil && n > 0 {
			b.side.write(p[:n])
		}
	}
	if b.timed {
		b.at.disarm()
	}
	if b.leave(err != nil) {
		err = errClosed
	}
	if err == nil {
		return n, nil
	}
	silence := b.silence()
	if n == 0 && b.resume(err, silence) {
		return b.read(p)
	}
	err = b.finish(err, silence)
	if n == 0 {
		return b.lastWords(p)
	}
	if len(b.tail) > 0 {
		err = nil
	}
	return n, err
}

// lastWords returns what is left to say when the call is over.
func (b *body) lastWords(p []byte) (int, error) {
	if len(b.tail) == 0 {
		return 0, b.end
	}
	n := copy(p, b.tail)
	b.tail = b.tail[n:]
	return n, nil
}

// expect puts the idle limit in force while a Read waits for upstream. A
// reader that pauses between two Reads is not an upstream that is silent.
func (b *body) expect() {
	if !b.timed {
		return
	}
	b.last = time.Now()
	b.at.arm(b.last, limit{after: b.x.s.Timeouts.Idle, cause: ErrIdle})
}

// silence is how long the Read under way has waited for a byte.
func (b *body) silence() time.Duration {
	if b.last.IsZero() {
		return 0
	}
	return time.Since(b.last)
}

// begin takes the right to read; it is refused once the body is closed.
func (b *body) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = !b.closed
	return b.reading
}

// leave gives the right back, and tells that the body was closed meanwhile.
// After a failure it is kept: the Read ends the call, and Close leaves that to it.
func (b *body) leave(failed bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = failed || b.closed
	return b.closed
}

// Close implements [io.Closer]. Closing before the end cancels the attempt.
// It may be called while a Read blocks; that Read then ends the call.
func (b *body) Close() error {
	b.mu.Lock()
	first, reading, late := !b.closed, b.reading, b.late
	b.closed = true
	at, src := b.at, b.src
	b.mu.Unlock()
	if late {
		b.x.leave(errClosed)
	} else if first && !reading {
		_ = b.finish(errClosed, 0)
	}
	if at != nil {
		at.end(errClosed)
	}
	err := src.Close()
	if late && first && !reading {
		b.abandon()
	}
	return err
}

var errClosed = errors.New("body was closed")

// finish settles the call with how its answer ended, and returns the error
// that the caller is to see. silence is how long the caller has been waiting
// for a byte.
func (b *body) finish(err error, silence time.Duration) error {
	if b.done {
		return b.end
	}
	o := b.outcome(err, silence)
	b.done, b.end = true, b.verdict(err, o.Fault)
	switch {
	case b.events == nil || b.events.Broken():
	case o.Fault == classify.FaultErrorEvent, o.Fault == classify.FaultCut, o.Fault == classify.FaultIdle:
		b.tail, b.end = b.lastEvent(o.Fault), io.EOF
	case o.Fault == classify.NoFault && !b.events.State().Finished:
		b.tail = messageStop
	}
	if x := b.x; !b.ended {
		if b.events != nil {
			s := b.events.State()
			x.used, x.served = s.Usage, s.Model
		}
		x.machine.Used(x.used)
		x.machine.Finish(x.ctx, o.Now, classify.Judge(o))
		x.learn(o.Now, x.used, x.served, o.Fault == classify.NoFault)
	}
	b.x.end(o.Now, nil)
	return b.end
}

// verdict is the error that tells the caller of a fault.
func (b *body) verdict(err error, f classify.Fault) error {
	follows := b.events != nil || b.side != nil
	switch {
	case errors.Is(err, errClosed):
		return err
	case f == classify.NoFault && follows:
		return io.EOF // whole: what broke afterwards took nothing away
	case f == classify.FaultIdle:
		return context.Cause(b.at.ctx)
	case f == classify.FaultCut && errors.Is(err, io.EOF):
		return ErrTruncated
	case f == classify.FaultCut && follows:
		return fmt.Errorf("%w: %w", ErrTruncated, redacted(err))
	}
	return err
}

// outcome says how the answer ended.
func (b *body) outcome(err error, silence time.Duration) classify.Outcome {
	o := classify.Outcome{
		Path: b.x.desc.path, Effects: b.x.desc.effects, Status: b.status,
		Sent: true, Content: b.events != nil, Now: time.Now(),
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
	case b.misfit:
		o.Fault, o.Content = classify.FaultCut, true
	case s.Error.Type != "":
		o.Fault, o.Error = classify.FaultErrorEvent, s.Error
	case follows && s.Whole():
	case errors.Is(err, io.EOF) && !follows:
	case errors.Is(err, errClosed) && !follows && b.complete():
	case errors.Is(err, io.EOF):
		o.Fault = classify.FaultCut
	case b.at == nil:
	case overdue(b.at):
		o.Fault = classify.FaultIdle
	case errors.Is(err, errClosed) || b.at.parent.Err() != nil:
		o.Fault, o.SinceByte = classify.FaultCaller, silence
	default:
		o.Fault = classify.FaultCut
	}
	return o
}

// overdue tells that the idle limit has cut the answer.
func overdue(a *attempt) bool { return errors.Is(context.Cause(a.ctx), ErrIdle) }

// complete tells that everything had arrived before the caller closed the body.
func (b *body) complete() bool {
	_, whole := b.src.(*memoryBody)
	return whole
}
