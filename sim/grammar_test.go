package sim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// countEvents counts whole events in a body, pings aside.
func countEvents(body string) int {
	return strings.Count(body, "\n\n") - strings.Count(body, "event: ping\ndata: {\"type\":\"ping\"}\n\n")
}

// seen is what a parser made of a stream.
type seen struct {
	text, thinking, signature, input string
	blocks                           []string
	stop                             string
	outputTokens, thinkingTokens     int
	pings                            int
	content                          []content
	sequence                         *string
	details                          any
}

// content is a content block, as a plain answer has it and as the events of a
// stream add up to it.
type content struct {
	Type, ID, Name, Text, Thinking, Signature, Data string

	Citations []any           `json:",omitempty"`
	Input     json.RawMessage `json:",omitempty"`
	Content   any             `json:",omitempty"` // of a server tool's result
	ToolUseID string          `json:"tool_use_id"`
}

// parse reads a stream by the grammar of “Streaming messages”
// (platform.claude.com) and nothing of package sim. It fails on the first
// byte that is out of place.
func parse(body string) (seen, error) {
	var s seen
	state := "begin" // begin, between, block, delta, end
	if !strings.HasSuffix(body, "\n\n") {
		return s, fmt.Errorf("the last event is not whole")
	}
	for frame := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(frame, "\n")
		name, isName := strings.CutPrefix(name, "event: ")
		data, isData := strings.CutPrefix(data, "data: ")
		if !ok || !isName || !isData || strings.Contains(data, "\n") {
			return s, fmt.Errorf("not an event: %q", frame)
		}
		var e struct {
			Type    string
			Index   *int
			Message struct {
				ID, Type, Role, Model string
				Content               []any
				Usage                 map[string]any
			}
			Block json.RawMessage `json:"content_block"`
			Delta struct {
				Type, Text, Thinking, Signature string
				Citation                        any
				JSON                            string  `json:"partial_json"`
				StopReason                      string  `json:"stop_reason"`
				StopSequence                    *string `json:"stop_sequence"`
				StopDetails                     any     `json:"stop_details"`
			}
			Usage struct {
				Output  *int `json:"output_tokens"`
				Details struct {
					Thinking int `json:"thinking_tokens"`
				} `json:"output_tokens_details"`
			}
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return s, err
		}
		if e.Type != name {
			return s, fmt.Errorf("event %q has type %q", name, e.Type)
		}
		wrong := fmt.Errorf("%s in state %s", name, state)
		switch name {
		case "ping":
			s.pings++
			if state == "begin" {
				return s, wrong
			}
		case "message_start":
			m := e.Message
			if state != "begin" || m.ID == "" || m.Type != "message" || m.Role != "assistant" || m.Model == "" ||
				m.Content == nil || len(m.Content) != 0 {
				return s, wrong
			}
			for _, key := range []string{"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"} {
				if _, ok := m.Usage[key].(float64); !ok {
					return s, fmt.Errorf("usage of message_start has no %s", key)
				}
			}
			state = "between"
		case "content_block_start":
			if state != "between" || e.Index == nil || *e.Index != len(s.blocks) {
				return s, wrong
			}
			var block content
			if err := json.Unmarshal(e.Block, &block); err != nil {
				return s, err
			}
			if strings.HasSuffix(block.Type, "tool_use") && (block.ID == "" || block.Name == "" || string(block.Input) != "{}") {
				return s, fmt.Errorf("%s without id or name, or with input", block.Type)
			}
			if block.Text+block.Thinking+block.Signature != "" || len(block.Citations) > 0 {
				return s, fmt.Errorf("%s begins with content", block.Type)
			}
			block.Input = nil
			s.content = append(s.content, block)
			s.blocks = append(s.blocks, block.Type)
			state = "block"
		case "content_block_delta":
			if state != "block" || *e.Index != len(s.blocks)-1 {
				return s, wrong
			}
			block := &s.content[*e.Index]
			if block.Signature != "" {
				return s, fmt.Errorf("%s after the signature", e.Delta.Type)
			}
			allowed := map[string][]string{
				"text": {"text_delta", "citations_delta"}, "thinking": {"thinking_delta", "signature_delta"},
				"tool_use": {"input_json_delta"}, "server_tool_use": {"input_json_delta"},
			}[block.Type]
			if !slices.Contains(allowed, e.Delta.Type) {
				return s, fmt.Errorf("%s in a %s block", e.Delta.Type, block.Type)
			}
			block.Text += e.Delta.Text
			block.Thinking += e.Delta.Thinking
			block.Signature += e.Delta.Signature
			block.Input = append(block.Input, e.Delta.JSON...)
			if e.Delta.Citation != nil {
				block.Citations = append(block.Citations, e.Delta.Citation)
			}
			s.text += e.Delta.Text
			s.thinking += e.Delta.Thinking
			s.signature += e.Delta.Signature
			s.input += e.Delta.JSON
		case "content_block_stop":
			if state != "block" || *e.Index != len(s.blocks)-1 {
				return s, wrong
			}
			state = "between"
		case "message_delta":
			if state != "between" || e.Delta.StopReason == "" || e.Usage.Output == nil {
				return s, wrong
			}
			s.stop, s.outputTokens, s.thinkingTokens = e.Delta.StopReason, *e.Usage.Output, e.Usage.Details.Thinking
			s.sequence, s.details = e.Delta.StopSequence, e.Delta.StopDetails
			state = "delta"
		case "message_stop":
			if state != "delta" {
				return s, wrong
			}
			state = "end"
		default:
			return s, fmt.Errorf("unknown event %q", name)
		}
	}
	if state != "end" {
		return s, fmt.Errorf("ended in state %s", state)
	}
	return s, nil
}

const (
	tools      = `,"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":3},"unit":{"enum":["C","F"]},"at":{"type":"array","items":{"type":"number"}}},"required":["city"]}}]`
	toolResult = `,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"weather","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"rain"}]}]`
	hi         = `,"messages":[{"role":"user","content":"hi"}]`
)

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name      string
		fields    string // of the request, after model
		blocks    string
		stop      string
		words     int // of text
		output    int
		omitted   bool
		toolInput string
	}{
		{"as long as configured", `"max_tokens":100` + hi, "text", "end_turn", 24, 24, false, ""},
		{"cut by max_tokens", `"max_tokens":7` + hi, "text", "max_tokens", 7, 7, false, ""},
		{"exactly max_tokens is not cut", `"max_tokens":24` + hi, "text", "end_turn", 24, 24, false, ""},
		{"max_tokens of nothing", `"max_tokens":0` + hi, "", "max_tokens", 0, 0, false, ""},
		{"thinking comes first", `"max_tokens":100,"thinking":{"type":"enabled","budget_tokens":10}` + hi, "thinking text", "end_turn", 24, 32, false, ""},
		{"thinking that is not shown", `"max_tokens":100,"thinking":{"type":"adaptive","display":"omitted"}` + hi, "thinking text", "end_turn", 24, 32, true, ""},
		{"thinking switched off", `"max_tokens":100,"thinking":{"type":"disabled"}` + hi, "text", "end_turn", 24, 24, false, ""},
		{"a tool is used", `"max_tokens":100` + tools + hi, "tool_use", "tool_use", 0, 4, false, `{"at":[1],"city":"harbor","days":3,"unit":"C"}`},
		{"a result is answered", `"max_tokens":100` + tools + toolResult, "text", "end_turn", 24, 24, false, ""},
		{"tools may be forbidden", `"max_tokens":100,"tool_choice":{"type":"none"}` + tools + hi, "text", "end_turn", 24, 24, false, ""},
		{"thinking before a tool", `"max_tokens":100,"thinking":{"type":"enabled"}` + tools + hi, "thinking tool_use", "tool_use", 0, 12, false, `{"at":[1],"city":"harbor","days":3,"unit":"C"}`},
		{"tool input cut by max_tokens", `"max_tokens":2` + tools + hi, "tool_use", "max_tokens", 0, 2, false, `{"at":[1],"city":"harbor`},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, sim.Config{Seed: 3}, func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: `{"model":"claude-sonnet-5","stream":true,` + c.fields + `}`})
				s, err := parse(r.body)
				if err != nil {
					t.Fatalf("not the documented grammar: %v\n%s", err, r.body)
				}
				if got := strings.Join(s.blocks, " "); got != c.blocks || s.stop != c.stop || s.outputTokens != c.output {
					t.Errorf("got blocks %q, stop %q, %d tokens, want %q, %q, %d", got, s.stop, s.outputTokens, c.blocks, c.stop, c.output)
				}
				if err := sim.CheckText(s.text); err != nil || len(strings.Fields(s.text)) != c.words {
					t.Errorf("got text %q (%v), want %d words in order", s.text, err, c.words)
				}
				if strings.Contains(c.blocks, "thinking") && ((s.thinking == "") != c.omitted || s.signature == "" || s.thinkingTokens != 8) {
					t.Errorf("got thinking %q, signature %q, %d tokens", s.thinking, s.signature, s.thinkingTokens)
				}
				if s.input != c.toolInput {
					t.Errorf("got tool input %s, want %s", s.input, c.toolInput)
				}
				if s.pings != 1 {
					t.Errorf("got %d pings, want 1 after message_start", s.pings)
				}
			})
		})
	}
}

func TestAnswers_sameForTheSameSeedAndRequest(t *testing.T) {
	ask := func(seed uint64, body string) seen {
		s, err := parse(do(t, sim.New(sim.Config{Seed: seed}), "https://api.test", call{body: body}).body)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := strings.Replace(streamCall, "hi", "ho", 1)
	if a, b := ask(1, streamCall), ask(1, streamCall); a.text != b.text {
		t.Errorf("got %q, then %q", a.text, b.text)
	}
	if a, b := ask(1, streamCall), ask(2, streamCall); a.text == b.text {
		t.Errorf("two seeds both say %q", a.text)
	}
	if a, b := ask(1, streamCall), ask(1, other); a.text == b.text {
		t.Errorf("two requests are both told %q", a.text)
	}
}

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok, whole  bool
	}{
		{"whole", "cedar-1 keel-2 tide-3.", true, true},
		{"its beginning", "cedar-1 keel-2 tide-3", true, false},
		{"nothing yet", "", true, false},
		{"one lost", "cedar-1 tide-3.", false, false},
		{"one twice", "cedar-1 cedar-1 keel-2", false, false},
		{"out of order", "keel-2 cedar-1", false, false},
		{"half a word", "cedar-1 kee", false, false},
		{"seam shows", "cedar-1  keel-2", false, false},
		{"joined without a space", "cedar-1keel-2", false, false},
		{"goes on after the end", "cedar-1. keel-2", false, false},
		{"line break", "cedar-1\nkeel-2", false, false},
		{"not ours", "hello", false, false},
	} {
		if err := sim.CheckText(c.text); (err == nil) != c.ok {
			t.Errorf("%s: CheckText(%q) = %v", c.name, c.text, err)
		}
		if err := sim.CheckWhole(c.text); (err == nil) != c.whole {
			t.Errorf("%s: CheckWhole(%q) = %v", c.name, c.text, err)
		}
	}
}
