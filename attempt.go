package evenkeel

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
)

// errorBody is how much of an error answer is read before it is judged, and
// kept as the last answer.
const errorBody = 64 << 10

// attempt is one request sent upstream. Its context lives until the body of
// its answer is closed, not until RoundTrip returns.
type attempt struct {
	parent context.Context // the caller's
	ctx    context.Context
	cancel context.CancelCauseFunc
	trace  httptrace.ClientTrace
	asked  atomic.Bool // the base transport calls trace hooks: it has looked for a connection
	conn   atomic.Bool // it has obtained one: part of the request may have left

	callers *httptrace.ClientTrace

	mu      sync.Mutex  // guards what follows
	early   []earlyHint // 1xx answers, passed on only if this attempt answers
	timer   *time.Timer // one for all phases of the attempt
	silence limit       // in force; none if after is 0
	expires time.Time   // when it passes
	fires   time.Time   // when the timer does; zero if it will not
}

type earlyHint struct {
	code   int
	header textproto.MIMEHeader
}

// hidden is the caller's context without its trace hooks: an attempt calls
// those itself, and 1xx hooks only if it is the one that answers.
type hidden struct{ context.Context }

func (h hidden) Value(key any) any {
	v := h.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}

// begin makes a the attempt of a caller with the given context.
func (a *attempt) begin(parent context.Context) { //nolint:contextcheck // hidden is the parent, but for its trace
	a.parent = parent
	if a.callers = httptrace.ContextClientTrace(parent); a.callers != nil {
		a.trace = *a.callers
		if a.callers.Got1xxResponse != nil {
			a.trace.Got1xxResponse = a.got1xx
		}
		parent = hidden{parent}
	}
	a.trace.GetConn = a.getConn
	a.trace.GotConn = a.gotConn
	a.ctx, a.cancel = context.WithCancelCause(parent)
	a.ctx = httptrace.WithClientTrace(a.ctx, &a.trace)
}

func (a *attempt) getConn(hostPort string) {
	a.asked.Store(true)
	if a.callers != nil && a.callers.GetConn != nil {
		a.callers.GetConn(hostPort)
	}
}

func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.conn.Store(true)
	if a.callers != nil && a.callers.GotConn != nil {
		a.callers.GotConn(info)
	}
}

func (a *attempt) got1xx(code int, header textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.early) < 8 {
		a.early = append(a.early, earlyHint{code, header})
	}
	return nil
}

// passEarly hands on the 1xx answers of the attempt that answers the call.
func (a *attempt) passEarly() {
	a.mu.Lock()
	hints := a.early
	a.early = nil
	a.mu.Unlock()
	for _, h := range hints {
		_ = a.callers.Got1xxResponse(h.code, h.header)
	}
}

// limit is a bound on silence: when it passes, the attempt is cancelled with
// its cause. It may have an end of its own, which bytes do not put off.
type limit struct {
	after time.Duration
	cause error
	by    time.Time // zero for none
	late  error     // the cause when by has come
}

// expires is when the limit passes if nothing comes after now.
func (l limit) expires(now time.Time) time.Time {
	at := now.Add(l.after)
	if !l.by.IsZero() && l.by.Before(at) {
		return l.by
	}
	return at
}

// tighter returns the limit that passes first; one of 0 never does.
func (l limit) tighter(o limit) limit {
	if o.after > 0 && (l.after <= 0 || o.after < l.after) {
		return o
	}
	return l
}

// arm puts a limit in force from now on, in place of the one before. One timer
// serves all limits of an attempt: it is only moved when it would fire too
// late, and looks when it fires whether a limit has really passed.
func (a *attempt) arm(now time.Time, l limit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silence = l
	if l.after <= 0 {
		return
	}
	a.expires = l.expires(now)
	left := max(a.expires.Sub(now), 0)
	switch {
	case a.timer == nil:
		a.timer = time.AfterFunc(left, a.expire)
	case a.fires.IsZero() || a.fires.After(a.expires):
		a.timer.Reset(left)
	default:
		return
	}
	a.fires = a.expires
}

// disarm takes the limit back.
func (a *attempt) disarm() {
	a.mu.Lock()
	a.silence = limit{}
	a.mu.Unlock()
}

// alive starts the silence anew: a byte has come.
func (a *attempt) alive(now time.Time) {
	a.mu.Lock()
	a.expires = a.silence.expires(now)
	a.mu.Unlock()
}

// expire runs when the timer fires.
func (a *attempt) expire() {
	a.mu.Lock()
	l, left := a.silence, time.Until(a.expires)
	a.fires = time.Time{}
	if l.after > 0 && left > 0 {
		a.timer.Reset(left)
		a.fires = a.expires
		l.after = 0
	}
	a.mu.Unlock()
	switch {
	case l.after <= 0:
	case !l.by.IsZero() && !time.Now().Before(l.by):
		a.cancel(l.late)
	default:
		a.cancel(l.cause)
	}
}

// end lets go of everything the attempt holds. The cause is for whatever of
// it still runs.
func (a *attempt) end(cause error) {
	a.cancel(cause)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silence = limit{}
	if a.timer != nil {
		a.timer.Stop()
	}
}

// do sends the request and waits for headers, at most as long as l says.
func (a *attempt) do(base http.RoundTripper, r *http.Request, now time.Time, l limit) (*http.Response, error) {
	a.arm(now, l)
	defer a.disarm()
	return base.RoundTrip(r)
}

// sent tells that part of the request may have left. A base transport that
// calls no hooks is not believed to have failed early.
func (a *attempt) sent() bool { return a.conn.Load() || !a.asked.Load() }

// fault names what went wrong when no answer came.
func (a *attempt) fault() classify.Fault {
	cause := context.Cause(a.ctx)
	switch {
	case errors.Is(a.parent.Err(), context.DeadlineExceeded), errors.Is(cause, ErrContent):
		return classify.FaultDeadline
	case a.parent.Err() != nil, errors.Is(cause, errClosed):
		return classify.FaultCaller
	case errors.Is(cause, ErrFirstByte):
		return classify.FaultFirstByte
	case a.sent():
		return classify.FaultReset
	default:
		return classify.FaultConnect
	}
}

// readError reads the beginning of an error answer and what it says. The rest
// of a longer body stays to be read from resp.Body.
func (a *attempt) readError(resp *http.Response, now time.Time, l limit) claude.Error {
	a.arm(now, l)
	defer a.disarm()
	head, err := io.ReadAll(io.LimitReader(resp.Body, errorBody))
	if err == nil && len(head) == errorBody {
		resp.Body = &longBody{Reader: io.MultiReader(newBytes(head), resp.Body), Closer: resp.Body, a: a, head: head}
	} else {
		if err != nil { // what has come is the answer; its length is another now
			resp.ContentLength = int64(len(head))
			resp.Header.Del("Content-Length")
		}
		_ = resp.Body.Close()
		a.end(nil)
		resp.Body = newBytes(head)
	}
	return claude.ParseError(decoded(resp.Header, head))
}

// longBody is an error body of more than errorBody bytes.
type longBody struct {
	io.Reader
	io.Closer
	a    *attempt
	head []byte
}

func (b *longBody) Close() error {
	defer b.a.end(nil)
	return b.Closer.Close()
}
