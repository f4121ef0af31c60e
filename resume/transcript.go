package resume

import (
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// Bounds of what a transcript keeps. An answer of 64,000 tokens has about
// 256 KiB of text at 4 bytes per token (a guess that English prose bears out).
const (
	defaultMaxBytes = 256 << 10
	maxName         = 128     // bytes of an id or model
	maxUsage        = 4 << 10 // bytes of a usage object; about 500 are usual
)

// Transcript follows a message as it is delivered. The zero value is ready. It
// is not safe for concurrent use.
type Transcript struct {
	// MaxBytes bounds the text that is kept, as it stands in JSON. A message
	// with more cannot be resumed, and its text is let go. 0 means 256 KiB.
	MaxBytes int

	reason  Reason // why it can no longer be resumed; ""
	resumed bool
	prefill bool // how Request has asked

	event   rawjson.Object // at hand; its memory is used again
	started bool
	id      string
	model   string
	blocks  int    // begun so far; the open one is the last
	open    string // type of the open block; "" between blocks
	thought bool   // a thinking block has begun
	text    []byte // of all text blocks, as it stands between quotes
	usage   rawjson.Object
	pieces  int64 // deltas with something in them
	borders borders
}

// borders counts how words meet where deltas do.
type borders struct{ spaced, split int }

// ID returns the id of the message; "" before message_start.
func (t *Transcript) ID() string { return t.id }

// Output returns how many output tokens the cut attempt is known to have cost.
// Before a message_delta has told, that is what message_start said or the
// number of deltas, whichever is more: each is taken to bring at least one
// token, so that it is a lower bound and, of thinking that is not shown, zero.
func (t *Transcript) Output() int64 {
	told, _ := strconv.ParseInt(t.usage.Get("output_tokens"), 10, 64)
	return max(told, t.pieces, 0)
}

// Event takes the data of the next event that was delivered, and keeps none of
// its memory. Unknown types of events are skipped; whatever else is not as
// documented makes it give up, which [Transcript.Request] then tells.
func (t *Transcript) Event(data []byte) {
	if t.reason != "" {
		return
	}
	if t.reason = t.take(data); t.reason != "" {
		t.text, t.event = nil, nil
	}
}

// take returns why the message cannot be resumed from here on; "" if it can.
func (t *Transcript) take(data []byte) Reason {
	if !rawjson.Valid(data) {
		return ErrUnclear
	}
	e, ok := t.event.Reparse(string(data))
	t.event = e
	if !ok {
		return ErrUnclear
	}
	kind := e.Text("type")
	if t.started == (kind == "message_start") && isPart(kind) {
		return ErrUnclear
	}
	switch kind {
	case "message_start":
		return t.start(e.Get("message"))
	case "content_block_start":
		return t.startBlock(e)
	case "content_block_delta":
		return t.delta(e)
	case "content_block_stop":
		if !t.isOpen(e) {
			return ErrUnclear
		}
		t.open = ""
	case "message_delta":
		t.count(e.Get("usage"))
		if d, ok := rawjson.Parse(e.Get("delta")); !ok || d.Text("stop_reason") != "" {
			return ErrDone
		}
	case "message_stop":
		return ErrDone
	}
	return ""
}

// isPart tells that events of this type make up the message. Others, ping
// among them, may stand anywhere.
func isPart(kind string) bool {
	switch kind {
	case "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop":
		return true
	}
	return false
}

func (t *Transcript) start(raw string) Reason {
	m, ok := rawjson.Parse(raw)
	if c := m.Get("content"); !ok || c != "" && c != "[]" && c != "null" {
		return ErrUnclear
	}
	t.started, t.id, t.model = true, m.Text("id"), m.Text("model")
	if len(t.id) > maxName || len(t.model) > maxName {
		return ErrUnclear
	}
	// Without the rest of the event, which these would keep in memory.
	t.id, t.model = strings.Clone(t.id), strings.Clone(t.model)
	t.count(m.Get("usage"))
	return ""
}

// count overwrites what is known of the usage, which is cumulative.
func (t *Transcript) count(raw string) {
	told, _ := parseUsage(raw)
	overwrite(&t.usage, told)
}

func (t *Transcript) startBlock(e rawjson.Object) Reason {
	if t.open != "" || e.Get("index") != strconv.Itoa(t.blocks) {
		return ErrUnclear
	}
	b, ok := rawjson.Parse(e.Get("content_block"))
	if !ok {
		return ErrUnclear
	}
	t.blocks++
	switch t.open = b.Text("type"); t.open {
	case "thinking", "redacted_thinking":
		t.thought, t.open = true, "thinking"
	case "text":
		t.open = "text"
		if c := b.Get("citations"); c != "" && c != "null" && c != "[]" {
			return ErrCitations
		}
		return t.write(b.Get("text"))
	default:
		return ErrBlock
	}
	return ""
}

// isOpen tells that an event is for the open block.
func (t *Transcript) isOpen(e rawjson.Object) bool {
	return t.open != "" && e.Get("index") == strconv.Itoa(t.blocks-1)
}

func (t *Transcript) delta(e rawjson.Object) Reason {
	d, ok := rawjson.Parse(e.Get("delta"))
	if !ok || !t.isOpen(e) {
		return ErrUnclear
	}
	switch kind := d.Text("type"); {
	case t.open == "text" && kind == "text_delta":
		return t.write(d.Get("text"))
	case kind == "citations_delta":
		return ErrCitations
	case t.open == "thinking" && kind == "thinking_delta":
		if d.Text("thinking") != "" {
			t.pieces++
		}
	case t.open == "thinking" && kind == "signature_delta":
	default:
		return ErrUnclear
	}
	return ""
}

// write takes a piece of text.
func (t *Transcript) write(raw string) Reason {
	piece, ok := rawjson.Inner(raw)
	if piece == "" {
		if !ok {
			return ErrUnclear
		}
		return ""
	}
	limit := t.MaxBytes
	if limit == 0 {
		limit = defaultMaxBytes
	}
	if len(piece) > limit-len(t.text) {
		return ErrTooLong
	}
	t.pieces++
	t.borders.note(t.text, piece)
	t.text = append(t.text, piece...)
	return ""
}

// note looks at the border between two pieces, as they stand between quotes.
// It is evidence, so that rare escapes may be misread.
func (b *borders) note(before []byte, after string) {
	if len(before) == 0 {
		return
	}
	left, right := before[len(before)-1], after[0]
	escaped := len(before) > 1 && before[len(before)-2] == '\\'
	switch {
	case left == ' ', right == ' ', escaped && left == 'n', strings.HasPrefix(after, `\n`):
		b.spaced++
	case !escaped && plain(left) && plain(right):
		b.split++
	}
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// delivered returns the text, decoded.
func (t *Transcript) delivered() string {
	return rawjson.Decode(`"` + string(t.text) + `"`)
}

// state returns why the message cannot be resumed where it stands; "" if it
// can, as far as the transcript knows.
func (t *Transcript) state() Reason {
	switch text := t.delivered(); {
	case t.resumed:
		return ErrTwice
	case t.reason != "":
		return t.reason
	case !t.started:
		return ErrNothing
	case t.open != "text":
		return ErrNotText
	case trim(text) == "":
		return ErrNothing
	case strings.HasSuffix(text, "\uFFFD"):
		return ErrUnclear
	}
	return ""
}
