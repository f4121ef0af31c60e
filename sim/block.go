package sim

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// block is one content block. Its text is made when it is asked for, so that a
// long answer in flight costs no memory.
type block struct {
	kind      string // text, thinking, tool_use
	seed      uint64 // of words
	pieces    int    // tokens, and deltas of a stream
	omitted   bool   // thinking that is not shown
	signature string
	id, name  string // of a tool_use
	input     []byte // of a tool_use
}

// vocabulary is what answers are made of.
var vocabulary = strings.Fields(`amber basin cedar delta ember fjord grove harbor island juniper keel
	lagoon meadow north ocean pebble quay river sail tide upland vessel water yard zenith`)

// word returns the n-th word of a text, the first is 1: "cedar-1".
func word(seed uint64, n int) string {
	return vocabulary[mix(seed, uint64(n))%uint64(len(vocabulary))] + "-" + strconv.Itoa(n)
}

// CheckText reports whether text is what the API has written: numbered words,
// each exactly once and in order, such as "cedar-1 keel-2 tide-3". Its first
// words alone are fine too; how many there must be, usage tells (without
// thinking, one word is one output token).
func CheckText(text string) error {
	for i, field := range strings.Fields(text) {
		_, number, _ := strings.Cut(field, "-")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return fmt.Errorf("sim: word %d of the text is %q, want number %d", i+1, field, i+1)
		}
	}
	if text != strings.Join(strings.Fields(text), " ") {
		return fmt.Errorf("sim: words are not separated by single spaces")
	}
	return nil
}

func wordBlock(seed uint64, words int) block {
	return block{kind: "text", seed: seed, pieces: words}
}

func thinkingBlock(seed uint64, words int, omitted bool) block {
	signature := binary.BigEndian.AppendUint64([]byte("simulated"), seed)
	return block{
		kind: "thinking", seed: seed, pieces: words, omitted: omitted,
		signature: base64.StdEncoding.EncodeToString(signature),
	}
}

// toolPiece is the length of a piece of partial JSON in bytes.
const toolPiece = 12

func toolBlock(id string, t tool) block {
	var schema map[string]any
	_ = json.Unmarshal(t.Schema, &schema) // no schema: an empty object
	input := []byte("{}")
	if filled, ok := fill(schema, 0).(map[string]any); ok {
		input = marshal(filled)
	}
	return block{kind: "tool_use", id: id, name: t.Name, input: input, pieces: (len(input) + toolPiece - 1) / toolPiece}
}

// piece returns what the n-th delta carries, the first is 0.
func (b block) piece(n int) string {
	if b.kind == "tool_use" {
		return string(b.input[n*toolPiece : min(len(b.input), (n+1)*toolPiece)])
	}
	if n == 0 {
		return word(b.seed, 1)
	}
	return " " + word(b.seed, n+1)
}

// text returns all pieces of a text or thinking block.
func (b block) text() string {
	var out strings.Builder
	for i := range b.pieces {
		out.WriteString(b.piece(i))
	}
	return out.String()
}

// plain is the block as it stands in a plain answer.
func (b block) plain() any {
	switch b.kind {
	case "thinking":
		text := ""
		if !b.omitted {
			text = b.text()
		}
		return map[string]string{"type": b.kind, "thinking": text, "signature": b.signature}
	case "tool_use":
		input := json.RawMessage("{}")
		if json.Valid(b.input[:min(len(b.input), b.pieces*toolPiece)]) { // not cut by max_tokens
			input = b.input
		}
		return map[string]any{"type": b.kind, "id": b.id, "name": b.name, "input": input}
	}
	return map[string]string{"type": b.kind, "text": b.text()}
}

// empty is the block as content_block_start announces it.
func (b block) empty() any {
	switch b.kind {
	case "thinking":
		return map[string]string{"type": b.kind, "thinking": "", "signature": ""}
	case "tool_use":
		return map[string]any{"type": b.kind, "id": b.id, "name": b.name, "input": struct{}{}}
	}
	return map[string]string{"type": b.kind, "text": ""}
}

// fill returns a value that superficially fits a JSON schema: every property
// of an object, one item of an array, the first of a choice.
func fill(schema map[string]any, depth int) any {
	if value, ok := schema["const"]; ok {
		return value
	}
	if choice, ok := schema["enum"].([]any); ok && len(choice) > 0 {
		return choice[0]
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if choice, ok := schema[key].([]any); ok && len(choice) > 0 {
			first, _ := choice[0].(map[string]any)
			return fill(first, depth+1)
		}
	}
	const deep = 8 // schemas may refer to themselves
	switch kindOf(schema) {
	case "string":
		return "harbor"
	case "integer", "number":
		if least, ok := schema["minimum"].(float64); ok {
			return least
		}
		return 1
	case "boolean":
		return true
	case "array":
		items, ok := schema["items"].(map[string]any)
		if !ok || depth > deep {
			return []any{}
		}
		return []any{fill(items, depth+1)}
	case "null":
		return nil
	}
	out := map[string]any{}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if property, ok := properties[name].(map[string]any); ok && depth <= deep {
			out[name] = fill(property, depth+1)
		}
	}
	return out
}

// kindOf returns the type of a schema, the first if it lists several.
func kindOf(schema map[string]any) string {
	if list, ok := schema["type"].([]any); ok && len(list) > 0 {
		kind, _ := list[0].(string)
		return kind
	}
	kind, _ := schema["type"].(string)
	return kind
}
