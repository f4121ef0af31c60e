// Package resume continues a message whose stream was cut after a part of it
// had been delivered, so that the caller sees one message.
//
// A [Transcript] follows what is delivered. When the stream breaks, its Request
// makes of the caller's body the one that asks for the rest, or gives the
// [Reason] why there is none that would be safe. A [Splice] then turns the
// events of the continuing attempt into those the caller gets:
//
//	caller's stream     message_start, blocks …, block n of text ─┐ cut
//	                                                              │ Request
//	continuing attempt                                            ▼
//	  message_start                      swallowed: one message has one id
//	  thinking blocks                    swallowed: bound to a request the caller never made
//	  first block of text                becomes the rest of block n
//	    its start                        swallowed
//	    its first deltas                 held until the seam is found, at most 512 bytes
//	    its other deltas, its stop       pass, as those of block n
//	  later blocks                       pass as blocks n+1, n+2 …
//	  message_delta                      passes, its usage with that of the cut attempt added
//	  message_stop, ping                 pass
//
// and the Splice moves so:
//
//	           message_start        text block          seam found        message_stop
//	before ───────────────► waiting ──────────► holding ──────────► open ───────────► after
//	                           │                   │  block stop     ▲
//	                           │                   └─────────────────┤
//	                           └── another block, or the end: block n is stopped
//
// # The two ways to ask
//
// Where the model takes it and does not think, the delivered text is the start
// of an assistant message (“prefill”), which the model goes on with: the
// documented recovery for Claude 4.5 and earlier. It must not end in white
// space, so that is cut off, and the Splice expects it again.
//
// Elsewhere a user message is appended that quotes the text and asks to go on
// where it ends: the documented recovery for 4.6 and later (“Streaming
// messages”, platform.claude.com, 2026-09-02). The text is quoted inside the
// user's message and not sent as an assistant message before it, because that
// would be history which never was: a turn without the thinking that belongs
// to it, half of an answer posing as a whole one. Appending a user message is
// allowed everywhere and invalidates no thinking block, as those are bound to
// what comes before them (“Preserved thinking”, 2026-09-02). The price is that
// the model may repeat a little or drop a space, which the seam makes good.
//
// # What is never resumed
//
// Anything but an open block of text; a message with a tool call, result or
// citation in it; requests whose output must parse as a whole, whose tools are
// forced, or whose servers have effects; models that always think with thinking
// that is bound, and those that may, if they did or were asked to. Of a model
// that is not known only requests that switch thinking off are resumed: had it
// thinking that cannot be switched off, or is bound, none would be at stake.
//
// Continuing is billed as a request of its own, input included, and the usage
// the caller sees says so.
package resume

import "strings"

// Reason is an error that says why a message is not continued. Its text is
// from a closed set and fit for logs and labels.
type Reason string

// The reasons.
const (
	ErrNothing      Reason = "nothing_delivered"       // no text that could be continued
	ErrNotText      Reason = "not_in_text"             // cut in thinking, or between blocks
	ErrBlock        Reason = "tool_or_unknown_block"   // a block other than text and thinking has begun
	ErrCitations    Reason = "citations"               // text that cites cannot be told apart from its sources
	ErrDone         Reason = "message_done"            // the stop reason is known
	ErrTwice        Reason = "already_resumed"         // once is the limit
	ErrTooLong      Reason = "text_too_long"           // over Transcript.MaxBytes
	ErrUnclear      Reason = "stream_unclear"          // not as documented, or half a character at its end
	ErrBody         Reason = "body_unclear"            // no streaming request, or one with keys that stand twice
	ErrLastTurn     Reason = "last_turn_not_users"     // the caller's own prefill, or a server tool's pause
	ErrFormat       Reason = "structured_output"       // two outputs do not make one that parses
	ErrForcedTool   Reason = "forced_tool"             // the continuation would have to be a tool call
	ErrEffects      Reason = "mcp_servers"             // what they did would be done twice
	ErrAlwaysThinks Reason = "always_thinks"           // with thinking that is bound
	ErrBound        Reason = "bound_thinking"          // history must not be edited
	ErrUnknownModel Reason = "unknown_model_may_think" // nothing may be assumed
)

// Error implements [error].
func (r Reason) Error() string {
	return "resume: not resumed: " + strings.ReplaceAll(string(r), "_", " ")
}
