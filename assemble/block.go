package assemble

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// block is a content block in the making.
type block struct {
	fields    rawjson.Object // of content_block_start
	open      bool
	texts     []text
	citations []byte // raw, with commas between them
	input     []byte // partial_json, as it stands between quotes
	pieces    bool   // partial_json has come, be it empty
}

// text is a field of a block that deltas write on.
type text struct {
	field string
	raw   []byte // as it stands between quotes
}

// startBlock takes a content_block_start.
func (m *Message) startBlock(e rawjson.Object) error {
	if e.Get("index") != strconv.Itoa(len(m.blocks)) { // without gaps: SDK, messageutil.go
		return fmt.Errorf("%w: content_block_start, want index %d", ErrOrder, len(m.blocks))
	}
	raw := e.Get("content_block")
	if err := m.grow(len(raw) + blockCost); err != nil {
		return err
	}
	fields, ok := rawjson.Parse(raw)
	if !ok {
		return fmt.Errorf("%w: content_block_start without a block", ErrMalformed)
	}
	m.blocks = append(m.blocks, &block{fields: fields, open: true})
	m.open++
	if fields.Text("type") == "fallback" {
		// Another model took over, and a plain answer names that one (SDK,
		// betamessageutil.go).
		if to, ok := rawjson.Parse(fields.Get("to")); ok && to.Has("model") {
			m.top.Set("model", to.Get("model"))
		}
	}
	return nil
}

// block returns the open block that an event is for.
func (m *Message) block(e rawjson.Object) (*block, error) {
	i, err := strconv.Atoi(e.Get("index"))
	if err != nil || i < 0 || i >= len(m.blocks) || !m.blocks[i].open {
		return nil, fmt.Errorf("%w: %s for a block that is not open", ErrOrder, cut(e.Text("type")))
	}
	return m.blocks[i], nil
}

// writes names the fields of deltas that are pieces of a text, and the fields
// of the block they are written to: the same, as it happens.
var writes = map[string]string{
	"text_delta":      "text",
	"thinking_delta":  "thinking",
	"signature_delta": "signature",
}

// delta takes the delta of a content_block_delta.
func (m *Message) delta(b *block, raw string) error {
	d, ok := m.piece.Reparse(raw)
	m.piece = d
	if !ok {
		return fmt.Errorf("%w: content_block_delta without a delta", ErrMalformed)
	}
	kind := d.Text("type")
	for _, field := range d {
		if !fits(kind, field.Key) {
			return &UnknownDeltaError{cut(kind) + "." + cut(field.Key)}
		}
	}
	switch kind {
	case "text_delta", "thinking_delta", "signature_delta":
		return m.write(b, d, writes[kind])
	case "input_json_delta":
		piece, ok := rawjson.Inner(d.Get("partial_json"))
		if !ok {
			return fmt.Errorf("%w: input_json_delta without partial_json", ErrMalformed)
		}
		b.input, b.pieces = append(b.input, piece...), true
		return m.grow(len(piece))
	case "citations_delta":
		citation := d.Get("citation")
		if citation == "" {
			return fmt.Errorf("%w: citations_delta without a citation", ErrMalformed)
		}
		if len(b.citations) > 0 {
			b.citations = append(b.citations, ',')
		}
		b.citations = append(b.citations, citation...)
		return m.grow(len(citation) + 1)
	case "compaction_delta": // brings the whole of it (SDK, betamessageutil.go)
		for _, field := range d {
			if field.Key != "type" {
				b.fields.Set(field.Key, field.Raw)
			}
		}
		return m.grow(len(raw))
	}
	return &UnknownDeltaError{cut(kind)}
}

// fits tells that a delta of that kind is known to have that field, or that
// the kind is unknown as a whole.
func fits(kind, field string) bool {
	if field == "type" {
		return true
	}
	switch kind {
	case "text_delta", "signature_delta":
		return field == writes[kind]
	case "thinking_delta":
		return field == "thinking" || field == "estimated_tokens" // a hint while it streams, not part of the block (SDK, betamessage.go)
	case "input_json_delta":
		return field == "partial_json"
	case "citations_delta":
		return field == "citation"
	case "compaction_delta":
		return field == "content" || field == "encrypted_content"
	}
	return true
}

// write appends a piece of text to a field of the block.
func (m *Message) write(b *block, d rawjson.Object, field string) error {
	piece, ok := rawjson.Inner(d.Get(field))
	if !ok {
		return fmt.Errorf("%w: a delta without %s", ErrMalformed, field)
	}
	for i := range b.texts {
		if b.texts[i].field == field {
			b.texts[i].raw = append(b.texts[i].raw, piece...)
			return m.grow(len(piece))
		}
	}
	begun, ok := rawjson.Inner(b.fields.Get(field))
	if was := b.fields.Get(field); !ok && was != "" && was != "null" {
		return fmt.Errorf("%w: %s of a block is no text", ErrMalformed, field)
	}
	b.texts = append(b.texts, text{field, append([]byte(begun), piece...)})
	return m.grow(len(begun) + len(piece))
}

// finish returns the block as it stands in a plain answer. mayBePart allows
// for a tool call that was cut short: its input is then an empty object, as in
// the SDKs.
func (b *block) finish(mayBePart bool) (rawjson.Object, error) {
	out := append(rawjson.Object(nil), b.fields...)
	for _, t := range b.texts {
		out.Set(t.field, quoted(t.raw))
	}
	if len(b.citations) > 0 {
		begun := out.Get("citations")
		switch {
		case begun == "" || begun == "null":
			begun = "["
		case begun[0] != '[':
			return nil, fmt.Errorf("%w: citations of a block are no list", ErrMalformed)
		default:
			begun = strings.TrimRight(strings.TrimSuffix(begun, "]"), " \t\r\n")
		}
		if begun != "[" {
			begun += ","
		}
		out.Set("citations", begun+string(b.citations)+"]")
	}
	if !b.pieces {
		return out, nil
	}
	return out, b.finishInput(&out, mayBePart)
}

// finishInput puts the input of a tool call together. An empty one is {},
// which is what the start of a block says as well.
func (b *block) finishInput(out *rawjson.Object, mayBePart bool) error {
	begun := out.Get("input")
	input := strings.TrimSpace(rawjson.Decode(quoted(b.input)))
	switch {
	case input == "" && begun != "" && begun != "null":
	case input == "":
		out.Set("input", "{}")
	case begun != "" && begun != "null" && begun != "{}":
		return fmt.Errorf("%w: input begins twice", ErrMalformed)
	case rawjson.Valid([]byte(input)):
		out.Set("input", input)
	case mayBePart:
		out.Set("input", "{}")
	default:
		return fmt.Errorf("%w: input of a tool is no JSON", ErrMalformed)
	}
	return nil
}

func quoted(inner []byte) string {
	return `"` + string(inner) + `"`
}
