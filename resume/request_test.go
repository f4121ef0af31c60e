package resume

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// request is a caller's body; more is put beside its fields.
func request(model, more string) string {
	return `{"model":"` + model + `", "max_tokens": 100,"stream":true,"messages":[{"role":"user","content":"hi"} ]` + more + `}`
}

// cutIn is a transcript that ends in an open text of two deltas.
func cutIn(model, text string) *Transcript {
	half := len(text) / 2
	return transcript(startOf("msg_1", model, 9, 1), textOpened(0), texted(0, text[:half]), texted(0, text[half:]))
}

func TestRequest_prefill(t *testing.T) {
	got, err := cutIn("claude-opus-4-5-20251101", "One, \"two\" \n").Request([]byte(request("claude-opus-4-5", `, "metadata":{"user_id":"é\u00e9"}`)))
	const want = `{"model":"claude-opus-4-5", "max_tokens": 98,"stream":true,"messages":[{"role":"user","content":"hi"} ` +
		`,{"role":"assistant","content":"One, \"two\""}], "metadata":{"user_id":"é\u00e9"}}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestRequest_quotes(t *testing.T) {
	got, err := cutIn("claude-opus-5", "One, <two> & ").Request([]byte(request("claude-opus-5", "")))
	if err != nil {
		t.Fatal(err)
	}
	const before = `{"model":"claude-opus-5", "max_tokens": 98,"stream":true,"messages":[{"role":"user","content":"hi"} ,{"role":"user","content":"`
	if !strings.HasPrefix(string(got), before) || !strings.HasSuffix(string(got), `"}]}`) {
		t.Errorf("got %s", got)
	}
	var body struct {
		Messages []struct{ Role, Content string }
	}
	if err := json.Unmarshal(got, &body); err != nil {
		t.Fatal(err)
	}
	if want := askBefore + "One, <two> & " + askAfter; body.Messages[1].Content != want {
		t.Errorf("asks %q, want %q: the text as it was delivered, its last space included", body.Messages[1].Content, want)
	}
}

func TestRequest_howToAsk(t *testing.T) {
	thinking := []string{opened(0, `{"type":"thinking","thinking":""}`), delta(0, `{"type":"signature_delta","signature":"s"}`), stopped(0), textOpened(1), texted(1, "One")}
	for _, tt := range []struct {
		reason, model, more string
		thought             bool
		want                string // role of the message that is appended
	}{
		{"4.5 takes prefill", "claude-sonnet-4-5", "", false, "assistant"},
		{"4.6 does not", "claude-sonnet-4-6", "", false, "user"},
		{"prefill does not go with thinking", "claude-sonnet-4-5", `,"thinking":{"type":"enabled","budget_tokens":50}`, false, "user"},
		{"nor with thinking that was done", "claude-sonnet-4-5", "", true, "user"},
		{"thinking that is switched off is none", "claude-sonnet-4-5", `,"thinking":{"type":"disabled"}`, false, "assistant"},
		{"null is not said", "claude-sonnet-4-5", `,"thinking":null,"output_config":null,"mcp_servers":[]`, false, "assistant"},
		{"thinking that is not bound", "claude-opus-5", `,"thinking":{"type":"adaptive"}`, true, "user"},
		{"bound, but it did not think", "claude-sonnet-5-5", "", false, "user"},
		{"unknown, but it cannot have thought", "claude-next", `,"thinking":{"type":"disabled"}`, false, "user"},
		{"a tool may follow", "claude-opus-5", `,"tools":[{"name":"t"}],"tool_choice":{"type":"auto"}`, false, "user"},
		{"settings beside a format", "claude-opus-5", `,"output_config":{"effort":"low","format":null}`, false, "user"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			tr := cutIn(tt.model, "One two")
			if tt.thought {
				tr = transcript(append([]string{startOf("m", tt.model, 9, 1)}, thinking...)...)
			}
			got, err := tr.Request([]byte(request(tt.model, tt.more)))
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Messages []struct{ Role string } }
			if err := json.Unmarshal(got, &body); err != nil {
				t.Fatal(err)
			}
			if len(body.Messages) != 2 || body.Messages[1].Role != tt.want {
				t.Errorf("got %+v, want a message of the %s", body.Messages, tt.want)
			}
		})
	}
}

func TestRequest_refuses(t *testing.T) {
	const model = "claude-opus-5"
	start := startOf("m", model, 9, 1)
	thinks := opened(0, `{"type":"thinking","thinking":""}`)
	open := []string{start, textOpened(0), texted(0, "One")}
	for _, tt := range []struct {
		reason string
		events []string
		body   string
		want   Reason
	}{
		{"nothing", nil, request(model, ""), ErrNothing},
		{"no block", []string{start, ping}, request(model, ""), ErrNotText},
		{"in thinking", []string{start, thinks, delta(0, `{"type":"thinking_delta","thinking":"so"}`)}, request(model, ""), ErrNotText},
		{"between blocks", append(open[:3:3], stopped(0)), request(model, ""), ErrNotText},
		{"text has begun and said nothing", []string{start, thinks, stopped(0), textOpened(1)}, request(model, ""), ErrNothing},
		{"text of white space", []string{start, textOpened(0), texted(0, " \n")}, request(model, ""), ErrNothing},
		{"in tool input", append(open[:3:3], stopped(0), opened(1, `{"type":"tool_use","input":{}}`)), request(model, ""), ErrBlock},
		{"text after a server tool", []string{start, opened(0, `{"type":"server_tool_use"}`), stopped(0), textOpened(1), texted(1, "a")}, request(model, ""), ErrBlock},
		{"another model took over", []string{start, opened(0, `{"type":"fallback"}`), stopped(0), textOpened(1), texted(1, "a")}, request(model, ""), ErrBlock},
		{"citations", append(open[:3:3], delta(0, `{"type":"citations_delta","citation":{}}`)), request(model, ""), ErrCitations},
		{"citations in the start", []string{start, opened(0, `{"type":"text","text":"","citations":[{}]}`), texted(0, "a")}, request(model, ""), ErrCitations},
		{"a stop reason", append(open[:3:3], stopped(0), ended("end_turn", 3)), request(model, ""), ErrDone},
		{"an unknown delta", append(open[:3:3], delta(0, `{"type":"tone_delta"}`)), request(model, ""), ErrUnclear},
		{"blocks that interleave", append(open[:3:3], textOpened(1)), request(model, ""), ErrUnclear},
		{"half a character", []string{start, textOpened(0), delta(0, `{"type":"text_delta","text":"a \ud83d"}`)}, request(model, ""), ErrUnclear},
		{"no JSON", append(open[:3:3], `{`), request(model, ""), ErrUnclear},
		{"a second message", append(open[:3:3], start), request(model, ""), ErrUnclear},
		{"too long", []string{start, textOpened(0), texted(0, strings.Repeat("x", defaultMaxBytes)), texted(0, "x")}, request(model, ""), ErrTooLong},
		{"no stream", open, strings.Replace(request(model, ""), "true", "false", 1), ErrBody},
		{"no JSON in the body", open, request(model, "")[1:], ErrBody},
		{"no list of messages", open, `{"model":"claude-opus-5","stream":true,"messages":"x"}`, ErrBody},
		{"messages twice", open, request(model, `,"messages":[{"role":"user","content":"x"}]`), ErrBody},
		{"no messages", open, `{"model":"claude-opus-5","stream":true,"messages":[]}`, ErrLastTurn},
		{"the caller's own prefill", open, `{"model":"claude-opus-5","stream":true,"messages":[{"role":"assistant","content":"x"}]}`, ErrLastTurn},
		{"structured output", open, request(model, `,"output_config":{"format":{"type":"json_schema"}}`), ErrFormat},
		{"structured output of the beta", open, request(model, `,"output_format":{"type":"json_schema"}`), ErrFormat},
		{"a forced tool", open, request(model, `,"tool_choice":{"type":"any"}`), ErrForcedTool},
		{"a tool forced by name", open, request(model, `,"tool_choice":{"type":"tool","name":"t"}`), ErrForcedTool},
		{"servers with effects", open, request(model, `,"mcp_servers":[{"url":"x"}]`), ErrEffects},
		{"always thinks", open, request("claude-opus-5-5", ""), ErrAlwaysThinks},
		{"always thinks, whatever is asked", open, request("claude-fable-5-2", `,"thinking":{"type":"disabled"}`), ErrAlwaysThinks},
		{"bound, and asked to think", open, request("claude-sonnet-5-5", `,"thinking":{"type":"adaptive"}`), ErrBound},
		{"bound, and asked in a way nobody knows", open, request("claude-sonnet-5-5", `,"thinking":{"type":"new"}`), ErrBound},
		{"bound, and it thought", []string{start, thinks, stopped(0), textOpened(1), texted(1, "a")}, request("claude-sonnet-5-5", ""), ErrBound},
		{"unknown", open, request("claude-next", ""), ErrUnknownModel},
		{"an unknown model answered", []string{startOf("m", "claude-next", 1, 1), textOpened(0), texted(0, "a")}, request(model, ""), ErrUnknownModel},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got, err := transcript(tt.events...).Request([]byte(tt.body))
			if err != tt.want || got != nil { //nolint:errorlint // every error is a Reason, never wrapped
				t.Errorf("got %s, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestRequest_once(t *testing.T) {
	tr := cutIn("claude-opus-5", "One two")
	if _, err := tr.Request([]byte(request("claude-opus-5", `,"tool_choice":{"type":"any"}`))); !errors.Is(err, ErrForcedTool) {
		t.Fatal(err)
	}
	if _, err := tr.Request([]byte(request("claude-opus-5", ""))); err != nil {
		t.Fatalf("%v: a refusal is no resumption", err)
	}
	if _, err := tr.Request([]byte(request("claude-opus-5", ""))); !errors.Is(err, ErrTwice) {
		t.Errorf("got %v, want %v", err, ErrTwice)
	}
}

func TestRequest_maxTokens(t *testing.T) {
	for _, tt := range []struct {
		reason, limit, thinking string
		told                    int
		want                    string
	}{
		{"what was delivered is taken off", "100", "", 40, "60"},
		{"at least one is left", "100", "", 100, "1"},
		{"deltas count where more was not told", "100", "", 1, "98"},
		{"thinking keeps its budget", "2000", `,"thinking":{"type":"enabled","budget_tokens":1024}`, 1500, "1025"},
		{"and no more than it had", "1024", `,"thinking":{"type":"enabled","budget_tokens":1024}`, 500, "1024"},
		{"what is no whole number is left alone", "1e3", "", 40, "1e3"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			tr := transcript(startOf("m", "claude-opus-5", 9, tt.told), textOpened(0), texted(0, "a"), texted(0, "b"))
			body := `{"messages":[{"role":"user"}],"max_tokens":` + tt.limit + `,"model":"claude-opus-5","stream":true` + tt.thinking + `}`
			got, err := tr.Request([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if want := `,"max_tokens":` + tt.want + `,`; !strings.Contains(string(got), want) {
				t.Errorf("got %s, want %s in it", got, want)
			}
		})
	}
}

func TestReason_isFitForLogs(t *testing.T) {
	if got, want := ErrBound.Error(), "resume: not resumed: bound thinking"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTranscript_tells(t *testing.T) {
	tr := cutIn("claude-opus-5", "One two")
	if got, want := tr.ID()+" "+strconv.FormatInt(tr.Output(), 10), "msg_1 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	tr.Event([]byte(`{"type":"message_delta","delta":{},"usage":{"output_tokens":17}}`))
	if got := tr.Output(); got != 17 {
		t.Errorf("output of %d tokens, want the 17 that were told", got)
	}
}
