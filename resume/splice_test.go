package resume

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// resumed is a transcript whose rest has been asked for, of a model that is
// quoted to, or of one that takes prefill.
func resumed(t *testing.T, prefill bool, events ...string) *Transcript {
	t.Helper()
	tr := transcript(events...)
	if _, err := tr.Request([]byte(request(modelFor(prefill), ""))); err != nil {
		t.Fatal(err)
	}
	if tr.prefill != prefill {
		t.Fatalf("prefill is %v", tr.prefill)
	}
	return tr
}

func modelFor(prefill bool) string {
	if prefill {
		return "claude-opus-4-5"
	}
	return "claude-opus-5"
}

func TestSplice(t *testing.T) {
	const model = "claude-opus-5"
	cut := []string{startOf("msg_1", model, 9, 1), ping, textOpened(0), texted(0, "One"), texted(0, " two")}
	start := startOf("msg_2", model, 12, 1)
	thinks := []string{opened(0, `{"type":"thinking","thinking":"","signature":""}`), delta(0, `{"type":"thinking_delta","thinking":"so"}`), delta(0, `{"type":"signature_delta","signature":"s"}`), stopped(0)}
	tool := `{"type":"tool_use","id":"t","name":"n","input":{}}`
	for _, tt := range []struct {
		reason      string
		rest        []string // between start and message_stop
		text, kinds string
	}{
		{"the rest", []string{textOpened(0), texted(0, " three"), texted(0, " four"), stopped(0), ended("end_turn", 2)}, "One two three four", "text"},
		{"a space is due", []string{textOpened(0), texted(0, "three"), stopped(0), ended("end_turn", 2)}, "One two three", "text"},
		{"after thinking", append(thinks[:4:4], textOpened(1), texted(1, " three"), stopped(1), ended("end_turn", 2)), "One two three", "text"},
		{"hidden thinking", []string{opened(0, `{"type":"redacted_thinking","data":"x"}`), stopped(0), textOpened(1), texted(1, " three"), stopped(1), ended("end_turn", 2)}, "One two three", "text"},
		{"text in the start", []string{opened(0, `{"type":"text","text":" three"}`), texted(0, " four"), stopped(0), ended("end_turn", 2)}, "One two three four", "text"},
		{"several blocks", []string{textOpened(0), texted(0, " three"), stopped(0), textOpened(1), texted(1, " four"), stopped(1), ended("end_turn", 2)}, "One two three four", "text text"},
		{"a tool follows", append(append(thinks[:4:4], textOpened(1), texted(1, " three"), stopped(1)), opened(2, tool), delta(2, `{"type":"input_json_delta","partial_json":"{}"}`), stopped(2), ended("tool_use", 2)), "One two three", "text tool_use"},
		{"several tools", []string{textOpened(0), texted(0, " three"), stopped(0), opened(1, tool), stopped(1), opened(2, tool), stopped(2), ended("tool_use", 2)}, "One two three", "text tool_use tool_use"},
		{"a tool at once", []string{opened(0, tool), stopped(0), ended("tool_use", 2)}, "One two", "text tool_use"},
		{"thinking between", []string{textOpened(0), texted(0, " three"), stopped(0), opened(1, `{"type":"thinking","thinking":""}`), stopped(1), opened(2, tool), stopped(2), ended("tool_use", 2)}, "One two three", "text tool_use"},
		{"nothing was left", []string{ended("end_turn", 2)}, "One two", "text"},
		{"nothing was left, said with a block", []string{textOpened(0), texted(0, ""), stopped(0), ended("end_turn", 2)}, "One two", "text"},
		{"blocks that interleave", []string{textOpened(0), opened(1, tool), texted(0, " three"), stopped(1), ping, stopped(0), ended("tool_use", 2)}, "One two three", "text tool_use"},
		{"two message_deltas", []string{textOpened(0), `{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":1}}`, texted(0, " three"), stopped(0), ended("end_turn", 2)}, "One two three", "text"},
		{"citations pass", []string{textOpened(0), delta(0, `{"type":"citations_delta","citation":{"n":1}}`), texted(0, " three"), stopped(0), ended("end_turn", 2)}, "One two three", "text"},
		{"unknown events pass, where they belong", append([]string{`{"type":"news"}`, opened(0, `{"type":"thinking","thinking":""}`), `{"type":"news","index":0}`, stopped(0), textOpened(1), `{"type":"news","index":1}`}, stopped(1), ended("end_turn", 2)), "One two", "text"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := resumed(t, false, cut...).Splice()
			rest := spliced(t, s, append(append([]string{start, ping}, tt.rest...), last)...)
			m := received(t, append(append([]string(nil), cut...), rest...)...)
			if m.ID != "msg_1" || m.text() != tt.text || m.kinds() != tt.kinds {
				t.Errorf("%s got %q in %s, want %q in %s", m.ID, m.text(), m.kinds(), tt.text, tt.kinds)
			}
			if !s.Whole() {
				t.Error("not whole")
			}
			if m.Usage.Input != 21 || m.Usage.Output != 4 || m.Usage.Created.FiveMinutes != 4 || m.Usage.Tier != "standard" {
				t.Errorf("usage %+v, want input 9+12, output 2+2, both cache writes", m.Usage)
			}
		})
	}
}

func TestSplice_bytes(t *testing.T) {
	tr := resumed(t, false, startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One"), texted(0, " two"))
	s := tr.Splice()
	for _, tt := range []struct{ reason, event, want string }{
		{"swallowed", string(sse(startOf("msg_2", "claude-opus-5", 12, 3), "\n")), ""},
		{"comments pass", ": alive\r\n\r\n", ": alive\r\n\r\n"},
		{"pings pass as they come", "event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n", "event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n"},
		{"no index is written there", "data: {\"type\":\"news\"}\n\n", "data: {\"type\":\"news\"}\n\n"},
		{"swallowed", string(sse(textOpened(0), "\n")), ""},
		{"held: it may be the second of two", string(sse(delta(0, `{"type":"text_delta","text":""}`), "\n")), ""},
		{"the seam is clear", string(sse(delta(0, `{"type":"text_delta","text":" \u00fcber <b>"}`), "\n")), "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" über <b>\"}}\n\n"},
		{
			"then all but the index stays", "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\ndata: \"delta\":{ \"type\":\"text_delta\",\"text\":\"\\u00fc\",\ndata: \"x\":1.0}}\n\n",
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{ \"type\":\"text_delta\",\"text\":\"\\u00fc\", \"x\":1.0}}\n\n",
		},
		{"stopped as the block that was cut", string(sse(stopped(0), "\n")), string(sse(stopped(0), "\n"))},
		{"the next is next", string(sse(opened(1, `{"type":"x"}`), "\n")), string(sse(opened(1, `{"type":"x"}`), "\n"))},
		{"and stopped", string(sse(stopped(1), "\n")), string(sse(stopped(1), "\n"))},
		{
			"sums", "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"later\":1},\"usage\":{\"output_tokens\":30,\"server_tool_use\":{\"web_search_requests\":1},\"input_tokens\":null}}\n\n",
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"later\":1},\"usage\":{\"output_tokens\":32,\"server_tool_use\":{\"web_search_requests\":1},\"input_tokens\":21,\"cache_creation\":{\"ephemeral_5m_input_tokens\":4}}}\n\n",
		},
		{"passes", string(sse(last, "\n")), string(sse(last, "\n"))},
	} {
		got, err := s.Event([]byte(tt.event))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %q, %v\nwant %q", tt.reason, got, err, tt.want)
		}
	}
}

// A block that nothing goes on with is stopped before the next one begins.
func TestSplice_stopsFirst(t *testing.T) {
	s := resumed(t, false, startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One")).Splice()
	got := spliced(t, s, startOf("msg_2", "claude-opus-5", 9, 1), opened(0, `{"type":"tool_use"}`))
	if len(got) != 2 || got[0] != stopped(0) || got[1] != `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use"}}` {
		t.Errorf("got %q", got)
	}
}

// The cut block need not be the first, and thinking of the first attempt was
// delivered.
func TestSplice_laterBlock(t *testing.T) {
	cut := []string{
		startOf("msg_1", "claude-opus-5", 9, 1), opened(0, `{"type":"thinking","thinking":""}`), delta(0, `{"type":"signature_delta","signature":"s"}`), stopped(0),
		textOpened(1), texted(1, "One"), stopped(1), textOpened(2), texted(2, " two"),
	}
	rest := spliced(t, resumed(t, false, cut...).Splice(), startOf("msg_2", "claude-opus-5", 9, 1), textOpened(0), texted(0, " three"), stopped(0), textOpened(1), texted(1, " four"), stopped(1), ended("end_turn", 2), last)
	m := received(t, append(cut, rest...)...)
	if got, want := m.text()+"|"+m.kinds(), "One two three four|thinking text text text"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSplice_refuses(t *testing.T) {
	start := startOf("msg_2", "claude-opus-5", 12, 1)
	for _, tt := range []struct {
		reason string
		events []string
		want   error
	}{
		{"an error at once", []string{`{"type":"error","error":{"type":"overloaded_error","message":"secret"}}`}, ErrUpstream},
		{"an error later", []string{start, textOpened(0), texted(0, " three"), `{"type":"error","error":{"type":"overloaded_error","message":"secret"}}`}, ErrUpstream},
		{"no start", []string{textOpened(0)}, ErrMalformed},
		{"a second start", []string{start, start}, ErrMalformed},
		{"a start without a message", []string{`{"type":"message_start"}`}, ErrMalformed},
		{"a gap", []string{start, textOpened(1)}, ErrMalformed},
		{"a delta for no block", []string{start, texted(0, "a")}, ErrMalformed},
		{"a delta for a block that is done", []string{start, textOpened(0), stopped(0), texted(0, "a")}, ErrMalformed},
		{"a text that is none", []string{start, textOpened(0), delta(0, `{"type":"text_delta","text":7}`)}, ErrMalformed},
		{"an end with a block open", []string{start, textOpened(0), ended("end_turn", 1)}, ErrMalformed},
		{"a stop with a block open", []string{start, textOpened(0), last}, ErrMalformed},
		{"more after the end", []string{start, ended("end_turn", 1), last, textOpened(0)}, ErrMalformed},
		{"no JSON", []string{start, `{"type":`}, ErrMalformed},
		{"no object", []string{start, `[]`}, ErrMalformed},
		{"usage without end", []string{start, `{"type":"message_delta","delta":{},"usage":{"x":"` + strings.Repeat("x", maxUsage) + `"}}`}, ErrMalformed},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			s := resumed(t, false, startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One")).Splice()
			var err error
			for i, e := range tt.events {
				if _, err = s.Event(sse(e, "\n")); err != nil && i < len(tt.events)-1 {
					t.Fatalf("%v at %s", err, e)
				}
			}
			if !errors.Is(err, tt.want) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if _, again := s.Event(sse(ping, "\n")); again == nil {
				t.Error("goes on after an error")
			}
		})
	}
}

// An attempt that brought nothing may be followed by another.
func TestTranscript_spliceIsNewEachTime(t *testing.T) {
	cut := []string{startOf("msg_1", "claude-opus-5", 9, 1), textOpened(0), texted(0, "One")}
	tr := resumed(t, false, cut...)
	spliced(t, tr.Splice(), startOf("msg_2", "claude-opus-5", 100, 1), textOpened(0))
	rest := spliced(t, tr.Splice(), startOf("msg_3", "claude-opus-5", 9, 1), textOpened(0), texted(0, " two"), stopped(0), ended("end_turn", 2), last)
	m := received(t, append(cut, rest...)...)
	if m.text() != "One two" || m.Usage.Input != 18 {
		t.Errorf("got %q and usage %+v, want those of the first and the third attempt", m.text(), m.Usage)
	}
}
