package evenkeel_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func streamOf(model string) string {
	return `{"stream":true,"model":"` + model + `","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
}

// midText are the faults that strike in the middle of a text.
func midText() []sim.Fault {
	var faults []sim.Fault
	for _, kind := range []sim.Kind{sim.ErrorEventAt, sim.ResetAfter, sim.CloseAfter, sim.EndAfter, sim.HalfEvent, sim.Garbage, sim.StallAfter} {
		faults = append(faults, sim.Fault{Kind: kind, Events: 7})
	}
	return faults
}

// TestResume_oneMessage: a stream that breaks in text is gone on with, and the
// caller reads one whole message that says what both parts have cost.
func TestResume_oneMessage(t *testing.T) {
	for _, model := range []string{"claude-opus-4-5", "claude-opus-4-8", "claude-haiku-4-5"} {
		for _, fault := range midText() {
			t.Run(model+"/"+string(fault.Kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					seen := &recorder{}
					api := sim.NewScript(sim.Reply{Status: 200, Fault: fault}, sim.Reply{})
					tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Stream: evenkeel.Stream{Resume: true}})
					a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamOf(model)))
					words, starts, stops := text(t, a.body)
					if err := sim.CheckWhole(words); err != nil || len(strings.Fields(words)) != 24 {
						t.Errorf("read %q (%v), want all 24 words once", words, err)
					}
					if starts != 1 || stops != 1 || strings.Contains(a.body, "event: error") || a.read != nil {
						t.Errorf("%d starts, %d stops, end %v, want one of each and a good end:\n%s", starts, stops, a.read, a.body)
					}
					if got := a.Trailer.Get(evenkeel.HeaderResumed); got != "1" {
						t.Errorf("trailer %s is %q, want 1", evenkeel.HeaderResumed, got)
					}
					checkAttempts(t, api, 2)
					e := seen.last(observe.CallDone)
					if e.Reason != "ok" || e.Resume != "resumed" || e.Attempt != 2 {
						t.Errorf("the call ended as %q, %q, after %d attempts; want ok, resumed, 2", e.Reason, e.Resume, e.Attempt)
					}
					part := seen.last(observe.Resumed)
					if part.Usage.Input == 0 || part.Usage.Output == 0 || e.Usage.Input <= part.Usage.Input || e.Usage.Output < 24 {
						t.Errorf("the part cost %+v and all of it %+v, want both attempts in it", part.Usage, e.Usage)
					}
					told := gjson.Get(lastData(a.body, "message_delta"), "usage")
					if told.Get("output_tokens").Int() != int64(e.Usage.Output) || told.Get("input_tokens").Int() != int64(e.Usage.Input) {
						t.Errorf("the caller is told %s, and the books %+v", told.Raw, e.Usage)
					}
					if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
						t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
					}
				})
			})
		}
	}
}

// lastData returns the data of the last event of a name.
func lastData(body, name string) string {
	_, rest, _ := strings.Cut(body[strings.LastIndex(body, "event: "+name):], "data: ")
	data, _, _ := strings.Cut(rest, "\n")
	return data
}

func checkAttempts(t *testing.T, api *sim.API, want int) {
	t.Helper()
	if got := api.Calls(); got != want {
		t.Errorf("made %d attempts, want %d", got, want)
	}
	for i, at := range api.Attempts() {
		if !at.Done {
			t.Errorf("attempt %d is still in flight", i+1)
		}
	}
}

// TestResume_nothingLeft: a stream that lost only the end of its message gets
// that end, and not a second answer.
func TestResume_nothingLeft(t *testing.T) {
	for _, model := range []string{"claude-opus-4-5", "claude-opus-4-8"} {
		t.Run(model, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ResetAfter, Events: 26}}, sim.Reply{})
				tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: true}})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamOf(model)))
				words, starts, stops := text(t, a.body)
				if err := sim.CheckWhole(words); err != nil || len(strings.Fields(words)) != 24 {
					t.Errorf("read %q (%v), want all 24 words once", words, err)
				}
				if got := gjson.Get(lastData(a.body, "message_delta"), "delta.stop_reason").Str; got != "end_turn" || starts != 1 || stops != 1 || a.read != nil {
					t.Errorf("%d starts, %d stops, stop reason %q, end %v, want a good end:\n%s", starts, stops, got, a.read, a.body)
				}
				checkAttempts(t, api, 2)
			})
		})
	}
}

// TestResume_notWhereItIsNotSafe: the stream ends in the error event that ends
// it without resumption, and nothing more is sent.
func TestResume_notWhereItIsNotSafe(t *testing.T) {
	overload := sim.Fault{Kind: sim.ErrorEventAt, Events: 7}
	tests := []struct {
		name   string
		body   string
		fault  sim.Fault
		resume string // as told
		end    string
	}{
		{"thinking is always on, and bound", streamOf("claude-opus-5-5"), overload, "always_thinks", "overloaded_error"},
		{"the stop reason is known", streamOf("claude-opus-4-5"), sim.Fault{Kind: sim.ErrorEventAt, Events: 28}, "message_done", "overloaded_error"},
		{"a cut is told in our words", streamOf("claude-opus-5-5"), sim.Fault{Kind: sim.ResetAfter, Events: 7}, "always_thinks", "EK-STREAM-CUT"},
		{"what the caller did wrong stays wrong", streamOf("claude-opus-4-5"), sim.Fault{Kind: sim.ErrorEventAt, Events: 7, Type: "invalid_request_error"}, "stream_error", "invalid_request_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				api := sim.NewScript(sim.Reply{Status: 200, Fault: tt.fault}, sim.Reply{})
				tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Stream: evenkeel.Stream{Resume: true}})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, tt.body))
				if strings.Count(a.body, "event: error\n") != 1 || !strings.Contains(a.body[strings.LastIndex(a.body, "event: "):], tt.end) {
					t.Errorf("the stream ended with %q, want one error event with %s", a.body[strings.LastIndex(a.body, "event: "):], tt.end)
				}
				if got := a.Trailer.Get(evenkeel.HeaderResumed); got != "" {
					t.Errorf("trailer %s is %q, want none", evenkeel.HeaderResumed, got)
				}
				checkAttempts(t, api, 1)
				if e := seen.last(observe.CallDone); e.Resume != tt.resume {
					t.Errorf("told as %q, want %q", e.Resume, tt.resume)
				}
			})
		})
	}
}

// TestResume_fails: where no continuation can be had the stream ends in the
// error that broke it, not in one about a request the caller never made.
func TestResume_fails(t *testing.T) {
	half := sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 7}}
	tests := []struct {
		name     string
		rest     []sim.Reply
		attempts int
		end      string
	}{
		{"overloaded to the end", replies(529), 6, "overloaded_error"},
		{"refused", replies(400), 2, "overloaded_error"},
		{"no connection", []sim.Reply{{Fault: sim.Fault{Kind: sim.Refuse}}}, 6, "overloaded_error"},
		{"broken again after content: once is the limit", []sim.Reply{{Fault: sim.Fault{Kind: sim.ResetAfter, Events: 6}}}, 2, "EK-STREAM-CUT"},
		{"broken before content, then whole", []sim.Reply{{Fault: sim.Fault{Kind: sim.ResetAfter, Events: 1}}, {}}, 3, "message_stop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(append([]sim.Reply{half}, tt.rest...)...)
				tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: true}})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5")))
				last := a.body[strings.LastIndex(a.body, "event: "):]
				if !strings.Contains(last, tt.end) || a.read != nil {
					t.Errorf("the stream ended with %q and %v, want an event with %s", last, a.read, tt.end)
				}
				words, starts, _ := text(t, a.body)
				if err := sim.CheckText(words); err != nil || starts != 1 {
					t.Errorf("%d starts, %q: %v", starts, words, err)
				}
				if tt.end == "message_stop" && sim.CheckWhole(words) != nil {
					t.Errorf("ended well with %q", words)
				}
				checkAttempts(t, api, tt.attempts)
				if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
					t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
				}
			})
		})
	}
}

// TestResume_callerLeaves while the rest is being asked for.
func TestResume_callerLeaves(t *testing.T) {
	for how, leave := range leavings {
		synctest.Test(t, func(t *testing.T) {
			api := sim.NewScript(sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.EndAfter, Events: 7}}, sim.Reply{Fault: sim.Fault{Kind: sim.Hang}})
			tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: true}})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5")).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, resp.Body); read <- err }()
			time.Sleep(10 * time.Second)
			leave(cancel, resp.Body)
			if err := <-read; err == nil {
				t.Errorf("%s: the body read to a good end", how)
			}
			_ = resp.Body.Close()
			synctest.Wait()
			checkAttempts(t, api, 2)
			if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
				t.Errorf("%s: %d calls and %d bytes of bodies are left", how, len(s.Calls), s.Bodies)
			}
		})
	}
}
