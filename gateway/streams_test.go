package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const reviewStream = `{"stream":true,"model":"claude-opus-4-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`

func reviewTransport(t *testing.T, c evenkeel.Config) func(*Config) {
	t.Helper()
	c.Backoff = backoff.Exponential{Base: time.Millisecond, Max: time.Millisecond}
	tr, err := evenkeel.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return func(g *Config) { g.Transport = tr }
}

// The trailer, through real sockets, with HTTP/1.1 and HTTP/1.0 callers.
func TestGateway_tellsOfResumption(t *testing.T) {
	api := sim.NewScript(sim.Reply{Status: 200}, sim.Reply{Status: 200})
	var calls atomic.Int64
	g := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) != 1 {
			api.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-opus-4-5\",\"content\":[]}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
		_, _ = io.WriteString(w, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"A word\"}}\n\n")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond)
	}), reviewTransport(t, evenkeel.Config{Stream: evenkeel.Stream{Resume: true}}))
	got := do(t, g.request(t, "POST", "/v1/messages", reviewStream, "x-api-key", "sk-ant-1", "anthropic-version", "2023-06-01"))
	if got.Trailer.Get(evenkeel.HeaderResumed) != "1" || !bytes.Contains(got.body, []byte("message_stop")) {
		t.Errorf("trailer %v, %d calls, body ends %q", got.Trailer, calls.Load(), got.body[max(0, len(got.body)-200):])
	}
	// HTTP/1.0
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/messages HTTP/1.0\r\nHost: %s\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\nContent-Length: %d\r\n\r\n%s", g.addr, len(reviewStream), reviewStream)
	b, _ := io.ReadAll(c)
	if !bytes.Contains(b, []byte("message_stop")) || !bytes.HasSuffix(b, []byte("\n\n")) {
		t.Errorf("HTTP/1.0 got %q", b)
	}
}

// A buffered 200 with a Content-Length whose first frame is an error.
func TestGateway_staleLength(t *testing.T) {
	const body = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n: bye\n"
	g := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = io.WriteString(w, body)
	}), nil)
	resp, err := caller.Do(g.request(t, "POST", "/v1/messages", reviewStream))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("read %q, then %v", b, err)
	}
}

// Assembled calls whose upstream ends the stream a moment after message_stop.
func TestGateway_assembledCallsShareAConnection(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var conns atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if !bytes.Contains(b, []byte(`"stream":true`)) {
				_, _ = io.WriteString(w, `{"type":"message"}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}))
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		}
		srv.Start()
		u, _ := url.Parse(srv.URL)
		g := start(t, u, reviewTransport(t, evenkeel.Config{Stream: evenkeel.Stream{Plain: plain}}))
		for range 20 {
			if got := do(t, g.request(t, "POST", "/v1/messages", message)); got.StatusCode != 200 {
				t.Fatal(string(got.body))
			}
		}
		if conns.Load() > 3 {
			t.Errorf("stream_plain=%v: %d connections to upstream for 20 calls, one after the other", plain, conns.Load())
		}
		srv.Close()
	}
}

// A giant event, cut, with resume on: the connection breaks, no error event inside.
func TestGateway_giantEventCut(t *testing.T) {
	for _, resume := range []bool{false, true} {
		g := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-opus-4-5\",\"content\":[]}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
			_, _ = io.WriteString(w, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""+strings.Repeat("a ", 1<<20))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}), reviewTransport(t, evenkeel.Config{Stream: evenkeel.Stream{Resume: resume}}))
		resp, err := caller.Do(g.request(t, "POST", "/v1/messages", reviewStream))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || bytes.Contains(b, []byte("event: error")) {
			t.Errorf("resume=%v: %d bytes, then %v", resume, len(b), err)
		}
	}
}

// A whole giant event, then a cut: is the tail told, and not resumed?
func TestGateway_giantEventWhole(t *testing.T) {
	var calls atomic.Int64
	g := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-opus-4-5\",\"content\":[]}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
		_, _ = io.WriteString(w, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""+strings.Repeat("a ", 1<<20)+"\"}}\n\n")
	}), reviewTransport(t, evenkeel.Config{Stream: evenkeel.Stream{Resume: true}}))
	got := do(t, g.request(t, "POST", "/v1/messages", reviewStream))
	if n := strings.Count(string(got.body), "event: error\n"); n != 1 || calls.Load() != 1 {
		t.Errorf("%d error events, %d calls, %d bytes", n, calls.Load(), len(got.body))
	}
}

// stream: null, count_tokens and effects under stream_plain.
func TestGateway_whichCallsAreAssembled(t *testing.T) {
	for _, c := range []struct {
		path, body string
		want       bool
	}{
		{"/v1/messages", strings.Replace(message, "{", `{"stream":null,`, 1), true},
		{"/v1/messages", strings.Replace(message, "{", `{"stream":false,`, 1), true},
		{"/v1/messages", strings.Replace(message, "{", `{"stream":false,"stream":false,`, 1), false},
		{"/v1/messages", strings.Replace(message, "{", `{"mcp_servers":[{"type":"url","url":"https://x"}],`, 1), false},
		{"/v1/messages/count_tokens", message, false},
		{"/v1/messages/batches", message, false},
	} {
		var streamed atomic.Bool
		g := start(t, upstream(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			streamed.Store(bytes.Contains(b, []byte(`"stream":true`)))
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"type":"message","input_tokens":1}`)
		}), reviewTransport(t, evenkeel.Config{Stream: evenkeel.Stream{Plain: true}}))
		got := do(t, g.request(t, "POST", c.path, c.body))
		if got.StatusCode != 200 || streamed.Load() != c.want {
			t.Errorf("%s %s: streamed %v, want %v (%d)", c.path, c.body, streamed.Load(), c.want, got.StatusCode)
		}
	}
}
