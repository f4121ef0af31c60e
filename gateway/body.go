package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// bodyProgress is what a body must bring within Timeouts.Body of waiting for
// it. A guess: less than any network anyone works on, more than a caller that
// sends a byte now and then to keep a connection.
const bodyProgress = 1 << 10

// bodyState is what has become of a request body.
type bodyState int32

const (
	bodyFine  bodyState = iota // so far
	bodyWhole                  // read to its end, or there is none
	bodyBroken
	bodySlow
)

// restTime is how long the rest of a body is still taken that nobody needs. A
// guess: what a caller has sent behind its header is here by then, and what it
// has yet to send is not worth waiting for.
const restTime = time.Second

// body is the caller's request body, with a deadline that moves while bytes
// come. Only time spent inside Read counts: what upstream takes slowly is not
// the caller's fault.
type body struct {
	io.ReadCloser
	rc    *http.ResponseController
	stall time.Duration

	// One goroutine reads, and it need not be the one that serves the call.
	until  time.Time     // the read deadline in force
	waited time.Duration // since got was last full
	got    int

	state  atomic.Int32
	over   atomic.Bool // whoever reads for upstream gets no more
	expect bool        // the caller sends it when it is told to continue
	begun  atomic.Bool // which the first Read does
}

func (b *body) init(r *http.Request, rc *http.ResponseController, stall time.Duration) {
	b.ReadCloser, b.rc, b.stall = r.Body, rc, stall
	b.expect = r.Header.Get("Expect") != ""
	if r.Body == nil || r.ContentLength == 0 {
		b.state.Store(int32(bodyWhole))
	}
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	b.begun.Store(true)
	start := time.Now()
	b.extend(start)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err)
		return n, err
	}
	b.got += n
	b.waited += time.Since(start)
	if b.got >= bodyProgress {
		b.got, b.waited = 0, 0
	}
	return n, nil
}

// extend moves the deadline if that makes a difference worth a timer.
func (b *body) extend(now time.Time) {
	if until := now.Add(b.stall - b.waited); until.Sub(b.until) > b.stall/16 {
		b.until = until
		_ = b.rc.SetReadDeadline(until) // a ResponseWriter that cannot has no slow callers
	}
}

// end notes how the body ended. At its end net/http takes the deadline away
// by itself, when it begins to watch for a caller that hangs up.
func (b *body) end(err error) {
	switch {
	case errors.Is(err, io.EOF):
		b.state.Store(int32(bodyWhole))
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.state.Store(int32(bodySlow))
	case errors.Is(err, http.ErrBodyReadAfterClose), isNet(err):
		// We have closed it, or the caller has gone, which its context tells.
	default:
		b.state.Store(int32(bodyBroken))
	}
}

// isNet tells whether err is of the connection and not of what came over it.
func isNet(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

func (b *body) failed() bodyState { return bodyState(b.state.Load()) }

func (b *body) whole() bool { return b.failed() == bodyWhole }

// discard takes what is left of a body that is not needed any more. If the body
// is whole then, the connection can serve another request; if not, the answer
// closes it. To close it with bytes unread would reset it, and the answer
// might be lost with them.
//
// net/http does this too, but without a limit of time; and in full duplex only
// after the handler has returned, where the end of the body makes it watch the
// connection for a caller that hangs up just when it reads the next request
// from it: a panic.
func (b *body) discard() {
	if b.over.Swap(true) || b.failed() != bodyFine || b.expect && !b.begun.Load() {
		return
	}
	if b.rc.SetReadDeadline(time.Now().Add(restTime)) != nil {
		return // no connection of net/http's; the read might last for ever
	}
	if _, err := io.Copy(io.Discard, b.ReadCloser); err == nil {
		b.state.Store(int32(bodyWhole))
	}
}

// leave ends the body with its call: net/http waits for no more of it.
func (b *body) leave() {
	if b.discard(); !b.whole() {
		_ = b.rc.SetReadDeadline(time.Unix(1, 0)) // past
	}
}
