package resume

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// The user's message that asks for the rest stands around the text delivered.
const (
	askBefore = "The connection broke while your reply to the above was arriving. What I have of it stands between the tags; " +
		"what you write now will be appended to it as it is.\n\n<partial_reply>"
	askAfter = "</partial_reply>\n\nContinue the reply exactly where it ends, even in the middle of a sentence or a word. " +
		"Begin with a space or a line break if one is due there. Repeat nothing of it, add no remark, and do not mention this message or the tags."
)

// Request returns the body that asks for the rest of the message: the caller's,
// with one message appended and, where it can be told, max_tokens lowered by
// what was delivered, to at least 1. All other bytes are as they were. It
// succeeds once; the error is always a [Reason].
//
// The body returned may be sent more than once, with a [Splice] of its own each
// time, for as long as nothing of a continuation has been delivered.
func (t *Transcript) Request(body []byte) (newBody []byte, err error) {
	if reason := t.state(); reason != "" {
		return nil, reason
	}
	b, reason := parseBody(body)
	if reason == "" {
		reason = b.allows(t)
	}
	if reason != "" {
		return nil, reason
	}
	t.resumed, t.prefill = true, b.takesPrefill(t)
	return b.edited(t), nil
}

// Possible tells that a message of a model may be continued at all, as far as
// its id alone says: where it may not, nothing need be kept for it.
func Possible(model string) bool { return !claude.Known(model) || !claude.AlwaysThinks(model) }

// body is the caller's request.
type body struct {
	raw      []byte
	fields   rawjson.Object
	messages rawjson.Member
	thinks   bool // asked to
	silent   bool // asked not to
	budget   int64
}

// matters are the fields that decide. One that stands twice could be read in
// two ways.
var matters = []string{
	"model", "stream", "messages", "max_tokens", "thinking", "tool_choice", "output_config", "output_format", "mcp_servers",
}

func parseBody(raw []byte) (*body, Reason) {
	if !rawjson.Valid(raw) {
		return nil, ErrBody
	}
	fields, ok := rawjson.Parse(string(raw))
	if !ok || fields.Get("stream") != "true" || slices.ContainsFunc(matters, fields.Repeats) {
		return nil, ErrBody
	}
	b := &body{raw: raw, fields: fields}
	b.messages, ok = fields.Member("messages")
	if !ok || b.messages.Raw[0] != '[' {
		return nil, ErrBody
	}
	if thinking := fields.Get("thinking"); thinking != "" && thinking != "null" {
		how, ok := rawjson.Parse(thinking)
		if !ok || how.Repeats("type") || how.Repeats("budget_tokens") {
			return nil, ErrBody
		}
		b.silent = how.Text("type") == "disabled"
		b.thinks = !b.silent
		b.budget, _ = strconv.ParseInt(how.Get("budget_tokens"), 10, 64)
	}
	return b, ""
}

// allows returns why the message must not be continued; "" if it may.
func (b *body) allows(t *Transcript) Reason {
	choice, _ := rawjson.Parse(b.fields.Get("tool_choice"))
	kind := choice.Text("type")
	config, _ := rawjson.Parse(b.fields.Get("output_config"))
	switch {
	case b.lastRole() != "user":
		return ErrLastTurn
	case isSet(b.fields.Get("output_format")), isSet(config.Get("format")):
		return ErrFormat
	case kind == "any", kind == "tool":
		return ErrForcedTool
	case isSet(b.fields.Get("mcp_servers")) && b.fields.Get("mcp_servers") != "[]":
		return ErrEffects
	}
	return b.thinkingAllows(t)
}

// thinkingAllows judges by the model that was asked for and by the one that
// answered, which an alias or a fallback can make two.
func (b *body) thinkingAllows(t *Transcript) Reason {
	for _, model := range b.models(t) {
		switch {
		case claude.Known(model) && claude.AlwaysThinks(model):
			return ErrAlwaysThinks
		case !claude.Known(model) && !b.silent:
			return ErrUnknownModel
		case claude.ThinkingBound(model) && (b.thinks || t.thought):
			return ErrBound
		}
	}
	return ""
}

func (b *body) models(t *Transcript) []string {
	return []string{b.fields.Text("model"), t.model}
}

// takesPrefill tells how to ask. Prefill does not go with thinking: the last
// message would have to begin with a thinking block (“Extended thinking”,
// platform.claude.com; anthropics/claude-code#11978).
func (b *body) takesPrefill(t *Transcript) bool {
	refuses := func(model string) bool { return !claude.TakesPrefill(model) }
	return !b.thinks && !t.thought && !slices.ContainsFunc(b.models(t), refuses)
}

func (b *body) lastRole() (role string) {
	gjson.Parse(b.messages.Raw).ForEach(func(_, message gjson.Result) bool {
		m, ok := rawjson.Parse(message.Raw)
		if role = m.Text("role"); !ok || m.Repeats("role") {
			role = ""
		}
		return true
	})
	return role
}

// edited returns the body with its changes in place, in the order in which
// they stand.
func (b *body) edited(t *Transcript) []byte {
	type edit struct {
		from, to int
		text     []byte
	}
	end := b.messages.At + len(b.messages.Raw) - 1 // the bracket
	edits := []edit{{end, end, b.turn(t)}}
	if limit, ok := b.fields.Member("max_tokens"); ok {
		if left, ok := b.left(limit.Raw, t.Output()); ok {
			edits = append(edits, edit{limit.At, limit.At + len(limit.Raw), strconv.AppendInt(nil, left, 10)})
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return a.from - b.from })
	out, done := make([]byte, 0, len(b.raw)+len(edits[0].text)+64), 0
	for _, e := range edits {
		out = append(append(out, b.raw[done:e.from]...), e.text...)
		done = e.to
	}
	return append(out, b.raw[done:]...)
}

// turn is the message that asks.
func (b *body) turn(t *Transcript) []byte {
	if t.prefill {
		out := []byte(`,{"role":"assistant","content":`)
		return append(rawjson.AppendText(out, trim(t.delivered())), '}')
	}
	out := []byte(`,{"role":"user","content":`)
	return append(rawjson.AppendText(out, askBefore+t.delivered()+askAfter), '}')
}

// left returns what is left of max_tokens, and false if that cannot be told.
// The budget of thinking must stay below it (“Extended thinking”).
func (b *body) left(limit string, delivered int64) (int64, bool) {
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil || n < 1 || delivered < 1 {
		return 0, false
	}
	left := max(n-delivered, 1)
	if b.thinks && b.budget > 0 && left <= b.budget {
		left = max(left, min(n, b.budget+1))
	}
	return left, true
}

func isSet(raw string) bool { return raw != "" && raw != "null" }

// trim cuts off the white space that a prefilled text must not end in.
func trim(text string) string { return strings.TrimRightFunc(text, unicode.IsSpace) }
