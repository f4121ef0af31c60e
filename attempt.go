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

	mu      sync.Mutex
	early   []earlyHint // 1xx answers, passed on only if this attempt answers
	callers *httptrace.ClientTrace
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

func newAttempt(parent context.Context) *attempt {
	a := &attempt{parent: parent, callers: httptrace.ContextClientTrace(parent)}
	if a.callers != nil {
		a.trace = *a.callers
	}
	a.trace.GetConn = a.getConn
	a.trace.GotConn = a.gotConn
	a.trace.Got1xxResponse = a.got1xx
	a.ctx, a.cancel = context.WithCancelCause(hidden{parent})
	a.ctx = httptrace.WithClientTrace(a.ctx, &a.trace)
	return a
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
	if a.callers == nil || a.callers.Got1xxResponse == nil {
		return nil
	}
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
// its cause.
type limit struct {
	after time.Duration
	cause error
}

// tighter returns the limit that passes first; one of 0 never does.
func (l limit) tighter(o limit) limit {
	if o.after > 0 && (l.after <= 0 || o.after < l.after) {
		return o
	}
	return l
}

// do sends the request and waits for headers, at most as long as l says.
func (a *attempt) do(base http.RoundTripper, r *http.Request, l limit) (*http.Response, error) {
	if l.after > 0 {
		timer := time.AfterFunc(l.after, func() { a.cancel(l.cause) })
		defer timer.Stop()
	}
	return base.RoundTrip(r)
}

// sent tells that part of the request may have left. A base transport that
// calls no hooks is not believed to have failed early.
func (a *attempt) sent() bool { return a.conn.Load() || !a.asked.Load() }

// fault names what went wrong when no answer came.
func (a *attempt) fault() classify.Fault {
	cause := context.Cause(a.ctx)
	switch {
	case errors.Is(a.parent.Err(), context.DeadlineExceeded), errors.Is(cause, ErrDeadline):
		return classify.FaultDeadline
	case a.parent.Err() != nil:
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
func (a *attempt) readError(resp *http.Response, l limit) claude.Error {
	timer := time.AfterFunc(l.after, func() { a.cancel(l.cause) })
	defer timer.Stop()
	head, err := io.ReadAll(io.LimitReader(resp.Body, errorBody))
	if err == nil && len(head) == errorBody {
		resp.Body = &longBody{Reader: io.MultiReader(newBytes(head), resp.Body), Closer: resp.Body, a: a, head: head}
	} else {
		_ = resp.Body.Close()
		a.cancel(nil)
		resp.Body = newBytes(head)
	}
	if encoded(resp.Header) {
		return claude.Error{}
	}
	return claude.ParseError(head)
}

// encoded tells that a body came compressed although identity was asked for.
// It is passed as it is; only what we would have read in it stays unknown.
func encoded(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e != "" && e != "identity"
}

// longBody is an error body of more than errorBody bytes.
type longBody struct {
	io.Reader
	io.Closer
	a    *attempt
	head []byte
}

func (b *longBody) Close() error {
	defer b.a.cancel(nil)
	return b.Closer.Close()
}
