package sim_test

import (
	"encoding/json"
	"fmt"
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
			Block struct{ Type, ID, Name string } `json:"content_block"`
			Delta struct {
				Type, Text, Thinking, Signature string
				JSON                            string `json:"partial_json"`
				StopReason                      string `json:"stop_reason"`
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
			if e.Block.Type == "tool_use" && (e.Block.ID == "" || e.Block.Name == "") {
				return s, fmt.Errorf("tool_use without id or name")
			}
			s.blocks = append(s.blocks, e.Block.Type)
			state = "block"
		case "content_block_delta":
			if state != "block" || *e.Index != len(s.blocks)-1 || s.signature != "" && s.blocks[*e.Index] == "thinking" {
				return s, wrong
			}
			want := map[string]string{"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}[s.blocks[*e.Index]]
			if e.Delta.Type != want && !(want == "thinking_delta" && e.Delta.Type == "signature_delta") {
				return s, fmt.Errorf("%s in a %s block", e.Delta.Type, s.blocks[*e.Index])
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
		{"thinking comes first", `"max_tokens":100,"thinking":{"type":"enabled","budget_tokens":10}` + hi, "thinking text", "end_turn", 16, 24, false, ""},
		{"thinking that is not shown", `"max_tokens":100,"thinking":{"type":"adaptive","display":"omitted"}` + hi, "thinking text", "end_turn", 16, 24, true, ""},
		{"thinking switched off", `"max_tokens":100,"thinking":{"type":"disabled"}` + hi, "text", "end_turn", 24, 24, false, ""},
		{"a tool is used", `"max_tokens":100` + tools + hi, "tool_use", "tool_use", 0, 4, false, `{"at":[1],"city":"harbor","days":3,"unit":"C"}`},
		{"a result is answered", `"max_tokens":100` + tools + toolResult, "text", "end_turn", 24, 24, false, ""},
		{"tools may be forbidden", `"max_tokens":100,"tool_choice":{"type":"none"}` + tools + hi, "text", "end_turn", 24, 24, false, ""},
		{"thinking before a tool", `"max_tokens":100,"thinking":{"type":"enabled"}` + tools + hi, "thinking tool_use", "tool_use", 0, 12, false, `{"at":[1],"city":"harbor","days":3,"unit":"C"}`},
		{"tool input cut by max_tokens", `"max_tokens":2` + tools + hi, "tool_use", "max_tokens", 0, 2, false, `{"at":[1],"city":"harbor`},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, sim.Config{Seed: 3}, func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: `{"model":"claude-opus-5-5","stream":true,` + c.fields + `}`})
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

func TestPlainAnswer_sameContentAsTheStream(t *testing.T) {
	for _, fields := range []string{
		`"max_tokens":100` + hi,
		`"max_tokens":5` + hi,
		`"max_tokens":100,"thinking":{"type":"enabled"}` + tools + hi,
	} {
		onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
			r := do(call{body: `{"model":"claude-opus-5-5",` + fields + `}`})
			var m struct {
				ID, Type, Role, Model string
				Content               []struct {
					Type, Text, Thinking, Signature, Name string
					Input                                 json.RawMessage
				}
				StopReason string `json:"stop_reason"`
				Usage      struct {
					Input  int `json:"input_tokens"`
					Output int `json:"output_tokens"`
				}
			}
			if err := json.Unmarshal([]byte(r.body), &m); err != nil {
				t.Fatal(err)
			}
			s, err := parse(do(call{body: `{"stream":true,"model":"claude-opus-5-5",` + fields + `}`}).body)
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != "message" || m.StopReason != s.stop || m.Usage.Output != s.outputTokens || m.Usage.Input < 1 {
				t.Errorf("got %+v, stream had %+v", m, s)
			}
			for i, b := range m.Content {
				if b.Type != s.blocks[i] {
					t.Errorf("block %d is %s, in the stream %s", i, b.Type, s.blocks[i])
				}
				if err := sim.CheckText(b.Text + b.Thinking); err != nil {
					t.Error(err)
				}
				if b.Type == "tool_use" && (string(b.Input) != s.input || b.Name != "weather") {
					t.Errorf("tool input is %s %s, in the stream %s", b.Name, b.Input, s.input)
				}
			}
		})
	}
}

func TestCheckText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"whole", "cedar-1 keel-2 tide-3", true},
		{"nothing yet", "", true},
		{"one lost", "cedar-1 tide-3", false},
		{"one twice", "cedar-1 cedar-1 keel-2", false},
		{"out of order", "keel-2 cedar-1", false},
		{"half a word", "cedar-1 kee", false},
		{"seam shows", "cedar-1  keel-2", false},
		{"not ours", "hello", false},
	} {
		if err := sim.CheckText(c.text); (err == nil) != c.ok {
			t.Errorf("%s: CheckText(%q) = %v", c.name, c.text, err)
		}
	}
}

func TestUsage_countsWhatIsWrittenToTheCache(t *testing.T) {
	usage := func(body string) (u struct {
		Input int `json:"input_tokens"`
		Write int `json:"cache_creation_input_tokens"`
	},
	) {
		var m struct{ Usage any }
		m.Usage = &u
		if err := json.Unmarshal([]byte(do(t, sim.New(sim.Config{}), "https://api.test", call{body: body}).body), &m); err != nil {
			t.Fatal(err)
		}
		return u
	}
	const system = `{"model":"claude-opus-5-5","max_tokens":1,"messages":[{}],"system":[{"type":"text","text":"long"%s}]}`
	if u := usage(fmt.Sprintf(system, "")); u.Write != 0 || u.Input == 0 {
		t.Errorf("without a mark got %+v", u)
	}
	if u := usage(fmt.Sprintf(system, `,"cache_control":{"type":"ephemeral"}`)); u.Write == 0 || u.Input == 0 {
		t.Errorf("with a mark got %+v", u)
	}
}
