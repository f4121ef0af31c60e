package assemble

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Events that the tests below are made of.
const (
	start = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1,"service_tier":"standard"}}}`
	end   = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":7}}`
	stop  = `{"type":"message_stop"}`
	ping  = `{"type":"ping"}`
)

func open(index, block string) string {
	return `{"type":"content_block_start","index":` + index + `,"content_block":` + block + `}`
}

func delta(index, d string) string {
	return `{"type":"content_block_delta","index":` + index + `,"delta":` + d + `}`
}

func shut(index string) string { return `{"type":"content_block_stop","index":` + index + `}` }

func textDelta(index, inner string) string {
	return delta(index, `{"type":"text_delta","text":"`+inner+`"}`)
}

func inputDelta(index, inner string) string {
	return delta(index, `{"type":"input_json_delta","partial_json":"`+inner+`"}`)
}

// assembled feeds events and returns the answer.
func assembled(m *Message, events ...string) (string, error) {
	for _, e := range events {
		if err := m.Event([]byte(e)); err != nil {
			return "", err
		}
	}
	out, err := m.JSON()
	return string(out), err
}

// answer is the plain answer to what start and end enclose.
func answer(content string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5","content":` + content +
		`,"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":7,"service_tier":"standard"}}`
}

const empty = `{"type":"text","text":""}`

func TestMessage_bytes(t *testing.T) {
	for _, tt := range []struct {
		reason string
		events []string
		want   string // content
	}{
		{"no content", nil, `[]`},
		{"text", []string{open("0", empty), textDelta("0", "Hi"), textDelta("0", " there"), shut("0")}, `[{"type":"text","text":"Hi there"}]`},
		{"a text that has begun", []string{open("0", `{"type":"text","text":"a"}`), textDelta("0", "b"), shut("0")}, `[{"type":"text","text":"ab"}]`},
		{"escapes stay as written", []string{open("0", empty), textDelta("0", `\u00e9\/<&>\n`), shut("0")}, `[{"type":"text","text":"\u00e9\/<&>\n"}]`},
		{"a pair divided", []string{open("0", empty), textDelta("0", `\ud83d`), textDelta("0", `\ude00`), shut("0")}, `[{"type":"text","text":"\ud83d\ude00"}]`},
		{
			"thinking and its signature",
			[]string{
				open("0", `{"type":"thinking","thinking":"","signature":""}`), delta("0", `{"type":"thinking_delta","thinking":"so","estimated_tokens":50}`),
				delta("0", `{"type":"signature_delta","signature":"c2ln"}`), shut("0"),
			},
			`[{"type":"thinking","thinking":"so","signature":"c2ln"}]`,
		},
		{
			"thinking that is not shown",
			[]string{open("0", `{"type":"thinking","thinking":"","signature":""}`), delta("0", `{"type":"signature_delta","signature":"c2ln"}`), shut("0")},
			`[{"type":"thinking","thinking":"","signature":"c2ln"}]`,
		},
		{
			"tool input as the model wrote it",
			[]string{
				open("0", `{"type":"tool_use","id":"t","name":"n","input":{}}`), inputDelta("0", ""), inputDelta("0", `{\"a\": 1.0`),
				inputDelta("0", `0, \"b\":\"\\ud83d`), inputDelta("0", `\\ude00\"}`), shut("0"),
			},
			`[{"type":"tool_use","id":"t","name":"n","input":{"a": 1.00, "b":"\ud83d\ude00"}}]`,
		},
		{"a tool without input", []string{open("0", `{"type":"tool_use","id":"t"}`), inputDelta("0", ""), shut("0")}, `[{"type":"tool_use","id":"t","input":{}}]`},
		{"input that came with the start", []string{open("0", `{"type":"server_tool_use","input":{"q":1}}`), inputDelta("0", ""), shut("0")}, `[{"type":"server_tool_use","input":{"q":1}}]`},
		{
			"citations",
			[]string{
				open("0", `{"type":"text","text":"","citations":[]}`), delta("0", `{"type":"citations_delta","citation":{"n":1}}`),
				textDelta("0", "x"), delta("0", `{"type":"citations_delta","citation":{"n":2}}`), shut("0"),
			},
			`[{"type":"text","text":"x","citations":[{"n":1},{"n":2}]}]`,
		},
		{
			"citations where the start has none",
			[]string{open("0", `{"type":"text","citations":null,"text":""}`), delta("0", `{"type":"citations_delta","citation":{"n":1}}`), shut("0")},
			`[{"type":"text","citations":[{"n":1}],"text":""}]`,
		},
		{
			"a compaction comes whole",
			[]string{open("0", `{"type":"compaction","content":null}`), delta("0", `{"type":"compaction_delta","content":"all","encrypted_content":"x"}`), shut("0")},
			`[{"type":"compaction","content":"all","encrypted_content":"x"}]`,
		},
		{"results come whole, known or not", []string{open("0", `{"type":"new_result","z":1.50,"a":[{"b":null}]}`), shut("0")}, `[{"type":"new_result","z":1.50,"a":[{"b":null}]}]`},
		{
			"blocks that interleave",
			[]string{
				open("0", empty), textDelta("0", "a"), open("1", empty), textDelta("1", "b"), textDelta("0", "c"), ping, shut("1"), textDelta("0", "d"), shut("0"),
			},
			`[{"type":"text","text":"acd"},{"type":"text","text":"b"}]`,
		},
		{"events that nobody knows", []string{`{"type":"novelty","index":9}`, open("0", empty), shut("0")}, `[{"type":"text","text":""}]`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			events := append(append([]string{ping, start, ping}, tt.events...), end, stop)
			got, err := assembled(&Message{}, events...)
			if err != nil {
				t.Fatal(err)
			}
			if want := answer(tt.want); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestMessage_fieldsOfTheEnd(t *testing.T) {
	got, err := assembled(
		&Message{},
		`{"type":"message_start","message":{"id":"m","model":"a","content":[],"later":{"x":1},"stop_reason":null,"usage":{"input_tokens":3,"new":{"k":1},"output_tokens":1}}}`,
		open("0", `{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}`), shut("0"),
		`{"type":"message_delta","delta":{"stop_reason":null,"container":{"id":"c"}},"usage":{"output_tokens":5,"input_tokens":null}}`,
		`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":null}},"usage":{"output_tokens":8,"server_tool_use":{"web_search_requests":1}},"context_management":{"applied_edits":[]}}`,
		stop,
	)
	const want = `{"id":"m","model":"b","content":[{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}],"later":{"x":1},"stop_reason":"refusal",` +
		`"usage":{"input_tokens":3,"new":{"k":1},"output_tokens":8,"server_tool_use":{"web_search_requests":1}},` +
		`"container":{"id":"c"},"stop_details":{"category":null},"context_management":{"applied_edits":[]}}`
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestMessage_refuses(t *testing.T) {
	tool := open("0", `{"type":"tool_use","input":{}}`)
	for _, tt := range []struct {
		reason string
		events []string
		want   error
	}{
		{"nothing", nil, ErrIncomplete},
		{"no end", []string{start, open("0", empty), shut("0")}, ErrIncomplete},
		{"a stop reason, and a block open", []string{start, open("0", empty), end}, ErrIncomplete},
		{"a stop with a block open", []string{start, open("0", empty), end, stop}, ErrOrder},
		{"a block before the message", []string{open("0", empty)}, ErrOrder},
		{"a second message", []string{start, start}, ErrOrder},
		{"a gap between blocks", []string{start, open("1", empty)}, ErrOrder},
		{"a block twice", []string{start, open("0", empty), open("0", empty)}, ErrOrder},
		{"a delta for a block to come", []string{start, textDelta("0", "a")}, ErrOrder},
		{"a delta for a block that is done", []string{start, open("0", empty), shut("0"), textDelta("0", "a")}, ErrOrder},
		{"a delta without an index", []string{start, open("0", empty), `{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}`}, ErrOrder},
		{"a block stopped twice", []string{start, open("0", empty), shut("0"), shut("0")}, ErrOrder},
		{"anything after the end", []string{start, end, stop, ping}, ErrOrder},
		{"news after the end", []string{start, end, stop, `{"type":"novelty"}`}, ErrOrder},
		{"an error event", []string{start, `{"type":"error","error":{"type":"overloaded_error","message":"secret"}}`}, ErrUpstream},
		{"no JSON", []string{`{"type":"ping"`}, ErrMalformed},
		{"no object", []string{`[]`}, ErrMalformed},
		{"no message", []string{`{"type":"message_start"}`}, ErrMalformed},
		{"content in the start", []string{`{"type":"message_start","message":{"content":[{"type":"text"}]}}`}, ErrMalformed},
		{"a text that is none", []string{start, open("0", `{"type":"text","text":7}`), textDelta("0", "a")}, ErrMalformed},
		{"a delta without its text", []string{start, open("0", empty), delta("0", `{"type":"text_delta"}`)}, ErrMalformed},
		{"no block", []string{start, open("0", `7`)}, ErrMalformed},
		{"no delta", []string{start, open("0", empty), delta("0", `7`)}, ErrMalformed},
		{"content in the end", []string{start, `{"type":"message_delta","delta":{"content":[]}}`}, ErrMalformed},
		{"input that is no JSON", []string{start, tool, inputDelta("0", `{\"a`), shut("0"), end, stop}, ErrMalformed},
		{"citations that are no list", []string{start, open("0", `{"citations":{"a":1}}`), delta("0", `{"type":"citations_delta","citation":1}`), shut("0"), end, stop}, ErrMalformed},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			m := &Message{}
			_, err := assembled(m, tt.events...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v quotes the stream", err)
			}
			if errors.Is(err, ErrIncomplete) {
				return
			}
			if _, again := m.JSON(); again == nil {
				t.Error("an answer after a refusal")
			}
			if again := m.Event([]byte(ping)); again == nil && !errors.Is(err, ErrMalformed) {
				t.Error("goes on after a refusal")
			}
		})
	}
}

func TestMessage_unknownDelta(t *testing.T) {
	for _, tt := range []struct{ delta, want string }{
		{`{"type":"audio_delta","audio":"x"}`, "audio_delta"},
		{`{"type":"text_delta","text":"x","tone":"glad"}`, "text_delta.tone"},
		{`{"type":"` + strings.Repeat("x", 100) + `"}`, strings.Repeat("x", 64)},
		{`{}`, ""},
	} {
		_, err := assembled(&Message{}, start, open("0", empty), delta("0", tt.delta))
		unknown, ok := errors.AsType[*UnknownDeltaError](err)
		if !ok || unknown.Delta != tt.want {
			t.Errorf("%s: got %v, want unknown delta %q", tt.delta, err, tt.want)
		}
	}
}

func TestMessage_unknownEventsAreTold(t *testing.T) {
	m := &Message{}
	for _, kind := range []string{"a", "b", "a", "c", "d", "e", "f", "g", "h", "i"} {
		if err := m.Event([]byte(`{"type":"` + kind + `"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(m.Unknown(), ""), "abcdefgh"; got != want {
		t.Errorf("got %q, want %q: each once, the first eight", got, want)
	}
}

// An answer that max_tokens has cut in the middle of a tool call.
func TestMessage_inputCutShort(t *testing.T) {
	got, err := assembled(
		&Message{}, start, open("0", `{"type":"tool_use","input":{}}`), inputDelta("0", `{\"a\":[1`), shut("0"),
		strings.Replace(end, "end_turn", "max_tokens", 1), stop,
	)
	want := strings.Replace(answer(`[{"type":"tool_use","input":{}}]`), "end_turn", "max_tokens", 1)
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// Some intermediaries drop message_stop.
func TestMessage_stopReasonIsEnough(t *testing.T) {
	got, err := assembled(&Message{}, start, open("0", empty), textDelta("0", "a"), shut("0"), end)
	if want := answer(`[{"type":"text","text":"a"}]`); err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestMessage_isBounded(t *testing.T) {
	const limit = 10_000
	piece := strings.Repeat("x", 100)
	for reason, event := range map[string]string{
		"text":      textDelta("0", piece),
		"input":     inputDelta("0", piece),
		"citations": delta("0", `{"type":"citations_delta","citation":"`+piece+`"}`),
		"usage":     `{"type":"message_delta","delta":{},"usage":{"x":"` + piece + `"}}`,
	} {
		t.Run(reason, func(t *testing.T) {
			m := &Message{MaxBytes: limit}
			if _, err := assembled(m, start, open("0", empty)); !errors.Is(err, ErrIncomplete) {
				t.Fatal(err)
			}
			n := 0
			for m.Event([]byte(event)) == nil {
				n++
			}
			if !errors.Is(m.err, ErrTooLarge) || n < 80 || n > 100 {
				t.Errorf("%d events of 100 bytes and %v, want about %d and %v", n, m.err, limit/100, ErrTooLarge)
			}
		})
	}
	t.Run("blocks", func(t *testing.T) {
		m := &Message{MaxBytes: limit}
		_ = m.Event([]byte(start))
		events := 0
		for ; m.Event([]byte(open(string(jsonOf(events)), "{}"))) == nil; events++ {
		}
		if !errors.Is(m.err, ErrTooLarge) || events > limit/blockCost {
			t.Errorf("%d blocks and %v", events, m.err)
		}
	})
	t.Run("fields", func(t *testing.T) {
		fields := map[string]int{}
		for i := range 2 * maxMembers {
			fields[string(jsonOf(i))] = i
		}
		m := &Message{}
		_, err := assembled(m, start, `{"type":"message_delta","delta":`+string(jsonOf(fields))+`}`)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v, want %v", err, ErrTooLarge)
		}
	})
}

func TestMessage_keepsNothingOfTheEvent(t *testing.T) {
	m := &Message{}
	var buf []byte
	for _, e := range []string{start, open("0", empty), textDelta("0", "a"), shut("0"), end, stop} {
		buf = append(buf[:0], e...)
		if err := m.Event(buf); err != nil {
			t.Fatal(err)
		}
		clear(buf)
	}
	got, err := m.JSON()
	if want := answer(`[{"type":"text","text":"a"}]`); err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	again, err := m.JSON()
	if err != nil || string(again) != string(got) {
		t.Error("the second JSON is not the first")
	}
}

func jsonOf(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func sameJSON(t *testing.T, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
