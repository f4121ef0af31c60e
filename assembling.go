package evenkeel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/assemble"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// A plain call can be sent as a stream (Config.Stream.Plain), whose events are
// put together here. To the machine such an attempt is one like any other: it
// is judged when all of its answer has come, and nothing of it has been
// delivered by then. An error event becomes the error answer that a plain call
// would have got.

// maxAssembled bounds an answer that is assembled, and so an event of it. It is
// the API's bound of a request that would bring the message back.
const maxAssembled = 32 << 20

// maxPassedOn bounds the models that are remembered as not to be assembled.
// Beyond it nothing is assembled: names are free input, and losing something
// would be worse.
const maxPassedOn = 256

// assembly is a plain call that is sent as a stream.
type assembly struct {
	asked []byte // the body as the caller sent it; nil if it can be had again
	lossy error  // why the answer cannot be had this way; nil
}

// openAssembly has a plain call sent as a stream, if it may be.
func (x *exchange) openAssembly() {
	d := &x.desc
	if !x.s.Stream.Plain || x.req.Method != http.MethodPost || d.path != claude.Messages || d.body.Stream || !d.body.Complete ||
		!d.rewinds || d.effects || x.s.MaxAttempts == 1 || encoded(x.req.Header) || !x.t.assembles(x.model()) {
		return
	}
	asked, err := x.body.whole(x.s.Memory)
	if err != nil {
		return // the attempt will tell
	}
	streamed, ok := assemble.Request(asked)
	if !ok || !x.body.grow(int64(len(streamed)), x.s.Memory) {
		return
	}
	x.plain = &assembly{asked: x.body.kept}
	x.body.kept, x.body.isKept = streamed, true
}

// assembles tells that the streams of a model may be assembled.
func (t *Transport) assembles(model string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, not := t.passedOn[model]
	return !not && len(t.passedOn) < maxPassedOn
}

// assembles tells that the answer just received is a stream of which a plain
// one is to be made.
func (x *exchange) assembles() bool {
	return x.plain != nil && x.resp.StatusCode/100 == 2 && isEventStream(x.resp.Header)
}

// assemble reads the stream to its end and makes of it the answer, or the
// outcome of an attempt without one.
func (x *exchange) assemble(at *attempt) {
	o := &x.held.o
	if encoded(x.resp.Header) {
		_ = x.resp.Body.Close()
		at.end(nil)
		x.plain.lossy, x.resp = errEncoded, nil
		return
	}
	m := assemble.Message{MaxBytes: maxAssembled}
	var lost error // why m cannot be had
	events := stream.NewReader(&living{x.resp.Body, at})
	events.Withhold, events.Max = true, maxAssembled
	events.Each = func(event []byte) {
		if event == nil {
			lost = assemble.ErrTooLarge
		} else if _, data := stream.Fields(event); len(data) > 0 && lost == nil {
			lost = m.Event(data)
		}
	}
	at.arm(time.Now(), limit{after: x.s.Timeouts.Idle, cause: ErrIdle, by: x.machine.Deadline(), late: ErrContent})
	err := x.drain(events, &lost)
	o.Now = time.Now()
	if err == nil { // the end mostly comes with the message's, and keeps the connection
		at.arm(o.Now, limit{after: lingering, cause: errClosed})
		_, _ = io.Copy(io.Discard, io.LimitReader(x.resp.Body, 4<<10))
	}
	at.disarm()
	_ = x.resp.Body.Close()
	s := events.State()
	x.used, x.served = s.Usage, s.Model
	var answer []byte
	if lost == nil && s.Whole() {
		if answer, lost = m.JSON(); lost == nil {
			lost = leftOut(&m)
		}
	}
	switch f := at.fault(); {
	case s.Error.Type != "":
		o.Fault, o.Error = classify.FaultErrorEvent, s.Error
		x.becomes(s.Error.Type.Status(), errorOf(events))
	case answer != nil && lost == nil:
		x.becomes(x.resp.StatusCode, answer)
	case beyondUs(lost) || lost != nil && s.Whole():
		x.plain.lossy = lost
		x.resp = nil
	case f == classify.FaultCaller || f == classify.FaultDeadline:
		x.noAnswer(at, f, err)
	case overdue(at):
		x.noAnswer(at, classify.FaultIdle, err)
	default:
		x.noAnswer(at, classify.FaultCut, err)
	}
	at.end(nil)
}

// lingering is how long the end of a stream is waited for after message_stop. A
// guess: time for one more packet, and too short to be noticed.
const lingering = 20 * time.Millisecond

var errEncoded = errors.New("the stream came compressed, though nobody asked")

// drain reads events until they end, the message is whole, or it cannot be
// assembled however it goes on, and returns how the stream ended.
func (x *exchange) drain(events *stream.Reader, lost *error) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	told := false
	for !beyondUs(*lost) && !events.State().Finished {
		if _, err := events.Read(*buf); err != nil {
			return err
		}
		if !told && events.State().Content {
			told = true
			x.machine.Content(x.ctx, time.Now(), events.State().Usage)
		}
	}
	return nil
}

// leftOut tells of an event of an unknown type that must be part of the message.
func leftOut(m *assemble.Message) error {
	for _, kind := range m.Unknown() {
		if strings.HasPrefix(kind, "content_block") || strings.HasPrefix(kind, "message") {
			return &assemble.UnknownDeltaError{Delta: kind}
		}
	}
	return nil
}

// beyondUs tells that a stream may be whole and yet cannot be assembled.
func beyondUs(err error) bool {
	_, unknown := errors.AsType[*assemble.UnknownDeltaError](err)
	return unknown || errors.Is(err, assemble.ErrTooLarge)
}

// noAnswer makes an attempt one that brought none.
func (x *exchange) noAnswer(at *attempt, f classify.Fault, err error) {
	x.held.o.Fault = f
	x.lastFault, x.resp = f, nil
	switch {
	case timeout(f):
		x.lastErr = context.Cause(at.ctx)
	case err == nil || errors.Is(err, io.EOF):
		x.lastErr = ErrTruncated
	default:
		x.lastErr = redacted(err)
	}
}

// errorOf is the data of the error event that ended a stream.
func errorOf(events *stream.Reader) []byte {
	event, _ := events.Held()
	_, data := stream.Fields(event)
	if !json.Valid(data) {
		_, data = stream.Fields(errorEvent(events.State().Error.Type, CodeGaveUp, "The API ended the stream with an error that cannot be read.", ""))
	}
	return append([]byte(nil), data...)
}

// becomes turns the answer into a plain one.
func (x *exchange) becomes(status int, body []byte) {
	r := x.resp
	h := r.Header
	h["Content-Type"] = []string{"application/json"}
	if field(h, "Cache-Control") == "no-cache" { // of streams only
		delete(h, "Cache-Control")
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	r.StatusCode, r.Status = status, strconv.Itoa(status)
	if text := http.StatusText(status); text != "" {
		r.Status += " " + text
	}
	r.Body, r.ContentLength, r.TransferEncoding = newBytes(body), int64(len(body)), nil
}

// passOn has a call made plain that cannot be assembled. Where that is due to
// something new in the streams of its model, all later ones are made so at once.
func (x *exchange) passOn() call.Action {
	now, a := x.held.o.Now, x.plain
	x.plain = nil
	x.body.kept, x.body.isKept = a.asked, a.asked != nil
	if unknown, ok := errors.AsType[*assemble.UnknownDeltaError](a.lossy); ok && x.t.passOn(x.model()) {
		x.emit(observe.Event{Kind: observe.PassedOn, Time: now, Model: x.model(), Reason: string(classify.NotAssembled), State: unknown.Delta})
	}
	x.lastErr = a.lossy
	v := classify.Verdict{Action: classify.Again, Reason: classify.NotAssembled, Settle: classify.Settle}
	x.held.o.Status = 0 // its answer is none
	x.note(x.held.start, now, x.held.o, v, x.held.probe)
	return x.machine.Judge(x.ctx, now, v, false)
}

// passOn remembers that streams of a model cannot be assembled; false if it
// was known.
func (t *Transport) passOn(model string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.passedOn[model]; known || len(t.passedOn) >= maxPassedOn {
		return false
	}
	if t.passedOn == nil {
		t.passedOn = make(map[string]struct{})
	}
	t.passedOn[model] = struct{}{}
	return true
}
