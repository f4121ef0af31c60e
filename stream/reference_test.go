package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// reading is what a reader makes of a stream.
type reading struct {
	Passed string
	State  State
	Broken bool
}

// reference reads a stream that is in memory as a whole, in the most obvious
// way there is: lines, then events, then encoding/json. An event of more than
// most bytes is passed unread.
func reference(in string, most int) (got reading) {
	event, size := []string{}, 0
	for line := range strings.SplitAfterSeq(in, "\n") {
		size += len(line)
		text, ended := strings.CutSuffix(line, "\n")
		if !ended {
			break // the line is not complete, and so its event is not
		}
		if text = strings.TrimSuffix(text, "\r"); text != "" {
			event = append(event, text)
			continue
		}
		if got.Passed == "" && len(event) > 0 {
			event[0] = strings.TrimPrefix(event[0], "\ufeff")
		}
		if size <= most {
			got.State.read(event)
		} else {
			got.State.Events++
			got.State.Content = true
		}
		got.Passed += in[len(got.Passed):][:size]
		event, size = nil, 0
	}
	if size > most {
		got.Passed, got.Broken, got.State.Content = in, true, true
	}
	return got
}

// read takes the lines of one event.
func (s *State) read(lines []string) {
	var name string
	var datas []string
	for _, line := range lines {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			datas = append(datas, value)
		}
	}
	data := strings.Join(datas, "\n")
	if name == "" && data == "" {
		return
	}
	s.Events++
	object, ok := parseObject(data)
	if name == "" {
		_ = json.Unmarshal(object.get("type"), &name) // of a name that is no string there is none
	}
	if name == "error" {
		// What an error event says is package claude's question.
		s.Error = claude.ParseErrorEvent([]byte(data))
		if s.Error.Type == "" {
			s.Error.Type = claude.API
		}
	}
	if !ok {
		return
	}
	switch name {
	case "content_block_delta":
		if !nothing(object.get("delta")) {
			s.Content = true
		}
	case "content_block_stop":
		s.Content = true
	case "message_start":
		message, _ := parseObject(string(object.get("message")))
		s.count(message.get("usage"))
		s.Model = cut(gjson.ParseBytes(message.get("model")).Str) // how odd bytes are decoded is nobody's question
	case "message_delta":
		s.Content = true
		s.count(object.get("usage"))
		delta, _ := parseObject(string(object.get("delta")))
		var reason any
		_ = json.Unmarshal(delta.get("stop_reason"), &reason)
		if text, ok := reason.(string); ok && text != "" {
			s.Stopped = true
		}
	case "message_stop":
		s.Finished = true
	}
}

// nothing tells that a delta is missing or null, or has nothing but empty texts.
func nothing(delta json.RawMessage) bool {
	object, ok := parseObject(string(delta))
	if !ok {
		return delta == nil || string(delta) == "null"
	}
	for _, m := range object {
		var text any
		_ = json.Unmarshal(m.value, &text)
		if m.name != "type" && text != "" {
			return false
		}
	}
	return true
}

// count takes over every count of a usage object that can be one.
func (s *State) count(usage json.RawMessage) {
	object, _ := parseObject(string(usage))
	for _, m := range object {
		var number json.Number
		if m.value[0] == '"' || json.Unmarshal(m.value, &number) != nil || number == "" {
			continue
		}
		n, _ := strconv.ParseFloat(string(number), 64) // what is too large is infinite
		if n < 0 || n > 1<<52 {
			continue
		}
		switch m.name {
		case "input_tokens":
			s.Usage.Input = int(n)
		case "output_tokens":
			s.Usage.Output = int(n)
		case "cache_read_input_tokens":
			s.Usage.CacheRead, s.Usage.Caches = int(n), true
		case "cache_creation_input_tokens":
			s.Usage.CacheWrite, s.Usage.Caches = int(n), true
		}
	}
}

// members are those of a JSON object, in their order.
type members []struct {
	name  string
	value json.RawMessage
}

func (o members) get(name string) (value json.RawMessage) {
	for _, m := range o {
		if m.name == name {
			value = m.value
		}
	}
	return value
}

// parseObject reports false for what is no object, or no JSON at all.
func parseObject(text string) (o members, ok bool) {
	if !json.Valid([]byte(text)) {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		o = append(o, struct {
			name  string
			value json.RawMessage
		}{name.(string), value})
	}
	return o, true
}

// chopped gives a stream out in pieces of random sizes.
type chopped struct {
	*rand.Rand
	in   string
	most int
}

func (c *chopped) Read(p []byte) (int, error) {
	if c.in == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.IntN(c.most))], c.in)
	c.in = c.in[n:]
	return n, nil
}

// follow reads src with a Reader to its end, into a buffer of so many bytes.
func follow(t *testing.T, src io.Reader, most, size int, hold bool) reading {
	t.Helper()
	r := NewReader(src)
	r.Max = most
	if hold {
		err := r.Hold()
		if s := r.State(); err == nil && s.Error.Type != "" {
			t.Errorf("held until an error event, and did not say so: %+v", s)
		}
	}
	var passed []byte
	for buf := make([]byte, size); ; {
		n, err := r.Read(buf)
		passed = append(passed, buf[:n]...)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("the stream ended with %v", err)
			}
			return reading{string(passed), r.State(), r.Broken()}
		}
	}
}

// agree has a stream read in every way at once.
func agree(t *testing.T, in string, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	for _, most := range []int{MaxEvent, 64} { // events of 64 bytes are giants to the second
		want := reference(in, most)
		size := 1 + random.IntN(200)
		for _, way := range []struct {
			how  string
			src  io.Reader
			hold bool
		}{
			{"at once", strings.NewReader(in), false},
			{"byte by byte", iotest.OneByteReader(strings.NewReader(in)), false},
			{"in pieces", &chopped{random, in, 1 + random.IntN(100)}, false},
			{"in pieces, held first", &chopped{random, in, 40}, true},
			{"with EOF beside the last bytes", iotest.DataErrReader(strings.NewReader(in)), false},
		} {
			if got := follow(t, way.src, most, size, way.hold); got != want {
				t.Fatalf("%s, giants above %d bytes, into %d:\ngot  %+v\nwant %+v\nof %q", way.how, most, size, got, want, in)
			}
		}
	}
}

// awkward are streams that are read in more than one way by those who are not careful.
var awkward = []string{
	start + block + delta + stopped + stop,
	strings.ReplaceAll(start+block+delta+stopped+stop, "\n", "\r\n"),
	start + failed,
	start + ping + ": keep-alive\n\n" + delta + "event: novelty\ndata: {}\n\n",
	// Fields of one event.
	"data: {\"type\":\"message_stop\"}\nevent: message_stop\n\n",
	"event: content_block_delta\nevent: message_stop\ndata: {}\n\n",
	delta + "event: content_block_delta\ndata: {}\nevent: error\n\n",
	delta + "event: content_block_delta\nevent: error\n\n",
	delta + "event: content_block_delta\n: error\n\n",
	"event:message_stop\ndata:{}\n\n", "event\ndata\n\n", "event: error\n\n", "event: message_stop\n\n",
	"event:  message_stop\ndata: {}\n\n", "event : message_stop\ndata: {}\n\n",
	"id: 1\nretry: 5\nevent: message_stop\ndata: {}\n\n",
	// Data in several lines.
	"event: message_delta\ndata: {\"delta\":\ndata: {\"stop_reason\":\ndata:  \"end_turn\"}}\n\n",
	"data\ndata: {\"type\":\"message_stop\"}\n\n", "data:\ndata:\n\n", "data:\n\n",
	// Names and types that differ.
	"event: ping\ndata: {\"type\":\"message_stop\"}\n\n", "event: message_stop\ndata: {\"type\":\"ping\"}\n\n",
	"data: {\"type\":\"ping\",\"type\":\"message_stop\"}\n\n", "data: {\"\\u0074ype\":\"message_stop\"}\n\n", "data: {\"type\":5}\n\n",
	// Data that clients cannot read.
	"event: message_stop\ndata: [1]\n\n", "event: message_stop\ndata: {\n\n", "event: message_stop\ndata: {}{}\n\n",
	"event: content_block_stop\ndata: \x00\n\n", "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"a\x00\"}}\n\n",
	"event: content_block_delta\ndata: {\"delta\":{\"text\":\"x\"}\n\n",
	// Deltas.
	"event: content_block_delta\ndata: {\"delta\":null}\n\n", "event: content_block_delta\ndata: {\"delta\":[]}\n\n",
	"event: content_block_delta\ndata: {\"delta\":{\"type\":\"x\",\"a\":\"\",\"b\":\"\"}}\n\n",
	"event: content_block_delta\ndata: {\"delta\":{\"type\":\"x\",\"a\":\"\",\"b\":0}}\n\n",
	"event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"\"}}\n\n",
	// Usage.
	"event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":1,\"input_tokens\":2.9,\"output_tokens\":-1,\"cache_read_input_tokens\":\"7\",\"cache_creation_input_tokens\":1e3}}}\n\n" +
		"event: message_delta\ndata: {\"usage\":{\"output_tokens\":99999999999999999999,\"input_tokens\":1e999,\"cache_read_input_tokens\":null}}\n\n",
	"event: message_start\ndata: {\"message\":{\"usage\":[1]},\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n",
	// Line ends, and marks.
	"\ufeff" + stop, "\ufeff\n\n" + stop, "\n\n\n" + stop, start + "\ufeff" + stop, ": hi\n\n\ufeff" + stop,
	"event: message_stop\rdata: {}\r\r", "event: message_stop\r\ndata: {}\n\r\n", "data: {}\r\r\n\r\n" + stop, "\r\n\r\r\n\n\r",
	"event: message_stop\ndata: {\"a\":\"\u2028\u0085\"}\n\n",
	// Giants: of the second reader of each stream.
	"event: content_block_start\ndata: " + strings.Repeat("x", 100) + "\r\n\r\n" + stop,
	strings.Repeat("x", 63) + "\n" + "\n" + stop, strings.Repeat("x", 62) + "\n\n" + stop, strings.Repeat("x", 62) + "\r\n\r\n" + stop,
	strings.Repeat("x", 70), strings.Repeat("x", 70) + "\r\n\r", strings.Repeat("x", 64), strings.Repeat("x", 65),
	"\ufeff: " + strings.Repeat("x", 100) + "\n\n" + stop,
	// Half of something.
	start + delta[:30], start + strings.TrimSuffix(stop, "\n"), "data: x\r\n\n\n\r\n\r\r\nevent:", "\x00\xffgarbage",
	"event: content_block_delta\ndata: {\"index\":123456789012345678901234567890,\"delta\":{\"text\":\"x\"}}\n\n",
	"event: message_stop\ndata: " + strings.Repeat("[", 20_000) + "\n\n",
}

// TestReader_asTheReference holds the Reader against the reference where they
// could differ, with every event also cut at every byte.
func TestReader_asTheReference(t *testing.T) {
	for i, in := range awkward {
		agree(t, in, uint64(i))
	}
	in := awkward[0] + awkward[1]
	for i := range in {
		agree(t, in[:i], uint64(i))
	}
}

// A giant of real size, with the end of its line at every distance from the
// bound.
func TestReader_giantsAsTheReference(t *testing.T) {
	for more := -5; more < 5; more++ {
		for _, eol := range []string{"\n", "\r\n"} {
			in := start + "data: " + strings.Repeat("x", MaxEvent-len("data: ")+more) + eol + eol + stop
			for _, in := range []string{in, in[:len(in)-len(stop)-1], in + delta[:9]} {
				want := reference(in, MaxEvent)
				for _, piece := range []int{1 << 10, 4 << 20} {
					src := &chopped{rand.New(rand.NewPCG(1, 2)), in, piece}
					if got := follow(t, src, MaxEvent, 32<<10, false); got != want {
						t.Fatalf("%d bytes more than Max, pieces of %d: %d bytes, %+v %v; want %d, %+v %v", more, piece,
							len(got.Passed), got.State, got.Broken, len(want.Passed), want.State, want.Broken)
					}
				}
			}
		}
	}
}

// Random streams are made of pieces of the awkward ones.
func TestReader_randomAsTheReference(t *testing.T) {
	var pieces []string
	for _, in := range awkward {
		if len(in) < 1000 {
			pieces = append(pieces, strings.SplitAfter(in, "\n")...)
		}
	}
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 7))
		var in bytes.Buffer
		for range random.IntN(12) {
			in.WriteString(pieces[random.IntN(len(pieces))])
			if random.IntN(3) == 0 {
				in.WriteByte('\n')
			}
		}
		agree(t, in.String(), seed)
	}
}

// FuzzReader holds the Reader against the reference for any bytes, in pieces
// of any size.
//
// fuzz: 10m
func FuzzReader(f *testing.F) {
	for i, in := range awkward {
		if len(in) < 1000 { // longer ones are slow to vary, and say no more
			f.Add([]byte(in), uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) { agree(t, string(in), seed) })
}
