package evenkeel

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// A stream is held until its first content: what goes wrong before that is
// tried again like any other failure, and the caller sees only the attempt
// that answered. If content takes longer than holdTime, the headers go out and
// the rest of the call happens under the caller's Read.
//
//	headers of a stream
//	      │ content within holdTime            ┌─ content ─► Deliver
//	      ├──────────────────────► Deliver     │
//	      │ failure                            │
//	      ├──────────────────────► Judge       ├─ failure ─► Judge ─► Wait, Send, …
//	      │ holdTime                           │
//	      └──────────────────────► early ──────┘  (in body.Read; what then is no
//	                                               stream becomes an error event)
//
// Headers are no beginning of an answer: the caller's deadline holds until there
// is content, whether they are out or not.

// holdTime is how long headers wait for content (design §7). A guess between
// what a person notices and the median first token, which takes 4 s.
const holdTime = 2 * time.Second

// holding is the attempt whose outcome is not known yet.
type holding struct {
	events source        // nil unless its answer is a stream that is held
	done   chan struct{} // closed when err is set; nil if nobody else reads
	err    error         // how the stream ended before content; nil if content came
	start  time.Time     // of the attempt
	probe  bool
	o      classify.Outcome
}

// holds tells that the answer just received is a stream to be held.
func (x *exchange) holds() bool {
	return x.desc.path == claude.Messages && x.resp.StatusCode/100 == 2 &&
		isEventStream(x.resp.Header) && !encoded(x.resp.Header)
}

// hold waits until the stream has content or cannot have any. It reports
// false if the headers must go out first; the wait then goes on, and h.done
// tells its end.
func (x *exchange) hold(at *attempt) bool {
	h := &x.held
	h.events = x.events(at)
	at.arm(time.Now(), limit{after: x.s.Timeouts.Idle, cause: ErrIdle, by: x.machine.Deadline(), late: ErrContent})
	if x.out {
		h.err = h.events.Hold()
		at.disarm()
		return true
	}
	h.done = make(chan struct{})
	go func() {
		defer close(h.done)
		h.err = h.events.Hold()
		at.disarm()
	}()
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	select {
	case <-h.done:
		h.done = nil
		return true
	case <-timer.C:
		return false
	}
}

// living tells an attempt of every byte that comes: an event may take many
// reads, and each is a sign of life.
type living struct {
	r  io.Reader
	at *attempt
}

func (l *living) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.at.alive(time.Now())
	}
	return n, err
}

// unhold completes the outcome of a stream that was held.
func (x *exchange) unhold(at *attempt) {
	h := &x.held
	o, s := &h.o, h.events.State()
	o.Now = time.Now()
	x.used, x.served = s.Usage, s.Model
	if h.err == nil {
		return
	}
	_, half := h.events.Held()
	switch f := at.fault(); {
	case s.Error.Type != "":
		o.Fault, o.Error = classify.FaultErrorEvent, s.Error
	case f == classify.FaultCaller || f == classify.FaultDeadline:
		o.Fault, o.SinceByte = f, o.Now.Sub(h.start)
	case overdue(at):
		o.Fault = classify.FaultIdle
	case gjson.ValidBytes(half) && gjson.GetBytes(half, "type").Str == "error":
		o.Fault, o.Error = classify.FaultErrorEvent, claude.ParseError(half)
	default:
		o.Fault = classify.FaultCut
	}
	x.keepEvents(at, o.Fault)
}

// keepEvents turns a stream that failed before content into what it is for
// the rest of the call: an answer, if upstream has said what was wrong, or
// the lack of one.
func (x *exchange) keepEvents(at *attempt, f classify.Fault) {
	h := &x.held
	_ = x.resp.Body.Close()
	if f == classify.FaultErrorEvent {
		events, half := h.events.Held()
		if h.events.State().Error.Type == "" { // it was no event, and nobody would see it as one
			x.becomes(h.o.Error.Type.Status(), half)
		} else {
			x.resp.Body = newBytes(events)
			x.resp.ContentLength = -1
			delete(x.resp.Header, "Content-Length")
		}
	} else {
		x.lastErr, x.lastFault = ErrTruncated, f
		if timeout(f) {
			x.lastErr = context.Cause(at.ctx)
		} else if !errors.Is(h.err, io.EOF) {
			x.lastErr = redacted(h.err)
		}
		x.resp = nil
	}
	at.end(nil)
}

// early returns the response whose headers go out before its content has
// come. From now on the call lives under its body.
func (x *exchange) early() *http.Response {
	now := time.Now()
	x.out = true
	x.machine.HeadersOut()
	x.ctx, x.leave = context.WithCancelCause(x.req.Context())
	x.setFirstByte(now)
	resp := *x.resp // the attempt may yet lose its own
	resp.Header = x.resp.Header.Clone()
	resp.ContentLength = -1
	delete(resp.Header, "Content-Length")
	x.dress(&resp, now, false)
	x.announce(&resp)
	b := &x.answer
	b.at, b.src, b.status, b.late = x.cur, x.resp.Body, resp.StatusCode, true
	x.show("streaming", "", time.Time{})
	resp.Body = b
	return &resp
}

// goOn lets the call go on until it is known what the caller gets, under the
// first Read of an early response.
func (b *body) goOn() {
	x := b.x
	if x.held.done != nil {
		<-x.held.done
		x.held.done = nil
	}
	x.unhold(x.cur)
	b.landed(x.perform(time.Now(), x.judge())) //nolint:bodyclose // it is b, or read whole
}

// abandon ends a call whose early response is closed before it was read.
func (b *body) abandon() {
	x := b.x
	<-x.held.done
	x.unhold(x.cur)
	_, err := x.perform(time.Now(), x.judge()) //nolint:bodyclose // it is b
	if err == nil {                            // content had come when the caller left
		b.drop()
		_ = b.finish(errClosed, 0)
	}
	x.end(time.Now(), err)
}

// drop lets go of an answer that nobody will read.
func (b *body) drop() {
	if b.at != nil {
		b.at.end(errClosed)
	}
	_ = b.src.Close()
}

// judge has the outcome of the current attempt judged.
func (x *exchange) judge() call.Action {
	h := &x.held
	v := classify.Judge(h.o)
	x.note(h.start, h.o.Now, h.o, v, h.probe)
	x.machine.Used(x.used)
	return x.machine.Judge(x.ctx, h.o.Now, v, x.resp != nil)
}
