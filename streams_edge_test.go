package evenkeel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// books counts tickets.
type books struct {
	*call.Memory
	mu             sync.Mutex
	open           map[uint64]bool
	granted, twice int
}

func newBooks() *books {
	return &books{Memory: call.NewMemory(call.MemoryConfig{}), open: map[uint64]bool{}}
}

func (b *books) Admit(ctx context.Context, now time.Time, n call.Need) call.Decision {
	d := b.Memory.Admit(ctx, now, n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.Ticket.ID != 0 {
		b.open[d.Ticket.ID] = true
		b.granted++
	}
	return d
}

func (b *books) Settle(ctx context.Context, now time.Time, t call.Ticket, e call.End) call.Settled {
	b.mu.Lock()
	if !b.open[t.ID] {
		b.twice++
	}
	delete(b.open, t.ID)
	b.mu.Unlock()
	return b.Memory.Settle(ctx, now, t, e)
}

func (b *books) check(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) != 0 || b.twice != 0 {
		t.Errorf("%d of %d tickets were never settled, %d settled twice", len(b.open), b.granted, b.twice)
	}
}

// TestStreams_closedUnreadAfterContent: the headers are out early, content comes,
// and the caller closes without having read any of it.
func TestStreams_closedUnreadAfterContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		api := sim.New(sim.Config{TokenTime: 3 * time.Second})
		tr := newTransport(t, evenkeel.Config{Base: api, Admission: b})
		resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // content is there
		_ = resp.Body.Close()
		synctest.Wait()
		b.check(t)
		if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
			t.Errorf("left: %+v", s)
		}
		for i, at := range api.Attempts() {
			if !at.Done {
				t.Errorf("attempt %d in flight", i)
			}
		}
	})
}

// TestPlain_compressed: a stream that comes compressed to a plain call makes it plain.
func TestPlain_compressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			h := http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}}
			if bytes.Contains(body, []byte(`"stream":true`)) {
				h.Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
			} else {
				_, _ = io.WriteString(w, `{"type":"message"}`)
			}
			_ = w.Close()
			return &http.Response{StatusCode: 200, Header: h, ContentLength: -1, Body: io.NopCloser(&z)}, nil
		})
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: base, Stream: evenkeel.Stream{Plain: true}}), newRequest(t, "POST", endpoint, plainBody))
		if ct := a.Header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("a plain caller got %d %s", a.StatusCode, ct)
		}
	})
}

// TestPlain_wholeButUnfamiliar: a stream that is whole, and not as documented, is
// asked for again as a plain answer.
func TestPlain_wholeButUnfamiliar(t *testing.T) {
	for name, events := range map[string][]string{
		"message_start with content": {
			`{"type":"message_start","message":{"id":"msg_1","content":[{"type":"text","text":"a"}]}}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`,
		},
		"input begins in the block": {
			`{"type":"message_start","message":{"id":"msg_1","content":[]}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{"a":1}}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}`,
			`{"type":"content_block_stop","index":0}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`,
		},
		"eager tool input that is no JSON": {
			`{"type":"message_start","message":{"id":"msg_1","content":[]}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\": oops"}}`,
			`{"type":"content_block_stop","index":0}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}`, `{"type":"message_stop"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var streams, plains int
				base := roundTrip(func(r *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(r.Body)
					if !bytes.Contains(body, []byte(`"stream":true`)) {
						plains++
						return reply("application/json", `{"type":"message"}`), nil
					}
					streams++
					return reply("text/event-stream", strings.Join(events, "\n\n")), nil
				})
				a, err := send(t, newTransport(t, evenkeel.Config{Base: base, Stream: evenkeel.Stream{Plain: true}}), newRequest(t, "POST", endpoint, plainBody))
				t.Logf("%d streams, %d plain; err %v body %s", streams, plains, err, a.body)
				if err != nil || streams > 2 {
					t.Errorf("a stream that was whole was made %d times (each billed) and the caller got %v", streams, err)
				}
			})
		})
	}
}

// shut is an Admission whose breaker opens once.
type shut struct {
	*books
	closed atomic.Bool
}

func (s *shut) Admit(ctx context.Context, now time.Time, n call.Need) call.Decision {
	if s.closed.Load() {
		return call.Decision{Hold: call.Hold{Reason: call.HoldBreaker, Until: now.Add(30 * time.Second)}}
	}
	return s.books.Admit(ctx, now, n)
}

func TestResume_breakerOpen(t *testing.T) {
	for _, deadline := range []string{"", "60s"} {
		t.Run("deadline="+deadline, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &shut{books: newBooks()}
				api := sim.NewScript(sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 7}}, sim.Reply{})
				tr := newTransport(t, evenkeel.Config{Base: api, Admission: b, Stream: evenkeel.Stream{Resume: true}})
				req := newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5"))
				if deadline != "" {
					req.Header.Set(evenkeel.HeaderDeadline, deadline)
				}
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				b.closed.Store(true)
				start := time.Now()
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				t.Logf("deadline %q: mid-stream, the caller waited %v for its error event (%v)", deadline, time.Since(start), err)
				if time.Since(start) > 2*time.Minute {
					t.Errorf("waited %v", time.Since(start))
				}
				b.check(t)
			})
		})
	}
}

// TestResume_reasonIsNoText: why a stream was not gone on with is told from a
// closed set, whatever the caller's GetBody says.
func TestResume_reasonIsNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		api := sim.NewScript(sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 7}}, sim.Reply{})
		tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Stream: evenkeel.Stream{Resume: true}})
		req := newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5"))
		n := 0
		get := req.GetBody
		req.GetBody = func() (io.ReadCloser, error) {
			if n++; n > 1 {
				return nil, errors.New("open /home/me/prompts/secret.json: gone")
			}
			return get()
		}
		mustSend(t, tr, req)
		if e := seen.last(observe.CallDone); strings.Contains(e.Resume, "/home") {
			t.Errorf("Resume is %q", e.Resume)
		}
	})
}

// TestHold_lateErrorEvents: the API's own error is what the caller gets behind
// headers that are out.
func TestHold_lateErrorEvents(t *testing.T) {
	for _, events := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			stall := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}}
			over := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: events}}
			api := sim.NewScript(stall, over)
			tr := newTransport(t, evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
			a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamBody))
			if !strings.Contains(a.body, "overloaded_error") {
				t.Errorf("after %d attempts that said overloaded_error the caller is told %q", api.Calls(), a.body)
			}
		})
	}
}

// TestPlain_keepsConnections: calls that are assembled use one connection.
func TestPlain_keepsConnections(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, plain := range []bool{false, true} {
			var conns atomic.Int64
			api := sim.New(sim.Config{})
			srv := httptest.NewUnstartedServer(api)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			if h2 {
				srv.EnableHTTP2 = true
				srv.StartTLS()
			} else {
				srv.Start()
			}
			tr := newTransport(t, evenkeel.Config{Base: srv.Client().Transport, Stream: evenkeel.Stream{Plain: plain}})
			for range 20 {
				if a := mustSend(t, tr, newRequest(t, "POST", srv.URL+"/v1/messages", plainBody)); a.StatusCode != 200 {
					t.Fatal(a.body)
				}
			}
			t.Logf("h2=%v stream_plain=%v: %d connections for 20 calls", h2, plain, conns.Load())
			if conns.Load() > 3 {
				t.Errorf("h2=%v stream_plain=%v: %d connections for 20 calls", h2, plain, conns.Load())
			}
			_ = tr.Close()
			srv.Close()
		}
	}
}

// TestHold_staleLength: the length of a buffered stream does not outlive what is
// taken out of it.
func TestHold_staleLength(t *testing.T) {
	const body = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"no\"}}\n\n"
	for _, extra := range []string{"", "\n", ": bye\n"} {
		synctest.Test(t, func(t *testing.T) {
			base := roundTrip(func(r *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, r.Body)
				all := body + extra
				return &http.Response{
					StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}, "Content-Length": {strconv.Itoa(len(all))}},
					ContentLength: int64(len(all)), Body: io.NopCloser(strings.NewReader(all)),
				}, nil
			})
			a := mustSend(t, newTransport(t, evenkeel.Config{Base: base}), newRequest(t, "POST", endpoint, streamBody))
			if l := a.Header.Get("Content-Length"); l != "" && l != strconv.Itoa(len(a.body)) {
				t.Errorf("extra %q: header says %s bytes, body has %d", extra, l, len(a.body))
			}
		})
	}
}

// TestPlain_errorThatIsNoJSON: a plain caller gets JSON all the same.
func TestPlain_errorThatIsNoJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			return &http.Response{
				StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1,
				Body: io.NopCloser(strings.NewReader("event: error\ndata: upstream connect error\n\n")),
			}, nil
		})
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: base, Stream: evenkeel.Stream{Plain: true}}), newRequest(t, "POST", endpoint, plainBody))
		if !strings.HasPrefix(a.body, "{") {
			t.Errorf("got %d %s %q", a.StatusCode, a.Header.Get("Content-Type"), a.body)
		}
	})
}

// TestStreams_resumedAfterAnError: what was delivered is no answer to fall back
// on when nothing more comes, though an earlier attempt brought one.
func TestStreams_resumedAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Status: 529}, sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.EndAfter, Events: 7}},
			sim.Reply{Fault: sim.Fault{Kind: sim.Refuse}})
		tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: true}})
		resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5")))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(b), "EK-STREAM-CUT") {
			t.Errorf("the stream ended with %v: %s", err, b)
		}
		_ = resp.Body.Close()
	})
}

// TestStreams_errorIsNoSuccess: a caller who gets an error event is not in the
// books as a success.
func TestStreams_errorIsNoSuccess(t *testing.T) {
	json200 := sim.Reply{Status: 200, Body: `{"type":"message","content":[]}`, Header: map[string]string{"Content-Type": "application/json"}}
	gz := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.Gzip}}
	half := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.EndAfter, Events: 7}}
	stall := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}}
	for name, script := range map[string][]sim.Reply{
		"resume, then JSON": {half, json200}, "resume, then gzip": {half, gz},
		"late JSON": {stall, json200}, "late gzip": {stall, gz},
		"resume, then 529": {half, {Status: 529}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				api := sim.NewScript(script...)
				tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Stream: evenkeel.Stream{Resume: true}, Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5")))
				e := seen.last(observe.CallDone)
				if strings.Contains(a.body, "event: error\n") && (e.Reason == "ok" || e.Resume == "resumed") {
					t.Errorf("the caller got an error event (trailer %q), and the books say status %d, reason %q, resume %q", a.Trailer.Get(evenkeel.HeaderResumed), e.Status, e.Reason, e.Resume)
				}
			})
		})
	}
}

type stalled struct {
	ctx  context.Context
	head io.Reader
}

func (s *stalled) Read(p []byte) (int, error) {
	if n, err := s.head.Read(p); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
func (s *stalled) Close() error { return nil }

// TestStreams_lateAnswerStalls: what is no stream and stalls, behind headers that
// are out, is given up as a stream is.
func TestStreams_lateAnswerStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			n++
			h := http.Header{"Content-Type": {"text/event-stream"}}
			if n > 1 {
				h.Set("Content-Encoding", "gzip")
			}
			return &http.Response{StatusCode: 200, Header: h, ContentLength: -1, Body: &stalled{r.Context(), strings.NewReader("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n")}}, nil
		})
		tr := newTransport(t, evenkeel.Config{Base: base, Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		start := time.Now()
		mustSend(t, tr, newRequest(t, "POST", endpoint, streamBody).WithContext(ctx))
		if took := time.Since(start); took > 15*time.Minute {
			t.Errorf("took %v, with an idle limit of 5s and a total of 10m", took)
		}
	})
}

// TestStreams_bodiesKeptForNothing: with resumption on, the body of a call that
// can never be resumed is let go like any other.
func TestStreams_bodiesKeptForNothing(t *testing.T) {
	for _, resume := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(sim.Config{TokenTime: 500 * time.Millisecond})
			tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: resume}})
			req := newRequest(t, "POST", endpoint, streamOf("claude-opus-5-5"))
			req.GetBody = nil
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = resp.Body.Read(make([]byte, 4096))
			if kept := tr.Snapshot().Bodies; kept != 0 {
				t.Errorf("resume=%v: %d bytes of bodies are kept while a stream flows that is never resumed", resume, kept)
			}
			_ = resp.Body.Close()
		})
	}
}
