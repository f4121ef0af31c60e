package gateway

import (
	"net/http"
	"strconv"
	"time"
)

// writer is the answer on its way to the caller. Of an answer whose length is
// known, everything is sent at once but the end: that leaves with the end of
// the call, mostly together with the header, in one system call. A write that the caller does
// not take within stall fails, which ends the call; there is no limit on all
// of them together.
type writer struct {
	http.ResponseWriter
	rc      *http.ResponseController
	drain   *drain
	body    *body // of the request
	stall   time.Duration
	renewed time.Time // when the write deadline was last moved
	left    int64     // bytes to come of a known Content-Length; below 0 if unknown
	message bool      // the answer to a messages call, so a stream of it may be given pings
	pinger  *pinger   // nil unless it is such a stream
}

// Unwrap lets [http.ResponseController] through.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *writer) WriteHeader(status int) {
	w.renew()
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	h := w.Header()
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	// While draining, the caller's next call then comes by a new connection, and
	// so to another instance. An answer to half a request is the last on its own.
	if !w.drain.ready() || !w.body.whole() {
		h["Connection"] = []string{"close"}
	}
	if v := h["Content-Length"]; len(v) == 1 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil {
			w.left = n
		}
	}
	w.ResponseWriter.WriteHeader(status)
	if w.message && pings(status, h) {
		w.pinger = newPinger(w)
	}
}

// Write implements [http.ResponseWriter].
func (w *writer) Write(p []byte) (int, error) {
	if w.pinger != nil {
		w.pinger.mu.Lock()
		defer w.pinger.mu.Unlock()
		w.pinger.wrote(p)
	}
	w.renew()
	n, err := w.ResponseWriter.Write(p)
	if w.left -= int64(n); w.left > 0 && err == nil {
		err = w.rc.Flush()
	}
	return n, err
}

// FlushError sends what has been written, as [http.ResponseController] asks.
func (w *writer) FlushError() error {
	if w.pinger != nil {
		w.pinger.mu.Lock()
		defer w.pinger.mu.Unlock()
	}
	w.renew()
	return w.rc.Flush()
}

// send writes and flushes an event of our own. The lock of the pinger is held.
func (w *writer) send(event []byte) error {
	w.renew()
	if _, err := w.ResponseWriter.Write(event); err != nil {
		return err
	}
	return w.rc.Flush()
}

// end is called when the answer is over.
func (w *writer) end() {
	if w.pinger != nil {
		w.pinger.end()
	}
}

// renew gives the caller stall from now, give or take an eighth: moving a
// deadline costs a timer, and events come by the hundred.
func (w *writer) renew() {
	if now := time.Now(); now.Sub(w.renewed) > w.stall/8 {
		w.renewed = now
		_ = w.rc.SetWriteDeadline(now.Add(w.stall)) // a ResponseWriter that cannot has no slow callers
	}
}
