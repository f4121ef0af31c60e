package sim

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// remote is where connections seem to go: the documented default address of
// the simulated API.
var remote = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5290}

// conn is what httptrace is told the connection is. It has addresses and
// nothing else: whoever reads or writes it panics.
type conn struct{ net.Conn }

func (conn) RemoteAddr() net.Addr { return remote }
func (conn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: remote.IP} }

// RoundTrip implements [http.RoundTripper]. It answers and fails as a real
// transport in front of the API would, without a socket: errors are
// [*net.OpError] with the errno a kernel would give, [io.ErrUnexpectedEOF], or
// the cause of the context's end, which is noticed at once. It calls the
// hooks of [httptrace.ClientTrace] for the connection, what was written, and
// the first byte; the traced connection has only addresses.
//
// A streaming body waits in Read for what is due. It need not be read in any
// rhythm: bytes are due at their time, not after the Read before. Close, or
// the end of the context, ends a Read that waits.
func (a *API) RoundTrip(r *http.Request) (*http.Response, error) {
	t := a.begin(r)
	resp, err := t.roundTrip(r)
	if r.Body != nil {
		_ = r.Body.Close() // a RoundTripper always closes it; nobody is told how that went
	}
	if err != nil {
		t.done(EndCanceled) // unless it had another end
	}
	return resp, err
}

func (t *attempt) roundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := sleep(ctx, 0); err != nil {
		return nil, err
	}
	trace := traceOf(ctx)
	trace.getConn(r)
	switch refused, err := t.refused(ctx); {
	case err != nil:
		return nil, err
	case refused:
		t.done(EndNone)
		return nil, trace.refuse()
	}
	trace.sending()
	stop := context.AfterFunc(ctx, func() {
		if r.Body != nil {
			_ = r.Body.Close() // so that a Read of it that waits returns
		}
	})
	o, err := t.handle(r)
	stop()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	trace.sent(err)
	if err != nil {
		return nil, err
	}
	if err := t.await(ctx, o); err != nil {
		return nil, err
	}
	switch o.fate {
	case Hang:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case ResetBeforeHeaders:
		t.done(EndNone)
		return nil, errReset
	case CloseBeforeHeaders:
		t.done(EndNone)
		return nil, io.ErrUnexpectedEOF
	case ResetInHeaders:
		t.done(EndNone)
		trace.firstByte()
		return nil, io.ErrUnexpectedEOF // what net/http makes of a reset that it meets in headers
	}
	trace.firstByte()
	return t.response(r, o), nil
}

// response returns the outcome as what a client sees of it.
func (t *attempt) response(r *http.Request, o outcome) *http.Response {
	o = t.answered(o)
	resp := &http.Response{
		Status:     strconv.Itoa(o.status) + " " + http.StatusText(o.status),
		StatusCode: o.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: o.header, ContentLength: o.length, Body: http.NoBody, Request: r,
	}
	if o.length >= 0 {
		o.header.Set("Content-Length", strconv.FormatInt(o.length, 10))
	} else {
		resp.TransferEncoding = []string{"chunked"}
	}
	if o.body == nil || r.Method == http.MethodHead {
		t.done(EndWhole)
		return resp
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	b := &body{attempt: t, feed: t.feed(o), ctx: ctx, cancel: cancel}
	// A body that nobody reads any more ends with its request.
	b.stop = context.AfterFunc(r.Context(), b.left)
	resp.Body = b
	return resp
}

// body is the body of a response that RoundTrip returned.
type body struct {
	attempt *attempt
	ctx     context.Context // of the request; ended by Close
	cancel  context.CancelCauseFunc
	stop    func() bool // no longer ends with the request

	mu   sync.Mutex // one Read at a time; guards feed and rest
	feed *feed
	rest []byte
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		err := context.Cause(b.ctx)
		b.attempt.end(b.feed)
		return 0, err
	}
	if len(b.rest) == 0 {
		data, err := b.feed.next(b.ctx)
		if err != nil {
			b.attempt.end(b.feed)
			b.cancel(err)
			b.stop()
			return 0, err
		}
		b.rest = data
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements [io.Closer]. Before the end of the body it is how a caller
// leaves.
func (b *body) Close() error {
	b.stop()
	b.cancel(http.ErrBodyReadAfterClose)
	b.mu.Lock() // a Read that waited has returned
	defer b.mu.Unlock()
	b.attempt.end(b.feed)
	return nil
}

// left ends the attempt when its request has ended, once a Read that waited
// has returned.
func (b *body) left() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempt.end(b.feed)
}

// feed returns the body of an outcome, ready to be sent.
func (t *attempt) feed(o outcome) *feed {
	f := &feed{body: o.body, fault: o.fault, charge: t.ticket.produce, struck: t.struck, whole: cmp.Or(o.end, EndWhole)}
	if o.length < 0 {
		if strings.HasPrefix(o.header.Get("Content-Type"), "text/event-stream") {
			f.ping = t.api.cfg.PingEvery
		}
		if o.fault.Kind == ErrorEventAt {
			f.failed = t.errorEvent(o.fault)
		}
	}
	return f
}

// end closes the record of an answer that its reader has come to the end of, or
// left.
func (t *attempt) end(f *feed) {
	t.update(func(rec *Attempt) {
		if !rec.Done && f.ping > 0 {
			rec.Events = f.events
		}
	})
	t.done(f.ended())
}

// trace calls the hooks of a ClientTrace where there are any.
type trace struct{ *httptrace.ClientTrace }

func traceOf(ctx context.Context) trace {
	if t := httptrace.ContextClientTrace(ctx); t != nil {
		return trace{t}
	}
	return trace{&httptrace.ClientTrace{}}
}

func (t trace) getConn(r *http.Request) {
	if t.GetConn == nil {
		return
	}
	host := r.URL.Host
	if r.URL.Port() == "" {
		port := "443"
		if r.URL.Scheme == "http" {
			port = "80"
		}
		host = net.JoinHostPort(r.URL.Hostname(), port)
	}
	t.GetConn(host)
}

// refuse returns the error of a connection nobody listens for.
func (t trace) refuse() error {
	err := &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if t.ConnectStart != nil {
		t.ConnectStart("tcp", remote.String())
	}
	if t.ConnectDone != nil {
		t.ConnectDone("tcp", remote.String(), err)
	}
	return err
}

func (t trace) sending() {
	if t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{Conn: conn{}, Reused: true})
	}
	if t.WroteHeaders != nil {
		t.WroteHeaders()
	}
}

func (t trace) sent(err error) {
	if t.WroteRequest != nil {
		t.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

func (t trace) firstByte() {
	if t.GotFirstResponseByte != nil {
		t.GotFirstResponseByte()
	}
}
