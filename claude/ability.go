package claude

// What models accept that decides whether a message which was cut can be
// continued. Each function answers for a documented id; for an unknown one it
// says what is safe to assume.

// TakesPrefill tells that the last message of a request may be the
// assistant's, whose text the answer then continues. Claude 4.5 and earlier do;
// later models answer 400 (“Streaming messages”, platform.claude.com,
// 2026-09-02). An unknown model is taken not to.
func TakesPrefill(id string) bool {
	switch id {
	case "claude-opus-4-5", "claude-opus-4-5-20251101",
		"claude-sonnet-4-5", "claude-sonnet-4-5-20250929",
		"claude-haiku-4-5", "claude-haiku-4-5-20251001":
		return true
	}
	return false
}

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
