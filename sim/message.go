package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// message is an answer of POST /v1/messages before it is written down, plain
// or as events.
type message struct {
	id, model string
	blocks    []block
	stop      string // stop_reason
	usage     usage
	tokenTime time.Duration
}

// usage is what an answer has cost (“Streaming messages”, platform.claude.com,
// 2026-09-02).
type usage struct {
	Input       int           `json:"input_tokens"`
	CacheWrite  int           `json:"cache_creation_input_tokens"`
	CacheRead   int           `json:"cache_read_input_tokens"`
	ByLife      *cacheByLife  `json:"cache_creation,omitempty"`
	Output      int           `json:"output_tokens"`
	ServiceTier string        `json:"service_tier,omitempty"`
	Details     *outputDetail `json:"output_tokens_details,omitempty"`
}

type cacheByLife struct {
	FiveMinutes int `json:"ephemeral_5m_input_tokens"`
	OneHour     int `json:"ephemeral_1h_input_tokens"`
}

type outputDetail struct {
	Thinking int `json:"thinking_tokens"`
}

// messages answers POST /v1/messages.
func (t *attempt) messages(in input, told bool) outcome {
	if !told {
		if bad := t.badMessages(in); bad != nil {
			return t.rejected(bad)
		}
	}
	limits, retryAfter := t.api.take(t.organization(), in.Model, t.began)
	if retryAfter > 0 && !told {
		o := t.problem(http.StatusTooManyRequests, claude.RateLimit, "", limits.refusal(t.organization()))
		limits.write(o.header, t.began)
		o.header.Set("Retry-After", seconds(retryAfter))
		return o
	}
	m := t.message(in)
	var o outcome
	if in.Stream {
		o = t.stream(m.source())
		o.wait = t.api.cfg.FirstToken
	} else {
		o = t.ok(m.plain())
		o.wait = t.api.cfg.FirstToken + time.Duration(m.usage.Output)*m.tokenTime
	}
	limits.write(o.header, t.began)
	return o
}

// badMessages returns why a messages call is no proper one, or nil.
func (t *attempt) badMessages(in input) *reject {
	if bad := t.unknownModel(in.Model); bad != nil {
		return bad
	}
	switch {
	case in.MaxTokens == nil:
		return invalid("max_tokens: Field required")
	case *in.MaxTokens < 0:
		return invalid("max_tokens: must be 0 or more")
	case !isList(in.Messages):
		return invalid("messages: Field required")
	}
	return nil
}

// message makes the answer to a request. It depends on the seed and the body
// alone, but for its ids.
func (t *attempt) message(in input) message {
	hash := fnv.New64a()
	_, _ = hash.Write(in.body) // a hash never fails
	seed := mix(t.api.cfg.Seed, hash.Sum64())
	m := message{
		id:        "msg_" + t.api.id(t.n, 'm'),
		model:     cmp.Or(in.Model, "claude-sim"),
		tokenTime: cmp.Or(t.reply.TokenTime, t.api.cfg.TokenTime),
		usage:     in.usage(),
	}
	want := cmp.Or(t.reply.Tokens, t.api.cfg.OutputTokens)
	m.write(in.request, seed, t.api.id(t.n, 't'), want)
	return m
}

// write fills in blocks, stop reason and output of an answer of want tokens.
func (m *message) write(in request, seed uint64, toolID string, want int) {
	left := want
	if in.MaxTokens != nil {
		left = *in.MaxTokens
	}
	add := func(b block) {
		b.pieces = min(b.pieces, left)
		left -= b.pieces
		m.usage.Output += b.pieces
		if b.pieces > 0 {
			m.blocks = append(m.blocks, b)
		}
	}
	if in.thinks() {
		add(thinkingBlock(mix(seed, 1), max(1, want/3), in.Thinking.Display == "omitted"))
		m.usage.Details = &outputDetail{m.usage.Output}
	}
	rest := wordBlock(seed, max(0, want-m.usage.Output))
	m.stop = "end_turn"
	if tool, ok := in.tool(); ok {
		rest = toolBlock("toolu_"+toolID, tool)
		m.stop = "tool_use"
	}
	if rest.pieces > left {
		m.stop = "max_tokens"
	}
	add(rest)
}

// plain is the message as one JSON object.
func (m message) plain() any {
	content := []any{}
	for _, b := range m.blocks {
		content = append(content, b.plain())
	}
	return m.object(content, &m.stop, m.usage)
}

// object is a message object, as in a plain answer and in message_start.
func (m message) object(content []any, stop *string, u usage) any {
	return struct {
		ID           string  `json:"id"`
		Type         string  `json:"type"`
		Role         string  `json:"role"`
		Model        string  `json:"model"`
		Content      []any   `json:"content"`
		StopReason   *string `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
		Usage        usage   `json:"usage"`
	}{m.id, "message", "assistant", m.model, content, stop, nil, u}
}

// usage returns the input side of an answer's usage. If the request marks
// anything for the cache, half of it counts as written there.
func (in input) usage() usage {
	u := usage{Input: in.inputTokens(), ByLife: &cacheByLife{}, ServiceTier: "standard"}
	if bytes.Contains(in.body, []byte(`"cache_control"`)) {
		u.CacheWrite = u.Input / 2
		u.Input -= u.CacheWrite
		u.ByLife.FiveMinutes = u.CacheWrite
	}
	return u
}

// inputTokens estimates the size of a prompt at 2.5 bytes per token (“Token
// counting”, platform.claude.com, 2026-08-22, for models since 4.7).
func (r request) inputTokens() int {
	return max(1, (len(r.System)+len(r.Messages)+len(r.Tools)+len(r.Prompt))*2/5)
}

// thinks reports whether the answer begins with thinking.
func (r request) thinks() bool { return r.Thinking.Type == "enabled" || r.Thinking.Type == "adaptive" }

// tool is a tool a request offers.
type tool struct {
	Type, Name string
	Schema     json.RawMessage `json:"input_schema"`
}

// tool returns the tool the answer uses: the first that the client runs, unless
// the request says none, or brings the result of one.
func (r request) tool() (tool, bool) {
	var tools []tool
	if r.ToolUse.Type == "none" || json.Unmarshal(r.Tools, &tools) != nil || r.bringsResult() {
		return tool{}, false
	}
	for _, t := range tools {
		if t.Name != "" && (t.Type == "" || t.Type == "custom") {
			return t, true
		}
	}
	return tool{}, false
}

// bringsResult reports whether the last message has a tool_result.
func (r request) bringsResult() bool {
	var turns []struct{ Content json.RawMessage }
	if json.Unmarshal(r.Messages, &turns) != nil || len(turns) == 0 {
		return false
	}
	var blocks []struct{ Type string }
	_ = json.Unmarshal(turns[len(turns)-1].Content, &blocks) // a string has no blocks
	for _, b := range blocks {
		if b.Type == "tool_result" {
			return true
		}
	}
	return false
}
