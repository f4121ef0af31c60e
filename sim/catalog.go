package sim

import (
	"path"
	"strings"
	"time"
)

// spec is what the simulation knows of a model. It is written down here, not
// taken from package claude: what is tested against the simulation must not
// find its own mistakes confirmed.
type spec struct {
	id      string
	class   string // whose limits it shares
	name    string // display_name
	created time.Time

	context   int // tokens of input and output together
	maxOutput int // largest max_tokens

	prefill      bool // the last message may be the assistant's
	bound        bool // thinking is bound to model and prefix, and checked
	thinks       bool // thinks unless told not to
	alwaysThinks bool // thinking cannot be switched off
	omits        bool // thinking is not shown unless asked for
	sampling     bool // temperature, top_p and top_k may be set
	forcedTools  bool // tool_choice any and tool are accepted
	adaptive     bool // takes thinking of type adaptive
	oldTokens    bool // has the tokenizer before 4.7, with fewer tokens for the same text
	minCache     int  // smallest prompt that is cached, in tokens

	price price
}

// price is in millionths of a US dollar per thousand tokens, which is what
// dollars per million are in thousandths.
type price struct{ input, output, cacheRead int }

// catalog is the list of models, as the API lists them: newest first. Windows,
// prices and rules: model pages and “Pricing”, platform.claude.com, 2026-08 to
// 2026-11; classes: “Rate limits”, 2026-08-22; prefill: “Streaming messages”,
// 2026-09-02; bound thinking: “Preserved thinking”, 2026-09-02, and the
// migration guide of Opus 5.5; that Opus 5 thinks by default: its migration
// guide. That Haiku 5.5, Fable 5.2 and Mythos 5.2 have
// limits of their own, and that Fable 5.2 behaves as Opus 5.5, is a guess.
var catalog = []spec{
	bound("claude-fable-5-2", "fable-5-2", "2026-11-09", price{8000, 40000, 200}),
	bound("claude-mythos-5-2", "mythos-5-2", "2026-11-09", price{8000, 40000, 200}),
	bound("claude-opus-5-5", "opus-5-5", "2026-09-25", price{4000, 20000, 200}),
	boundAtWill("claude-sonnet-5-5", "sonnet-5-5", "2026-10-07", price{2000, 10000, 100}),
	free("claude-haiku-5-5", "haiku-5-5", "2026-10-07", price{100, 500, 10}),
	bound("claude-fable-5-1", "fable-5", "2026-08-31", price{10000, 50000, 250}),
	bound("claude-mythos-5-1", "mythos-5", "2026-08-31", price{10000, 50000, 250}),
	free("claude-opus-5", "opus-5", "2026-07-24", price{5000, 25000, 500}),
	free("claude-sonnet-5", "sonnet-5", "2026-07-01", price{2000, 10000, 200}),
	free("claude-fable-5", "fable-5", "2026-06-01", price{10000, 50000, 1000}),
	free("claude-mythos-5", "mythos-5", "2026-06-01", price{10000, 50000, 1000}),
	free("claude-opus-4-8", "opus-4", "2026-05-01", price{5000, 25000, 500}),
	free("claude-opus-4-7", "opus-4", "2026-04-01", price{5000, 25000, 500}),
	free("claude-opus-4-6", "opus-4", "2026-02-05", price{5000, 25000, 500}),
	free("claude-sonnet-4-6", "sonnet-4", "2026-02-17", price{3000, 15000, 300}),
	older("claude-opus-4-5-20251101", "opus-4", "2025-11-24", price{5000, 25000, 500}),
	older("claude-opus-4-5", "opus-4", "2025-11-24", price{5000, 25000, 500}),
	older("claude-haiku-4-5-20251001", "haiku-4-5", "2025-10-15", price{1000, 5000, 100}),
	older("claude-haiku-4-5", "haiku-4-5", "2025-10-15", price{1000, 5000, 100}),
	older("claude-sonnet-4-5-20250929", "sonnet-4", "2025-09-29", price{3000, 15000, 300}),
	older("claude-sonnet-4-5", "sonnet-4", "2025-09-29", price{3000, 15000, 300}),
}

// free is a model since 4.6: a window of a million, no prefill.
func free(id, class, day string, p price) spec {
	created, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic("sim: " + err.Error()) // a mistake in the table above
	}
	return spec{
		id: id, class: class, name: displayName(id), created: created,
		context: 1_000_000, maxOutput: 128_000, sampling: true, forcedTools: true, price: p,
		adaptive: true, thinks: id == "claude-opus-5", minCache: minCache(id),
		oldTokens: strings.HasSuffix(id, "-4-6"),
	}
}

// boundAtWill is a model whose thinking, if it thinks, is bound to what it has
// seen.
func boundAtWill(id, class, day string, p price) spec {
	s := free(id, class, day, p)
	s.bound, s.omits, s.sampling, s.forcedTools = true, true, false, false
	return s
}

// bound is a model that always thinks, with bound thinking.
func bound(id, class, day string, p price) spec {
	s := boundAtWill(id, class, day, p)
	s.alwaysThinks, s.thinks = true, true
	return s
}

// minCache returns the smallest prompt a model caches. 512 for the 5 series
// and 1,024 for Opus 4.8 are in “What's new in Claude Opus 5”
// (platform.claude.com, 2026-07); the others in “Prompt caching”, as quoted by
// third parties in 2026.
func minCache(id string) int {
	switch {
	case strings.HasPrefix(id, "claude-opus-4-7"):
		return 2048
	case strings.HasPrefix(id, "claude-opus-4-8"), strings.HasPrefix(id, "claude-sonnet-"):
		return 1024
	case strings.HasPrefix(id, "claude-opus-4-"), strings.HasPrefix(id, "claude-haiku-4-"):
		return 4096
	}
	return 512
}

// reads reports whether the model understands thinking of another: its own,
// and that of older models, but none but a Fable or Mythos that of one
// (“Preserved thinking”, platform.claude.com; that age decides among the rest
// is a guess). What it does not understand is dropped without a word.
func (s spec) reads(other spec) bool {
	top := func(s spec) bool {
		return strings.HasPrefix(s.class, "fable") || strings.HasPrefix(s.class, "mythos")
	}
	if top(s) != top(other) {
		return top(s)
	}
	return !s.created.Before(other.created)
}

// older is a model of the 4.5 generation.
func older(id, class, day string, p price) spec {
	s := free(id, class, day, p)
	s.context, s.maxOutput, s.prefill = 200_000, 64_000, true
	s.adaptive, s.oldTokens = false, true
	return s
}

// displayName makes "Claude Opus 5.5" of "claude-opus-5-5".
func displayName(id string) string {
	var words []string
	for part := range strings.SplitSeq(id, "-") {
		isNumber := part[:min(1, len(part))] >= "0" && part[:min(1, len(part))] <= "9"
		last := len(words) - 1
		switch {
		case isNumber && len(part) < 3 && last >= 0 && words[last][0] <= '9':
			words[last] += "." + part
		case isNumber && len(part) >= 3: // a date
		default:
			words = append(words, strings.ToUpper(part[:min(1, len(part))])+part[min(1, len(part)):])
		}
	}
	return strings.Join(words, " ")
}

// Models returns the ids an API knows by default, newest first.
func Models() []string {
	ids := make([]string, len(catalog))
	for i, s := range catalog {
		ids[i] = s.id
	}
	return ids
}

// specOf returns what is known of a model. One that is not in the catalogue
// behaves as the newest without thinking that is bound, and has limits of its
// own.
func specOf(id string) spec {
	for i := range catalog { // without copying all that are passed over
		if catalog[i].id == id {
			return catalog[i]
		}
	}
	return free(id, id, "2026-01-01", price{5000, 25000, 500})
}

// covers reports whether a glob, as of [path.Match], matches a model or its
// class. The empty glob matches all, and requests that name no model.
func covers(glob, model string) bool {
	if glob == "" {
		return true
	}
	if ok, err := path.Match(glob, model); ok && err == nil {
		return true
	}
	return model != "" && glob == specOf(model).class
}
