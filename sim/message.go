package sim

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// message is an answer of POST /v1/messages before it is written down, plain
// or as events.
type message struct {
	id, model string
	blocks    []block
	stop      string // stop_reason
	sequence  string // stop_sequence, if that is why
	container []byte // in JSON, if code was executed
	usage     usage
	tokenTime time.Duration
}

// Stop reasons (“Handling stop reasons”, platform.claude.com).
const (
	stopEnd      = "end_turn"
	stopLength   = "max_tokens"
	stopSequence = "stop_sequence"
	stopTool     = "tool_use"
	stopRefusal  = "refusal"
	stopPause    = "pause_turn"
	stopContext  = "model_context_window_exceeded"
)

// messages answers POST /v1/messages.
func (t *attempt) messages(ctx context.Context, in input, told bool) (outcome, error) {
	in, bad := t.unfold(in)
	if bad != nil && !told {
		return t.rejected(bad), nil
	}
	if !told {
		if bad := t.badMessages(in); bad != nil {
			return t.rejected(bad), nil
		}
	}
	use, place := t.usage(in), t.place(in)
	if place.continues || place.cut {
		t.update(func(rec *Attempt) { rec.Continues, rec.CutHistory = place.continues, place.cut })
	}
	refused, err := t.admit(ctx, in, use, told)
	if err != nil {
		return outcome{}, err
	}
	if refused != nil {
		return *refused, nil
	}
	t.served(use)
	t.update(func(rec *Attempt) {
		rec.InputTokens, rec.CacheReadTokens, rec.CacheWriteTokens = use.Input, use.CacheRead, use.CacheWrite
	})
	m := t.compose(in, place, use)
	t.keep(in, m)
	var o outcome
	if in.Stream {
		o = t.stream(m.source())
	} else {
		o = t.answer(http.StatusOK, m.plain())
		o.tokens = m.usage.Output
	}
	o.wait = t.ticket.firstToken
	return o, nil // with the limits in its headers when it leaves: see await
}

// message makes the answer to a request that is not limited as a messages call
// is: an item of a batch, a legacy completion. It leaves the prompt cache
// alone, so that what is read twice is the same twice.
func (t *attempt) message(in input) message {
	return t.compose(in, t.place(in), usage{Input: in.inputTokens(), tier: "batch"})
}

// draft is a message in the making.
type draft struct {
	message
	left  int    // tokens of output that may still come
	why   string // stop reason if they do not suffice
	short bool   // they did not
}

// atMost bounds the output.
func (d *draft) atMost(tokens int, why string) {
	if tokens < d.left {
		d.left, d.why = max(0, tokens), why
	}
}

// add appends a block, or as much of it as there are tokens left.
func (d *draft) add(b block) {
	if b.pieces > d.left {
		b.pieces, d.short = d.left, true
		b.clip = 0
	}
	d.left -= b.pieces
	d.usage.Output += b.pieces
	if b.pieces > 0 || b.fixed != nil && !d.short {
		d.blocks = append(d.blocks, b)
	}
}

// compose makes the answer to a request. It depends on the seed and the request
// alone, but for its ids.
func (t *attempt) compose(in input, place place, use usage) message {
	d := draft{left: math.MaxInt, message: message{
		id:        "msg_" + t.api.id(t.n, 'm'),
		model:     cmp.Or(in.Model, "claude-sim"),
		tokenTime: t.api.cfg.TokenTime,
		usage:     use,
	}}
	if t.ticket != nil {
		d.tokenTime = t.ticket.tokenTime
	}
	s := specOf(in.Model)
	if in.MaxTokens != nil {
		d.atMost(*in.MaxTokens, stopLength)
	}
	d.atMost(s.context-use.all(), stopContext)
	end, after := t.odd(in, place)
	d.atMost(after, end)

	if in.thinks(s) && !place.joined {
		t.think(&d, in, place, s)
	}
	d.stop = t.say(&d, in, place, end == stopPause)
	switch {
	case end != "":
		d.stop = end
	case d.short:
		d.stop = d.why
	}
	return d.message
}

// odd returns the stop reason a fault asks for, or the prompt, and after how
// many tokens of output. Without a number in the fault, pauses and the end of
// the window come half-way through the text (guess).
func (t *attempt) odd(in input, place place) (stop string, after int) {
	half := cmp.Or(t.fault.Events, (place.text.words-place.at.words)/2)
	switch {
	case t.fault.Kind == Refusal:
		return stopRefusal, t.fault.Events
	case t.fault.Kind == PauseTurn && in.serverTool() != nil:
		return stopPause, math.MaxInt
	case t.fault.Kind == PauseTurn:
		return stopPause, half
	case t.fault.Kind == ContextExceeded:
		return stopContext, half
	case in.hasTrigger(triggerRefusal):
		return stopRefusal, 0
	}
	return "", math.MaxInt
}

// Prompts with these words get what they say, for tests of callers
// (“Handling stop reasons”, “Extended thinking”, docs.anthropic.com, 2025).
const (
	triggerRefusal  = "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAEFB6177B4672DEE07F9D3AFC62588CCD2631EDCF22E8CCC1FB35B501C9C86"
	triggerRedacted = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
)

// hasTrigger looks for a trigger in the last message.
func (r request) hasTrigger(trigger string) bool {
	return len(r.turns) > 0 && slices.ContainsFunc(r.turns[len(r.turns)-1].parts, func(p part) bool {
		return p.kind == "text" && bytes.Contains(p.text, []byte(trigger))
	})
}

// thinks reports whether the answer begins with thinking. A tool that is
// forced is used without.
func (r request) thinks(s spec) bool {
	switch r.Thinking.Type {
	case "enabled", "adaptive":
		return true
	case "disabled":
		return s.alwaysThinks
	}
	return s.thinks && len(r.turns) > 0 && r.ToolUse.Type != "any" && r.ToolUse.Type != "tool"
}

// think adds thinking: a third as many words as the text of a first answer.
func (t *attempt) think(d *draft, in input, place place, s spec) {
	d.usage.thinks = true
	words := max(1, place.text.words/3)
	b := block{
		kind: "thinking", prose: prose{mix(place.text.seed, 1), words}, pieces: min(words, d.left),
		omitted: in.Thinking.Display == "omitted" || in.Thinking.Display == "" && s.omits,
	}
	own := seal{model: in.Model, prefix: in.whole(place.before), previous: in.lastThinking()}
	redacted := in.hasTrigger(triggerRedacted)
	switch {
	case redacted:
		b.fixed = append(own.append([]byte(`{"type":"redacted_thinking","data":"`)), `"}`...)
	case !b.omitted:
		own.text = hashBytes(b.appendText(nil))
	default:
		own.text = hashBytes(nil)
	}
	b.signature = string(own.append(nil))
	d.short = words > d.left
	d.add(b)
	d.usage.Thinking = d.usage.Output
}

// lastThinking returns the hash of the last signature in the history; 0 if
// there is none.
func (r request) lastThinking() uint64 {
	for _, turn := range slices.Backward(r.turns) {
		for _, p := range slices.Backward(turn.parts) {
			if turn.role == "assistant" && p.thinks() {
				return hashBytes(p.signature)
			}
		}
	}
	return 0
}

// say adds what follows the thinking, and returns the stop reason if nothing
// cuts it short.
func (t *attempt) say(d *draft, in input, place place, pauses bool) string {
	if tools := in.uses(place); len(tools) > 0 {
		for i, tool := range tools {
			d.add(toolBlock("tool_use", "toolu_"+t.api.id(t.n, 't', uint64(i)), tool.Name, fillSchema(tool.schema)))
		}
		return stopTool
	}
	var cites [][]byte
	if server := in.serverTool(); server != nil && (!place.continues || in.pausedUse() != nil) {
		if pending := in.pausedUse(); pending != nil {
			t.runs(d, server, pending.id)
		} else {
			id := "srvtoolu_" + t.api.id(t.n, 's')
			d.add(toolBlock("server_tool_use", id, server.name, []byte(server.input)))
			if pauses || d.short {
				return stopEnd
			}
			t.runs(d, server, id)
		}
		cites = server.cites()
	}
	return t.tell(d, in, place, append(cites, in.citations(place.text.seed)...))
}

// tell adds the text. If it cites, it is two blocks, and the second does.
func (t *attempt) tell(d *draft, in input, place place, cites [][]byte) string {
	stop := stopEnd
	b := block{kind: "text", prose: place.text, from: place.at, pieces: max(0, place.text.words-place.at.words)}
	if b.pieces > d.left {
		b.pieces, d.short = d.left, true
	}
	if len(in.StopSequences) > 0 && b.stopAt(in.StopSequences, &d.sequence) {
		stop, d.short = stopSequence, false
	}
	if b.pieces > 0 {
		t.api.memory.answered(place.text, b.end())
	}
	if half := b.pieces / 2; half > 0 && len(cites) > 0 {
		second := b
		second.from, second.pieces, second.cites = mark{words: b.from.words + half}, b.pieces-half, cites
		b.pieces, b.clip = half, 0
		d.add(b)
		b = second
	}
	d.add(b)
	return stop
}

// stopAt cuts a text before the first of the sequences that is complete.
func (b *block) stopAt(sequences []string, found *string) bool {
	text := b.text()
	end, cut := len(text)+1, 0
	for _, s := range sequences {
		if at := strings.Index(text, s); at >= 0 && at+len(s) < end {
			end, cut, *found = at+len(s), at, s
		}
	}
	if end > len(text) {
		return false
	}
	rest := cut
	for i := range b.pieces {
		if n := len(b.piece(i)); rest > n {
			rest -= n
		} else {
			b.pieces, b.clip = i+1, n-rest
			break
		}
	}
	if cut == 0 {
		b.pieces, b.clip = 0, 0
	}
	return true
}

// uses returns the tools the answer uses: the first that the client runs, or
// the one it must use; none if the request says none, brings the result of one,
// or asks for the rest of an answer. If disable_parallel_tool_use is there and
// false, the first two.
func (r request) uses(place place) []tool {
	forced := r.ToolUse.Type == "any" || r.ToolUse.Type == "tool"
	if r.ToolUse.Type == "none" || !forced && (place.continues || place.joined || r.bringsResult()) {
		return nil
	}
	most := 1
	if r.ToolUse.Parallel {
		most = 2
	}
	var out []tool
	for _, t := range r.tools {
		if t.isClients() && len(out) < most && (r.ToolUse.Type != "tool" || t.Name == r.ToolUse.Name) {
			out = append(out, t)
		}
	}
	return out
}

// bringsResult reports whether the last message has a tool_result.
func (r request) bringsResult() bool {
	return len(r.turns) > 0 && slices.ContainsFunc(r.turns[len(r.turns)-1].parts, func(p part) bool { return p.kind == "tool_result" })
}
