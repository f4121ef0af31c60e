package fallback

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// request is a body with more fields, and messages after the first.
func request(fields, messages string) string {
	return `{ "model":"claude-opus-4-5", "max_tokens": 64` + fields + `,"messages":[{"role":"user","content":"hi"}` + messages + `]}`
}

func TestRequest_reason(t *testing.T) {
	const thought = `,{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"s"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}`
	tests := []struct {
		reason, body, to string
		want             error
	}{
		{"a plain request goes anywhere", request("", ""), "claude-opus-5-5", nil},
		{"and to what is not documented", request("", ""), "claude-opus-6", nil},
		{"the model itself", request("", ""), "claude-opus-4-5", ErrSame},
		{"thinking in the history", request("", thought), "claude-opus-5", ErrThinking},
		{"thinking that is sealed", request("", strings.Replace(thought, `"thinking"`, `"redacted_\u0074hinking"`, 1)), "claude-opus-5", ErrThinking},
		{"thinking as a word", request("", strings.Replace(thought, `"type":"thinking"`, `"type":"text"`, 1)), "claude-opus-5", nil},
		{"a tool must be called", request(`,"tool_choice":{"type":"any"}`, ""), "claude-opus-5-5", ErrForcedTool},
		{"this tool must be called", request(`,"tool_choice":{"type":"to\u006fl","name":"a"}`, ""), "claude-sonnet-5-5", ErrForcedTool},
		{"a tool must be called, of one that takes it", request(`,"tool_choice":{"type":"any"}`, ""), "claude-opus-5", nil},
		{"a tool may be called", request(`,"tool_choice":{"type":"auto"}`, ""), "claude-opus-5-5", nil},
		{"none must be called", request(`,"tool_choice":{"type":"none"}`, ""), "claude-opus-6", nil},
		{"temperature", request(`,"temperature":0.2`, ""), "claude-opus-4-7", ErrSampling},
		{"temperature of one is the default", request(`,"temperature":1.0`, ""), "claude-opus-4-7", nil},
		{"temperature, of one that takes it", request(`,"temperature":0.2`, ""), "claude-opus-4-6", nil},
		{"top_p", request(`,"top_p":0.9`, ""), "claude-sonnet-5-5", ErrSampling},
		{"top_k", request(`,"top_k":5`, ""), "claude-opus-6", ErrSampling},
		{"prefill", request("", `,{"role":"assistant","content":"so"}`), "claude-opus-4-6", ErrPrefill},
		{"prefill, of one that takes it", request("", `,{"role":"assistant","content":"so"}`), "claude-sonnet-4-5", nil},
		{"effort", request(`,"output_config":{"effort":"low"}`, ""), "claude-haiku-4-5", ErrEffort},
		{"no effort", request(`,"output_config":{"effort":null}`, ""), "claude-haiku-4-5", nil},
		{"fast mode", request(`,"speed":"fast"`, ""), "claude-opus-4-6", ErrFast},
		{"standard speed", request(`,"speed":"standard"`, ""), "claude-opus-4-6", nil},
		{"a budget for thinking", request(`,"thinking":{"type":"enabled","budget_tokens":9}`, ""), "claude-opus-4-7", ErrMode},
		{"a budget, of one that takes it", request(`,"thinking":{"type":"enabled","budget_tokens":9}`, ""), "claude-opus-4-6", nil},
		{"adaptive thinking", request(`,"thinking":{"type":"adaptive"}`, ""), "claude-sonnet-4-5", ErrMode},
		{"adaptive thinking, of one that takes it", request(`,"thinking":{"type":"adaptive"}`, ""), "claude-opus-5-5", nil},
		{"no thinking", request(`,"thinking":{"type":"disabled"}`, ""), "claude-opus-5-5", ErrMode},
		{"no thinking, of one that can", request(`,"thinking":{"type":"disabled"}`, ""), "claude-sonnet-5-5", nil},
		{"a mode that nobody knows", request(`,"thinking":{"type":"deep"}`, ""), "claude-sonnet-5-5", ErrMode},
		{"null is as if left out", request(`,"thinking":null,"top_k":null,"tool_choice":null,"speed":null`, ""), "claude-opus-6", nil},
		{"a model twice", request(`,"model":"claude-opus-5"`, ""), "claude-opus-6", ErrBody},
		{"a role twice", request("", `,{"role":"user","role":"assistant","content":"a"}`), "claude-opus-6", ErrBody},
		{"a type twice", request("", `,{"role":"user","content":[{"type":"text","type":"thinking"}]}`), "claude-opus-6", ErrBody},
		{"no messages", `{"model":"a"}`, "claude-opus-6", ErrBody},
		{"a model that is no text", `{"model":1,"messages":[]}`, "claude-opus-6", ErrBody},
		{"no JSON", `{"model":"a","messages":[`, "claude-opus-6", ErrBody},
		{"no object", `[]`, "claude-opus-6", ErrBody},
		{"nothing", ``, "claude-opus-6", ErrBody},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := Request([]byte(tt.body), tt.to)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("to %s: got %v, want %v", tt.to, err, tt.want)
			}
			if want := strings.Replace(tt.body, `"claude-opus-4-5"`, `"`+tt.to+`"`, 1); err == nil && string(got) != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		reason, model string
		input         int
		maxTokens     int64
		want          error
	}{
		{"all of a small window", "claude-haiku-4-5", 199_000, 1000, nil},
		{"one more", "claude-haiku-4-5", 199_001, 1000, ErrWindow},
		{"in a large one", "claude-opus-5-5", 199_001, 1000, nil},
		{"a longer answer than it gives", "claude-haiku-4-5", 10, 64_001, ErrOutput},
		{"unknown: the smallest window", "claude-opus-6", 200_000, 1, ErrWindow},
		{"a number that no sum holds", "claude-opus-5-5", 10, 1<<63 - 1, ErrOutput},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			if err := Fits(tt.model, tt.input, tt.maxTokens); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// FuzzRequest holds for any body: no panic, and a body for the other model in
// which all other bytes stand as they stood.
func FuzzRequest(f *testing.F) {
	f.Add(request("", ""), "claude-opus-5-5")
	f.Add(request(`,"thinking":{"type":"adaptive"}`, `,{"role":"assistant","content":[{"type":"text"}]},{"role":"user"}`), `a"b\`)
	f.Add(" \n{\"messages\":[],\"model\":\"\\u0061\"}\t", "claude-haiku-4-5")
	f.Add(`{"mod\u0065l":"a","messages":[{"role":"user","content":[]}],"x":{"model":"b"}}`, "c")
	f.Fuzz(func(t *testing.T, body, to string) {
		got, err := Request([]byte(body), to)
		if err != nil {
			if _, ok := errors.AsType[Reason](err); !ok {
				t.Fatalf("%v is no reason", err)
			}
			return
		}
		if !utf8.ValidString(to) {
			return // JSON has no way to say it; what is configured is text
		}
		was, is := claude.ScanBody([]byte(body)), claude.ScanBody(got)
		if len(to) <= 40 && is.Model != to {
			t.Errorf("%s asks for %q, want %q", got, is.Model, to)
		}
		was.Model, is.Model = "", ""
		if was != is {
			t.Errorf("%s says %+v, and was %+v", got, is, was)
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &before) != nil {
			return // deeper than encoding/json goes
		}
		if err := json.Unmarshal(got, &after); err != nil || len(after) != len(before) {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		for key, value := range before {
			if key != "model" && !bytes.Equal(after[key], value) {
				t.Errorf("%s was %s and is %s", key, value, after[key])
			}
		}
	})
}
