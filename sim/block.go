package sim

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// block is one content block of an answer. What it says is made when it is
// asked for, see [prose].
type block struct {
	kind   string
	pieces int // tokens of output, and but for omitted thinking the deltas that carry them

	prose prose // of text and thinking
	from  mark
	clip  int      // bytes that a stop sequence took from the last word
	cites [][]byte // citations, each in JSON

	omitted   bool // thinking that is not shown
	signature string

	id, name string // of a tool's use
	input    []byte

	fixed []byte // the whole block in JSON, if it has no deltas
}

// toolPiece is the length of a piece of partial JSON in bytes.
const toolPiece = 12

// toolBlock is the use of a tool, by the client or with kind server_tool_use
// by the API.
func toolBlock(kind, id, name string, input []byte) block {
	return block{kind: kind, id: id, name: name, input: input, pieces: (len(input) + toolPiece - 1) / toolPiece}
}

// fillSchema returns input for a tool of that schema.
func fillSchema(schema raw) []byte {
	var parsed map[string]any
	_ = json.Unmarshal(schema, &parsed) // no schema: an empty object
	if filled, ok := fill(parsed, 0).(map[string]any); ok {
		return marshal(filled)
	}
	return []byte("{}")
}

// usesTool reports whether the block has input.
func (b *block) usesTool() bool { return b.kind == "tool_use" || b.kind == "server_tool_use" }

// deltas is the number of deltas the block has in a stream.
func (b *block) deltas() int {
	switch {
	case b.fixed != nil:
		return 0
	case b.kind == "thinking" && b.omitted:
		return 1 // the signature
	case b.kind == "thinking":
		return b.pieces + 1
	case b.usesTool():
		return 1 + b.pieces // the API begins with an empty piece
	}
	return b.pieces + len(b.cites)
}

// appendPiece appends what the n-th token says, the first is 0. No word of it
// needs to be escaped.
func (b *block) appendPiece(to []byte, n int) []byte {
	start := len(to)
	to = b.prose.append(to, b.from.words+n)
	if n == 0 {
		to = slices.Delete(to, start, start+b.from.bytes)
	}
	if n == b.pieces-1 {
		to = to[:len(to)-b.clip]
	}
	return to
}

// piece is the n-th token of a text.
func (b *block) piece(n int) string { return string(b.appendPiece(nil, n)) }

// text returns all tokens of a text or thinking block.
func (b *block) text() string { return string(b.appendText(nil)) }

func (b *block) appendText(to []byte) []byte {
	for i := range b.pieces {
		to = b.appendPiece(to, i)
	}
	return to
}

// end is where a text block leaves its prose.
func (b *block) end() mark {
	switch {
	case b.pieces == 0:
		return b.from
	case b.clip == 0:
		return mark{words: b.from.words + b.pieces}
	}
	last := b.from.words + b.pieces - 1
	return mark{last, len(b.prose.append(nil, last)) - b.clip}
}

// partialJSON returns the n-th piece of a tool's input, the first is 0. It does
// not break a character.
func (b *block) partialJSON(n int) []byte {
	return b.input[b.cut(n):b.cut(n+1)]
}

func (b *block) cut(n int) int {
	at := min(len(b.input), n*toolPiece)
	for at < len(b.input) && !utf8.RuneStart(b.input[at]) {
		at++
	}
	return at
}

// given is the input of a tool as far as it was produced; empty if it was cut.
func (b *block) given() []byte {
	if b.cut(b.pieces) < len(b.input) {
		return []byte("{}")
	}
	return b.input
}

// append appends the block as it stands in a plain answer, or as
// content_block_start announces it.
func (b *block) append(to []byte, announced bool) []byte {
	if b.fixed != nil {
		return append(to, b.fixed...)
	}
	to = append(append(append(to, `{"type":"`...), b.kind...), '"')
	switch {
	case b.kind == "thinking":
		to = append(to, `,"thinking":"`...)
		if !announced && !b.omitted {
			to = b.appendText(to)
		}
		to = append(to, `","signature":"`...)
		if !announced {
			to = append(to, b.signature...)
		}
		return append(to, `"}`...)
	case b.usesTool():
		to = appendString(append(to, `,"id":`...), b.id)
		to = appendString(append(to, `,"name":`...), b.name)
		to = append(to, `,"input":`...)
		if announced {
			return append(to, "{}}"...)
		}
		return append(append(to, b.given()...), '}')
	}
	to = append(to, `,"text":"`...)
	if !announced {
		to = b.appendText(to)
	}
	to = append(to, '"')
	if len(b.cites) > 0 {
		to = append(to, `,"citations":[`...)
		for i, cite := range b.cites {
			if announced {
				break
			}
			if i > 0 {
				to = append(to, ',')
			}
			to = append(to, cite...)
		}
		to = append(to, ']')
	}
	return append(to, '}')
}

// appendDelta appends the n-th delta of the block, the first is 0, and returns
// how many tokens it took.
func (b *block) appendDelta(to []byte, n int) ([]byte, int) {
	switch {
	case b.kind == "thinking" && (b.omitted || n == b.pieces):
		to = append(append(append(to, `{"type":"signature_delta","signature":"`...), b.signature...), `"}`...)
		if b.omitted { // a long silence
			return to, b.pieces
		}
		return to, 0
	case b.kind == "thinking":
		return append(b.appendPiece(append(to, `{"type":"thinking_delta","thinking":"`...), n), `"}`...), 1
	case b.usesTool() && n == 0:
		return append(to, `{"type":"input_json_delta","partial_json":""}`...), 0
	case b.usesTool():
		to = appendString(append(to, `{"type":"input_json_delta","partial_json":`...), b.partialJSON(n-1))
		return append(to, '}'), 1
	case n > 0 && n <= len(b.cites): // after the first word
		return append(append(append(to, `{"type":"citations_delta","citation":`...), b.cites[n-1]...), '}'), 0
	}
	if n > 0 {
		n -= len(b.cites)
	}
	return append(b.appendPiece(append(to, `{"type":"text_delta","text":"`...), n), `"}`...), 1
}
