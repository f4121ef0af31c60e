// Package assemble turns the events of a stream into the JSON that the API
// would have answered to the same request without "stream": true.
//
// A [Message] takes the data of one event after the other:
//
//	            message_start           message_stop
//	  nothing ───────────────► open ──────────────────► closed
//	                          │    ▲
//	      content_block_start │    │ content_block_delta, content_block_stop,
//	                          ▼    │ message_delta
//	                       blocks, each open until its own stop
//
//	ping, and events of unknown types     anywhere, and change nothing
//	error                                 ends it: ErrUpstream
//	anything else in the wrong place      ends it: ErrOrder
//
// Nothing is decoded that need not be: fields keep their order, numbers their
// digits and strings their escapes, fields that nobody has heard of included.
// Deltas of a text are joined as they stand between their quotes. What the
// stream tells besides the message, such as pings and hints of progress, is
// no part of the answer.
//
// A delta of an unknown type, or a known one with an unknown field, cannot be
// put in its place without a guess. It is refused with [UnknownDeltaError], so
// that a caller can stop assembling for that model rather than lose something.
package assemble

import (
	"errors"
	"fmt"
	"slices"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// The reasons for which a stream yields no answer, beside [UnknownDeltaError].
var (
	ErrOrder      = errors.New("assemble: event in the wrong place")
	ErrMalformed  = errors.New("assemble: event is not as documented")
	ErrTooLarge   = errors.New("assemble: message too large")
	ErrIncomplete = errors.New("assemble: message is not complete")
	ErrUpstream   = errors.New("assemble: the stream ended with an error event")
)

// UnknownDeltaError refuses a delta that has no known place in a plain answer.
type UnknownDeltaError struct {
	// Delta is its type, as in "text_delta"; with a dot and the name of a
	// field where only that is unknown. Names are cut at 64 bytes.
	Delta string
}

// Error implements [error].
func (e *UnknownDeltaError) Error() string {
	return fmt.Sprintf("assemble: unknown delta %q", e.Delta)
}

// Bounds against a stream that is not one of the API.
const (
	defaultMaxBytes = 32 << 20 // the API's bound of a request that would bring the message back (“Claude API errors”, 2026-09-26)
	maxMembers      = 1 << 10  // of the message or its usage; about 12 are documented
	maxUnknown      = 8        // names of unknown events that are kept
	maxName         = 64       // bytes of a name
	blockCost       = 256      // bytes that a block takes beside its JSON: about
)

// Message assembles one message. The zero value is ready. It is not safe for
// concurrent use.
type Message struct {
	// MaxBytes bounds the memory of the message. Past it events are refused
	// with ErrTooLarge. 0 means 32 MiB.
	MaxBytes int

	err     error          // what ended it; returned ever after
	event   rawjson.Object // at hand; its memory is used again
	piece   rawjson.Object // the delta at hand, likewise
	top     rawjson.Object // of message_start, with the fields of message_delta
	usage   rawjson.Object
	blocks  []*block
	open    int // blocks without their stop
	started bool
	stopped bool
	size    int
	unknown []string
}

// Event takes the data of the next event, a JSON object, and keeps none of its
// memory. After an error the message is lost, and every later call returns the
// same one.
func (m *Message) Event(data []byte) error {
	if m.err == nil {
		m.err = m.take(data)
	}
	return m.err
}

// Unknown returns the types of events that were left out because they are not
// known, each once, the first eight.
func (m *Message) Unknown() []string { return m.unknown }

func (m *Message) take(data []byte) error {
	if !rawjson.Valid(data) {
		return fmt.Errorf("%w: no JSON", ErrMalformed)
	}
	e, ok := m.event.Reparse(string(data))
	m.event = e
	if !ok {
		return fmt.Errorf("%w: no object", ErrMalformed)
	}
	kind := e.Text("type")
	switch {
	case kind == "error":
		return fmt.Errorf("%w: %s", ErrUpstream, claude.ParseErrorEvent(data).Type)
	case kind == "ping" && !m.stopped:
		return nil
	case m.stopped, m.started == (kind == "message_start") && known(kind):
		return fmt.Errorf("%w: %s", ErrOrder, cut(kind))
	}
	switch kind {
	case "message_start":
		return m.start(e.Get("message"))
	case "content_block_start":
		return m.startBlock(e)
	case "content_block_delta", "content_block_stop":
		b, err := m.block(e)
		if err != nil {
			return err
		}
		if kind == "content_block_delta" {
			return m.delta(b, e.Get("delta"))
		}
		b.open = false
		m.open--
	case "message_delta":
		return m.change(e)
	case "message_stop":
		if m.open > 0 {
			return fmt.Errorf("%w: message_stop with %d blocks open", ErrOrder, m.open)
		}
		m.stopped = true
	default:
		m.leaveOut(kind)
	}
	return nil
}

// known tells that a type of event has its place in a message.
func known(kind string) bool {
	switch kind {
	case "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop":
		return true
	}
	return false
}

func (m *Message) leaveOut(kind string) {
	kind = cut(kind)
	if slices.Contains(m.unknown, kind) {
		return
	}
	if len(m.unknown) < maxUnknown {
		m.unknown = append(m.unknown, kind)
	}
}

// start takes the message object of message_start.
func (m *Message) start(raw string) error {
	if err := m.grow(len(raw)); err != nil {
		return err
	}
	top, ok := rawjson.Parse(raw)
	if !ok || len(top) > maxMembers {
		return fmt.Errorf("%w: message_start without a message", ErrMalformed)
	}
	if c := top.Get("content"); c != "" && c != "[]" && c != "null" {
		return fmt.Errorf("%w: message_start with content", ErrMalformed)
	}
	usage, ok := rawjson.Parse(top.Get("usage"))
	if !ok && top.Has("usage") && top.Get("usage") != "null" {
		return fmt.Errorf("%w: usage is no object", ErrMalformed)
	}
	m.top, m.usage, m.started = top, usage, true
	return nil
}

// change takes a message_delta. The fields of its delta, and those beside it,
// become fields of the message; its usage counts from the beginning, so that
// it overwrites (“Streaming messages”, platform.claude.com, 2026-09-02). Null
// stands for what is not updated (SDK, messageutil.go) and replaces nothing.
func (m *Message) change(e rawjson.Object) error {
	for _, field := range e {
		var err error
		switch field.Key {
		case "type":
		case "delta":
			err = m.merge(&m.top, field.Raw)
		case "usage":
			if field.Raw != "null" {
				err = m.merge(&m.usage, field.Raw)
			}
		default:
			err = m.set(&m.top, field)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Message) merge(into *rawjson.Object, raw string) error {
	fields, ok := rawjson.Parse(raw)
	if !ok {
		return fmt.Errorf("%w: message_delta holds no object", ErrMalformed)
	}
	for _, field := range fields {
		if err := m.set(into, field); err != nil {
			return err
		}
	}
	return nil
}

func (m *Message) set(into *rawjson.Object, field rawjson.Member) error {
	if len(*into) >= maxMembers {
		return ErrTooLarge
	}
	if into == &m.top && (field.Key == "content" || field.Key == "usage") {
		return fmt.Errorf("%w: message_delta changes %s", ErrMalformed, field.Key)
	}
	if field.Raw == "null" && into.Has(field.Key) {
		return nil
	}
	if err := m.grow(len(field.Key) + len(field.Raw)); err != nil {
		return err
	}
	into.Set(field.Key, field.Raw)
	return nil
}

// grow accounts for n bytes that are kept.
func (m *Message) grow(n int) error {
	limit := m.MaxBytes
	if limit == 0 {
		limit = defaultMaxBytes
	}
	if n > limit-m.size {
		return fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
	}
	m.size += n
	return nil
}

// JSON returns the message. It is complete after message_stop, and after a
// stop reason with all blocks stopped, where some intermediaries end the
// stream; before that the error is [ErrIncomplete], and after an event that
// was refused, the reason for that.
func (m *Message) JSON() ([]byte, error) {
	reason := m.top.Text("stop_reason")
	switch {
	case m.err != nil:
		return nil, m.err
	case m.open > 0, !m.stopped && reason == "":
		return nil, ErrIncomplete
	}
	content := []byte{'['}
	for i, b := range m.blocks {
		if i > 0 {
			content = append(content, ',')
		}
		whole, err := b.finish(i == len(m.blocks)-1 && cutsShort(reason))
		if err != nil {
			return nil, err
		}
		content = whole.Append(content)
	}
	top := append(rawjson.Object(nil), m.top...)
	top.Set("content", string(append(content, ']')))
	if m.usage != nil {
		top.Set("usage", string(m.usage.Append(nil)))
	}
	return top.Append(nil), nil
}

// cutsShort tells that after this stop reason the last block may be a part
// (“Stop reasons and fallback”, platform.claude.com, 2026-08).
func cutsShort(reason string) bool {
	return reason == "max_tokens" || reason == "model_context_window_exceeded" || reason == "refusal"
}

// cut bounds a name.
func cut(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName]
}
