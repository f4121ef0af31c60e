package evenkeel

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
)

// exchange performs one call: it does what the call's machine says.
type exchange struct {
	t       *Transport
	s       *settings
	req     *http.Request           // the caller's; never changed
	ctx     context.Context         // the caller's; once the headers are out, ended by the body's Close too
	leave   context.CancelCauseFunc // ends ctx; nil before the headers are out early
	out     bool                    // the headers went out before content came
	held    holding
	resumed resumption
	plain   *assembly // nil unless the call is plain and sent as a stream
	other   diversion
	id      call.ID
	name    string // evenkeel-id
	arrived time.Time
	prev    *exchange // ring of live calls, guarded by Transport.mu
	next    *exchange
	desc    description
	body    payload
	machine call.Machine
	header  http.Header // as sent

	trail     []step
	cur       *attempt
	resp      *http.Response // answer of the current attempt
	stored    *http.Response // last error answer of an earlier one; its body is in memory
	used      claude.Usage   // of the current attempt, as far as it has told
	served    string         // the model that its answer names
	lastErr   error          // of the last attempt that brought no answer
	requestID string
	bodyErr   error          // of the caller's body, where that ended the call
	lastFault classify.Fault // its fault

	// Places for what nearly every call needs one of, so that it costs no
	// allocation of its own.
	firstAttempt attempt
	firstStep    [1]step
	idValue      [1]string
	answer       body

	mu        sync.Mutex // guards what Snapshot reads, and the end of the body
	phase     string
	reason    string
	instead   string // the model that attempts go to, if it is not the one asked for
	until     time.Time
	attempts  int
	firstByte time.Duration
	ended     bool
}

// step is one attempt in evenkeel-trail.
type step struct {
	at   time.Duration // since the call's arrival
	what string        // status, or reason where there was none
	to   string        // the model, if it is not the one asked for
}

// open describes the call and makes its machine.
func (x *exchange) open() error {
	hasher, _ := x.s.admission.(call.Hasher)
	if err := x.desc.headers(x.req, hasher); err != nil {
		if own, ok := errors.AsType[*Error](err); ok {
			own.Call = x.name
		}
		x.body.orig, x.body.ledger = x.req.Body, &x.t.bodies
		return err
	}
	if err := x.body.open(x.req, &x.t.bodies, x.s.Memory); err != nil {
		if x.req.Context().Err() != nil {
			return leftError(x.req.Context())
		}
		return x.badBody(err)
	}
	x.desc.rewinds = x.body.rewinds()
	x.body.describe(func(r io.Reader) {
		x.desc.read(r, field(x.req.Header, "Content-Encoding"), x.t.estimator(x.desc.upstream))
	})
	x.desc.describeEffects(x.req.Method)
	x.machine.Init(x.s.policy, x.s.admission, x.call())
	x.openAssembly()
	x.header = x.outgoing()
	x.trail = x.firstStep[:0]
	return nil
}

func (x *exchange) badBody(err error) *Error {
	return &Error{Code: CodeBody, Kind: claude.InvalidRequest, Status: http.StatusBadRequest, Call: x.name, Err: err}
}

func (x *exchange) call() call.Call {
	d := &x.desc
	c := call.Call{
		ID:    x.id,
		Key:   call.Key{Upstream: d.upstream, Path: d.path, Model: d.body.Model},
		Scope: d.scope, Class: d.class, Arrived: x.arrived,
		MaxWait: d.maxWait, Once: !d.rewinds, Repeat: d.repeat, Fast: d.body.Fast,
		Caller: d.caller, Cost: x.cost(), Spare: x.spare(),
	}
	if d.path != claude.Other { // the rest is relayed without a total limit
		c.Deadline = x.arrived.Add(max(x.s.Timeouts.Total, d.firstByte(x.req.Method, x.s.Timeouts)))
	}
	c.Deadline = sooner(c.Deadline, d.timeout, x.arrived)
	if at, ok := x.req.Context().Deadline(); ok {
		c.Deadline = sooner(c.Deadline, at.Sub(x.arrived), x.arrived)
	}
	if c.MaxWait == 0 && c.Class == call.Interactive {
		c.MaxWait = x.s.Queue.MaxWait
	}
	return c
}

func sooner(deadline time.Time, timeout time.Duration, arrived time.Time) time.Time {
	if timeout <= 0 {
		return deadline
	}
	if d := call.Deadline(arrived, timeout); deadline.IsZero() || d.Before(deadline) {
		return d
	}
	return deadline
}

// ownHeaders are the request header fields that are not for upstream.
var ownHeaders = []string{HeaderPriority, HeaderMaxWait, HeaderDeadline, HeaderTag}

// identity is what upstream is asked for: an encoded stream cannot be passed
// on event by event.
var identity = []string{"identity"}

// outgoing is the header as sent: the caller's, without what is for us.
func (x *exchange) outgoing() http.Header {
	h := make(http.Header, len(x.req.Header)+1)
	maps.Copy(h, x.req.Header) // values are shared: a RoundTripper may not change them
	for _, name := range ownHeaders {
		delete(h, name)
	}
	h["Accept-Encoding"] = identity
	return h
}

// run performs actions until there is an answer or none can come.
func (x *exchange) run() (*http.Response, error) {
	x.ctx = x.req.Context()
	now := time.Now() // not x.arrived: reading the body may have taken long
	return x.perform(now, x.machine.Next(x.ctx, now))
}

// perform performs a and all that follows, until there is an answer, or none
// can come, or the headers must go out before it is known.
func (x *exchange) perform(now time.Time, a call.Action) (*http.Response, error) {
	for {
		x.tellNews()
		if x.other.on && !x.machine.Diverted() && !x.resumed.done {
			x.comeBack()
		}
		switch a.Kind {
		case call.Wait:
			if !x.wait(x.ctx, a) {
				x.machine.Abandon(time.Now())
				return nil, leftError(x.ctx)
			}
			now = time.Now()
			a = x.machine.Next(x.ctx, now)
		case call.Send:
			if !x.attempt(now, a) {
				return x.early(), nil
			}
			a = x.conclude()
		case call.Offer:
			a = x.offer(a)
			now = time.Now()
		case call.Deliver:
			return x.deliver(a), nil
		case call.Return:
			return x.giveBack(a), nil
		case call.Refuse:
			return nil, x.refusal(a)
		case call.Abort:
			return nil, leftError(x.ctx)
		}
	}
}

// wait performs a Wait. It reports false when the caller has left.
func (x *exchange) wait(ctx context.Context, a call.Action) bool {
	x.keepAnswer()
	d := time.Until(a.Until)
	x.emit(observe.Event{
		Kind: observe.Waiting, Attempt: a.Attempt, Wait: d, Reason: x.waitReason(a),
		Status: x.lastStatus(),
	})
	x.show("waiting", a.Hold.String(), a.Until)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.Wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// waitReason is why the call waits: what the failed attempt met, or what
// holds the next one back.
func (x *exchange) waitReason(a call.Action) string {
	if a.Hold == call.HoldBackoff {
		return string(x.machine.Verdict().Reason)
	}
	return a.Hold.String()
}

// attempt performs a Send and notes its outcome. It reports false if that is
// not known yet and the headers must go out.
func (x *exchange) attempt(start time.Time, a call.Action) bool {
	x.show("sent", "", time.Time{})
	at := &x.firstAttempt
	if len(x.trail) > 0 {
		at = new(attempt) // hooks of the one before may still be called
	}
	at.begin(x.ctx)
	x.cur, x.resp, x.used, x.served = at, nil, claude.Usage{}, ""
	resp, err := x.send(at, start) //nolint:bodyclose // handed to the caller, kept, or closed when it is judged
	now := time.Now()
	x.held = holding{start: start, probe: a.Probe}
	o := &x.held.o
	*o = classify.Outcome{Path: x.desc.path, Effects: x.desc.effects, Sent: at.sent(), Now: now}
	if err != nil {
		o.Fault = at.fault()
		o.SinceByte = now.Sub(start)
		x.bodyErr = x.body.callersFault(err)
		x.lastErr, x.lastFault = x.causeOf(at, err), o.Fault
		at.end(nil)
		return true
	}
	x.resp = resp
	x.machine.Answered(x.ctx, now, resp.StatusCode, resp.Header)
	o.Status, o.Header = resp.StatusCode, resp.Header
	if id := field(resp.Header, claude.HeaderRequestID); id != "" {
		x.requestID = id
	}
	if x.assembles() {
		x.assemble(at)
		return true
	}
	if x.holds() {
		return x.hold(at)
	}
	if x.readAnswer(at, o); o.Status >= 400 || o.Fault != classify.NoFault {
		o.Now = time.Now() // reading it may have taken long
	}
	return true
}

// conclude has the attempt judged whose outcome is known now.
func (x *exchange) conclude() call.Action {
	if x.bodyErr != nil {
		return x.brokenBody(x.held.o.Now)
	}
	if x.plain != nil && x.plain.lossy != nil {
		return x.passOn()
	}
	if x.held.events != nil {
		x.unhold(x.cur)
	}
	return x.judge()
}

// send makes the request and waits for its headers.
func (x *exchange) send(at *attempt, start time.Time) (*http.Response, error) {
	r := x.req.WithContext(at.ctx)
	r.Header = x.header
	if err := x.body.attach(r); err != nil {
		return nil, &bodyError{err}
	}
	l := limit{after: x.desc.firstByte(x.req.Method, x.s.Timeouts), cause: ErrFirstByte}
	if x.plain != nil {
		l.after = x.s.Timeouts.FirstByte
	}
	if d := x.machine.Deadline(); !d.IsZero() {
		l = l.tighter(limit{after: max(d.Sub(start), time.Millisecond), cause: ErrContent})
	}
	return at.do(x.s.base, r, start, l)
}

// brokenBody ends a call whose own body has failed: nobody else is to blame.
func (x *exchange) brokenBody(now time.Time) call.Action {
	return x.machine.Judge(x.ctx, now, classify.Verdict{Action: classify.Final, Reason: classify.Rejected, Settle: classify.Keep}, false)
}

func timeout(f classify.Fault) bool {
	return f == classify.FaultFirstByte || f == classify.FaultDeadline || f == classify.FaultIdle
}

// causeOf is what went wrong, in our words where it was our limit.
func (x *exchange) causeOf(at *attempt, err error) error {
	cause := context.Cause(at.ctx)
	if errors.Is(cause, ErrFirstByte) || errors.Is(cause, ErrContent) {
		return cause
	}
	return redacted(err)
}

// note writes an attempt into the trail and tells observers.
func (x *exchange) note(start, now time.Time, o classify.Outcome, v classify.Verdict, probe bool) {
	what := string(v.Reason)
	if o.Status != 0 && o.Fault == classify.NoFault {
		what = strconv.Itoa(o.Status)
	}
	s := step{at: start.Sub(x.arrived), what: what}
	if x.other.on {
		s.to = x.other.to
	}
	x.trail = append(x.trail, s)
	x.emit(observe.Event{
		Kind: observe.AttemptDone, Time: now, Attempt: len(x.trail), Status: o.Status,
		Reason: string(v.Reason), Took: now.Sub(start), Probe: probe,
	})
}

// keepAnswer stores the answer of the attempt just judged, if it brought one,
// as the call's last answer.
func (x *exchange) keepAnswer() {
	switch {
	case x.resp == nil:
	case x.other.on:
		x.discard() // an error of a model that the caller has not asked is none of its
	default:
		x.store(x.resp)
		x.resp = nil
	}
}

// store makes resp the call's last answer.
func (x *exchange) store(resp *http.Response) {
	if long, ok := resp.Body.(*longBody); ok {
		_ = long.Close()
		resp.Body = newBytes(long.head)
		resp.ContentLength = int64(len(long.head))
		resp.Header.Del("Content-Length")
	}
	x.stored = resp
}

func (x *exchange) lastStatus() int {
	if n := len(x.trail); n > 0 {
		s, _ := strconv.Atoi(x.trail[n-1].what)
		return s
	}
	return 0
}

// trailString is evenkeel-trail: each attempt's outcome, when it was sent, and
// to which model if not to the one asked for.
func (x *exchange) trailString() string {
	var b strings.Builder
	for i, s := range x.trail {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.what)
		b.WriteByte('@')
		b.WriteString(short(s.at))
		if s.to != "" {
			b.WriteByte('/')
			b.WriteString(s.to)
		}
	}
	return b.String()
}

// short writes a time as a person would: 812ms, 2.1s, 1m3.5s.
func short(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return d.Round(100 * time.Millisecond).String()
}

// newName makes an evenkeel-id: 80 random bits, to find a call in logs.
func newName() string {
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [19]byte
	copy(b[:], "ek_")
	for i, r := 3, uint64(0); i < len(b); i++ {
		if (i-3)%12 == 0 {
			r = rand.Uint64()
		}
		b[i] = digits[r&31]
		r >>= 5
	}
	return string(b[:])
}
