package evenkeel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
)

// plainBody is how much of a plain answer is read before it is delivered, so
// that a connection lost in the middle of it is retried unseen. Its headers
// come when the answer is done; the rest follows at once.
const plainBody = 1 << 20

// newBytes is a body in memory.
func newBytes(b []byte) *memoryBody { return &memoryBody{*bytes.NewReader(b)} }

type memoryBody struct{ bytes.Reader }

func (*memoryBody) Close() error { return nil }

// readAnswer reads as much of an answer as must be known to judge it: the
// beginning of an error, the whole of a plain message.
func (x *exchange) readAnswer(at *attempt, o *classify.Outcome) {
	idle := limit{after: x.s.Timeouts.Idle, cause: ErrIdle, by: x.machine.Deadline(), late: ErrContent}
	switch {
	case o.Status >= 400:
		o.Error = at.readError(x.resp, o.Now, idle)
	case o.Status/100 == 2 && x.isPlain():
		err := at.readPlain(x.resp, o.Now, idle)
		if err == nil {
			err = x.checkPlain(o)
		}
		if err != nil {
			o.Fault = classify.FaultCut
			if errors.Is(err, ErrIdle) {
				o.Fault = classify.FaultIdle
			}
			if f := at.fault(); f == classify.FaultCaller || f == classify.FaultDeadline {
				o.Fault = f
			}
			x.lastErr, x.lastFault = err, o.Fault
			x.resp = nil
		}
	}
}

// checkPlain looks at an answer with 200 that was read whole. One that is no
// whole JSON object is none: empty, a proxy's page, or cut by a clean end. An
// error in it, which is what some intermediaries make of an error event, is one.
func (x *exchange) checkPlain(o *classify.Outcome) error {
	whole, ok := x.resp.Body.(*memoryBody)
	if !ok || o.Status != http.StatusOK || encoded(x.resp.Header) {
		return nil
	}
	doc := make([]byte, whole.Len())
	_, _ = whole.ReadAt(doc, 0)
	if !claude.ScanBody(doc).Complete {
		return ErrTruncated
	}
	x.used.Merge([]byte(gjson.GetBytes(doc, "usage").Raw))
	x.served = gjson.GetBytes(doc, "model").Str
	if gjson.GetBytes(doc, "type").Str == "error" {
		o.Fault, o.Error = classify.FaultErrorEvent, claude.ParseError(doc)
		x.becomes(o.Error.Type.Status(), doc) // should it be the last word: with 200 nobody would see it
	}
	return nil
}

// isPlain tells that the answer is one JSON document of a call that creates
// messages or counts tokens.
func (x *exchange) isPlain() bool {
	return x.timed() && x.req.Method == http.MethodPost && !isEventStream(x.resp.Header)
}

func isEventStream(h http.Header) bool {
	t := field(h, "Content-Type")
	switch {
	case t == "text/event-stream":
		return true
	case len(t) < len("text/event-stream") || t[0]|0x20 != 't':
		return false
	}
	m, _, err := mime.ParseMediaType(t)
	return err == nil && m == "text/event-stream"
}

// readPlain reads a plain answer whole, up to plainBody; what is longer stays
// to be read from resp.Body.
func (a *attempt) readPlain(resp *http.Response, now time.Time, l limit) error {
	if resp.ContentLength > plainBody {
		return nil
	}
	a.arm(now, l)
	defer a.disarm()
	size := resp.ContentLength + 1
	if resp.ContentLength < 0 {
		size = 4 << 10
	}
	buf := make([]byte, 0, size)
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			_ = resp.Body.Close()
			resp.Body = newBytes(buf)
			a.end(nil)
			return nil
		case err != nil:
			_ = resp.Body.Close()
			defer a.end(nil)
			if c := context.Cause(a.ctx); errors.Is(c, l.cause) || errors.Is(c, l.late) { // not what the base makes of it
				return c
			}
			return err
		case len(buf) >= plainBody:
			resp.Body = &struct {
				io.Reader
				io.Closer
			}{io.MultiReader(newBytes(buf), resp.Body), resp.Body}
			return nil
		case len(buf) == cap(buf):
			buf = append(make([]byte, 0, 4*cap(buf)), buf...)
		}
		a.alive(time.Now())
	}
}

// deliver hands the answer of the current attempt to the caller.
func (x *exchange) deliver(a call.Action) *http.Response {
	resp, now := x.resp, time.Now()
	x.setFirstByte(now)
	if !x.mayResume() {
		x.body.free() // no further attempt can need it
		if x.other.on {
			x.other.back.body.free()
		}
	}
	if x.cur.callers != nil {
		x.cur.passEarly()
	}
	x.dress(resp, now, a.GaveUp)
	b := &x.answer
	b.bind(x, x.cur, resp)
	b.ended = a.Ended
	b.timed = x.timed() && !b.complete()
	switch {
	case x.held.events != nil && !b.complete():
		b.events = x.held.events
		resp.ContentLength = -1 // whoever buffered the stream knew it; an event of ours may follow
		delete(resp.Header, "Content-Length")
		if !x.out {
			x.announce(resp)
		}
	case resp.StatusCode/100 == 2 && x.desc.path == claude.Messages && isEventStream(resp.Header) && !b.complete():
		b.side = newSideReader(resp.Header)
	}
	if resp.StatusCode/100 == 2 && !a.Ended {
		x.machine.Content(x.ctx, now, x.used)
	}
	resp.Body = b
	x.show("streaming", "", time.Time{})
	return resp
}

// timed tells that answers of this path are bound by the idle limit. The
// others are relayed as they are: an agent's event stream may be silent for long.
func (x *exchange) timed() bool {
	return x.desc.path == claude.Messages || x.desc.path == claude.CountTokens
}

// giveBack returns the stored answer of an earlier attempt.
func (x *exchange) giveBack(a call.Action) *http.Response {
	resp, now := x.stored, time.Now()
	x.setFirstByte(now)
	x.dress(resp, now, a.GaveUp)
	x.answer.bind(x, nil, resp)
	x.answer.ended = true
	resp.Body = &x.answer
	return resp
}

// zero and one are header values that need no allocation.
var (
	zero  = []string{"0"}
	one   = []string{"1"}
	never = []string{"false"}
)

// dress adds what every response carries.
func (x *exchange) dress(resp *http.Response, now time.Time, gaveUp bool) {
	resp.Request = x.req
	h := resp.Header
	if h == nil {
		h = make(http.Header)
		resp.Header = h
	}
	x.idValue[0] = x.name
	h[HeaderID] = x.idValue[:]
	h[HeaderAttempts] = one
	n := len(x.trail)
	if x.out {
		n++ // one is under way
	}
	if n != 1 {
		h[HeaderAttempts] = []string{strconv.Itoa(n)}
	}
	if len(x.trail) > 0 && n != 1 {
		h[HeaderTrail] = []string{x.trailString()}
	}
	if x.other.on {
		h[HeaderModel] = []string{x.other.to}
	}
	h[HeaderQueued] = zero
	if w := x.machine.Waited(now); w > 0 {
		h[HeaderQueued] = []string{strconv.FormatInt(w.Milliseconds(), 10)}
	}
	if gaveUp {
		// We have retried: a client that does it again multiplies attempts.
		h[claude.HeaderShouldRetry] = never
		h[HeaderReason] = []string{string(CodeGaveUp)}
	}
}

// setFirstByte notes when the answer has come; the first time counts.
func (x *exchange) setFirstByte(now time.Time) {
	x.mu.Lock()
	x.firstByte = cmp.Or(x.firstByte, now.Sub(x.arrived))
	x.mu.Unlock()
}

// refusal is the error of a call that ends without an answer.
func (x *exchange) refusal(a call.Action) error {
	if x.bodyErr != nil {
		return x.badBody(x.bodyErr)
	}
	now := time.Now()
	e := &Error{
		Call: x.name, RequestID: x.requestID, Attempts: len(x.trail),
		Waited: x.machine.Waited(now), Trail: x.trailString(), Err: x.lastErr,
	}
	e.refuse(a, x.lastFault)
	e.RetryAfter = retryAfter(a, now)
	return e
}

// retryAfter is when asking again may help, with jitter on top, so that those
// who are refused together do not come back together; 0 if that is unknown.
func retryAfter(a call.Action, now time.Time) time.Duration {
	if a.Attempt > 0 && a.Hold == call.HoldNone || a.RetryAt.IsZero() && a.Hold != call.HoldNone {
		return 0
	}
	left := time.Second // a deadline that was too short: at once would be too short again
	if !a.RetryAt.IsZero() {
		left = max(a.RetryAt.Sub(now), 0)
	}
	return backoff.Told(left, rand.Float64)
}

// refused ends a call that could not even be described.
func (x *exchange) refused(err error) {
	x.body.close()
	if own, ok := errors.AsType[*Error](err); ok {
		x.emit(observe.Event{Kind: observe.Refused, Status: own.Status, Reason: string(own.Code)})
	}
}

// end closes the books of a call: once, however it ended.
func (x *exchange) end(now time.Time, err error) {
	x.mu.Lock()
	done := x.ended
	x.ended = true
	first := x.firstByte
	x.mu.Unlock()
	if done {
		return
	}
	x.body.close()
	if x.other.on {
		x.other.back.body.close()
	}
	x.t.exit(x)
	x.tellNews()
	if x.leave != nil {
		x.leave(nil)
	}
	e := observe.Event{
		Kind: observe.CallDone, Time: now, Attempt: len(x.trail), Status: x.answer.status,
		Reason: string(x.machine.Verdict().Reason), Took: now.Sub(x.arrived),
		FirstByte: first, Waited: x.machine.Waited(now), Usage: x.usage(),
		Resume: x.resumed.verdict,
	}
	if own, ok := errors.AsType[*Error](err); ok {
		e.Status, e.Reason = own.Status, string(own.Code)
		if own.Attempts == 0 {
			e.Kind = observe.Refused
		}
	} else if err != nil {
		e.Status, e.Reason = 0, string(classify.CallerLeft)
	}
	x.emit(e)
}
