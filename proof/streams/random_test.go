package streams

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/stream"
)

// random makes streams as the API could send them, in every way in which the
// standard allows them to be written.
type random struct {
	*rand.Rand
	eol string // "" means that lines end as they like
}

// made is a stream, and what it says in the end.
type made struct {
	bytes  string
	blocks int
	kinds  map[string]int // blocks of each type
	giants int            // events that are passed as they come
	output int            // tokens
	stop   string
}

// stream makes one whole stream.
func (r random) stream() made {
	r.eol = []string{"\n", "\n", "\r\n", ""}[r.IntN(4)]
	var b strings.Builder
	m := made{kinds: map[string]int{}, output: r.IntN(5000), stop: []string{"end_turn", "max_tokens", "tool_use", "refusal", "pause_turn", "model_context_window_exceeded"}[r.IntN(6)]}
	say := func(data string) {
		if len(data) > stream.MaxEvent {
			m.giants++
		}
		b.WriteString(r.event(data))
		b.WriteString(r.between())
	}
	b.WriteString(r.between())
	say(fmt.Sprintf(`{"type":"message_start","message":{"id":"msg_%d","type":"message","role":"assistant","model":"claude-opus-5-5","content":[],`+
		`"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":%d,"cache_read_input_tokens":%d,"cache_creation":{"ephemeral_5m_input_tokens":0},"output_tokens":1,"service_tier":"standard"},"later":%s}}`,
		r.IntN(1e6), r.IntN(9000), r.IntN(9000), r.value(0)))

	var open [][]string // of each open block, its events to come
	for range r.IntN(6) {
		for _, events := range r.blocks(m.blocks) {
			m.blocks++
			m.kinds[kindOf(events[0])]++
			say(events[0])
			open = append(open, events[1:])
			for len(open) > 0 && r.IntN(15) > 0 { // else the next begins before this one ends
				at := r.IntN(len(open))
				say(open[at][0])
				if open[at] = open[at][1:]; len(open[at]) == 0 {
					open = append(open[:at], open[at+1:]...)
				}
			}
		}
		if r.IntN(20) == 0 {
			say(`{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":2}}`)
		}
	}
	for _, events := range open {
		for _, e := range events {
			say(e)
		}
	}
	say(fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":%q,"stop_sequence":null,"stop_details":null},"usage":{"output_tokens":%d}}`, m.stop, m.output))
	say(`{"type":"message_stop"}`)
	m.bytes = b.String()
	return m
}

// blocks returns the events of one block, or of two that belong together.
func (r random) blocks(index int) [][]string {
	id := fmt.Sprintf(`"id":"toolu_%d"`, r.IntN(1000))
	if r.IntN(800) == 0 {
		return r.giant(index)
	}
	switch r.IntN(15) {
	case 0:
		return r.block(index, `{"type":"thinking","thinking":"","signature":""}`, append(
			r.deltas("thinking_delta", "thinking", r.text()), r.deltas("signature_delta", "signature", r.text()+"x")...))
	case 1: // omitted: a signature and nothing else
		return r.block(index, `{"type":"thinking","thinking":"","signature":""}`, []string{`{"type":"signature_delta","signature":"EqQB` + r.word() + `"}`})
	case 2:
		return r.block(index, `{"type":"redacted_thinking","data":"`+r.word()+`"}`, nil)
	case 3:
		input, _ := json.Marshal(`{"a":` + r.value(0) + `,"b":"` + r.text() + `"}`)
		return r.block(index, `{"type":"tool_use",`+id+`,"name":"look","input":{}}`,
			append(r.deltas("input_json_delta", "partial_json", ""), r.deltas("input_json_delta", "partial_json", string(input[1:len(input)-1]))...))
	case 4, 8, 9:
		return r.serverTool(index, id)
	case 5:
		var deltas []string
		for range 1 + r.IntN(3) {
			deltas = append(deltas, `{"type":"citations_delta","citation":{"type":"char_location","cited_text":"`+r.text()+
				`","document_index":0,"document_title":null,"file_id":null,"start_char_index":1,"end_char_index":9}}`)
			deltas = append(deltas, r.deltas("text_delta", "text", r.text())...)
		}
		return r.block(index, `{"type":"text","text":"","citations":[]}`, deltas)
	case 6:
		return r.block(index, `{"type":"fallback","from":{"model":"claude-opus-5-5"},"to":{"model":"claude-opus-4-5"}}`, nil)
	case 7:
		return r.block(index, `{"type":"novelty","value":`+r.value(0)+`}`, []string{`{"type":"novelty_delta","value":` + r.value(0) + `}`, `{"type":"novelty_delta"}`})
	case 10:
		return r.block(index, `{"type":"container_upload","file_id":"file_`+r.word()+`"}`, nil)
	case 11:
		return r.block(index, `{"type":"compaction","content":""}`, r.deltas("compaction_delta", "content", r.text()))
	case 12:
		return r.block(index, `{"type":"search_result","source":"https://a.example","title":"`+r.text()+`","content":[{"type":"text","text":"`+r.text()+`"}]}`, nil)
	}
	return r.block(index, `{"type":"text","text":""}`, r.deltas("text_delta", "text", r.text()))
}

// serverTools are tools that the API runs itself: the block that calls one, and
// what its result is made of. Each $ is a text.
var serverTools = []struct{ call, name, result, content string }{
	{"server_tool_use", "web_search", "web_search_tool_result", `[{"type":"web_search_result","url":"https://a.example","title":"$","encrypted_content":"$","page_age":null}]`},
	{"server_tool_use", "web_search", "web_search_tool_result", `{"type":"web_search_tool_result_error","error_code":"unavailable"}`},
	{
		"server_tool_use", "web_fetch", "web_fetch_tool_result", `{"type":"web_fetch_result","url":"https://a.example","retrieved_at":null,` +
			`"content":{"type":"document","source":{"type":"text","media_type":"text/plain","data":"$"},"title":"$","citations":null}}`,
	},
	{"server_tool_use", "code_execution", "code_execution_tool_result", `{"type":"code_execution_result","stdout":"$","stderr":"$","return_code":1,"content":[{"type":"code_execution_output","file_id":"file_1"}]}`},
	{"server_tool_use", "bash_code_execution", "bash_code_execution_tool_result", `{"type":"bash_code_execution_result","stdout":"$","stderr":"$","return_code":0,"content":[]}`},
	{
		"server_tool_use", "text_editor_code_execution", "text_editor_code_execution_tool_result",
		`{"type":"text_editor_code_execution_view_result","file_type":"text","content":"$","num_lines":1,"start_line":1,"total_lines":1}`,
	},
	{
		"server_tool_use", "text_editor_code_execution", "text_editor_code_execution_tool_result",
		`{"type":"text_editor_code_execution_str_replace_result","lines":["$"],"old_start":1,"old_lines":1,"new_start":1,"new_lines":1}`,
	},
	{
		"server_tool_use", "tool_search_tool_regex", "tool_search_tool_result",
		`{"type":"tool_search_tool_search_result","tool_references":[{"type":"tool_reference","tool_name":"look"}]}`,
	},
	{"mcp_tool_use", "lookup", "mcp_tool_result", `[{"type":"text","text":"$"}]`},
}

// serverTool is a call of a tool that the API runs, and the result of it.
func (r random) serverTool(index int, id string) [][]string {
	t := serverTools[r.IntN(len(serverTools))]
	more, ok := "", ""
	if t.call == "mcp_tool_use" {
		more, ok = `,"server_name":"ships"`, `,"is_error":false`
	}
	content := strings.Split(t.content, "$")
	for i := range content[:len(content)-1] {
		content[i] += r.text()
	}
	call := r.block(index, `{"type":"`+t.call+`",`+id+`,"name":"`+t.name+`","input":{}`+more+`}`, r.deltas("input_json_delta", "partial_json", `{\"query\":\"keel\"}`))
	return append(call, r.block(index+1, `{"type":"`+t.result+`","tool_use_`+id[1:]+ok+`,"content":`+strings.Join(content, "")+`}`, nil)...)
}

// giant is a block with an event that is passed as it comes.
func (r random) giant(index int) [][]string {
	long := strings.Repeat(`at sea, \"keel\" \n `, stream.MaxEvent/15+r.IntN(1000))
	if r.IntN(2) == 0 {
		return r.block(index, `{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://a.example","title":"a",`+
			`"encrypted_content":"`+long+`","page_age":null}]}`, nil)
	}
	deltas := r.deltas("text_delta", "text", r.text())
	return r.block(index, `{"type":"text","text":""}`, append(append(deltas, `{"type":"text_delta","text":"`+long+`"}`), deltas...))
}

// kindOf is the type of the block that an event starts.
func kindOf(start string) string {
	_, block, _ := strings.Cut(start, `"content_block":{"type":"`)
	kind, _, _ := strings.Cut(block, `"`)
	return kind
}

// block returns the events of one.
func (r random) block(index int, start string, deltas []string) [][]string {
	at := `"index":` + strconv.Itoa(index)
	events := []string{`{"type":"content_block_start",` + at + `,"content_block":` + start + `}`}
	for _, d := range deltas {
		events = append(events, `{"type":"content_block_delta",`+at+`,"delta":`+d+`}`)
	}
	return [][]string{append(events, `{"type":"content_block_stop",`+at+`}`)}
}

// deltas divides the inside of a JSON string, but not its escapes.
func (r random) deltas(kind, field, inner string) (deltas []string) {
	for {
		n := 0
		for n < len(inner) && (n == 0 || r.IntN(12) > 0) {
			switch {
			case inner[n] == '\\' && inner[n+1] == 'u':
				n += 6
			case inner[n] == '\\':
				n += 2
			default:
				for n++; n < len(inner) && inner[n]&0xc0 == 0x80; n++ { // a character is not divided
				}
			}
		}
		deltas = append(deltas, `{"type":"`+kind+`","`+field+`":"`+inner[:n]+`"}`)
		if inner = inner[n:]; inner == "" {
			return deltas
		}
	}
}

func (r random) word() string { return strconv.FormatUint(r.Uint64(), 36) }

// text is the inside of a JSON string.
func (r random) text() string {
	var b strings.Builder
	for range r.IntN(20) {
		b.WriteString([]string{
			"word ", "keel", `\n`, `\n\n`, `\r\n`, `\"`, `\\`, `\u00e9`, `\ud83d\ude00`, "é", "中", "😀", "\u2028", "event: message_stop",
			`\n\ndata: {}\n\n`, ": ", " ", `\u0000`, "<&>", "data:",
		}[r.IntN(20)])
	}
	if r.IntN(150) == 0 {
		b.WriteString(strings.Repeat("a long one, ", 1+r.IntN(6000)))
	}
	return b.String()
}

// value is any JSON.
func (r random) value(depth int) string {
	switch r.IntN(6) {
	case 0:
		if depth < 3 {
			return `{"k":` + r.value(depth+1) + `,"l":[` + r.value(depth+1) + `]}`
		}
	case 1:
		return []string{"null", "true", "0", "-1.5e3", "123456789012345678901"}[r.IntN(5)]
	}
	return `"` + r.text() + `"`
}

// line ends a line.
func (r random) line() string {
	if r.eol != "" {
		return r.eol
	}
	return []string{"\n", "\r\n"}[r.IntN(2)]
}

// event writes data, which begins with its type, as an event.
func (r random) event(data string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(data, `{"type":"`), `"`)
	space := []string{" ", " ", " ", " ", ""}[r.IntN(5)]
	lines := []string{"event:" + space + kind, "data:" + space + data}
	if at := strings.IndexByte(data, ',') + 1; at > 0 && r.IntN(12) == 0 {
		lines = []string{lines[0], "data:" + space + data[:at], "data:" + space + data[at:]}
	}
	switch r.IntN(25) {
	case 0:
		lines = append(lines[1:], lines[0])
	case 1:
		lines = append([]string{"id: " + r.word(), "retry: 1000"}, lines...)
	case 2:
		lines = append(lines, ": "+r.word())
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l)
		b.WriteString(r.line())
	}
	b.WriteString(r.line())
	return b.String()
}

// between is what may stand between two events.
func (r random) between() string {
	switch r.IntN(20) {
	case 0:
		return r.event(`{"type":"ping"}`)
	case 1:
		return ": keep-alive" + r.line() + r.line()
	case 2:
		return r.line()
	case 3:
		return r.event(`{"type":"novelty","value":` + r.value(0) + `}`)
	}
	return ""
}
