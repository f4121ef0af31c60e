package claude

import "strings"

// maxClass bounds the class of a model that is not in the table.
const maxClass = 64

// model is a documented model.
type model struct {
	id    string // as callers write it
	class string // whose limits it shares
}

// models are the models by id. Which of them share a bucket: “Rate limits”,
// platform.claude.com, 2026-08-22, and its later transcript for the 5.5
// models. Fable 5.2, Mythos 5.2 and Haiku 5.5 are not on that page: each is
// taken to have a bucket of its own, which splits what may be one and so
// errs by being told, never by mixing two models' levels.
var models = func() map[string]model {
	classes := map[string]string{
		"fable-5-2":  "claude-fable-5-2",
		"mythos-5-2": "claude-mythos-5-2",
		"fable-5":    "claude-fable-5-1 claude-fable-5",
		"mythos-5":   "claude-mythos-5-1 claude-mythos-5",
		"opus-5-5":   "claude-opus-5-5",
		"opus-5":     "claude-opus-5",
		"opus-4":     "claude-opus-4-8 claude-opus-4-7 claude-opus-4-6 claude-opus-4-5 claude-opus-4-5-20251101",
		"sonnet-5-5": "claude-sonnet-5-5",
		"sonnet-5":   "claude-sonnet-5",
		"sonnet-4":   "claude-sonnet-4-6 claude-sonnet-4-5 claude-sonnet-4-5-20250929",
		"haiku-5-5":  "claude-haiku-5-5",
		"haiku-4-5":  "claude-haiku-4-5 claude-haiku-4-5-20251001",
	}
	byID := make(map[string]model)
	for class, ids := range classes {
		for id := range strings.FieldsSeq(ids) {
			byID[id] = model{id, class}
		}
	}
	return byID
}()

// ModelClass names the pool of limits that a model draws from: models of one
// class share their requests and tokens per minute, per organisation.
//
// A model that is not known is a class of its own, its id cut at 64 bytes. No
// rule is guessed from the id: earlier dated versions of one model had
// separate limits, and two pools taken for one would stop the wrong calls.
// An empty model is the empty class. ModelClass does not allocate.
func ModelClass(id string) string {
	if m, ok := models[id]; ok {
		return m.class
	}
	return cut(id, maxClass)
}
