package evenkeel_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// plainRequests are plain requests of all kinds that the simulated API knows.
var plainRequests = map[string]string{
	"text":     plainBody,
	"false":    `{"stream": false, "model":"claude-opus-4-8","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`,
	"cut off":  `{"model":"claude-haiku-5-5","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
	"thinking": `{"model":"claude-sonnet-4-5","max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":"hi"}]}`,
	"omitted":  `{"model":"claude-opus-5-5","max_tokens":4000,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"hi"}]}`,
	"tools": `{"model":"claude-haiku-4-5","max_tokens":4000,"messages":[{"role":"user","content":"hi"}],"tool_choice":{"type":"any"},
		"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"]}}]}`,
	"citations": `{"model":"claude-haiku-4-5","max_tokens":4000,"messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":true},
		"source":{"type":"text","media_type":"text/plain","data":"The keel is long. The harbor is deep."}},{"type":"text","text":"hi"}]}]}`,
	"search": `{"model":"claude-haiku-4-5","max_tokens":4000,"messages":[{"role":"user","content":"search the web"}],
		"tools":[{"type":"web_search_20250305","name":"web_search"}]}`,
}

// TestPlain_isTheSameAnswer: what is assembled is the JSON that the API answers
// to the plain call, but for the order of its fields.
func TestPlain_isTheSameAnswer(t *testing.T) {
	for name, body := range plainRequests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				get := func(plain bool) answer {
					api := sim.New(sim.Config{})
					a := mustSend(t, newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Plain: plain}}), newRequest(t, "POST", endpoint, body))
					if streamed := api.Attempts()[0].Stream; streamed != plain {
						t.Errorf("upstream was asked for a stream: %v, want %v", streamed, plain)
					}
					return a
				}
				want, got := get(false), get(true)
				if want.StatusCode != 200 || !sameJSON(t, got.body, want.body) {
					t.Errorf("assembled\n%s\nplain\n%s", got.body, want.body)
				}
				for name := range want.Header {
					switch name {
					case "Date", "Content-Length", evenkeel.HeaderID:
					default:
						if got.Header.Get(name) != want.Header.Get(name) {
							t.Errorf("header %s is %q, want %q", name, got.Header.Get(name), want.Header.Get(name))
						}
					}
				}
				if len(got.Header) != len(want.Header) || got.ContentLength != int64(len(got.body)) {
					t.Errorf("header %v, want the fields of %v", got.Header, want.Header)
				}
			})
		})
	}
}

// TestPlain_retriedUnseen: a stream that breaks anywhere before its end is
// tried again as a whole.
func TestPlain_retriedUnseen(t *testing.T) {
	for _, at := range []int{0, 1, 7, 27} {
		for _, fault := range midText() {
			fault.Events = at
			t.Run(strings.ReplaceAll(fault.String(), " ", "/"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					seen := &recorder{}
					api := sim.NewScript(sim.Reply{Status: 200, Fault: fault}, sim.Reply{Status: 200})
					tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Stream: evenkeel.Stream{Plain: true}})
					a := mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody))
					if words := gjson.Get(a.body, "content.0.text").Str; a.StatusCode != 200 || sim.CheckWhole(words) != nil {
						t.Errorf("got %d %q, want a whole answer", a.StatusCode, a.body)
					}
					checkAttempts(t, api, 2)
					if e := seen.last(observe.CallDone); e.Reason != "ok" || e.Usage.Output == 0 || e.Stream {
						t.Errorf("the call ended as %+v, want a plain one that tells its usage", e)
					}
					if limit := evenkeelIdle; fault.Kind == sim.StallAfter && (a.took < limit || a.took > limit+2*time.Second) {
						t.Errorf("a stall was noticed after %v, want %v", a.took, limit)
					}
					if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
						t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
					}
				})
			})
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Error(err)
	}
	return reflect.DeepEqual(x, y)
}

const evenkeelIdle = 3 * time.Minute // the default

// TestPlain_errors: an error inside the stream reaches a plain caller as the
// error answer that it would have got.
func TestPlain_errors(t *testing.T) {
	at := func(typ claude.ErrorType) sim.Reply {
		return sim.Reply{Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 3, Type: typ}}
	}
	tests := []struct {
		name     string
		reply    sim.Reply
		status   int
		kind     string
		attempts int
	}{
		{"overloaded to the end", at(claude.Overloaded), 529, "overloaded_error", 6},
		{"what cannot succeed", at(claude.InvalidRequest), 400, "invalid_request_error", 1},
		{"an error before the stream", sim.Reply{Status: 400}, 400, "invalid_request_error", 1},
		{"a limit", sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "100"}}, 429, "rate_limit_error", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(tt.reply)
				a := mustSend(t, newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Plain: true}}), newRequest(t, "POST", endpoint, plainBody))
				if a.StatusCode != tt.status || gjson.Get(a.body, "error.type").Str != tt.kind || a.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got %d %s %q, want %d %s", a.StatusCode, a.Header.Get("Content-Type"), a.body, tt.status, tt.kind)
				}
				checkAttempts(t, api, tt.attempts)
			})
		})
	}
}

// TestPlain_hangShowsEarly: a plain call that hangs is given up after the
// first-byte limit of a stream, not after that of a plain answer.
func TestPlain_hangShowsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.Hang}}, sim.Reply{Status: 200})
		body := strings.Replace(plainBody, `"max_tokens":64`, `"max_tokens":8000`, 1)
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Plain: true}}), newRequest(t, "POST", endpoint, body))
		if a.StatusCode != 200 || a.took < 2*time.Minute || a.took > 2*time.Minute+time.Second {
			t.Errorf("got %d after %v, want 200 just after 2m", a.StatusCode, a.took)
		}
	})
}

// TestPlain_passesOnWhatItCannotAssemble: a delta that has no known place
// makes the call a plain one, and all later ones of that model at once.
func TestPlain_passesOnWhatItCannotAssemble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []bool
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			streamed := gjson.GetBytes(body, "stream").Bool()
			asked = append(asked, streamed)
			if !streamed {
				if string(body) != plainBody {
					t.Errorf("the plain request is %s, want the caller's", body)
				}
				return reply("application/json", `{"type":"message"}`), nil
			}
			return reply("text/event-stream", strings.Join([]string{
				`{"type":"message_start","message":{"id":"msg_1","content":[]}}`,
				`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
				`{"type":"content_block_delta","index":0,"delta":{"type":"scent_delta","scent":"salt"}}`,
			}, "\n\n")), nil
		})
		seen := &recorder{}
		tr := newTransport(t, evenkeel.Config{Base: base, Observer: seen, Stream: evenkeel.Stream{Plain: true}})
		for range 2 {
			if a := mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody)); a.body != `{"type":"message"}` {
				t.Errorf("got %q, want the plain answer", a.body)
			}
		}
		if want := []bool{true, false, false}; !slices.Equal(asked, want) {
			t.Errorf("asked for streams: %v, want %v", asked, want)
		}
		if e := seen.last(observe.PassedOn); e.State != "scent_delta" || e.Model != "claude-haiku-5-5" {
			t.Errorf("told %+v, want the delta and the model", e)
		}
		if got := tr.Snapshot().PassedOn; len(got) != 1 || got[0] != "claude-haiku-5-5" {
			t.Errorf("the snapshot names %v", got)
		}
	})
}

// reply is an answer with 200; data of events stand between empty lines.
func reply(contentType, body string) *http.Response {
	if contentType == "text/event-stream" {
		body = "data: " + strings.ReplaceAll(body, "\n\n", "\n\ndata: ") + "\n\n"
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {contentType}}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(body)),
	}
}
