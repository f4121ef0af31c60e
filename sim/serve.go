package sim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP implements [http.Handler]: what RoundTrip does, on a real
// connection. Each event is flushed. A reset is a TCP reset where the
// connection is TCP. One that should have been refused has been accepted
// already: it is reset before anything is read from it.
//
// Paths under /sim/ steer it, and are neither recorded nor counted:
//
//	GET    /sim/faults     the rules in force: {"faults":[…]}
//	POST   /sim/faults     replaces them with {"faults":[{"kind":"status","status":529,"rate":0.3,"until":"30s"},…]}
//	                       or with {"profile":"storm"}; {"rpm":60} also sets the limit
//	DELETE /sim/faults     removes them
//	GET    /sim/attempts   the records, oldest first, one JSON object a line
//	POST   /sim/reset      as [API.Reset]
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		a.control(w, r)
		return
	}
	t := a.begin(r)
	defer t.done(false) // where the way out is a panic of our own
	err := t.serve(w, r)
	t.done(err != nil)
	if err != nil {
		panic(http.ErrAbortHandler) // nobody is there to read an end of the answer
	}
}

// serve answers one request. An error means that the client has left.
func (t *attempt) serve(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	switch refused, err := t.refused(ctx); {
	case err != nil:
		return err
	case refused:
		breakOff(w, errReset)
		return nil
	}
	o, err := t.handle(r)
	if err != nil {
		return err
	}
	if err := sleep(ctx, o.wait); err != nil {
		return err
	}
	switch o.fate {
	case Hang:
		<-ctx.Done()
		return context.Cause(ctx)
	case ResetBeforeHeaders:
		breakOff(w, errReset)
		return nil
	case CloseBeforeHeaders:
		breakOff(w, io.ErrUnexpectedEOF)
		return nil
	}
	return t.write(w, r, o)
}

// write sends the headers and the body of an outcome.
func (t *attempt) write(w http.ResponseWriter, r *http.Request, o outcome) error {
	h := w.Header()
	for name, values := range o.header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if o.length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(o.length, 10))
	}
	t.update(func(rec *Attempt) { rec.Status = o.status })
	w.WriteHeader(o.status)
	if o.body == nil || r.Method == http.MethodHead {
		return nil
	}
	control := http.NewResponseController(w)
	mustFlush := o.length < 0 || o.fault.Kind != ""
	f := t.feed(o)
	for {
		data, err := f.next(r.Context())
		if err == nil {
			if _, err = w.Write(data); err == nil && mustFlush {
				err = control.Flush()
			}
		}
		if err != nil {
			t.end(f, err)
			return breakAt(w, err)
		}
	}
}

// breakAt ends a body that has begun. It returns err if the client has left.
func breakAt(w http.ResponseWriter, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		panic(http.ErrAbortHandler) // closes without the last chunk
	case errors.Is(err, errReset):
		breakOff(w, err)
		return nil
	}
	return err
}

// breakOff takes the connection from the server and closes it: with a reset,
// or in the middle of the headers.
func breakOff(w http.ResponseWriter, how error) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 resets the stream
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok && errors.Is(how, errReset) {
		_ = tcp.SetLinger(0) // best effort, as everything on the way out
	}
	if errors.Is(how, io.ErrUnexpectedEOF) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	}
	_ = c.Close()
}

// Serve answers HTTP on l until ctx ends, then breaks off what is in flight.
// When it returns, every goroutine it started is about to return too; the end
// of ctx is a nil error.
func (a *API) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: a, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
