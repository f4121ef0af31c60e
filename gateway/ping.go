package gateway

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"time"
)

// pingAfter is how long a stream is silent towards the caller before we send
// a ping of our own. Longer than the API takes between its pings (15 s, a
// guess from captures), so that they are doubled nowhere; shorter than the
// shortest idle limit that clients are reported to have, 120 s.
const pingAfter = 20 * time.Second

var ping = []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")

// pinger keeps a stream of events alive while nothing of it comes: upstreams
// that send no pings, and calls that are tried again behind headers that are
// out. It writes between events only.
type pinger struct {
	w *writer

	mu    sync.Mutex // guards all below, and the ResponseWriter
	timer *time.Timer
	last  time.Time // when something was written
	tail  [4]byte   // of what was written
	ended bool
}

// pings tells that the answer is a stream in which a ping is understood.
func pings(status int, h http.Header) bool {
	return status == http.StatusOK && h.Get("Content-Encoding") == "" &&
		strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}

// newPinger starts with the header of the answer.
func newPinger(w *writer) *pinger {
	p := &pinger{w: w, last: time.Now(), tail: [4]byte{2: '\n', 3: '\n'}}
	p.timer = time.AfterFunc(pingAfter, p.beat)
	return p
}

// wrote notes what has just been written. p.mu is held.
func (p *pinger) wrote(b []byte) {
	if len(b) == 0 {
		return
	}
	p.last = time.Now()
	n := min(len(b), len(p.tail))
	copy(p.tail[:], p.tail[n:])
	copy(p.tail[len(p.tail)-n:], b[len(b)-n:])
}

// border tells that what was written ends where an event ends. A large event
// is written in pieces, of which the last may be a single byte.
func (p *pinger) border() bool {
	return bytes.HasSuffix(p.tail[:], []byte("\n\n")) || bytes.HasSuffix(p.tail[:], []byte("\n\r\n"))
}

// beat runs when the stream may have been silent for long enough.
func (p *pinger) beat() {
	if !p.mu.TryLock() {
		// Something is being written: no silence, but a caller that takes its
		// time. It is not waited for, nor told on top that we are alive.
		time.AfterFunc(pingAfter, p.beat)
		return
	}
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	quiet := time.Since(p.last)
	if quiet >= pingAfter {
		quiet = 0
		p.last = time.Now()
		if p.border() && p.w.send(ping) != nil {
			p.ended = true // the caller has gone; whoever relays the answer notices too
			return
		}
	}
	p.timer.Reset(pingAfter - quiet)
}

// end stops the pings; when it returns, none is being written.
func (p *pinger) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
}
