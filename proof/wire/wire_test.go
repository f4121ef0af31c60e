// Package wire proves on real sockets and processes what no bubble can show:
// connections, goroutines, signals.
package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		binary.Remove()
		os.Exit(code)
	}))
}

const body = `{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`

var streaming = strings.Replace(body, "{", `{"stream":true,`, 1)

// server is an upstream on a real socket that counts connections.
func server(t *testing.T, h http.Handler) (url string, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, conns
}

func transport(t *testing.T, cfg evenkeel.Config) *evenkeel.Transport {
	t.Helper()
	tr, err := evenkeel.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func request(t *testing.T, base, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "sk-wire")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	return r
}

// TestConnections_failedAttemptsAreDrained: twenty calls of six attempts each,
// one after the other, need one connection and leave no goroutine (TestMain).
func TestConnections_failedAttemptsAreDrained(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	url, conns := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(529)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"overloaded_error","message":"`+big+`"}}`)
	}))
	tr := transport(t, evenkeel.Config{
		Backoff: backoff.Exponential{Base: time.Millisecond}, RetryBudget: 10_000,
		Breaker: evenkeel.Breaker{Off: true}, // twenty calls that fail would open it
	})
	attempts := 0
	for range 20 {
		resp, err := tr.RoundTrip(request(t, url, body))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		attempts += len(strings.Fields(resp.Header.Get(evenkeel.HeaderTrail)))
	}
	if attempts != 120 || conns.Load() != 1 {
		t.Errorf("%d attempts on %d connections, want 120 on 1", attempts, conns.Load())
	}
}

// TestHangup_reachesUpstreamWithinASecond: of a call that was sent.
func TestHangup_reachesUpstreamWithinASecond(t *testing.T) {
	for name, b := range map[string]string{"plain": body, "stream": streaming} {
		t.Run(name, func(t *testing.T) {
			arrived, gone := make(chan bool, 1), make(chan time.Time, 1)
			url, _ := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if b == streaming {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(w, "event: ping\ndata: {\"type\": \"ping\"}\n\n")
					_ = http.NewResponseController(w).Flush()
				}
				arrived <- true
				<-r.Context().Done()
				gone <- time.Now()
			}))
			tr := transport(t, evenkeel.Config{})
			client := &http.Client{Transport: tr}
			ctx, hangUp := context.WithCancel(t.Context())
			req := request(t, url, b).WithContext(ctx)
			done := make(chan error, 1)
			go func() {
				resp, err := client.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				done <- err
			}()
			<-arrived
			start := time.Now()
			hangUp()
			if err := <-done; err == nil {
				t.Error("the call succeeded")
			}
			select {
			case at := <-gone:
				t.Logf("upstream knew after %v", at.Sub(start))
			case <-time.After(time.Second):
				t.Error("upstream still works for a caller that left a second ago")
			}
		})
	}
}

// TestConnections_resetIsRetried: a connection that is reset before headers.
func TestConnections_resetIsRetried(t *testing.T) {
	for _, kind := range []sim.Kind{sim.ResetBeforeHeaders, sim.CloseBeforeHeaders} {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: kind}}, sim.Reply{Status: 200})
		url, _ := server(t, api)
		tr := transport(t, evenkeel.Config{Backoff: backoff.Exponential{Base: time.Millisecond}})
		resp, err := tr.RoundTrip(request(t, url, body))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get(evenkeel.HeaderAttempts) != "2" {
			t.Errorf("%s: %d after %s attempts, want 200 after 2", kind, resp.StatusCode, resp.Header.Get(evenkeel.HeaderAttempts))
		}
	}
}

// TestConnections_refusedIsToldApart: nothing was sent, so even a request with
// effects may go again, and does.
func TestConnections_refusedIsToldApart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	_ = l.Close()
	tr := transport(t, evenkeel.Config{Backoff: backoff.Exponential{Base: time.Millisecond}})
	req := request(t, dead, "{}")
	req.URL.Path = "/v1/messages/batches"
	_, err = tr.RoundTrip(req)
	e, ok := errors.AsType[*evenkeel.Error](err)
	if !ok || e.Attempts != 6 || e.Code != evenkeel.CodeUnreachable {
		t.Errorf("got %v, want EK-UPSTREAM-UNREACHABLE after 6 attempts", err)
	}
}

// TestStreams_eventsLeaveAtOnce: an event is in the caller's hands before the
// next is written, and many callers at a time see every byte.
func TestStreams_eventsLeaveAtOnce(t *testing.T) {
	const callers, events = 32, 200
	url, _ := server(t, sim.New(sim.Config{TokenTime: time.Millisecond, OutputTokens: events}))
	tr := transport(t, evenkeel.Config{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			resp, err := tr.RoundTrip(request(t, url, strings.Replace(streaming, "64", "4096", 1)))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			b, err := io.ReadAll(resp.Body)
			if err != nil || !strings.HasSuffix(string(b), "\"type\":\"message_stop\"}\n\n") {
				t.Errorf("the stream ended with %v, …%q", err, b[max(0, len(b)-60):])
			}
		})
	}
	wg.Wait()
}
