package sim

import (
	"slices"
	"strings"
)

// deprecated is when models are to be retired (Go SDK v2.13.0, message.go).
var deprecated = map[string]string{
	"claude-sonnet-4-5":          "2026-11-30T00:00:00Z",
	"claude-sonnet-4-5-20250929": "2026-11-30T00:00:00Z",
}

// deprecatedAt is when those of deprecated were announced to be; a guess.
const deprecatedAt = "2026-09-30T00:00:00Z"

// model is an entry of GET /v1/models.
type model struct {
	Type         string       `json:"type"`
	ID           string       `json:"id"`
	Name         string       `json:"display_name"`
	Line         *string      `json:"line"`
	Created      string       `json:"created_at"`
	Lifecycle    string       `json:"lifecycle"`
	DeprecatedAt *string      `json:"deprecated_at"`
	RetiresAt    *string      `json:"retires_at"`
	MaxInput     int          `json:"max_input_tokens"`
	MaxOutput    int          `json:"max_tokens"`
	Capabilities capabilities `json:"capabilities"`
}

// support is whether something is supported.
type support struct {
	Supported bool `json:"supported"`
}

// capabilities is what a model can do. What the catalogue does not say of a
// model, all are able to (guess).
type capabilities struct {
	Batch             support               `json:"batch"`
	Citations         support               `json:"citations"`
	CodeExecution     support               `json:"code_execution"`
	ContextManagement contextManagement     `json:"context_management"`
	Effort            effort                `json:"effort"`
	ImageInput        support               `json:"image_input"`
	PDFInput          support               `json:"pdf_input"`
	ServerTools       serverToolsCapability `json:"server_tools"`
	StructuredOutputs support               `json:"structured_outputs"`
	Thinking          thinkingCapability    `json:"thinking"`
}

type contextManagement struct {
	support
	ClearThinking support `json:"clear_thinking_20251015"`
	ClearToolUses support `json:"clear_tool_uses_20250919"`
	Compact       support `json:"compact_20260112"`
}

type effort struct {
	support
	Low    support `json:"low"`
	Medium support `json:"medium"`
	High   support `json:"high"`
	XHigh  support `json:"xhigh"`
	Max    support `json:"max"`
}

type serverToolsCapability struct {
	support
	CodeExecution support `json:"code_execution"`
	WebSearch     support `json:"web_search"`
}

type thinkingCapability struct {
	support
	Types struct {
		Adaptive     support `json:"adaptive"`
		BetweenTools support `json:"between_tools"`
		Disabled     support `json:"disabled"`
		Enabled      support `json:"enabled"`
	} `json:"types"`
}

// capabilitiesOf returns what a model can do. Models of the 4.5 generation
// have neither adaptive thinking, nor effort, nor compaction; those with bound
// thinking take no budget_tokens (guesses both).
func capabilitiesOf(s spec) capabilities {
	yes, young := support{true}, support{!s.prefill}
	c := capabilities{
		Batch: yes, Citations: yes, CodeExecution: yes, ImageInput: yes, PDFInput: yes, StructuredOutputs: yes,
		ContextManagement: contextManagement{yes, yes, yes, young},
		Effort:            effort{young, young, young, young, young, young},
		ServerTools:       serverToolsCapability{yes, yes, yes},
		Thinking:          thinkingCapability{support: yes},
	}
	c.Thinking.Types.Adaptive = young
	c.Thinking.Types.Disabled = support{!s.alwaysThinks}
	c.Thinking.Types.Enabled = support{!s.bound}
	return c
}

func modelOf(id string) model {
	s := specOf(id)
	m := model{
		Type: "model", ID: id, Name: s.name, Line: lineOf(id), Created: rfc3339(s.created), Lifecycle: "active",
		MaxInput: s.context, MaxOutput: s.maxOutput, Capabilities: capabilitiesOf(s),
	}
	if retires, ok := deprecated[id]; ok {
		since := deprecatedAt
		m.Lifecycle, m.DeprecatedAt, m.RetiresAt = "deprecated", &since, &retires
	}
	return m
}

// lineOf returns the line a model belongs to: the second word of its id.
func lineOf(id string) *string {
	words := strings.Split(id, "-")
	if len(words) < 2 || !slices.Contains([]string{"haiku", "sonnet", "opus", "fable", "mythos"}, words[1]) {
		return nil
	}
	return &words[1]
}

// resolve returns the model that an alias stands for: the one with the same
// name and a date behind it. Any other id stands for itself.
func (a *API) resolve(id string) string {
	for _, m := range a.cfg.Models {
		date, ok := strings.CutPrefix(m, id+"-")
		if ok && len(date) == len("20060102") && strings.Trim(date, "0123456789") == "" {
			return m
		}
	}
	return id
}

// listModels answers GET /v1/models: the models that may be used, not their
// aliases, of the stages of life that lifecycle names.
func (t *attempt) listModels(q ask) outcome {
	query := q.r.URL.Query()
	stages := slices.Concat(query["lifecycle"], query["lifecycle[]"])
	for _, stage := range stages {
		if !slices.Contains([]string{"active", "deprecated", "retired"}, stage) {
			return t.rejected(invalid("lifecycle: must be active, deprecated or retired"))
		}
	}
	var list []model
	for _, id := range t.api.cfg.Models {
		m := modelOf(id)
		if t.api.resolve(id) == id && t.unknownModel(id) == nil && (len(stages) == 0 || slices.Contains(stages, m.Lifecycle)) {
			list = append(list, m)
		}
	}
	id := func(m model) string { return m.ID }
	p, bad := cut(query, list, id, usualPage)
	if bad != nil {
		return t.rejected(bad)
	}
	return t.ok(pageOf(p, each(p.data, func(m model) model { return m }), id))
}

// oneModel answers GET /v1/models/{id}; an alias with the model it stands for.
func (t *attempt) oneModel(q ask) outcome {
	if bad := t.unknownModel(q.id); bad != nil {
		return t.rejected(bad)
	}
	return t.ok(modelOf(t.api.resolve(q.id)))
}
