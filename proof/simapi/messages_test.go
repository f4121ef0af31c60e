package simapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// words is the length of an answer of this stage.
const words = 30

// types returns the types of the blocks of a message.
func (m message) types() []string {
	var list []string
	for _, b := range m.Block {
		list = append(list, b.Type)
	}
	return list
}

// text returns the text of a message.
func (m message) text() string {
	var b strings.Builder
	for _, block := range m.Block {
		b.WriteString(block.Text)
	}
	return b.String()
}

// Whatever the answer is made of, the client puts it together from events to
// what it gets in one piece, and the deltas its helper reports add up to that.
func TestMessage_streamedIsAsPlain(t *testing.T) {
	cases := []struct {
		name  string
		more  body
		types []string
		stop  string
	}{
		{"text", nil, []string{"text"}, "end_turn"},
		{"cut short by max_tokens", body{"max_tokens": 7}, []string{"text"}, "max_tokens"},
		{"thinking, shown", body{"thinking": body{"type": "adaptive", "display": "summarized"}}, []string{"thinking", "text"}, "end_turn"},
		{"thinking, omitted", body{"thinking": body{"type": "adaptive", "display": "omitted"}}, []string{"thinking", "text"}, "end_turn"},
		{"tool use in pieces of JSON", body{"tools": lookupTool}, []string{"tool_use"}, "tool_use"},
	}
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				plain := does(t, d, s.task(t, doMessage, ask(c.more))).Messages[0]
				live := does(t, d, s.task(t, doStream, ask(c.more)))
				streamed := live.Messages[0]
				for _, m := range []message{plain, streamed} {
					if got := m.types(); !slices.Equal(got, c.types) || m.Stop != c.stop {
						t.Errorf("got blocks %q stopped for %q, want %q for %q", got, m.Stop, c.types, c.stop)
					}
					if m.Model != model || m.Role != "assistant" || m.ID == "" || m.Usage.Input == 0 || m.Usage.Output == 0 {
						t.Errorf("got %+v, want a message of %s with an id and usage", m, model)
					}
					if err := sim.CheckText(m.text()); err != nil {
						t.Error(err)
					}
				}
				if a, b := len(strings.Fields(plain.text())), len(strings.Fields(streamed.text())); a != b || plain.Usage != streamed.Usage {
					t.Errorf("plain answer has %d words and usage %+v, the stream %d and %+v", a, plain.Usage, b, streamed.Usage)
				}
				checkDeltas(t, streamed, live.Deltas)
			})
		}
	})
}

// checkDeltas compares what events brought with the message made of them.
func checkDeltas(t *testing.T, m message, got deltas) {
	t.Helper()
	var want deltas
	for _, b := range m.Block {
		want.Text += b.Text
		want.Thinking += b.Thinking
		want.Signature += b.Signature
		want.Citations += len(b.Citations)
		if b.Type == "thinking" && b.Signature == "" {
			t.Error("thinking has no signature")
		}
		if b.Type == "tool_use" || b.Type == "server_tool_use" {
			want.JSON = got.JSON
			if !sameJSON(t, got.JSON, string(b.Input)) {
				t.Errorf("pieces of JSON make %s, the block has %s", got.JSON, b.Input)
			}
		}
	}
	if got != want {
		t.Errorf("deltas %+v, the message has %+v", got, want)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Errorf("%q: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Errorf("%q: %v", b, err)
	}
	ax, _ := json.Marshal(x) // both were JSON
	by, _ := json.Marshal(y)
	return string(ax) == string(by)
}

// The SDK's own tool runner calls the tool with what the model wrote, sends
// the result back in its own way, and ends with the text.
func TestMessage_toolLoop(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, do := range []verb{doLoop, doLoopStream} {
			t.Run(string(do), func(t *testing.T) {
				got := does(t, d, s.task(t, do, ask(body{"tools": lookupTool})))
				if len(got.Messages) != 2 || len(got.Inputs) != 1 {
					t.Fatalf("%d messages and %d runs of the tool, want 2 and 1", len(got.Messages), len(got.Inputs))
				}
				var input struct{ City string }
				if err := json.Unmarshal(got.Inputs[0], &input); err != nil || input.City == "" {
					t.Errorf("the tool was run with %s, want a city", got.Inputs[0])
				}
				last := got.Messages[1]
				if n := len(strings.Fields(last.text())); n != words || last.Stop != "end_turn" {
					t.Errorf("last answer has %d words and stopped for %q, want %d and end_turn", n, last.Stop, words)
				}
			})
		}
	})
}

// An answer that goes back as the SDK holds it is accepted, thinking and all.
func TestMessage_conversation(t *testing.T) {
	thinks := body{"thinking": body{"type": "adaptive", "display": "summarized"}}
	hides := body{"thinking": body{"type": "adaptive", "display": "omitted"}}
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, c := range []struct {
			name string
			more body
		}{{"text", nil}, {"thinking", thinks}, {"omitted thinking", hides}} {
			for _, do := range []verb{doConverse, doConverseLive} {
				t.Run(c.name+"/"+string(do), func(t *testing.T) {
					what := s.task(t, do, ask(c.more))
					what.Then = "Thank you. And Iquique?"
					got := does(t, d, what)
					if len(got.Messages) != 2 || got.Messages[1].Stop != "end_turn" {
						t.Errorf("got %+v, want two whole answers", got.Messages)
					}
				})
			}
		}
	})
}
