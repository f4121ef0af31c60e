package evenkeel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/resume"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// A stream that breaks after content is gone on with by one more attempt, if
// Config.Stream.Resume says so and package resume finds it safe:
//
//	delivering ── breaks ──► Machine.Resume ──► Wait, Send, … as for any retry
//	                │ no                              │ content      │ none
//	                ▼                                 ▼              ▼
//	       one event: error                delivering, spliced    that event: error
//
// It happens under the caller's Read, and once: the stream of the continuing
// attempt is not followed, so that nothing is known to go on with.

// resumption is what a call knows of the stream that it may have to go on with.
type resumption struct {
	transcript *resume.Transcript // of what is delivered; nil if it is not followed
	done       bool               // the call has gone on, or tried to
	spent      claude.Usage       // of the attempt that broke
	verdict    string             // "resumed", or why not; "" if it did not come to that
	lost       []byte             // the end of the stream, if going on fails
	trailer    http.Header        // of the response
}

// mayResume tells that the call may have to go on with its stream.
func (x *exchange) mayResume() bool {
	return x.s.Stream.Resume && !x.resumed.done && x.desc.path == claude.Messages && x.desc.body.Stream &&
		x.desc.rewinds && !encoded(x.req.Header) && resume.Possible(x.model())
}

// events returns the events of the current attempt's answer.
func (x *exchange) events(at *attempt) source {
	src := &living{x.resp.Body, at}
	if x.resumed.done {
		return newSplicer(src, x.resumed.transcript.Splice())
	}
	r := stream.NewReader(src)
	if x.mayResume() {
		t := new(resume.Transcript)
		x.resumed.transcript = t
		r.Withhold = true
		r.Each = func(event []byte) {
			if _, data := stream.Fields(event); len(data) > 0 || event == nil {
				t.Event(data) // none of an event that is too large to be looked at: not resumed
			}
		}
	}
	return r
}

// announce promises the trailer that tells of a resumption.
func (x *exchange) announce(resp *http.Response) {
	if !x.mayResume() {
		return
	}
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header, 1)
	}
	resp.Trailer[HeaderResumed] = nil
	x.resumed.trailer = resp.Trailer
}

// resume goes on with a stream that has broken, and reports whether there is
// anything more for the caller to read.
func (b *body) resume(err error, silence time.Duration) bool {
	x := b.x
	r := &x.resumed
	if !x.s.Stream.Resume || r.done || b.done || b.ended || b.events == nil || errors.Is(err, errClosed) {
		return false
	}
	o := b.outcome(err, silence)
	if o.Fault != classify.FaultErrorEvent && o.Fault != classify.FaultCut && o.Fault != classify.FaultIdle {
		return false
	}
	if r.transcript == nil {
		r.verdict = string(resume.ErrBody)
		if !resume.Possible(x.model()) {
			r.verdict = string(resume.ErrAlwaysThinks)
		}
		return false
	}
	o.Content = false // what has reached the caller is gone on with
	v := classify.Judge(o)
	if v.Action != classify.Again {
		r.verdict = string(v.Reason)
		return false
	}
	request, err := x.continuing()
	if err != nil {
		r.verdict = "no_body" // its error may say anything, and this is for logs
		if reason, ok := errors.AsType[resume.Reason](err); ok {
			r.verdict = string(reason)
		}
		return false
	}
	return b.again(o, v, request)
}

// continuing makes the request that asks for the rest.
func (x *exchange) continuing() ([]byte, error) {
	sent, err := x.body.whole(x.s.Memory)
	if err != nil {
		return nil, err
	}
	return x.resumed.transcript.Request(sent)
}

// again has the attempts made that go on with the stream, and makes the last
// of them what is read from now on.
func (b *body) again(o classify.Outcome, v classify.Verdict, request []byte) bool {
	x := b.x
	r := &x.resumed
	r.spent = b.events.State().Usage
	r.spent.Output = max(r.spent.Output, int(r.transcript.Output()))
	x.machine.Used(r.spent)
	ctx, leave := context.WithCancelCause(x.req.Context())
	a, ok := x.machine.Resume(x.ctx, o.Now, v, o.Now.Add(x.s.Timeouts.Total))
	if !ok {
		leave(nil)
		r.verdict, r.spent = "no_further_attempt", claude.Usage{}
		return false
	}
	if x.leave != nil {
		x.leave(nil)
	}
	x.ctx, x.leave = ctx, leave
	b.mu.Lock()
	b.late = true
	if b.closed {
		leave(errClosed)
	}
	b.mu.Unlock()
	r.done, r.verdict, r.lost = true, "failed", bytes.Clone(b.lastEvent(o.Fault))
	b.drop()
	x.body.replace(request)
	x.resp = nil // what was delivered is no answer to fall back on
	x.out = true
	b.events = nil
	x.emit(observe.Event{Kind: observe.Resumed, Time: o.Now, Attempt: len(x.trail), Reason: string(v.Reason), Usage: r.spent})
	resp, err := x.perform(o.Now, a) //nolint:bodyclose // it is b
	b.landed(resp, err)
	return true
}

// landed notes what became of a call that went on under the caller's Read.
func (b *body) landed(resp *http.Response, err error) {
	x := b.x
	b.mu.Lock()
	b.late = false
	closed := b.closed
	b.mu.Unlock()
	if closed && err == nil {
		b.drop()
	}
	switch {
	case err != nil:
		b.done, b.end = true, io.EOF
		if b.tail = x.lastWords(nil, err); b.tail == nil {
			b.end = err
		}
		if closed {
			b.tail, b.end = nil, errClosed
		}
		x.end(time.Now(), err)
	case b.events == nil:
		words := x.lastWords(resp, nil)
		b.misfit = true
		_ = b.finish(io.EOF, 0)
		b.done, b.tail, b.end = true, words, io.EOF
	case x.resumed.done:
		x.resumed.verdict = "resumed"
		if x.resumed.trailer != nil {
			x.resumed.trailer[HeaderResumed] = one
		}
	}
}

// lastWords is the event that ends a stream for which no more comes than an
// answer other than a stream, or an error; nil if nobody is there to read it.
func (x *exchange) lastWords(resp *http.Response, err error) []byte {
	switch {
	case x.resumed.done && (err == nil || x.req.Context().Err() == nil):
		return x.resumed.lost // what broke the stream, not what the caller did not ask for
	case err != nil:
		return x.failed(err)
	}
	return x.lateAnswer(resp)
}

// lastEvent is the error event that ends a stream which broke after content.
func (b *body) lastEvent(f classify.Fault) []byte {
	if f == classify.FaultErrorEvent {
		event, _ := b.events.Held() // it was withheld; nil if it has passed already
		return event
	}
	return b.x.broken(f)
}

// usage is what the answer has told of its cost, that of an attempt which was
// gone on with included.
func (x *exchange) usage() claude.Usage {
	if x.answer.events != nil {
		return x.resumed.spent.Plus(x.answer.events.State().Usage)
	}
	return x.resumed.spent.Plus(x.used)
}
