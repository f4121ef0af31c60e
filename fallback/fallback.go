// Package fallback decides whether a request may go to another model.
//
// It knows the request and the models, and nothing of when or why: whether the
// first model cannot answer is for package call to say. [Request] makes the body
// that goes to the other model; nothing in it differs but the model, so that
// what the caller asked for is what is answered, or it is not sent at all: a
// parameter that the other model refuses is neither dropped nor translated.
// [Fits] asks whether it has the room.
//
// It says no where it is not sure that the request would be understood as it was
// meant. To a model that is not documented goes what every documented one takes.
package fallback

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// Reason is an error that says why a request may not go to another model. Its
// text is from a closed set and fit for logs and labels.
type Reason string

// The reasons.
const (
	ErrBody       Reason = "body_unclear"       // no request for a message, or one with keys that stand twice
	ErrSame       Reason = "same_model"         // it is for that model already
	ErrThinking   Reason = "thinking_blocks"    // the conversation holds thinking, which only the model that thought it is sure to read
	ErrMode       Reason = "thinking_mode"      // the other model thinks in another way than is asked for
	ErrForcedTool Reason = "forced_tool_choice" // refused by the other model
	ErrSampling   Reason = "sampling"           // temperature, top_p or top_k: refused by the other model
	ErrPrefill    Reason = "prefill"            // the last message is the assistant's: refused by the other model
	ErrEffort     Reason = "effort"             // refused by the other model
	ErrFast       Reason = "fast_mode"          // which models have it is not documented, and it has a price of its own
	ErrOutput     Reason = "max_tokens"         // more than the other model gives
	ErrWindow     Reason = "context_window"     // of the other model is too small for it
	ErrLarge      Reason = "body_too_large"     // there is no memory for a second body; told by whoever keeps it
)

// Error implements [error].
func (r Reason) Error() string {
	return "fallback: not to the other model: " + strings.ReplaceAll(string(r), "_", " ")
}

// matters are the fields that decide. One that stands twice could be read in
// two ways.
var matters = []string{
	"model", "messages", "max_tokens", "thinking", "tool_choice", "output_config", "speed", "temperature", "top_p", "top_k",
}

// Request returns the body of a request for a message as the one that asks
// another model for it: all bytes but those of the model's name are as they were.
// The error is always a [Reason].
func Request(body []byte, to string) (other []byte, err error) {
	fields, model, reason := parse(body)
	if reason == "" {
		reason = refused(fields, to)
	}
	if reason != "" {
		return nil, reason
	}
	name := rawjson.AppendText(nil, to)
	other = make([]byte, 0, len(body)-len(model.Raw)+len(name))
	other = append(append(other, body[:model.At]...), name...)
	return append(other, body[model.At+len(model.Raw):]...), nil
}

// Fits tells that the model has the room for a request: input is the most
// tokens that it may turn out to have, maxTokens those that it asks for. The
// error is always a [Reason].
func Fits(model string, input int, maxTokens int64) error {
	switch {
	case maxTokens > int64(claude.MaxOutput(model)):
		return ErrOutput
	case int64(input)+maxTokens > int64(claude.ContextWindow(model)):
		return ErrWindow
	}
	return nil
}

func parse(body []byte) (fields rawjson.Object, model rawjson.Member, reason Reason) {
	if !rawjson.Valid(body) {
		return nil, model, ErrBody
	}
	fields, ok := rawjson.Parse(string(body))
	if !ok {
		return nil, model, ErrBody
	}
	if slices.ContainsFunc(matters, fields.Repeats) {
		return nil, model, ErrBody
	}
	model, ok = fields.Member("model")
	if _, text := rawjson.Inner(model.Raw); !ok || !text || !strings.HasPrefix(fields.Get("messages"), "[") {
		return nil, model, ErrBody
	}
	return fields, model, ""
}

// refused returns why the request must not go to the model; "" if it may.
func refused(fields rawjson.Object, to string) Reason {
	last, thinks, ok := conversation(fields.Get("messages"))
	tool, okTool := member(fields, "tool_choice", "type")
	effort, okEffort := member(fields, "output_config", "effort")
	switch {
	case !ok || !okTool || !okEffort:
		return ErrBody
	case fields.Text("model") == to:
		return ErrSame
	case thinks:
		return ErrThinking
	case tool != "" && tool != `"auto"` && tool != `"none"` && !claude.TakesForcedTools(to):
		return ErrForcedTool
	case samples(fields) && !claude.TakesSampling(to):
		return ErrSampling
	case last != "user" && !claude.TakesPrefill(to):
		return ErrPrefill
	case effort != "" && effort != "null" && !claude.TakesEffort(to):
		return ErrEffort
	case isSet(fields.Get("speed")) && fields.Text("speed") != "standard":
		return ErrFast
	}
	return mode(fields, to)
}

// mode compares how the answer is to think with how the model does.
func mode(fields rawjson.Object, to string) Reason {
	kind, ok := member(fields, "thinking", "type")
	if !ok {
		return ErrBody
	}
	takes := false
	switch kind {
	case "":
		takes = true
	case `"enabled"`:
		takes = claude.TakesBudget(to)
	case `"adaptive"`:
		takes = claude.TakesAdaptive(to)
	case `"disabled"`:
		takes = !claude.AlwaysThinks(to)
	}
	if !takes {
		return ErrMode
	}
	return ""
}

// member returns a member of a member that is an object, as it stands: "" if
// there is none. It reports false for one that could be read in two ways.
func member(fields rawjson.Object, outer, inner string) (raw string, ok bool) {
	value := fields.Get(outer)
	if !isSet(value) {
		return "", true
	}
	o, ok := rawjson.Parse(value)
	if !ok || o.Repeats(inner) {
		return "", false
	}
	return plain(o.Get(inner)), true
}

// plain is a JSON string without escapes; any other value as it stands.
func plain(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	if _, text := rawjson.Inner(raw); !text {
		return raw
	}
	return string(rawjson.AppendText(nil, rawjson.Decode(raw)))
}

// samples tells that a parameter of sampling is set to something else than the
// default that is documented: a temperature of 1.
func samples(fields rawjson.Object) bool {
	if t := fields.Get("temperature"); isSet(t) {
		if n, err := strconv.ParseFloat(t, 64); err != nil || n != 1 {
			return true
		}
	}
	return isSet(fields.Get("top_p")) || isSet(fields.Get("top_k"))
}

// conversation tells whose the last message is, and whether any holds thinking.
// It reports false for messages that could be read in two ways.
func conversation(messages string) (last string, thinks, ok bool) {
	ok = true
	var m, block rawjson.Object // used again and again
	gjson.Parse(messages).ForEach(func(_, v gjson.Result) bool {
		var object bool
		m, object = m.Reparse(v.Raw)
		if ok = object && !m.Repeats("role") && !m.Repeats("content"); !ok {
			return false
		}
		last = m.Text("role")
		content := gjson.Parse(m.Get("content"))
		if !content.IsArray() {
			return true
		}
		content.ForEach(func(_, b gjson.Result) bool {
			block, object = block.Reparse(b.Raw)
			ok = object && !block.Repeats("type")
			kind := block.Text("type")
			thinks = thinks || kind == "thinking" || kind == "redacted_thinking"
			return ok
		})
		return ok
	})
	return last, thinks, ok
}

func isSet(raw string) bool { return raw != "" && raw != "null" }
