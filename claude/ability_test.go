package claude

import "testing"

func TestAbilities(t *testing.T) {
	type able struct{ prefill, bound, always bool }
	for _, tt := range []struct {
		reason, model string
		want          able
	}{
		{"the last generation that takes prefill", "claude-opus-4-5", able{prefill: true}},
		{"a dated id is the same model", "claude-sonnet-4-5-20250929", able{prefill: true}},
		{"Haiku 4.5 is of that generation", "claude-haiku-4-5", able{prefill: true}},
		{"the first that refuses prefill", "claude-opus-4-6", able{}},
		{"Sonnet 4.6 refuses prefill", "claude-sonnet-4-6", able{}},
		{"before thinking was bound", "claude-opus-5", able{}},
		{"before thinking was bound", "claude-fable-5", able{}},
		{"bound where it thinks", "claude-sonnet-5-5", able{bound: true}},
		{"later than the rule", "claude-haiku-5-5", able{bound: true}},
		{"the first with the rule", "claude-fable-5-1", able{bound: true, always: true}},
		{"always thinks", "claude-opus-5-5", able{bound: true, always: true}},
		{"always thinks", "claude-mythos-5-2", able{bound: true, always: true}},
		{"unknown: nothing may be assumed", "claude-opus-6", able{bound: true, always: true}},
		{"no model", "", able{bound: true, always: true}},
	} {
		t.Run(tt.reason+": "+tt.model, func(t *testing.T) {
			got := able{TakesPrefill(tt.model), ThinkingBound(tt.model), AlwaysThinks(tt.model)}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A model that is added to the table without a thought for its abilities must
// fall on the safe side.
func TestAbilities_ofEveryModel(t *testing.T) {
	for id := range models {
		if !Known(id) {
			t.Errorf("%s is in the table and not known", id)
		}
		if TakesPrefill(id) && ThinkingBound(id) {
			t.Errorf("%s takes prefill and binds its thinking: no model does both", id)
		}
		if AlwaysThinks(id) && !ThinkingBound(id) {
			t.Errorf("%s always thinks unbound: no model documented so far does", id)
		}
	}
}

// TestAbilities_ofATarget: what decides whether a request may go to the model.
func TestAbilities_ofATarget(t *testing.T) {
	type able struct {
		window, output                             int
		forced, sampling, budget, adaptive, effort bool
	}
	const million, most = 1_000_000, 128_000
	for _, tt := range []struct {
		reason, model string
		want          able
	}{
		{"the oldest have the small window", "claude-sonnet-4-5", able{200_000, 64_000, true, true, true, false, false}},
		{"effort came with Opus 4.5", "claude-opus-4-5-20251101", able{200_000, 64_000, true, true, true, false, true}},
		{"4.6 takes both sorts of thinking", "claude-opus-4-6", able{million, most, true, true, true, true, true}},
		{"4.7 takes neither sampling nor a budget", "claude-opus-4-7", able{million, most, true, false, false, true, true}},
		{"forced tools are taken up to Opus 5", "claude-opus-5", able{million, most, true, false, false, true, true}},
		{"and refused by Sonnet 5.5", "claude-sonnet-5-5", able{million, most, false, false, false, true, true}},
		{"unknown: the least of all", "claude-opus-6", able{window: 200_000, output: 64_000}},
		{"no model", "", able{window: 200_000, output: 64_000}},
	} {
		t.Run(tt.reason+": "+tt.model, func(t *testing.T) {
			got := able{
				ContextWindow(tt.model), MaxOutput(tt.model), TakesForcedTools(tt.model),
				TakesSampling(tt.model), TakesBudget(tt.model), TakesAdaptive(tt.model), TakesEffort(tt.model),
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
