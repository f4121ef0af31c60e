package tokens

import "bytes"

// What is counted besides texts. This file is the one dated table: sources are
// pages of platform.claude.com as of 2026-10 unless said otherwise, and what
// was measured by others is called so.

// frame is what a request costs around its texts.
type frame struct {
	first   int // the frame of one user message
	further int // of each message after it; a guess: about 3 to 5 have been seen
	auto    int // hidden prompt that comes with tools, tool_choice auto or none
	forced  int // the same, tool_choice any or tool
}

// frame returns the frame of a model. Frames of one message were measured
// with count_tokens; tool prompts are of “Tool use”. What is newer than the
// pages is taken for Opus 5.
func (v version) frame() frame {
	f := frame{first: 8, further: 4, auto: 286, forced: 406}
	if family, _ := v.family(); family == Claude3 {
		f.first = 7
		f.auto, f.forced = v.olderPrompts()
		return f
	}
	switch v.number {
	case 407:
		f.first, f.auto, f.forced = 11, 675, 804
	case 408:
		f.first, f.auto, f.forced = 11, 290, 410
	case 500:
		f.first = 6
		if v.line == "sonnet" {
			f.auto, f.forced = 354, 474
		}
	}
	return f
}

// olderPrompts are the tool prompts of the models before 4.7.
func (v version) olderPrompts() (auto, forced int) {
	switch {
	case v.number == 406:
		return 497, 589
	case v.number == 405:
		return 496, 588
	case v.number >= 400:
		return 313, 315
	case v.number == 307:
		return 346, 313
	case v.number == 305 && v.line == "haiku":
		return 264, 340
	case v.number == 305:
		return 294, 261
	case v.line == "opus":
		return 530, 281
	case v.line == "haiku":
		return 264, 340 // Haiku 3: a guess, Haiku 3.5's
	}
	return 159, 235
}

// ownTools are the definitions that Anthropic writes for its client tools, in
// tokens, by the beginning of their type.
var ownTools = [...]struct {
	prefix string
	tokens int
}{
	{"bash_", 245},
	{"text_editor_", 700},
	{"computer_", 735 + 480}, // with its prompt, 466 to 499
	{"memory_", 300},         // a guess
}

// ownTool returns what the definition of an Anthropic-defined tool costs; ok
// is false for server tools, whose cost is not known.
func ownTool(kind []byte) (tokens int, ok bool) {
	for _, t := range ownTools {
		if bytes.HasPrefix(kind, []byte(t.prefix)) {
			return t.tokens, true
		}
	}
	return 0, false
}

// tier is how large an image a model looks at.
type tier uint8

const (
	tierSmall tier = iota // before 4.7
	tierLarge             // 4.7 and later
	tiers     = iota
)

// patch is the edge in pixels of the square that one token of an image shows.
const patch = 28

// tierLimits are the long edge in pixels and the tokens that an image is
// shrunk to, its aspect kept (“Vision”).
var tierLimits = [tiers]struct{ edge, tokens uint64 }{
	tierSmall: {1568, 1568},
	tierLarge: {2576, 4784},
}

// tier returns the tier of a family.
func (f Family) tier() tier {
	if f == Claude3 {
		return tierSmall
	}
	return tierLarge
}

// cap is what the largest image costs.
func (t tier) cap() int { return int(tierLimits[t].tokens) }

// price returns the tokens of an image of w by h pixels: its patches, after it
// was shrunk to both limits. An image without a size costs the cap.
func (t tier) price(w, h uint64) int {
	const most = 1 << 32 // no format has more, and products stay in range
	if w == 0 || h == 0 || w > most || h > most {
		return t.cap()
	}
	limit := tierLimits[t]
	if long := max(w, h); long > limit.edge {
		if n := ceil(w*limit.edge, long*patch) * ceil(h*limit.edge, long*patch); n <= limit.tokens {
			return int(n)
		}
	} else if n := ceil(w, patch) * ceil(h, patch); n <= limit.tokens {
		return int(n)
	}
	// Shrunk further, to the largest scale that fits. Patches get fewer only
	// where a whole number of them fills one of the edges.
	across, down := fit(w, h, limit.tokens), fit(h, w, limit.tokens)
	if across*h >= down*w { // the larger scale: across/w against down/h
		return int(across * ceil(h*across, w))
	}
	return int(down * ceil(w*down, h))
}

// fit returns the largest n so that, with n patches filling the edge a, all
// patches are at most tokens; 0 if there is none.
func fit(a, b, tokens uint64) uint64 {
	low, high := uint64(0), tokens
	for low < high {
		n := (low + high + 1) / 2
		if n*ceil(b*n, a) <= tokens {
			low = n
		} else {
			high = n - 1
		}
	}
	return low
}

// ceil divides, rounding up.
func ceil(a, b uint64) uint64 { return (a + b - 1) / b }

// page is what a page of a PDF costs: its image, some 1,600 tokens, and its
// text, some 500 to 700 (measured by others on Haiku 4.5 and 5.5 models; the
// documentation says 1,500 to 3,000 for the text alone).
func (f Family) page() int {
	if f == Claude3 {
		return 2100
	}
	return 2330
}

// pagesUnseen is how many pages a document is taken to have that is given by a
// URL or a file id: a guess.
const pagesUnseen = 10

// keepsThinking tells whether thinking of earlier turns stays in the context
// and counts: on Opus since 4.5, on Sonnet since 4.6, on all models after
// those (“Extended thinking”). On others it is dropped.
func (v version) keepsThinking() bool {
	switch {
	case v.number == 0:
		return true
	case v.line == "opus":
		return v.number >= 405
	}
	return v.number >= 406
}

// countsCacheReads tells that tokens read from the cache count against the
// limit as well: on Haiku 3.5 only (“Rate limits”).
func (v version) countsCacheReads() bool { return v.line == "haiku" && v.number == 305 }

// serverBlock tells that a block belongs to a tool that runs at Anthropic or
// at an MCP server: what it costs is not known before.
func serverBlock(kind []byte) bool {
	switch string(kind) {
	case "server_tool_use", "mcp_tool_use", "mcp_tool_result", "container_upload", "tool_reference", "compaction",
		"web_search_result", "web_fetch_result", "code_execution_result", "bash_code_execution_result":
		return true
	}
	return bytes.HasSuffix(kind, []byte("_tool_result")) || bytes.HasSuffix(kind, []byte("_tool_result_error"))
}
