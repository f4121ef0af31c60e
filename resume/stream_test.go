package resume

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/assemble"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// The events that the tests are made of, as data.

func startOf(id, model string, input, output int) string {
	return `{"type":"message_start","message":{"id":"` + id + `","type":"message","role":"assistant","model":"` + model +
		`","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":` + strconv.Itoa(input) +
		`,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":2},"output_tokens":` + strconv.Itoa(output) + `,"service_tier":"standard"}}}`
}

func opened(index int, block string) string {
	return `{"type":"content_block_start","index":` + strconv.Itoa(index) + `,"content_block":` + block + `}`
}

func textOpened(index int) string { return opened(index, `{"type":"text","text":""}`) }

func delta(index int, d string) string {
	return `{"type":"content_block_delta","index":` + strconv.Itoa(index) + `,"delta":` + d + `}`
}

func texted(index int, text string) string {
	return delta(index, `{"type":"text_delta","text":`+quote(text)+`}`)
}

func stopped(index int) string {
	return `{"type":"content_block_stop","index":` + strconv.Itoa(index) + `}`
}

func ended(reason string, output int) string {
	return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":{"output_tokens":` + strconv.Itoa(output) + `}}`
}

const (
	ping = `{"type":"ping"}`
	last = `{"type":"message_stop"}`
)

func quote(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// sse writes an event as it travels.
func sse(data, newline string) []byte {
	var e struct{ Type string }
	_ = json.Unmarshal([]byte(data), &e)
	return []byte("event: " + e.Type + newline + "data: " + data + newline + newline)
}

// transcript follows events.
func transcript(events ...string) *Transcript {
	t := &Transcript{}
	for _, e := range events {
		t.Event([]byte(e))
	}
	return t
}

// spliced returns the data of what the caller gets of a continuation.
func spliced(t *testing.T, s *Splice, events ...string) (out []string) {
	t.Helper()
	for i, e := range events {
		got, err := s.Event(sse(e, []string{"\n", "\r\n"}[i%2]))
		if err != nil {
			t.Fatalf("%v at %s", err, e)
		}
		out = append(out, split(t, got)...)
	}
	return out
}

// split returns the data of events, each of which must be whole and JSON.
func split(t *testing.T, events []byte) (out []string) {
	t.Helper()
	events = bytes.ReplaceAll(events, []byte("\r\n"), []byte("\n"))
	if len(events) > 0 && !bytes.HasSuffix(events, []byte("\n\n")) {
		t.Fatalf("half an event: %q", events)
	}
	for e := range bytes.SplitSeq(bytes.TrimSuffix(events, []byte("\n\n")), []byte("\n\n")) {
		_, data := stream.Fields(e)
		if len(data) == 0 {
			continue
		}
		if !json.Valid(data) {
			t.Fatalf("event %q is no JSON", e)
		}
		out = append(out, string(data))
	}
	return out
}

// message is what a caller makes of its stream.
type message struct {
	ID      string
	Content []struct{ Type, Text string }
	Reason  string `json:"stop_reason"`
	Usage   struct {
		Input     int `json:"input_tokens"`
		CacheRead int `json:"cache_read_input_tokens"`
		Output    int `json:"output_tokens"`
		Created   struct {
			FiveMinutes int `json:"ephemeral_5m_input_tokens"`
		} `json:"cache_creation"`
		Tier string `json:"service_tier"`
	}
}

func (m message) text() (all string) {
	for _, b := range m.Content {
		all += b.Text
	}
	return all
}

// kinds lists the types of the blocks.
func (m message) kinds() string {
	var kinds []string
	for _, b := range m.Content {
		kinds = append(kinds, b.Type)
	}
	return strings.Join(kinds, " ")
}

// received assembles the events that a caller got, which must be one valid
// and whole message.
func received(t *testing.T, events ...string) message {
	t.Helper()
	var a assemble.Message
	for _, e := range events {
		if err := a.Event([]byte(e)); err != nil {
			t.Fatalf("%v at %s in\n%s", err, e, strings.Join(events, "\n"))
		}
	}
	raw, err := a.JSON()
	if err != nil {
		t.Fatalf("%v in\n%s", err, strings.Join(events, "\n"))
	}
	var m message
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
