package claude

// What models accept that decides whether a message which was cut can be
// continued, or a request be sent to another model. Each function answers for a
// documented id; for an unknown one it says what is safe to assume.

// ContextWindow is how many tokens the input and the output of a request to the
// model may have together (“Models overview”, platform.claude.com, 2026-11-09):
// 200,000 up to Claude 4.5, a million later. An unknown model is taken to have
// the smallest.
func ContextWindow(id string) int {
	if Known(id) && !isFourFive(id) {
		return 1_000_000
	}
	return 200_000
}

// MaxOutput is the largest max_tokens that the model takes; from the same page.
// An unknown model is taken to have the smallest.
func MaxOutput(id string) int {
	if Known(id) && !isFourFive(id) {
		return 128_000
	}
	return 64_000
}

// isFourFive tells that the id is one of the 4.5 generation, the oldest in the table.
func isFourFive(id string) bool {
	switch id {
	case "claude-opus-4-5", "claude-opus-4-5-20251101",
		"claude-sonnet-4-5", "claude-sonnet-4-5-20250929",
		"claude-haiku-4-5", "claude-haiku-4-5-20251001":
		return true
	}
	return false
}

// isFourSix tells that the id is one of the 4.6 generation.
func isFourSix(id string) bool { return id == "claude-opus-4-6" || id == "claude-sonnet-4-6" }

// TakesForcedTools tells that tool_choice may be any or tool. Fable 5.1 and what
// came after it answer 400 (model pages and migration guides of Fable 5.1, Opus
// 5.5 and Sonnet 5.5, 2026-08 to 2026-10); that Haiku 5.5 does too is a guess. An
// unknown model is taken not to.
func TakesForcedTools(id string) bool {
	return Known(id) && !ThinkingBound(id) // the two rules came together
}

// TakesSampling tells that temperature, top_p and top_k may have other values
// than their defaults. Models since Opus 4.7 answer 400 (“Migration guide”,
// platform.claude.com, 2026-04; NousResearch/hermes-agent#11137); for Opus 5,
// Sonnet 5 and Fable 5 that is a guess. An unknown model is taken not to.
func TakesSampling(id string) bool { return isFourFive(id) || isFourSix(id) }

// TakesBudget tells that thinking may be of type enabled, with budget_tokens.
// Claude 4.5 and 4.6 take it; later models want adaptive, and answer 400
// (“Migration guide”, 2026-04; earendil-works/pi#3297). An unknown model is
// taken not to.
func TakesBudget(id string) bool { return isFourFive(id) || isFourSix(id) }

// TakesAdaptive tells that thinking may be of type adaptive, which models do
// since 4.6 (“Adaptive thinking”, platform.claude.com, 2026-04). An unknown
// model is taken not to.
func TakesAdaptive(id string) bool { return Known(id) && !isFourFive(id) }

// TakesEffort tells that output_config.effort may be set: on Opus 4.5 and on
// all models since 4.6 (“Effort”, platform.claude.com, 2026-04); that Haiku 5.5
// does is a guess. An unknown model is taken not to.
func TakesEffort(id string) bool {
	return Known(id) && (!isFourFive(id) || id == "claude-opus-4-5" || id == "claude-opus-4-5-20251101")
}

// TakesPrefill tells that the last message of a request may be the
// assistant's, whose text the answer then continues. Claude 4.5 and earlier do;
// later models answer 400 (“Streaming messages”, platform.claude.com,
// 2026-09-02). An unknown model is taken not to.
func TakesPrefill(id string) bool { return isFourFive(id) }

// ThinkingBound tells that thinking blocks of the model are bound to all that
// came before them: system, tools and messages. A request that brings one
// after something else is answered with 400.
//
// Documented for Fable 5.1 and Sonnet 5.5 (“Preserved thinking”, 2026-09-02,
// and the model page of Sonnet 5.5); Opus 5.5 is treated so by third parties,
// and the page says that later models will check for all users: that takes in
// Fable 5.2, Mythos 5.2 and Haiku 5.5, whose blocks are also known to work only
// in the account that made them. An unknown model is taken to bind.
func ThinkingBound(id string) bool {
	switch id {
	case "claude-fable-5", "claude-mythos-5", "claude-opus-5", "claude-sonnet-5":
		return false // earlier than the first that does
	}
	m, known := models[id]
	return !known || m.class != "opus-4" && m.class != "sonnet-4" && m.class != "haiku-4-5"
}

// AlwaysThinks tells that thinking cannot be switched off. Documented for
// Opus 5.5 (“Migrating to Claude Opus 5.5”, 2026-09-25) and Fable 5.2 (its
// model page, 2026-11-09); that Fable 5.1 and the Mythos models beside them do
// the same is a guess. An unknown model is taken to.
func AlwaysThinks(id string) bool {
	switch id {
	case "claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-1", "claude-mythos-5-2":
		return true
	}
	return !Known(id)
}

// Known tells that the id is one of the documented models.
func Known(id string) bool {
	_, ok := models[id]
	return ok
}
