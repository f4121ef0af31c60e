package assemble

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// random makes messages of all kinds of blocks, and the events of their
// streams, whose texts it divides where it likes, escapes excepted.
type random struct{ *rand.Rand }

// object is written in this order.
type object []struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, jsonOf(f.key)...), ':'), jsonOf(f.value)...)
	}
	return append(out, '}'), nil
}

// text returns the inside of a JSON string, as a server might write it.
func (r random) text() (inner string) {
	for range r.IntN(12) {
		inner += r.letter()
	}
	return inner
}

func (r random) letter() string {
	switch r.IntN(8) {
	case 0:
		return []string{`\n`, `\t`, `\"`, `\\`, `\/`, `\b`, `\u0000`, `\u00e9`}[r.IntN(8)]
	case 1:
		high, low := utf16.EncodeRune(rune(0x1f600 + r.IntN(64)))
		return fmt.Sprintf(`\u%04x\u%04X`, high, low)
	case 2:
		return string(rune(0x1f600 + r.IntN(64)))
	case 3:
		return string([]rune("é–中ก<>&")[r.IntN(7)])
	}
	return " word"[r.IntN(5):]
}

// pieces divides the inside of a JSON string, also between two escapes that
// make one character.
func (r random) pieces(inner string) []string {
	var out []string
	begin := 0
	for i := 0; i < len(inner); {
		n := 1
		switch {
		case strings.HasPrefix(inner[i:], `\u`):
			n = 6
		case inner[i] == '\\':
			n = 2
		case inner[i] >= 0x80:
			n = len(string([]rune(inner[i:])[0]))
		}
		i += n
		if r.IntN(4) == 0 {
			out = append(out, inner[begin:i])
			begin = i
		}
	}
	if r.IntN(5) == 0 {
		out = append(out, "")
	}
	return append(out, inner[begin:])
}

// value is any JSON, as compact as the encoder leaves it.
func (r random) value(depth int) any {
	switch r.IntN(7) {
	case 0:
		if depth < 3 {
			o := object{}
			for i := range r.IntN(3) {
				o = append(o, object{{"k" + strconv.Itoa(i), r.value(depth + 1)}}...)
			}
			return o
		}
	case 1:
		if depth < 3 {
			list := []any{}
			for range r.IntN(3) {
				list = append(list, r.value(depth+1))
			}
			return list
		}
	case 2:
		return nil
	case 3:
		return json.Number([]string{"0", "1.50", "-3e10", "123456789012345678901"}[r.IntN(4)])
	case 4:
		return r.IntN(2) == 0
	}
	return json.RawMessage(`"` + r.text() + `"`)
}

// block returns a block of a plain answer, that of its start, and its deltas.
func (r random) block() (plain, begun string, deltas []string) {
	id := `"id":"toolu_` + strconv.Itoa(r.IntN(100)) + `"`
	extra := ""
	if r.IntN(3) == 0 {
		extra = `,"later":` + string(jsonOf(r.value(0)))
	}
	text, more := r.text(), r.text()
	switch r.IntN(6) {
	case 0:
		plain = `{"type":"thinking","thinking":"` + text + `","signature":"` + more + `"` + extra + `}`
		begun = `{"type":"thinking","thinking":"","signature":""` + extra + `}`
		deltas = append(r.deltas("thinking_delta", "thinking", text), r.deltas("signature_delta", "signature", more)...)
	case 1:
		kind := []string{"tool_use", "server_tool_use", "mcp_tool_use"}[r.IntN(3)]
		input := string(jsonOf(object{{"a", r.value(0)}, {"b", r.value(0)}}))
		plain = `{"type":"` + kind + `",` + id + `,"input":` + input + extra + `}`
		begun = `{"type":"` + kind + `",` + id + `,"input":{}` + extra + `}`
		quoted := string(jsonOf(input))
		deltas = append(r.deltas("input_json_delta", "partial_json", ""), r.deltas("input_json_delta", "partial_json", quoted[1:len(quoted)-1])...)
	case 2:
		kind := []string{"web_search_tool_result", "redacted_thinking", "container_upload", "news"}[r.IntN(4)]
		plain = `{"type":"` + kind + `","content":` + string(jsonOf(r.value(0))) + extra + `}`
		begun = plain
	case 3:
		citations, list := []string{}, []string{}
		for range 1 + r.IntN(3) {
			c := string(jsonOf(object{{"type", "char_location"}, {"cited", r.value(0)}}))
			list = append(list, c)
			citations = append(citations, `{"type":"citations_delta","citation":`+c+`}`)
		}
		plain = `{"type":"text","text":"` + text + `","citations":[` + strings.Join(list, ",") + `]` + extra + `}`
		begun = `{"type":"text","text":"","citations":[]` + extra + `}`
		deltas = append(citations, r.deltas("text_delta", "text", text)...)
	default:
		plain = `{"type":"text","text":"` + text + `"` + extra + `}`
		begun = `{"type":"text","text":""` + extra + `}`
		deltas = r.deltas("text_delta", "text", text)
	}
	return plain, begun, deltas
}

func (r random) deltas(kind, field, inner string) (deltas []string) {
	for _, piece := range r.pieces(inner) {
		deltas = append(deltas, `{"type":"`+kind+`","`+field+`":"`+piece+`"}`)
	}
	return deltas
}

// message returns a plain answer and its stream, event by event.
func (r random) message() (plain string, events []string) {
	model := `"model":"claude-opus-5","later":` + string(jsonOf(r.value(0)))
	shape := `{"id":"msg_1","type":"message","role":"assistant",` + model +
		`,"content":[%s],"stop_reason":%s,"stop_sequence":null,"usage":{"input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":1},"output_tokens":%d}}`
	events = append(events, `{"type":"message_start","message":`+fmt.Sprintf(shape, "", "null", 1)+`}`)

	var content []string
	var queues [][]string // of each open block, its events to come
	take := func(q int) {
		events = append(events, queues[q][0])
		if queues[q] = queues[q][1:]; len(queues[q]) == 0 {
			queues = append(queues[:q], queues[q+1:]...)
		}
	}
	for i := range r.IntN(5) {
		block, begun, deltas := r.block()
		index := strconv.Itoa(i)
		content = append(content, block)
		events = append(events, open(index, begun))
		var queue []string
		for _, d := range deltas {
			queue = append(queue, delta(index, d))
		}
		queues = append(queues, append(queue, shut(index)))
		for len(queues) > 0 && r.IntN(20) > 0 { // else the next begins before this one ends
			take(r.IntN(len(queues)))
			if r.IntN(10) == 0 {
				events = append(events, ping)
			}
		}
	}
	for len(queues) > 0 {
		take(r.IntN(len(queues)))
	}
	if r.IntN(3) == 0 {
		events = append(events, `{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":2}}`)
	}
	events = append(events, end, stop)
	return fmt.Sprintf(shape, strings.Join(content, ","), `"end_turn"`, 7), events
}

func testRandom(t *testing.T, a, b uint64) {
	plain, events := random{rand.New(rand.NewPCG(a, b))}.message()
	got, err := assembled(&Message{}, events...)
	if err != nil {
		t.Fatalf("%v in\n%s", err, strings.Join(events, "\n"))
	}
	sameJSON(t, []byte(got), []byte(plain))
	if got != plain {
		t.Errorf("the same JSON, in other bytes:\ngot  %s\nwant %s", got, plain)
	}
	for n := range events {
		m := &Message{}
		_, err := assembled(m, events[:n]...)
		if err == nil && n < len(events)-1 { // only message_stop may be missing
			t.Fatalf("an answer from %d of %d events", n, len(events))
		}
	}
}

func TestMessage_random(t *testing.T) {
	for seed := range uint64(500) {
		testRandom(t, seed, 1)
	}
}

// FuzzMessage assembles what a random stream says.
func FuzzMessage(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(testRandom)
}

// FuzzEvents holds for any bytes: no panic, and what is assembled is JSON.
func FuzzEvents(f *testing.F) {
	for seed := range uint64(20) {
		_, events := random{rand.New(rand.NewPCG(seed, 3))}.message()
		f.Add(strings.Join(events, "\n"))
	}
	f.Fuzz(func(t *testing.T, stream string) {
		m := &Message{MaxBytes: 1 << 20}
		for e := range strings.SplitSeq(stream, "\n") {
			_ = m.Event([]byte(e))
		}
		if out, err := m.JSON(); err == nil && !json.Valid(out) {
			t.Errorf("%s became %s", stream, out)
		}
	})
}
