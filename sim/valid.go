package sim

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxMessages is how many messages a request may have, and maxMarks how many
// breakpoints for the cache (doc comments of the official Go SDK v2.13.0;
// “Prompt caching”, platform.claude.com).
const (
	maxMessages = 100_000
	maxMarks    = 4
)

// badMessages returns why a messages call is no proper one, or nil. The
// sentences are those of the API where they are documented (“Claude API
// errors” and the pages on the models, platform.claude.com, 2026-08 to
// 2026-11), else guesses; they name fields and quote no content.
func (t *attempt) badMessages(in input) *reject {
	if bad := t.unknownModel(in.Model); bad != nil {
		return bad
	}
	s := specOf(in.Model)
	switch {
	case in.MaxTokens == nil:
		return invalid("max_tokens: Field required")
	case *in.MaxTokens < 0: // 0 fills the prompt cache and says nothing
		return invalid("max_tokens: Input should be greater than or equal to 0")
	case *in.MaxTokens > s.maxOutput:
		return invalid("max_tokens: %d > %d, which is the maximum allowed number of output tokens for %s",
			*in.MaxTokens, s.maxOutput, in.Model)
	}
	if len(in.Sampling) > 0 && !s.sampling {
		return invalid("`%s` is not supported for this model.", in.Sampling[0])
	}
	for i, sequence := range in.StopSequences {
		if strings.TrimSpace(sequence) == "" {
			return invalid("stop_sequences.%d: each stop sequence must contain non-whitespace", i)
		}
	}
	return t.badPrompt(in)
}

// badPrompt returns what is wrong with the part of a messages call that a
// count of its tokens needs too, or nil. The model exists.
func (t *attempt) badPrompt(in input) *reject {
	if bad := t.unknownFile(in); bad != nil {
		return bad
	}
	s := specOf(in.Model)
	switch {
	case !in.listed:
		return invalid("messages: Field required")
	case len(in.turns) == 0:
		return invalid("messages: at least one message is required")
	case len(in.turns) > maxMessages:
		return invalid("messages: at most %d messages are allowed", maxMessages)
	}
	for _, check := range []func(spec) *reject{
		in.badTurns, in.badEnd, in.badChoice, in.badTools, in.badResults, in.badMarks, in.badMode, in.badThinking,
	} {
		if bad := check(s); bad != nil {
			return bad
		}
	}
	if n := in.inputTokens(); n > s.context {
		return invalid("prompt is too long: %d tokens > %d maximum", n, s.context)
	}
	return nil
}

// badTurns looks at each message by itself.
func (r request) badTurns(spec) *reject {
	for i, turn := range r.turns {
		switch {
		case turn.role == "":
			return invalid("messages.%d.role: Field required", i)
		case turn.role != "user" && turn.role != "assistant" && (turn.role != "system" || i == 0):
			return invalid("messages.%d.role: Input should be 'user' or 'assistant'", i)
		case i == 0 && turn.role != "user":
			return invalid("messages: first message must use the \"user\" role")
		case turn.content == 0:
			return invalid("messages.%d.content: Field required", i)
		}
		last := i == len(r.turns)-1 && turn.role == "assistant"
		if turn.empty() && !last {
			return invalid("messages.%d: all messages must have non-empty content except for the optional final assistant message", i)
		}
		for j, p := range turn.parts {
			if bad := p.bad(turn.content == '"'); bad != "" && (!last || !turn.empty()) {
				return invalid("messages.%d.content.%d%s", i, j, bad)
			}
		}
	}
	return nil
}

func (t turn) empty() bool {
	return len(t.parts) == 0 || t.content == '"' && len(t.parts[0].text) == 0
}

// bad returns what is wrong with a content block; mere is that it is a mere
// string.
func (p part) bad(mere bool) string {
	switch {
	case p.kind == "":
		return ".type: Field required"
	case p.kind == "text" && !mere && p.text == nil:
		return ".text: Field required"
	case p.kind == "text" && len(bytes.TrimSpace(p.text)) == 0:
		return ": text content blocks must contain non-whitespace text"
	case p.kind == "tool_use" && !toolID.MatchString(p.id):
		return ".tool_use.id: String should match pattern '" + toolID.String() + "'"
	case p.kind == "tool_result" && !toolID.MatchString(p.id):
		return ".tool_result.tool_use_id: String should match pattern '" + toolID.String() + "'"
	}
	return ""
}

var toolID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// badEnd looks at the last message: whether it is a prefill the model takes.
func (r request) badEnd(s spec) *reject {
	last := r.turns[len(r.turns)-1]
	if last.role != "assistant" || last.paused() {
		return nil
	}
	if !s.prefill {
		return invalid("This model does not support assistant message prefill. The conversation must end with a user message.")
	}
	if n := len(last.parts); n > 0 && last.parts[n-1].kind == "text" {
		text := last.parts[n-1].text
		if len(bytes.TrimRight(text, " \t\r\n")) != len(text) {
			return invalid("messages: final assistant content cannot end with trailing whitespace")
		}
	}
	return nil
}

// paused reports whether a message is an answer that was paused, sent back so
// that it goes on (“Handling stop reasons”, platform.claude.com).
func (t turn) paused() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.kind == "server_tool_use" })
}

// badChoice looks at tool_choice.
func (r request) badChoice(s spec) *reject {
	forced := r.ToolUse.Type == "any" || r.ToolUse.Type == "tool"
	named := func(t tool) bool { return t.Name == r.ToolUse.Name }
	switch {
	case !slices.Contains([]string{"", "auto", "none", "any", "tool"}, r.ToolUse.Type):
		return invalid("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
	case forced && !s.forcedTools:
		return invalid("tool_choice: type \"tool\" and \"any\" are not supported for this model.")
	case forced && (r.Thinking.Type == "enabled" || r.Thinking.Type == "adaptive"):
		return invalid("Thinking may not be enabled when tool_choice forces tool use.")
	case r.ToolUse.Type == "tool" && !slices.ContainsFunc(r.tools, named):
		return invalid("tool_choice.name: Tool not found in provided tools")
	}
	return nil
}

func (r request) badTools(spec) *reject {
	seen := make(map[string]bool, len(r.tools))
	for i, tool := range r.tools {
		switch {
		case tool.Name == "" && tool.isClients():
			return invalid("tools.%d.name: Field required", i)
		case tool.Name == "":
			continue
		case seen[tool.Name]:
			return invalid("tools: Tool names must be unique.")
		case tool.isClients() && tool.schema.kind() != '{':
			return invalid("tools.%d.input_schema: Field required", i)
		}
		seen[tool.Name] = true
	}
	return nil
}

// badResults looks for a tool_use without its result in the user's turn right
// after, and for results of nothing. Several messages of one role are one turn.
func (r request) badResults(spec) *reject {
	var open []string // uses of the last turn of the assistant without a result
	var used []string
	usedAt, role := 0, ""
	for i, turn := range r.turns {
		if turn.role == "assistant" && role != "assistant" {
			if len(open) > 0 {
				break
			}
			used = used[:0]
		}
		role = turn.role
		for j, p := range turn.parts {
			switch {
			case p.kind == "tool_use" && role == "assistant":
				open, used, usedAt = append(open, p.id), append(used, p.id), i
			case p.kind == "tool_result":
				if !slices.Contains(used, p.id) {
					return invalid("messages.%d.content.%d: unexpected `tool_use_id` found in `tool_result` blocks: %s. "+
						"Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", i, j, p.id)
				}
				open = slices.DeleteFunc(open, func(id string) bool { return id == p.id })
			}
		}
	}
	if len(open) > 0 {
		return invalid("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. "+
			"Each `tool_use` block must have a corresponding `tool_result` block in the next message.", usedAt, strings.Join(open, ", "))
	}
	return nil
}

// badMarks looks at the breakpoints for the cache.
func (r request) badMarks(spec) *reject {
	if r.marks > maxMarks {
		return invalid("A maximum of %d blocks with cache_control may be provided. Found %d.", maxMarks, r.marks)
	}
	if r.marks < 2 {
		return nil
	}
	short := false
	for p := range r.prompt() {
		if p.cache == time.Hour && short {
			return invalid("cache_control: a block with ttl '1h' must not come after a block with ttl '5m'")
		}
		short = short || p.cache == 5*time.Minute
	}
	return nil
}

// badMode looks at whether the answer is to think, and at its other modes.
func (in input) badMode(s spec) *reject {
	const instead = " is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior."
	switch mode := in.Thinking.Type; {
	case !slices.Contains([]string{"", "enabled", "disabled", "adaptive"}, mode):
		return invalid("thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'")
	case s.alwaysThinks && (mode == "enabled" || mode == "disabled"):
		return invalid("%s", fmt.Sprintf("%q", "thinking.type."+mode)+instead)
	case mode == "adaptive" && !s.adaptive:
		return invalid("adaptive thinking is not supported on this model")
	case !slices.Contains([]string{"", "summarized", "omitted"}, in.Thinking.Display):
		return invalid("thinking.display: Input should be 'summarized' or 'omitted'")
	case in.Thinking.binding && !slices.Contains(in.betas, bindingBeta):
		return invalid("thinking.block_binding: Extra inputs are not permitted")
	case !slices.Contains([]string{"", "standard", "fast"}, in.Speed):
		return invalid("speed: Input should be 'standard' or 'fast'")
	case !slices.Contains([]string{"", "auto", "standard_only"}, in.ServiceTier):
		return invalid("service_tier: Input should be 'auto' or 'standard_only'")
	}
	return nil
}
