package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// ServeHTTP implements [http.Handler]: what RoundTrip does, on a real
// connection. What is due leaves before the next wait. A reset is a TCP reset
// where the connection is TCP. One that should have been refused has been
// accepted already: it is reset before anything is read from it.
//
// Paths under /sim/ steer it, and are neither recorded nor counted:
//
//	GET    /sim/faults         the rules in force: {"faults":[…]}
//	POST   /sim/faults         replaces them with {"faults":[{"kind":"status","status":529,"rate":0.3,"until":"30s"},…]}
//	                           or with {"profile":"storm"}; {"rpm":60} also sets the limit
//	DELETE /sim/faults         removes them
//	PUT    /sim/faults/{name}  sets one as [API.SetFault]: a rule as JSON, or a line of a story
//	DELETE /sim/faults/{name}  removes it; 404 if there is none
//	PUT    /sim/story          replaces the rules by a story, see [ParseStory]
//	GET    /sim/attempts       the records, oldest first, one JSON object a line
//	POST   /sim/outcomes       what became of calls, one {"call":"…","ok":true} a line; see [API.Told]
//	GET    /sim/report         the [Report] on them; as a page to read if text/plain is accepted
//	POST   /sim/reset          as [API.Reset]
//
// What sets or removes rules answers with those then in force. What is wrong
// changes nothing, and is answered 400 (404 for what does not exist) with all
// mistakes, line and column only for those in a story, suggestion where a word
// is near one that is known:
//
//	{"errors":[{"problem":"…","line":1,"column":5,"suggestion":"overload"},…]}
//
// A browser that asks on behalf of another site is answered 403.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		a.control(w, r)
		return
	}
	t := a.begin(r)
	defer t.done(EndCanceled) // unless it had another end
	if err := t.serve(w, r); err != nil {
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
		t.done(EndNone)
		breakOff(w, errReset, nil)
		return nil
	}
	o, err := t.handle(r)
	if err != nil {
		return err
	}
	if err := t.await(ctx, o); err != nil {
		return err
	}
	switch o.fate {
	case "":
		return t.write(w, r, o)
	case Hang:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	t.done(EndNone)
	switch o.fate {
	case ResetBeforeHeaders:
		breakOff(w, errReset, nil)
	case CloseBeforeHeaders:
		breakOff(w, io.ErrUnexpectedEOF, []byte("HTTP/1.1 200 OK\r\n"))
	case ResetInHeaders:
		breakOff(w, errReset, halfHeaders(o))
	}
	return nil
}

// halfHeaders returns the first half of the headers of an answer, as they go
// over the wire. It ends with a line: within one, Go's client would report a
// malformed header.
func halfHeaders(o outcome) []byte {
	var out bytes.Buffer
	out.WriteString("HTTP/1.1 " + strconv.Itoa(o.status) + " " + http.StatusText(o.status) + "\r\n")
	_ = o.header.Write(&out) // a buffer never fails
	half := out.Bytes()[:out.Len()/2]
	return half[:bytes.LastIndexByte(half, '\n')+1]
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
	o = t.answered(o)
	w.WriteHeader(o.status)
	if o.body == nil || r.Method == http.MethodHead {
		t.done(EndWhole)
		return nil
	}
	f := t.feed(o)
	control := http.NewResponseController(w)
	f.flush = func() { _ = control.Flush() } // if the client has left, the next write tells
	for {
		data, err := f.next(r.Context())
		if err != nil {
			t.end(f)
			if !errors.Is(err, io.EOF) { // whatever breaks, breaks after what was written
				f.push()
			}
			return breakAt(w, err)
		}
		if _, err := w.Write(data); err != nil {
			return err
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
		breakOff(w, err, nil)
		return nil
	}
	return err
}

// breakOff takes the connection from the server and closes it, with a reset or
// not, after a last word.
func breakOff(w http.ResponseWriter, how error, last []byte) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 resets the stream
		panic(http.ErrAbortHandler)
	}
	_, _ = c.Write(last) // best effort, as everything on the way out
	if tcp, ok := c.(*net.TCPConn); ok && errors.Is(how, errReset) {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
