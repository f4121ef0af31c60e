package sim

import (
	"encoding/base64"
	"encoding/binary"
)

// seal is what the signature of a thinking block says: who thought it, before
// what, and what it was (“Preserved thinking”, platform.claude.com,
// 2026-09-02). The data of a redacted block is the same.
type seal struct {
	model    string
	prefix   uint64 // of tools, system and the messages before it
	text     uint64 // of the thinking as it was shown
	previous uint64 // of the signature of the thinking before it; 0 if there was none
}

// secret makes signatures that were not made here stand out. It keeps nobody
// from making them.
const secret = 0x6576656e6b65656c

// sealed is how many bytes a signature has beside the model.
const sealed = 4 * 8

// append appends the seal as a signature.
func (s seal) append(b []byte) []byte {
	var fields []byte
	for _, n := range []uint64{s.prefix, s.text, s.previous, s.check()} {
		fields = binary.BigEndian.AppendUint64(fields, n)
	}
	return base64.StdEncoding.AppendEncode(b, append(fields, s.model...))
}

func (s seal) check() uint64 {
	return mix(secret, s.prefix, s.text, s.previous, hashBytes([]byte(s.model)))
}

// parseSeal reads a signature; false if it was not made here.
func parseSeal(signature []byte) (s seal, ok bool) {
	fields, err := base64.StdEncoding.AppendDecode(nil, signature)
	if err != nil || len(fields) < sealed {
		return s, false
	}
	s.prefix = binary.BigEndian.Uint64(fields)
	s.text = binary.BigEndian.Uint64(fields[8:])
	s.previous = binary.BigEndian.Uint64(fields[16:])
	s.model = string(fields[sealed:])
	return s, binary.BigEndian.Uint64(fields[24:]) == s.check()
}

// bindingBeta allows a request to say what happens to thinking that is bound
// elsewhere.
const bindingBeta = "thinking-binding-controls-2026-08-01"

// whole returns the hash of what thinking is bound to: the set of tools, the
// system prompt, and the messages before it, of which h is the hash.
func (r request) whole(h uint64) uint64 {
	var set uint64
	for _, tool := range r.tools {
		set += mix(tool.hash)
	}
	return mix(set, foundation(r.system), h)
}

// badThinking returns what is wrong with the thinking in the history, or nil:
// that in the latest message of the assistant must be as it was, and where the
// model binds it, so must be all that came before any of it.
func (r request) badThinking(s spec) *reject {
	latest := -1
	for i, turn := range r.turns {
		if turn.role == "assistant" {
			latest = i
		}
	}
	h, previous := foundation(nil), uint64(0)
	for i, turn := range r.turns {
		here := h // thinking comes before anything else of its message
		for j, p := range turn.parts {
			if turn.role == "assistant" && p.thinks() {
				if bad := r.badBlock(s, p, i == latest, here, previous); bad != "" {
					return invalid("messages.%d.content.%d: %s", i, j, bad)
				}
				previous = hashBytes(p.signature)
			}
			h = after(h, turn.role, p)
		}
	}
	return nil
}

// badBlock returns what is wrong with a block of thinking, or "". h is the
// hash of the messages before it, previous that of the signature before it.
func (r request) badBlock(s spec, p part, latest bool, h, previous uint64) string {
	seal, ok := parseSeal(p.signature)
	switch {
	case !ok && (latest || s.bound):
		return "Invalid `signature` in `" + p.kind + "` block"
	case !ok || !s.reads(specOf(seal.model)): // dropped
		return ""
	case p.kind == "thinking" && seal.text != hashBytes(p.text):
		if latest || s.bound {
			return "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. " +
				"These blocks must remain as they were in the original response."
		}
		return ""
	case !s.bound || r.Thinking.drops:
		return ""
	case seal.prefix != r.whole(h) || previous != 0 && seal.previous != previous:
		return "Invalid `signature` in `" + p.kind + "` block. The block is bound to a different conversation. " +
			"Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to \"drop_block\". " +
			"That setting requires the `" + bindingBeta + "` value in the `anthropic-beta` header."
	}
	return ""
}
