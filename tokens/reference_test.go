package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
)

// node is a JSON value with the keys in their order.
type node struct {
	kind   byte // { [ " or 0 for literals
	text   string
	keys   []string
	values []node
}

// parseNode decodes a document with encoding/json.
func parseNode(body []byte) (node, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	n, err := nextNode(d)
	if err != nil {
		return n, err
	}
	if _, err := d.Token(); err != io.EOF {
		return n, errors.New("more after the document")
	}
	return n, nil
}

func nextNode(d *json.Decoder) (node, error) {
	token, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch token := token.(type) {
	case json.Delim:
		n := node{kind: byte(token)}
		for d.More() {
			if n.kind == '{' {
				key, err := d.Token()
				if err != nil {
					return n, err
				}
				n.keys = append(n.keys, key.(string))
			}
			value, err := nextNode(d)
			if err != nil {
				return n, err
			}
			n.values = append(n.values, value)
		}
		_, err := d.Token()
		return n, err
	case string:
		return node{kind: '"', text: token}, nil
	case nil:
		return node{text: "null"}, nil
	}
	return node{text: fmt.Sprint(token)}, nil // json.Number as written, bool
}

// raw writes a value without layout and with its strings as they are.
func (n node) raw(to *strings.Builder) {
	if n.kind == '"' {
		to.WriteString(`"` + n.text + `"`)
		return
	}
	if n.kind == 0 {
		to.WriteString(n.text)
		return
	}
	to.WriteByte(n.kind)
	for i, v := range n.values {
		if i > 0 {
			to.WriteByte(',')
		}
		if n.kind == '{' {
			to.WriteString(`"` + n.keys[i] + `":`)
		}
		v.raw(to)
	}
	to.WriteByte(n.kind + 2) // ] and } are two after [ and {
}

// write writes a value with layout and escapes chosen by r.
func (n node) write(to *strings.Builder, r *rand.Rand) {
	space := func() { to.WriteString([]string{"", "", " ", "\n\t"}[r.IntN(4)]) }
	str := func(s string) {
		to.WriteByte('"')
		for _, c := range s {
			short := strings.IndexRune("\"\\/\b\f\n\r\t", c)
			switch {
			case short >= 0 && (r.IntN(2) == 0):
				to.WriteString(`\` + `"\/bfnrt`[short:short+1])
			case c < 0x20 || c == '"' || c == '\\' || r.IntN(3) == 0:
				if hi, lo := utf16.EncodeRune(c); hi != 0xfffd {
					fmt.Fprintf(to, `\u%04x\u%04X`, hi, lo)
				} else {
					fmt.Fprintf(to, `\u%04X`, c)
				}
			default:
				to.WriteRune(c)
			}
		}
		to.WriteByte('"')
	}
	switch n.kind {
	case '"':
		str(n.text)
		return
	case 0:
		to.WriteString(n.text)
		return
	}
	to.WriteByte(n.kind)
	for i, v := range n.values {
		if i > 0 {
			to.WriteByte(',')
		}
		space()
		if n.kind == '{' {
			str(n.keys[i])
			space()
			to.WriteByte(':')
			space()
		}
		v.write(to, r)
		space()
	}
	to.WriteByte(n.kind + 2)
}

// reference counts a body that was decoded: the rules of scan_keys.go, told
// once more, with a document in memory.
type reference struct {
	tally  tally
	turn   [families]lanes
	marks  Marks
	model  string
	forced bool
	user   bool
	result bool
}

// contentUses are the fields of content that are known.
var contentUses = map[string]use{
	"text": useText, "content": useText, "title": useText, "context": useText, "description": useText, "name": useText,
	"source": useSource, "thinking": useThink, "input": useRaw, "type": useType, "data": useData, "cache_control": useCache,
	"role": useRole, "signature": useSkip, "encrypted_content": useSkip,
	"id": useSkip, "tool_use_id": useSkip, "media_type": useSkip, "url": useSkip, "file_id": useSkip, "citations": useSkip,
	"is_error": useSkip, "caller": useSkip, "encrypted_index": useSkip, "page_age": useSkip,
}

const uncountedInTools = " strict defer_loading eager_input_streaming allowed_callers max_uses allowed_domains blocked_domains user_location citations max_content_tokens "

func cutWord(s string) string { return s[:min(len(s), 64)] }

func (r *reference) text(k kind, text string) {
	for f := range Family(families) {
		for i, n := range naive(f, []byte(text)) {
			r.tally.sums[f][k][i] += n
		}
	}
}

func (r *reference) body(n node) {
	for i, key := range n.keys {
		v := n.values[i]
		switch cutWord(key) {
		case "model":
			r.model = ""
			if v.kind == '"' {
				r.model = cutWord(v.text)
			}
		case "system":
			r.content(v, useText, 1, inSystem)
		case "messages":
			r.content(v, useText, 1, inMessages)
		case "tools":
			if v.kind == '[' {
				for _, tool := range v.values {
					if tool.kind == '{' {
						r.tool(tool)
					}
				}
			}
		case "tool_choice":
			r.forced = false
			for j, key := range v.keys {
				if cutWord(key) == "type" && v.values[j].kind == '"' {
					r.forced = v.values[j].text == "any" || v.values[j].text == "tool"
				}
			}
		case "output_config":
			for j, key := range v.keys {
				if cutWord(key) == "format" {
					r.marks |= Structured
					r.rawText(v.values[j])
				}
			}
		case "output_format":
			r.marks |= Structured
			r.rawText(v)
		case "mcp_servers":
			if v.kind == '[' && len(v.values) > 0 {
				r.marks |= Server
			}
		case "container":
			r.marks |= Server
		case "context_management":
			r.marks |= Edited
		case "cache_control":
			r.cache(v)
		}
	}
}

func (r *reference) rawText(v node) {
	var b strings.Builder
	v.raw(&b)
	r.text(kindRaw, b.String())
}

func (r *reference) cache(v node) {
	if v.kind != '{' && v.kind != '[' {
		return
	}
	r.marks |= Caches
	for i, key := range v.keys {
		if cutWord(key) == "ttl" && v.values[i].kind == '"' && v.values[i].text == "1h" {
			r.marks |= CachesHour
		}
	}
}

func (r *reference) tool(tool node) {
	r.tally.tools++
	var b strings.Builder
	b.WriteByte('{')
	for i, key := range tool.keys {
		v, key := tool.values[i], cutWord(key)
		switch {
		case key == "type":
			own := false
			for _, t := range ownTools {
				if v.kind == '"' && strings.HasPrefix(v.text, t.prefix) {
					own = true
					r.tally.ownTools += t.tokens
				}
			}
			if v.kind == '"' && v.text != "custom" && !own {
				r.marks |= Server
			}
		case key == "cache_control":
			r.cache(v)
		case strings.Contains(uncountedInTools, " "+key+" ") && key != "" && !strings.Contains(key, " "):
		default:
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + key + `":`)
			v.raw(&b)
		}
	}
	b.WriteByte('}')
	r.text(kindRaw, b.String())
}

// content counts a value of system or messages; depth is that of the
// container it stands in.
func (r *reference) content(v node, u use, depth int, in section) {
	switch {
	case u == useSkip:
	case v.kind == '"':
		r.contentString(v.text, u)
	case u == useRaw:
		r.rawText(v)
	case v.kind == 0:
	case depth == maxDepth:
		r.marks |= Deep
		r.rawText(v)
	case v.kind == '[':
		if u == useCache {
			r.marks |= Caches
		}
		for _, e := range v.values {
			r.content(e, useText, depth+1, in)
		}
	case u == useCache:
		r.cache(v)
	default:
		r.object(v, u == useSource, depth+1, in)
	}
}

func (r *reference) object(v node, source bool, depth int, in section) {
	message := in == inMessages && depth == 3
	if message {
		r.user, r.result = false, false
	}
	for i, key := range v.keys {
		u, known := contentUses[cutWord(key)]
		switch {
		case !known:
			u = useUnknown
		case u == useRole && !message:
			u = useSkip
		case u == useData && !source:
			u = useSkip
			r.marks |= Thinking
		case key == "signature":
			r.marks |= Thinking
		case key == "encrypted_content":
			r.marks |= Server
		}
		r.content(v.values[i], u, depth, in)
	}
	if !message {
		return
	}
	r.tally.messages++
	if r.user && !r.result {
		for f := range r.turn {
			r.turn[f] = r.tally.sums[f][kindThink]
		}
	}
}

func (r *reference) contentString(text string, u use) {
	switch u {
	case useUnknown:
		r.marks |= Unknown
		r.text(kindText, text)
	case useText, useSource:
		r.text(kindText, text)
	case useThink:
		r.text(kindThink, text)
	case useRaw:
		r.text(kindRaw, `"`+text+`"`)
	case useRole:
		r.user = text == "user"
	case useType:
		r.blockType(cutWord(text))
	case useData:
		r.data(text)
	}
}

func (r *reference) blockType(t string) {
	switch t {
	case "text", "tool_use", "search_result", "base64":
	case "tool_result":
		r.result = true
	case "image":
		r.tally.images++
	case "document":
		r.tally.docs++
	case "content":
		r.tally.texts++
	case "url", "file":
		r.marks |= External
	case "thinking", "redacted_thinking":
		r.marks |= Thinking
	default:
		if serverWord.MatchString(t) {
			r.marks |= Server
		} else {
			r.marks |= Unknown
		}
	}
}
