package sim_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// secretText stands for content that must not come back in an error.
const secretText = "tell nobody"

func TestValidation_ofMessages(t *testing.T) {
	const bound = "claude-opus-5-5"
	hi := user("hi")
	tool := func(name string) body { return body{"name": name, "input_schema": body{"type": "object"}} }
	use := assistant([]body{{"type": "tool_use", "id": "toolu_1", "name": "a", "input": body{}}})
	result := func(id string) body {
		return user([]body{{"type": "tool_result", "tool_use_id": id, "content": secretText}})
	}
	marked := func(ttl string) body {
		return body{"type": "text", "text": secretText, "cache_control": body{"type": "ephemeral", "ttl": ttl}}
	}
	for _, c := range []struct {
		body string
		want string // of the message; "" if it is fine
	}{
		{ask(newer, nil, hi), ""},
		{ask(newer, body{"max_tokens": 0}, hi), ""},
		{ask(newer, body{"max_tokens": -1}, hi), "max_tokens: Input should be greater than or equal to 0"},
		{ask(newer, body{"max_tokens": 1.5}, hi), "max_tokens: Input should be a valid integer"},
		{ask(older, body{"max_tokens": 64_001}, hi), "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for claude-haiku-4-5"},
		{ask(newer, nil), "messages: Field required"},
		{ask(newer, body{"messages": []body{}}), "messages: at least one message is required"},
		{ask(newer, body{"messages": secretText}), "messages: Input should be a valid list"},
		{ask(newer, body{"messages": []string{secretText}}), "messages.0: Input should be an object"},
		{ask(newer, nil, hi, body{"role": "robot", "content": secretText}), "messages.1.role: Input should be 'user' or 'assistant'"},
		{ask(newer, nil, assistant("hi"), hi), `messages: first message must use the "user" role`},
		{ask(newer, nil, hi, assistant("Hm."), body{"role": "system", "content": "s"}), ""},
		{ask(newer, nil, body{"role": "user"}), "messages.0.content: Field required"},
		{ask(newer, nil, user(7)), "messages.0.content: Input should be a valid list"},
		{ask(newer, nil, user("")), "messages.0: all messages must have non-empty content except for the optional final assistant message"},
		{ask(newer, nil, user([]body{})), "messages.0: all messages must have non-empty content except for the optional final assistant message"},
		{ask(newer, nil, user([]body{{"type": "text", "text": " "}})), "messages.0.content.0: text content blocks must contain non-whitespace text"},
		{ask(newer, nil, hi, user([]body{{"type": "text", "text": "hi"}, {"text": secretText}})), "messages.1.content.1.type: Field required"},
		{ask(newer, nil, user([]body{{"type": "text", "text": 7}})), "messages.0.content.0: text content blocks must contain non-whitespace text"},
		{ask(newer, nil, hi, assistant("Well,")), "This model does not support assistant message prefill. The conversation must end with a user message."},
		{ask(older, nil, hi, assistant("Well,")), ""},
		{ask(older, nil, hi, assistant("Well, ")), "messages: final assistant content cannot end with trailing whitespace"},
		{ask(older, nil, hi, assistant("")), ""},
		{ask(newer, body{"temperature": 0.5, "top_k": 3}, hi), ""},
		{ask(bound, body{"temperature": 0.5}, hi), "`temperature` is not supported for this model."},
		{ask(bound, body{"temperature": 1}, hi), ""},
		{ask(bound, body{"top_k": 1}, hi), "`top_k` is not supported for this model."},
		{ask(bound, body{"thinking": body{"type": "disabled"}}, hi), `"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.`},
		{ask(older, body{"thinking": body{"type": "adaptive"}}, hi), "adaptive thinking is not supported on this model"},
		{ask(newer, body{"thinking": body{"type": "adaptive", "block_binding": body{}}}, hi), "thinking.block_binding: Extra inputs are not permitted"},
		{ask(bound, body{"tools": []body{tool("a")}, "tool_choice": body{"type": "any"}}, hi), `tool_choice: type "tool" and "any" are not supported for this model.`},
		{ask(newer, body{"tools": []body{tool("a")}, "tool_choice": body{"type": "any"}, "thinking": body{"type": "adaptive"}}, hi), "Thinking may not be enabled when tool_choice forces tool use."},
		{ask(newer, body{"tools": []body{tool("a")}, "tool_choice": body{"type": "tool", "name": "b"}}, hi), "tool_choice.name: Tool not found in provided tools"},
		{ask(newer, body{"tools": []body{tool("a"), tool("a")}}, hi), "tools: Tool names must be unique."},
		{ask(newer, body{"tools": []body{{"name": "a"}}}, hi), "tools.0.input_schema: Field required"},
		{ask(newer, nil, hi, use, result("toolu_1")), ""},
		{ask(newer, nil, hi, use, user([]body{{"type": "text", "text": "so"}}), result("toolu_1")), ""},
		{ask(newer, nil, hi, use, user("so?")), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1. " +
			"Each `tool_use` block must have a corresponding `tool_result` block in the next message."},
		{ask(newer, nil, hi, use, user("so?"), assistant("Hm."), result("toolu_1")), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1. " +
			"Each `tool_use` block must have a corresponding `tool_result` block in the next message."},
		{ask(newer, nil, hi, result("toolu_2")), "messages.1.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_2. " +
			"Each `tool_result` block must have a corresponding `tool_use` block in the previous message."},
		{ask(newer, nil, hi, result(secretText)), "messages.1.content.0.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'"},
		{ask(newer, nil, user([]body{marked("5m"), marked("5m"), marked("5m"), marked("5m"), marked("5m")})), "A maximum of 4 blocks with cache_control may be provided. Found 5."},
		{ask(newer, nil, user([]body{marked("5m"), marked("1h")})), "cache_control: a block with ttl '1h' must not come after a block with ttl '5m'"},
		{ask(newer, nil, user([]body{marked("1h"), marked("5m")})), ""},
		{ask(newer, nil, user([]body{marked("2h")})), "messages.0.content.0.cache_control.ttl: Input should be '5m' or '1h'"},
		{ask(newer, body{"stop_sequences": []string{"x", "\n"}}, hi), "stop_sequences.1: each stop sequence must contain non-whitespace"},
		{ask(newer, body{"speed": secretText}, hi), "speed: Input should be 'standard' or 'fast'"},
		{ask(older, nil, user(strings.Repeat("tide ", 136_001))), "prompt is too long: 200001 tokens > 200000 maximum"},
		{`{"model":"claude-sonnet-5","max_tokens":1,"messages":[` + strings.Repeat(`{"role":"user","content":"x"},`, 100_000) + `{"role":"user","content":"x"}]}`, "messages: at most 100000 messages are allowed"},
		{`{"model":"claude-sonnet-5"`, "The request body is not valid JSON: syntax error at byte 26"},
		{`["tell nobody"]`, "The request body: Input should be an object"},
	} {
		short := c.body[:min(len(c.body), 300)]
		r := do(t, sim.New(sim.Config{}), "https://api.test", call{body: c.body})
		var e struct {
			Error struct{ Type, Message string }
		}
		if err := json.Unmarshal([]byte(r.body), &e); err != nil {
			t.Fatal(err)
		}
		want := 400
		if c.want == "" {
			want = 200
		}
		if r.status != want || e.Error.Message != c.want || want == 400 && e.Error.Type != "invalid_request_error" {
			t.Errorf("%s\n got %d %s\nwant %d %s", short, r.status, e.Error.Message, want, c.want)
		}
		if strings.Contains(r.body, secretText) {
			t.Errorf("the error tells content: %s", r.body)
		}
		if strings.HasPrefix(c.want, "messages") { // a count of tokens is refused for the same
			r := do(t, sim.New(sim.Config{}), "https://api.test", call{path: "/v1/messages/count_tokens", body: c.body})
			if r.status != 400 || !strings.Contains(r.body, c.want[:8]) {
				t.Errorf("%s: count_tokens got %d %s", short, r.status, r.body)
			}
		}
	}
}

func TestBetas(t *testing.T) {
	for values, want := range map[string]int{
		"":                      200,
		"context-1m-2025-08-07": 200,
		"claude-code-20250219, interleaved-thinking-2025-05-14": 200,
		"message-batches-2024-09-24,":                           200,
		"context-1m":                                            400,
		"something new-2026-01-01":                              400,
	} {
		r := do(t, sim.New(sim.Config{}), "https://api.test", call{header: map[string]string{"anthropic-beta": values}})
		if r.status != want || want == 400 && !strings.Contains(r.body, "Unexpected value(s) `") {
			t.Errorf("%q: got %d %s, want %d", values, r.status, r.body, want)
		}
	}
}

// An answer's thinking is taken back as it was and where it was.
func TestThinking_isBound(t *testing.T) {
	const bound, drop = "claude-opus-5-5", "thinking-binding-controls-2026-08-01"
	shown := body{"thinking": body{"type": "adaptive", "display": "summarized"}}
	with := func(more body) body {
		out := body{"system": "s", "tools": []body{
			{"name": "a", "input_schema": body{"type": "object"}}, {"name": "b", "input_schema": body{"type": "object"}},
		}}
		for _, fields := range []body{shown, more} {
			maps.Copy(out, fields)
		}
		return out
	}
	api := sim.New(sim.Config{})
	none := body{"tool_choice": body{"type": "none"}}
	keep := func(a answer) body {
		return assistant([]body{
			{"type": "thinking", "thinking": a.Content[0].Thinking, "signature": a.Content[0].Signature},
			{"type": "text", "text": a.Content[1].Text},
		})
	}
	q1, q2, q3 := user("one"), user("two"), user("three")
	a1 := keep(told(t, api, ask(bound, with(none), q1)))
	a2 := keep(told(t, api, ask(bound, with(none), q1, a1, q2)))
	bare := func(a body) body { return assistant(a["content"].([]body)[1:]) }
	edited := func(a body, field, value string) body {
		thinking := body{"type": "thinking", "thinking": a["content"].([]body)[0]["thinking"], "signature": a["content"].([]body)[0]["signature"]}
		thinking[field] = value
		return assistant([]body{thinking, a["content"].([]body)[1]})
	}
	marked := user([]body{{"type": "text", "text": "one", "cache_control": body{"type": "ephemeral"}}})
	const modified, elsewhere = "in the latest assistant message cannot be modified", "The block is bound to a different conversation."
	dropping := with(body{"thinking": body{"type": "adaptive", "block_binding": body{"prefix_mismatch_behavior": "drop_block"}}})
	for _, c := range []struct {
		name  string
		model string
		with  body
		turns []body
		want  string
	}{
		{"as it was", bound, with(none), []body{q1, a1, q2, a2, q3}, ""},
		{"other limits, choices and marks", bound, with(body{"max_tokens": 7, "metadata": body{"user_id": "u"}}), []body{marked, a1, q2, a2, q3}, ""},
		{"tools in another order", bound, with(body{"tools": []body{{"input_schema": body{"type": "object"}, "name": "b"}, {"name": "a", "input_schema": body{"type": "object"}}}}), []body{q1, a1, q2}, ""},
		{"the first thinking left out", bound, with(none), []body{q1, bare(a1), q2, a2, q3}, ""},
		{"another system prompt", bound, with(body{"system": "t"}), []body{q1, a1, q2}, "messages.1.content.0: Invalid `signature` in `thinking` block. " + elsewhere},
		{"a tool less", bound, with(body{"tools": []body{}}), []body{q1, a1, q2}, elsewhere},
		{"another question", bound, with(none), []body{q3, a1, q2}, elsewhere},
		{"an answer edited", bound, with(none), []body{q1, edited(a1, "type", "thinking"), user("too"), a2, q3}, "messages.3.content.0: Invalid `signature`"},
		{"dropped on request", bound, dropping, []body{q3, a1, q2}, ""},
		{"its words edited", bound, with(none), []body{q1, edited(a1, "thinking", "other"), q2}, modified},
		{"no signature of ours", bound, with(none), []body{q1, edited(a1, "signature", "AAAA"), q2}, "messages.1.content.0: Invalid `signature` in `thinking` block"},
		{"a newer model reads it", "claude-fable-5-2", with(none), []body{q1, a1, q2}, ""},
		{"an older one drops it", "claude-sonnet-5", with(body{"system": "t"}), []body{q1, a1, q2}, ""},
		{"one that does not bind", "claude-sonnet-5", body{}, []body{q1, keep(told(t, api, ask("claude-sonnet-5", shown, q1))), q3}, ""},
		{"nor it looks back", "claude-sonnet-5", body{}, []body{q3, keep(told(t, api, ask("claude-sonnet-5", shown, q1))), q3}, ""},
	} {
		head := map[string]string{}
		if c.name == "dropped on request" {
			head["anthropic-beta"] = drop
		}
		r := do(t, api, "https://api.test", call{body: ask(c.model, c.with, c.turns...), header: head})
		var e struct{ Error struct{ Message string } }
		if err := json.Unmarshal([]byte(r.body), &e); err != nil {
			t.Fatal(err)
		}
		if (r.status == 200) != (c.want == "") || !strings.Contains(e.Error.Message, c.want) {
			t.Errorf("%s: got %d %q, want %q", c.name, r.status, e.Error.Message, c.want)
		}
	}
}

// Whatever is sent as a body is answered, and what is answered as a stream
// obeys the grammar.
func FuzzBody(f *testing.F) {
	api := sim.New(sim.Config{KeepAttempts: 1})
	for _, seed := range []string{
		``, `null`, `[]`, `{}`, plainCall, streamCall, `{"messages":{}}`, `{"model":"claude-sonnet-5","max_tokens":9,"stream":true` + tools + toolResult + `}`,
		ask(older, body{"stop_sequences": []string{"-3"}, "stream": true}, user("continue cedar-1"), assistant("keel-1")),
		ask(newer, body{"stream": true, "system": []body{{"type": "text", "text": "é\"\\"}}}, user([]body{
			{"type": "document", "citations": body{"enabled": true}, "source": body{"type": "text", "data": "Ebbe"}},
		})),
		`{"model":"claude-sonnet-5","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"\ud800","cache_control":{"type":"ephemeral"}}]}]}`,
		`{"model":"claude-opus-5-5","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"AA"}]},{"role":"user","content":"x"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := do(t, api, "https://api.test", call{body: string(data) + " "})
		switch {
		case r.status == 200 && strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream"):
			if _, err := parse(r.body); err != nil {
				t.Errorf("%v:\n%s", err, r.body)
			}
		case r.status != 200 && r.status != 400 && r.status != 404 || !json.Valid([]byte(r.body)):
			t.Errorf("got %d %s", r.status, r.body)
		}
	})
}
