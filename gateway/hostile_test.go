package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// impatient makes a gateway that waits for nobody.
func impatient(c *Config) {
	c.Timeouts = Timeouts{Header: 200 * time.Millisecond, Body: 200 * time.Millisecond, Write: 200 * time.Millisecond, Idle: 200 * time.Millisecond}
}

func TestGateway_refusesLargeHeaders(t *testing.T) {
	toUpstream, calls := counter(t)
	g := start(t, nil, toUpstream)
	for _, c := range []struct {
		name   string
		header string
	}{
		{"one field of a megabyte", "X-Large: " + strings.Repeat("a", 1<<20)},
		{"a field a little too large", "X-Large: " + strings.Repeat("a", 128<<10)},
		{"very many small ones", strings.TrimSuffix(strings.Repeat("A: b\r\n", 30_000), "\r\n")},
		{"very many names", manyNames(20_000)},
	} {
		got := g.raw(t, "GET", "GET / HTTP/1.1\r\nHost: localhost\r\n"+c.header+"\r\n\r\n")
		t.Run(c.name, func(t *testing.T) { wantOwn(t, got, 431, "invalid_request_error", CodeHeaderSize) })
	}
	got := g.raw(t, "GET", "GET /"+strings.Repeat("a", 1<<20)+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	wantOwn(t, got, 431, "invalid_request_error", CodeHeaderSize)
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests went upstream, want none", n)
	}
	if got := g.raw(t, "GET", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: "+strings.Repeat("a", 100<<10)+"\r\n\r\n"); got.StatusCode != 200 {
		t.Errorf("got %d for 100 KiB of header, want it to pass", got.StatusCode)
	}
	if got := g.raw(t, "GET", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: "+strings.Repeat("a", 4<<20)); got.StatusCode != 431 {
		t.Errorf("got %d for 4 MiB of header, want 431", got.StatusCode)
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "A%d: b\r\n", i)
	}
	return strings.TrimSuffix(b.String(), "\r\n")
}

func TestGateway_hangsUpOnSlowHeaders(t *testing.T) {
	toUpstream, _ := counter(t)
	g := start(t, nil, func(c *Config) { toUpstream(c); impatient(c) })
	for _, c := range []struct{ name, sent string }{
		{"nothing is sent", ""},
		{"the header does not end", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "},
		{"nothing is sent after an answer", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	} {
		conn := g.dial(t)
		if _, err := io.WriteString(conn, c.sent); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: got %v, want the connection to be closed", c.name, err)
		}
		if took := time.Since(begun); took < 100*time.Millisecond {
			t.Errorf("%s: closed after %v, want some patience", c.name, took)
		}
	}
}

func TestGateway_refusesSlowBodies(t *testing.T) {
	toUpstream, calls := counter(t)
	g := start(t, nil, func(c *Config) { toUpstream(c); impatient(c) })
	for _, c := range []struct {
		name  string
		pause time.Duration // between bytes
	}{
		{"it stops", patience},
		{"it drips", 20 * time.Millisecond},
	} {
		conn := g.dial(t)
		if _, err := io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		answered := make(chan struct{})
		go func() {
			for {
				select {
				case <-answered:
					return
				case <-time.After(c.pause):
					if _, err := io.WriteString(conn, " "); err != nil {
						return
					}
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		close(answered)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := read(t, resp)
		wantOwn(t, got, 408, "invalid_request_error", CodeBodySlow)
		if got.Header.Get("X-Should-Retry") != "" || !got.Close {
			t.Errorf("%s: got %v, want an answer that may be tried again, on another connection", c.name, got.Header)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests went upstream, want none", n)
	}
}

// A body that takes long as a whole, but keeps coming, is nobody's fault.
func TestGateway_waitsForBodiesThatCome(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, impatient)
	rest, feed := io.Pipe()
	go func() {
		for range 10 {
			_, _ = io.WriteString(feed, strings.Repeat(" ", 2<<10))
			time.Sleep(50 * time.Millisecond) // ten of them are more than Timeouts.Body
		}
		_ = feed.Close()
	}()
	req := g.request(t, "POST", "/v1/messages", "")
	req.Body, req.ContentLength = rest, 20<<10
	do(t, req)
	if got := len(last().body); got != 20<<10 {
		t.Errorf("upstream got %d bytes, want %d", got, 20<<10)
	}
}

func TestGateway_refusesBodiesThatCannotBeRead(t *testing.T) {
	toUpstream, calls := counter(t)
	g := start(t, nil, toUpstream)
	got := g.raw(t, "POST", "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
	wantOwn(t, got, 400, "invalid_request_error", evenkeel.CodeBody)

	conn := g.dial(t)
	if _, err := io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantOwn(t, read(t, resp), 400, "invalid_request_error", evenkeel.CodeBody)
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests went upstream, want none", n)
	}
}

func TestGateway_isNotSmuggledThrough(t *testing.T) {
	toUpstream, calls := counter(t)
	g := start(t, nil, toUpstream)
	for _, c := range []struct{ name, request string }{
		{"two lengths", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "},
		{"two hosts", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"},
		{"unknown encoding of the transfer", "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
		{"a space in a field name", "GET / HTTP/1.1\r\nHost: localhost\r\nX Y: 1\r\n\r\n"},
	} {
		if got := g.raw(t, "POST", c.request); got.StatusCode < 400 {
			t.Errorf("%s: got %d, want it refused", c.name, got.StatusCode)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d requests went upstream, want none", n)
	}
}

// A caller that hangs up while it sends is told nothing and blamed for nothing.
func TestGateway_forgetsCallersThatHangUpWhileSending(t *testing.T) {
	toUpstream, calls := counter(t)
	var out bytes.Buffer
	g := start(t, nil, func(c *Config) { toUpstream(c); c.Log = slog.New(slog.NewTextHandler(&out, nil)) })
	conn := g.dial(t)
	if _, err := io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	for g.drain.calls() == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = conn.SetLinger(0)
	_ = conn.Close()
	for g.drain.calls() > 0 {
		time.Sleep(time.Millisecond)
	}
	g.stop()
	if err := soon(t, "Serve returns", g.done); err != nil || out.Len() > 0 || calls.Load() > 0 {
		t.Errorf("got %v, log %q and %d requests upstream, want nothing", err, out.String(), calls.Load())
	}
}

// A caller that takes no bytes is gone: upstream notices, and in no other way.
func TestGateway_dropsCallersThatDoNotRead(t *testing.T) {
	gone := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		close(gone)
	})
	g := start(t, up, impatient)
	conn := g.dial(t)
	_ = conn.SetReadBuffer(4 << 10)
	if _, err := io.WriteString(conn, "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	soon(t, "upstream notices that the caller takes nothing", gone)
}

// The patience for a body ends with the body: an answer may take longer.
func TestGateway_waitsForAnswersLongerThanForBodies(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(500 * time.Millisecond): // longer than Timeouts.Body
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "{}")
	})
	g := start(t, up, impatient)
	if got := do(t, g.request(t, "POST", "/v1/messages", "{}")); got.StatusCode != 200 {
		t.Errorf("got %d, want 200", got.StatusCode)
	}
}

// A stream may be silent, and last, as long as it likes: only a write that is
// not taken counts.
func TestGateway_letsStreamsTakeTheirTime(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, ": ping\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(300 * time.Millisecond) // longer than Timeouts.Write
		}
	})
	g := start(t, up, impatient)
	if got := do(t, g.request(t, "GET", "/v1/stream", "")); string(got.body) != strings.Repeat(": ping\n\n", 3) {
		t.Errorf("got %q, want all of the stream", got.body)
	}
}

func TestGateway_noticesWhenCallersHangUp(t *testing.T) {
	arrived, gone := make(chan struct{}, 1), make(chan time.Time, 1)
	var queued atomic.Bool
	waits := roundTrip(func(r *http.Request) (*http.Response, error) {
		if queued.Load() { // as a call that waits for its turn
			arrived <- struct{}{}
			<-r.Context().Done()
			gone <- time.Now()
			return nil, r.Context().Err()
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": ping\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- time.Now()
	})
	tr, err := evenkeel.New(evenkeel.Config{Base: waits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	g := start(t, up, func(c *Config) { c.Transport = tr })
	for _, c := range []struct {
		name, path string
		queued     bool
		reset      bool
	}{
		{"while the call is queued", "/v1/messages", true, false},
		{"before the answer", "/v1/messages", false, false},
		{"before the answer, with a reset", "/v1/messages", false, true},
		{"in the middle of a stream", "/stream", false, false},
	} {
		queued.Store(c.queued)
		conn := g.dial(t)
		if _, err := io.WriteString(conn, "POST "+c.path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		soon(t, c.name+": call arrives", arrived)
		if c.reset {
			_ = conn.SetLinger(0)
		}
		left := time.Now()
		_ = conn.Close()
		if took := soon(t, c.name+": hang-up arrives", gone).Sub(left); took > time.Second {
			t.Errorf("%s: noticed after %v, want within a second", c.name, took)
		}
	}
}

// Who hangs up one way has left, as for every server in Go. What it still
// hears is no answer, and above all no empty 200.
func TestGateway_saysNothingToThoseWhoLeave(t *testing.T) {
	arrived := make(chan struct{})
	up := upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	g := start(t, up, nil)
	conn := g.dial(t)
	if _, err := io.WriteString(conn, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	soon(t, "call arrives", arrived)
	_ = conn.CloseWrite()
	if got, err := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("got %q, %v; want nothing", got, err)
	}
}

// What breaks in the middle does not look whole.
func TestGateway_breaksWhatUpstreamBreaks(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	g := start(t, up, nil)
	resp, err := caller.Do(g.request(t, "GET", "/v1/files/content", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v; want an unexpected end", b, err)
	}
}
