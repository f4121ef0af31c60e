package sim

import (
	"cmp"
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"time"
)

// request is what the simulation looks at in the body of a messages call, and
// what others have in common with it. Other fields are let through unread.
type request struct {
	Model         string
	MaxTokens     *int
	Stream        bool
	Thinking      thinking
	ToolUse       toolChoice
	StopSequences []string
	Speed         string // "fast" or "standard"; "" if not asked for
	ServiceTier   string
	Geo           string // inference_geo
	Thread        threadLink
	Sampling      []string // those of temperature, top_p and top_k that are set to something else than 1

	tools  []tool
	system []part
	turns  []turn
	listed bool          // messages is there
	cache  time.Duration // life asked for by a cache_control of the request as a whole; 0 for none
	marks  int           // cache_controls of blocks

	Prompt   string      // of the legacy completions
	Limit    *int        // of the legacy completions
	Requests []batchItem // of a batch
}

// thinking says whether and how the answer begins with thinking.
type thinking struct {
	Type, Display string
	binding       bool // block_binding is set
	drops         bool // block_binding drops what is bound elsewhere
}

// toolChoice says which tools must be used. Parallel is true if
// disable_parallel_tool_use is there and false.
type toolChoice struct {
	Type, Name string
	Parallel   bool
}

// tool is a tool a request offers.
type tool struct {
	Type, Name string
	schema     raw
	part
}

// isClients reports whether the client runs the tool.
func (t tool) isClients() bool { return t.Name != "" && (t.Type == "" || t.Type == "custom") }

// turn is a message of the request.
type turn struct {
	role    string
	parts   []part
	content byte // what kind of JSON the content is; 0 if there is none
}

// part is a content block of the request, or one of the things that are like
// it: a block of the system prompt, a tool.
type part struct {
	kind      string // type of the block
	text      []byte // of text, and of thinking; nil if there is none
	id        string // of tool_use and server_tool_use; tool_use_id of a tool_result
	signature []byte // of thinking; the data of redacted_thinking
	object    raw    // all of it; nil for text that is a mere string
	hash      uint64
	size      int           // in bytes, as tokens are estimated from
	cache     time.Duration // how long the prompt up to here is to be cached; 0 for no mark
}

func (p part) thinks() bool { return p.kind == "thinking" || p.kind == "redacted_thinking" }

// UnmarshalJSON implements [json.Unmarshaler]. The error is a [*reject] that
// names the first field of a wrong type; all others are set all the same.
func (r *request) UnmarshalJSON(data []byte) error {
	var p parser
	p.request(r, data)
	if p.bad != nil {
		return p.bad
	}
	return nil
}

// parser reads a body that is known to be valid JSON, and remembers its first
// mistake.
type parser struct {
	bad   *reject
	marks int
	path  []step // to the value being read
	room  []part // for content that is one text
}

// step is a field of an object, or with no name, an item of a list.
type step struct {
	name string
	item int
}

// items yields the items of a list; a mistake in one is told with its number.
func (p *parser) items(name string, v raw) iter.Seq[raw] {
	return func(yield func(raw) bool) {
		if v.kind() != '[' && !v.missing() {
			p.wrong(name, "a valid list")
		}
		depth := len(p.path)
		p.path = append(p.path, step{name: name}, step{})
		for i, item := range v.items() {
			p.path[depth+1].item = i
			if !yield(item) {
				break
			}
		}
		p.path = p.path[:depth]
	}
}

func (p *parser) request(r *request, body raw) {
	if body.kind() != '{' {
		p.wrong("The request body", "an object")
	}
	for key, v := range body.fields() {
		switch string(key) {
		case "model":
			p.string(&r.Model, "model", v)
		case "max_tokens":
			p.int(&r.MaxTokens, "max_tokens", v)
		case "max_tokens_to_sample":
			p.int(&r.Limit, "max_tokens_to_sample", v)
		case "stream":
			p.bool(&r.Stream, "stream", v)
		case "prompt":
			p.string(&r.Prompt, "prompt", v)
		case "speed":
			p.string(&r.Speed, "speed", v)
		case "service_tier":
			p.string(&r.ServiceTier, "service_tier", v)
		case "inference_geo":
			p.string(&r.Geo, "inference_geo", v)
		case "temperature", "top_p", "top_k":
			p.sampling(r, string(key), v)
		case "requests":
			if err := json.Unmarshal(v, &r.Requests); err != nil {
				p.wrong("requests", "a list of requests")
			}
		case "cache_control":
			r.cache = p.life(v)
		default:
			p.prompt(r, string(key), v)
		}
	}
	r.marks = p.marks
}

// prompt reads what the model sees, and how it is to answer.
func (p *parser) prompt(r *request, key string, v raw) {
	switch key {
	case "system":
		r.system = p.parts("system", v)
	case "messages":
		r.listed = !v.missing()
		p.turns(r, v)
	case "tools":
		p.tools(r, v)
	case "thinking":
		r.Thinking = p.thinking(v)
	case "thread":
		p.string(&r.Thread.Type, "thread.type", v.field("type"))
		p.string(&r.Thread.previous, "thread.previous_message_id", v.field("previous_message_id"))
	case "tool_choice":
		for key, v := range v.fields() {
			switch string(key) {
			case "type":
				p.string(&r.ToolUse.Type, "tool_choice.type", v)
			case "name":
				p.string(&r.ToolUse.Name, "tool_choice.name", v)
			case "disable_parallel_tool_use":
				r.ToolUse.Parallel = v.kind() == 'f'
			}
		}
	case "stop_sequences":
		for v := range p.items("stop_sequences", v) {
			var s string
			p.string(&s, "", v)
			r.StopSequences = append(r.StopSequences, s)
		}
	}
}

func (p *parser) thinking(v raw) (t thinking) {
	for key, v := range v.fields() {
		switch string(key) {
		case "type":
			p.string(&t.Type, "thinking.type", v)
		case "display":
			p.string(&t.Display, "thinking.display", v)
		case "block_binding":
			t.binding = true
			for key, v := range v.fields() {
				t.drops = t.drops || string(key) == "prefix_mismatch_behavior" && string(v.bytes()) == "drop_block"
			}
		}
	}
	return t
}

func (p *parser) tools(r *request, v raw) {
	for v := range p.items("tools", v) {
		t := tool{part: p.part(v)}
		t.Type = t.kind
		for key, v := range v.fields() {
			switch string(key) {
			case "name":
				p.string(&t.Name, "name", v)
			case "input_schema":
				t.schema = v
			}
		}
		r.tools = append(r.tools, t)
	}
}

func (p *parser) turns(r *request, v raw) {
	for v := range p.items("messages", v) {
		if v.kind() != '{' {
			p.wrong("", "an object")
		}
		var t turn
		for key, v := range v.fields() {
			switch string(key) {
			case "role":
				p.string(&t.role, "role", v)
			case "content":
				t.content = v.kind()
				t.parts = p.parts("content", v)
			}
		}
		r.turns = append(r.turns, t)
	}
}

// parts reads content: a string, or a list of blocks.
func (p *parser) parts(name string, v raw) []part {
	switch {
	case v.missing():
		return nil
	case v.kind() == '"':
		return p.alone(textPart(v))
	}
	var out []part
	for v := range p.items(name, v) {
		out = append(out, p.part(v))
	}
	return out
}

// alone is a list of one part. Lists are parts of a few larger ones, because
// most messages are a mere string.
func (p *parser) alone(only part) []part {
	if len(p.room) == cap(p.room) {
		p.room = make([]part, 0, 8)
	}
	p.room = append(p.room, only)
	n := len(p.room)
	return p.room[n-1 : n : n]
}

// textPart is a block of text.
func textPart(v raw) part {
	text := v.bytes()
	return part{kind: "text", text: text, hash: textHash(text), size: textSize(v)}
}

// textSize is the size of a string as it was sent, without its quotes.
func textSize(v raw) int { return max(0, len(v)-len(`""`)) }

func textHash(text []byte) uint64 { return mix('t', hashBytes(text)) }

func (p *parser) part(v raw) part {
	if v.kind() != '{' {
		p.wrong("", "an object")
	}
	out := part{object: v}
	for key, v := range v.fields() {
		switch string(key) {
		case "type":
			p.string(&out.kind, "type", v)
		case "text", "thinking":
			if out.text, out.size = v.bytes(), textSize(v); out.text == nil && !v.missing() {
				out.text = []byte{} // it is no string
			}
		case "id":
			p.string(&out.id, "id", v)
		case "tool_use_id":
			p.string(&out.id, "tool_use_id", v)
		case "signature", "data":
			out.signature = v.bytes()
		case "cache_control":
			if out.cache = p.life(v); out.cache != 0 {
				p.marks++
			}
		}
	}
	switch out.kind {
	case "text":
		out.hash = textHash(out.text)
	case "thinking", "redacted_thinking":
		out.size = 0 // of earlier turns: not counted (“Token counting”, 2026-08-22)
	case "image", "document":
		out.hash, out.size = v.hash(), min(len(v), imageBytes)
		if source := v.field("source"); out.kind == "document" && string(source.field("type").bytes()) != "base64" {
			out.size = len(v)
		}
	default:
		out.hash, out.size = v.hash(), len(v)
	}
	return out
}

// imageBytes bounds what an image, or a file that is not text, counts as: about
// 1,600 tokens, which is the largest image before it is scaled down (“Vision”,
// platform.claude.com). That a PDF counts the same is a guess.
const imageBytes = 4000

// field returns the value of one key of an object.
func (v raw) field(name string) raw {
	for key, value := range v.fields() {
		if string(key) == name {
			return value
		}
	}
	return nil
}

// life reads a cache_control.
func (p *parser) life(v raw) time.Duration {
	if v.missing() {
		return 0
	}
	if string(v.field("type").bytes()) != "ephemeral" {
		p.wrong("cache_control.type", "'ephemeral'")
	}
	switch ttl := v.field("ttl"); {
	case ttl.missing() || string(ttl.bytes()) == "5m":
	case string(ttl.bytes()) == "1h":
		return time.Hour
	default:
		p.wrong("cache_control.ttl", "'5m' or '1h'")
	}
	return 5 * time.Minute
}

// sampling notes a parameter that is not 1, the default of temperature; that
// top_p of 1 passes as a default too is a guess.
func (p *parser) sampling(r *request, name string, v raw) {
	if v.missing() {
		return
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		p.wrong(name, "a valid number")
	}
	if n != 1 || name == "top_k" {
		r.Sampling = append(r.Sampling, name)
	}
}

func (p *parser) string(to *string, name string, v raw) {
	switch {
	case v.kind() == '"':
		*to = known(v.bytes())
	case !v.missing():
		p.wrong(name, "a valid string")
	}
}

// known returns b as a string, without memory of its own for what most
// requests consist of.
func known(b []byte) string {
	switch string(b) {
	case "user":
		return "user"
	case "assistant":
		return "assistant"
	case "text":
		return "text"
	}
	return string(b)
}

func (p *parser) int(to **int, name string, v raw) {
	if v.missing() {
		return
	}
	n, err := strconv.Atoi(string(v))
	if err != nil {
		p.wrong(name, "a valid integer")
		return
	}
	*to = &n
}

func (p *parser) bool(to *bool, name string, v raw) {
	switch v.kind() {
	case 't', 'f':
		*to = v.kind() == 't'
	case 0, 'n':
	default:
		p.wrong(name, "a valid boolean")
	}
}

// wrong remembers that a field of the value being read is not what it should
// be, or with no name, the value itself.
func (p *parser) wrong(name, want string) {
	if p.bad != nil {
		return
	}
	var path []string
	for _, s := range p.path {
		path = append(path, cmp.Or(s.name, strconv.Itoa(s.item)))
	}
	if name != "" {
		path = append(path, name)
	}
	p.bad = invalid("%s: Input should be %s", strings.Join(path, "."), want)
}
