package evenkeel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// text returns what the text deltas of a stream add up to, and how often its
// message started and stopped.
func text(t *testing.T, body string) (text string, starts, stops int) {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		starts += strings.Count(data, `"type":"message_start"`)
		stops += strings.Count(data, `"type":"message_stop"`)
		if _, rest, ok := strings.Cut(data, `"text_delta","text":"`); ok {
			piece, _, _ := strings.Cut(rest, `"`)
			out.WriteString(piece)
		}
	}
	return out.String(), starts, stops
}

// beforeContent are the faults that strike a stream before its first content:
// after n events, of which two come before the first delta.
func beforeContent() []sim.Fault {
	var faults []sim.Fault
	for n := range 3 {
		for _, kind := range []sim.Kind{sim.ErrorEventAt, sim.ResetAfter, sim.CloseAfter, sim.EndAfter, sim.HalfEvent, sim.Garbage, sim.StallAfter} {
			faults = append(faults, sim.Fault{Kind: kind, Events: n})
		}
	}
	return faults
}

// TestHold_unseen: whatever goes wrong before content is tried again, and the
// caller sees only the attempt that answered.
func TestHold_unseen(t *testing.T) {
	for _, fault := range beforeContent() {
		t.Run(strings.ReplaceAll(fault.String(), " ", "/"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				api := sim.NewScript(sim.Reply{Status: 200, Fault: fault}, sim.Reply{Status: 200})
				a := mustSend(t, newTransport(t, evenkeel.Config{Base: api, Observer: seen}), newRequest(t, "POST", endpoint, streamBody))
				words, starts, stops := text(t, a.body)
				if err := sim.CheckText(words); err != nil || len(strings.Fields(words)) != 24 {
					t.Errorf("read %d words (%v), want all 24", len(strings.Fields(words)), err)
				}
				if starts != 1 || stops != 1 || strings.Contains(a.body, "event: error") {
					t.Errorf("%d starts, %d stops, want one of each and no error:\n%s", starts, stops, a.body)
				}
				if got := api.Calls(); got != 2 {
					t.Errorf("made %d attempts, want 2", got)
				}
				if e := seen.last(observe.CallDone); e.Reason != "ok" || e.Attempt != 2 {
					t.Errorf("the call ended as %q after %d attempts, want ok after 2", e.Reason, e.Attempt)
				}
				late := fault.Kind == sim.StallAfter
				want := "2"
				if late { // the headers had to go out first
					want = "1"
				}
				if got := a.Header.Get(evenkeel.HeaderAttempts); got != want {
					t.Errorf("evenkeel-attempts is %s, want %s", got, want)
				}
				last := api.Attempts()[api.Calls()-1]
				if id := last.RequestID; !late && a.Header.Get("Request-Id") != id {
					t.Errorf("request-id is %s, want that of the attempt that answered, %s", a.Header.Get("Request-Id"), id)
				}
			})
		})
	}
}

// TestHold_headersGoOut: headers wait two seconds for content, and no longer.
func TestHold_headersGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{TokenTime: 30 * time.Second})
		start := time.Now()
		resp, err := newTransport(t, evenkeel.Config{Base: api}).RoundTrip(newRequest(t, "POST", endpoint, streamBody))
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("the headers came after %v, want 2s", got)
		}
		body, err := io.ReadAll(resp.Body)
		if words, _, stops := text(t, string(body)); err != nil || stops != 1 || sim.CheckText(words) != nil {
			t.Errorf("the stream ended with %v: %q", err, words)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestHold_failsLate: what is no stream becomes an error event once the
// headers are out, in the API's own words if it has said any.
func TestHold_failsLate(t *testing.T) {
	stall := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}}
	tests := []struct {
		name     string
		replies  []sim.Reply
		want     []string
		attempts int
	}{
		{"overloaded to the end", append([]sim.Reply{stall}, replies(529)...), []string{"overloaded_error", "Overloaded", "req_"}, 6},
		{"refused for good", []sim.Reply{stall, {Status: 400, Message: "no such thing"}}, []string{"invalid_request_error", "no such thing"}, 2},
		{"a page of a proxy", []sim.Reply{stall, {Status: 502, Body: "<html>\n</html>"}}, []string{"api_error", "EK-GAVE-UP"}, 6},
		{"broken off to the end", []sim.Reply{stall, {Status: 200, Fault: sim.Fault{Kind: sim.HalfEvent, Events: 1}}}, []string{"api_error", "EK-STREAM-CUT"}, 6},
		{"no answer at all", []sim.Reply{stall, {Fault: sim.Fault{Kind: sim.Refuse}}}, []string{"api_error", "EK-UPSTREAM-UNREACHABLE"}, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(tt.replies...)
				tr := newTransport(t, evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamBody))
				if a.StatusCode != 200 || a.read != nil {
					t.Errorf("got %d, and a body that ends with %v, want 200 and a good end", a.StatusCode, a.read)
				}
				if strings.Count(a.body, "event: ") != 1 || !strings.HasPrefix(a.body, "event: error\ndata: {") || !strings.HasSuffix(a.body, "}\n\n") {
					t.Errorf("got %q, want one error event", a.body)
				}
				for _, part := range tt.want {
					if !strings.Contains(a.body, part) {
						t.Errorf("got %q, want it to say %s", a.body, part)
					}
				}
				if got := api.Calls(); got != tt.attempts {
					t.Errorf("made %d attempts, want %d", got, tt.attempts)
				}
				if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
					t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
				}
			})
		})
	}
}

// leavings are the ways in which a caller leaves.
var leavings = map[string]func(cancel context.CancelFunc, body io.Closer){
	"closes":  func(_ context.CancelFunc, body io.Closer) { _ = body.Close() },
	"cancels": func(cancel context.CancelFunc, _ io.Closer) { cancel() },
}

// TestHold_callerLeaves at every stage of a call whose headers went out early:
// upstream is cancelled, and nothing is left.
func TestHold_callerLeaves(t *testing.T) {
	for how, leave := range leavings {
		for _, after := range []time.Duration{0, time.Second, 5 * time.Second, 12 * time.Second} {
			t.Run(fmt.Sprintf("%s/after=%v", how, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					// It stalls until 5 s, then backs off, then stalls again, and so on.
					api := sim.NewScript(sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}})
					tr := newTransport(t, evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody).WithContext(ctx))
					if err != nil {
						t.Fatal(err)
					}
					read := make(chan error, 1)
					if after > 0 {
						go func() { _, err := io.Copy(io.Discard, resp.Body); read <- err }()
						time.Sleep(after)
					} else {
						read <- errors.New("not read")
					}
					leave(cancel, resp.Body)
					if err := <-read; err == nil {
						t.Error("the body read to a good end")
					}
					_ = resp.Body.Close()
					synctest.Wait()
					for i, at := range api.Attempts() {
						if !at.Done {
							t.Errorf("attempt %d is still in flight", i+1)
						}
					}
					if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
						t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
					}
				})
			})
		}
	}
}

// TestHold_noStream: what comes with 200 in place of a stream, or of a plain
// answer, is no success unless it is whole JSON that is no error.
func TestHold_noStream(t *testing.T) {
	const overloaded = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`
	const message = `{"type":"message","content":[]}`
	tests := []struct {
		name, contentType, body string
		status, attempts        int
	}{
		{"empty", "", "", 502, 6},
		{"an empty stream", "text/event-stream", "", 502, 6},
		{"a page of a proxy", "text/html", "<html></html>", 502, 6},
		{"a page in place of events", "text/event-stream", "<html></html>", 502, 6},
		{"half a message", "application/json", message[:20], 502, 6},
		{"an error that says so", "application/json", overloaded, 529, 6},
		{"an error that cannot be cured", "application/json", `{"type":"error","error":{"type":"invalid_request_error"}}`, 400, 1},
		{"an error in place of events", "text/event-stream", overloaded, 529, 6},
		{"a plain message", "application/json", message, 200, 1},
	}
	for _, tt := range tests {
		for kind, body := range map[string]string{"stream": streamBody, "plain": plainBody} {
			if kind == "plain" && tt.contentType == "text/event-stream" {
				continue // a stream that nobody asked for is followed as any other
			}
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					calls := 0
					tr := newTransport(t, evenkeel.Config{Base: roundTrip(func(r *http.Request) (*http.Response, error) {
						calls++
						_ = r.Body.Close()
						return &http.Response{
							StatusCode: 200, Header: http.Header{"Content-Type": {tt.contentType}}, ContentLength: -1,
							Body: io.NopCloser(strings.NewReader(tt.body)),
						}, nil
					})})
					a, err := send(t, tr, newRequest(t, "POST", endpoint, body))
					status := 0
					if e, ok := errors.AsType[*evenkeel.Error](err); ok {
						status = e.Status
					} else if err == nil {
						status = a.StatusCode
					}
					if status != tt.status || calls != tt.attempts {
						t.Errorf("%d (%v) after %d attempts, want %d after %d", status, err, calls, tt.status, tt.attempts)
					}
					if err == nil && a.body != tt.body {
						t.Errorf("got %q, want what upstream said: %q", a.body, tt.body)
					}
				})
			})
		}
	}
}
