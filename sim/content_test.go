package sim_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// A stream and a plain answer to the same request say the same, and every
// stream obeys the grammar.
func TestStream_addsUpToThePlainAnswer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		fields, turns := randomCall(r)
		model := sim.Models()[r.IntN(len(sim.Models()))]
		kind := []sim.Kind{"", "", sim.Refusal, sim.PauseTurn, sim.ContextExceeded}[r.IntN(5)]
		cfg := sim.Config{Seed: uint64(i), OutputTokens: 1 + r.IntN(30), OutputSpread: r.Float64()}
		if kind != "" {
			cfg.Faults = []sim.Rule{{Rate: 1, Fault: sim.Fault{Kind: kind, Events: r.IntN(8)}}}
		}
		both := func(stream bool) result {
			fields["stream"] = stream
			return do(t, sim.New(cfg), "https://api.test", call{body: ask(model, fields, turns...)})
		}
		plain, stream := both(false), both(true)
		if plain.status != stream.status || plain.status != 200 && plain.status != 400 {
			t.Fatalf("plain got %d, stream %d: %s", plain.status, stream.status, plain.body)
		}
		if plain.status != 200 {
			continue
		}
		var want answer
		if err := json.Unmarshal([]byte(plain.body), &want); err != nil {
			t.Fatalf("%v: %s", err, plain.body)
		}
		got, err := parse(stream.body)
		if err != nil {
			t.Fatalf("not the documented grammar: %v\n%s", err, stream.body)
		}
		for i := range got.content { // what a client does with partial JSON, and with a cut one
			if c := &got.content[i]; strings.HasSuffix(c.Type, "tool_use") && !json.Valid(c.Input) {
				c.Input = json.RawMessage("{}")
			} else if len(c.Input) == 0 {
				c.Input = nil
			}
		}
		gotJSON, _ := json.Marshal(got.content)
		wantJSON, _ := json.Marshal(append([]content{}, want.Content...))
		if len(want.Content) == 0 {
			wantJSON = gotJSON
		}
		if string(gotJSON) != string(wantJSON) || got.stop != want.StopReason || got.outputTokens != want.Usage.Output {
			t.Fatalf("the stream adds up to %s, stop %s, %d tokens; want %s, %s, %d", gotJSON, got.stop, got.outputTokens,
				wantJSON, want.StopReason, want.Usage.Output)
		}
		if err := sim.CheckText(want.text()); err != nil && fields["stop_sequences"] == nil {
			t.Errorf("%v: %s", err, plain.body)
		}
	}
}

// randomCall draws what may stand in a request.
func randomCall(r *rand.Rand) (fields body, turns []body) {
	maybe := func() bool { return r.IntN(3) == 0 }
	fields = body{"max_tokens": 1 + r.IntN(60)}
	if maybe() {
		fields["thinking"] = body{"type": []string{"adaptive", "enabled", "disabled"}[r.IntN(3)], "display": []string{"summarized", "omitted"}[r.IntN(2)]}
	}
	if maybe() {
		fields["stop_sequences"] = []string{"-7", "keel"}
	}
	var tools []body
	if maybe() {
		tools = append(tools, body{"name": "wétter", "input_schema": body{"type": "object", "properties": body{"xääääääääää \"größe\"": body{"type": "string"}}}})
	}
	if maybe() {
		server := []string{"web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "code_execution_20250522"}[r.IntN(4)]
		tools = append(tools, body{"type": server, "name": "server"})
	}
	if tools != nil {
		fields["tools"] = tools
	}
	content := []body{{"type": "text", "text": fmt.Sprint("question ", r.IntN(100))}}
	if maybe() {
		content = append(content, body{
			"type": "document", "title": "T", "citations": body{"enabled": true},
			"source": body{"type": "text", "media_type": "text/plain", "data": "Ebbe und Flut, “so” sagt man, wechseln täglich."},
		})
	}
	return fields, []body{user(content)}
}

func TestCitations_quoteTheDocument(t *testing.T) {
	const text = "Ebbe und Flut wechseln täglich. Der Mond zieht das Meer."
	document := func(kind string) body {
		source := body{"type": "text", "media_type": "text/plain", "data": text}
		if kind == "content" {
			source = body{"type": "content", "content": []body{{"type": "text", "text": "first"}, {"type": "text", "text": "second"}}}
		}
		return body{"type": "document", "title": "Tide", "source": source, "citations": body{"enabled": true}}
	}
	silent := document("text")
	delete(silent, "citations")
	api := sim.New(sim.Config{})
	a := told(t, api, ask(newer, nil, user([]body{silent, document("text"), document("content"), {"type": "text", "text": "?"}})))
	if a.kinds() != "text text" || len(a.Content[1].Citations) != 2 {
		t.Fatalf("got %+v, want two blocks of text, the second with two citations", a.Content)
	}
	first, second := a.Content[1].Citations[0].(map[string]any), a.Content[1].Citations[1].(map[string]any)
	start, end := int(first["start_char_index"].(float64)), int(first["end_char_index"].(float64))
	if first["type"] != "char_location" || first["document_index"] != 1.0 || first["document_title"] != "Tide" ||
		start >= end || string([]rune(text)[start:end]) != first["cited_text"] {
		t.Errorf("got %v, want a passage of the second document", first)
	}
	if second["type"] != "content_block_location" || second["document_index"] != 2.0 || second["cited_text"] != "first" {
		t.Errorf("got %v, want a block of the third document", second)
	}
}

func TestServerTools(t *testing.T) {
	for _, c := range []struct{ tool, kinds, counts string }{
		{"web_search_20250305", "server_tool_use web_search_tool_result text text", `{"web_fetch_requests":0,"web_search_requests":1}`},
		{"web_fetch_20250910", "server_tool_use web_fetch_tool_result text", `{"web_fetch_requests":1,"web_search_requests":0}`},
		{"code_execution_20250825", "server_tool_use bash_code_execution_tool_result text", `null`},
		{"computer_20250124", "text", `null`},
	} {
		offered := body{"tools": []body{{"type": c.tool, "name": "t"}}}
		a := told(t, sim.New(sim.Config{}), ask(newer, offered, user("hi")))
		counts, _ := json.Marshal(a.Usage.Servers)
		if a.kinds() != c.kinds || string(counts) != c.counts || a.StopReason != "end_turn" {
			t.Errorf("%s: got %s, %s, %s", c.tool, a.kinds(), counts, a.StopReason)
		}
		if a.kinds() != "text" && a.Content[0].ID != a.Content[1].ToolUseID {
			t.Errorf("%s: the result is that of %s, want %s", c.tool, a.Content[1].ToolUseID, a.Content[0].ID)
		}
	}
}

func TestPauseTurn_goesOnWhenSentBack(t *testing.T) {
	api := sim.New(sim.Config{Script: []sim.Reply{{Fault: sim.Fault{Kind: sim.PauseTurn}}, {}}})
	offered := body{"tools": []body{{"type": "web_search_20250305", "name": "web_search"}}}
	first := told(t, api, ask("claude-opus-5-5", offered, user("hi")))
	if first.kinds() != "thinking server_tool_use" || first.StopReason != "pause_turn" {
		t.Fatalf("got %s, %s", first.kinds(), first.StopReason)
	}
	back := assistant([]body{
		{"type": "thinking", "thinking": "", "signature": first.Content[0].Signature},
		{"type": "server_tool_use", "id": first.Content[1].ID, "name": "web_search", "input": first.Content[1].Input},
	})
	second := told(t, api, ask("claude-opus-5-5", offered, user("hi"), back))
	if second.kinds() != "web_search_tool_result text text" || second.Content[0].ToolUseID != first.Content[1].ID || second.StopReason != "end_turn" {
		t.Errorf("got %s for %s, %s", second.kinds(), second.Content[0].ToolUseID, second.StopReason)
	}
	if err := sim.CheckWhole(second.text()); err != nil {
		t.Error(err)
	}
}

func TestParallelTools(t *testing.T) {
	tools := []body{}
	for _, name := range []string{"a", "b", "c"} {
		tools = append(tools, body{"name": name, "input_schema": body{"type": "object"}})
	}
	for _, c := range []struct {
		choice any
		want   string
	}{
		{nil, "a"},
		{body{"type": "auto", "disable_parallel_tool_use": false}, "a b"},
		{body{"type": "auto", "disable_parallel_tool_use": true}, "a"},
		{body{"type": "tool", "name": "c"}, "c"},
		{body{"type": "none"}, ""},
	} {
		a := told(t, sim.New(sim.Config{}), ask(newer, body{"tools": tools, "tool_choice": c.choice}, user("hi")))
		var names, ids []string
		for _, b := range a.Content {
			if b.Type == "tool_use" {
				names, ids = append(names, b.Name), append(ids, b.ID)
			}
		}
		slices.Sort(ids)
		if got := strings.Join(names, " "); got != c.want || len(slices.Compact(ids)) != len(names) {
			t.Errorf("tool_choice %v used %q with ids %v, want %q", c.choice, got, ids, c.want)
		}
	}
}

func TestStopReasons(t *testing.T) {
	const refusal = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAEFB6177B4672DEE07F9D3AFC62588CCD2631EDCF22E8CCC1FB35B501C9C86"
	const redacted = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
	for _, c := range []struct {
		name   string
		fault  sim.Fault
		body   string
		kinds  string
		stop   string
		output int
	}{
		{"refused by a fault", sim.Fault{Kind: sim.Refusal, Events: 5}, ask(newer, nil, user("hi")), "text", "refusal", 5},
		{"refused before output", sim.Fault{Kind: sim.Refusal}, ask("claude-opus-5-5", nil, user("hi")), "", "refusal", 0},
		{"refused as the prompt says", sim.Fault{}, ask(newer, nil, user("x "+refusal)), "", "refusal", 0},
		{"the window is full, says a fault", sim.Fault{Kind: sim.ContextExceeded, Events: 9}, ask(newer, nil, user("hi")), "text", "model_context_window_exceeded", 9},
		{"half-way, if it does not say", sim.Fault{Kind: sim.ContextExceeded}, ask(newer, nil, user("hi")), "text", "model_context_window_exceeded", 12},
		{"paused without tools", sim.Fault{Kind: sim.PauseTurn}, ask(newer, nil, user("hi")), "text", "pause_turn", 12},
		{"the window is full", sim.Fault{}, ask("claude-haiku-4-5", nil, user(strings.Repeat("tide ", 135_996))), "text", "model_context_window_exceeded", 6},
		{"redacted", sim.Fault{}, ask("claude-opus-5-5", nil, user(redacted)), "redacted_thinking text", "end_turn", 32},
		{"thinks by default", sim.Fault{}, ask("claude-opus-5", nil, user("hi")), "thinking text", "end_turn", 32},
	} {
		a := told(t, sim.New(sim.Config{Faults: []sim.Rule{{Rate: 1, Fault: c.fault}}}), c.body)
		if a.kinds() != c.kinds || a.StopReason != c.stop || a.Usage.Output != c.output {
			t.Errorf("%s: got %q, %s, %d tokens, want %q, %s, %d", c.name, a.kinds(), a.StopReason, a.Usage.Output, c.kinds, c.stop, c.output)
		}
	}
}

func TestStopSequence_endsTheText(t *testing.T) {
	api := sim.New(sim.Config{})
	whole := told(t, api, ask(newer, nil, user("hi"))).text()
	for _, sequence := range []string{"-5", " " + strings.Fields(whole)[3], strings.Fields(whole)[0][:3], "not there"} {
		a := told(t, api, ask(newer, body{"stop_sequences": []string{"never", sequence}}, user("hi")))
		before, _, found := strings.Cut(whole, sequence)
		if a.text() != before || found != (a.StopReason == "stop_sequence") || found != (a.Sequence != nil && *a.Sequence == sequence) {
			t.Errorf("%q: got %q, %s, %v, want %q", sequence, a.text(), a.StopReason, a.Sequence, before)
		}
	}
}
