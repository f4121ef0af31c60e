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
	bodyFine bodyState = iota
	bodyBroken
	bodySlow
)

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
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
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
