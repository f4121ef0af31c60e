package tokens

import (
	"strings"
	"testing"
)

func TestFrame_isAsDocumented(t *testing.T) {
	const (
		one   = `{"messages":[{"role":"user","content":""}]`
		image = `{"messages":[{"role":"user","content":`
	)
	tests := []struct {
		reason, model, body string
		want                int
	}{
		{"one message, before 4.7", "claude-sonnet-4-5", one + `}`, 7},
		{"one message, Opus 4.7", "claude-opus-4-7", one + `}`, 11},
		{"one message, Opus 5", "claude-opus-5", one + `}`, 6},
		{"one message, Opus 5.5", opus, one + `}`, 8},
		{"one message, unknown: as the newest", "claude-next", one + `}`, 8},
		{"three messages", opus, `{"messages":[{"role":"user","content":""},{"role":"assistant","content":""},{"role":"user","content":""}]}`, 16},
		{"no message", opus, `{"messages":[]}`, 0},
		{"tools", "claude-opus-4-8", one + `,"tools":[{}]}`, 11 + 290},
		{"tools, none to be called", "claude-opus-4-8", one + `,"tools":[{}],"tool_choice":{"type":"none"}}`, 11 + 290},
		{"tools, one must be called", "claude-opus-4-8", `{"tool_choice":{"name":"x","type":"tool"},"tools":[{}],` + one[1:] + `}`, 11 + 410},
		{"tools, any must be called", "claude-haiku-4-5-20251001", one + `,"tools":[{},{}],"tool_choice":{"type":"any"}}`, 7 + 588},
		{"tools, Sonnet 3.7", "claude-3-7-sonnet-20250219", one + `,"tools":[{}]}`, 7 + 346},
		{"tools, Sonnet 5", "claude-sonnet-5", one + `,"tools":[{}]}`, 6 + 354},
		{"no tools, whatever the choice", opus, one + `,"tools":[],"tool_choice":{"type":"any"}}`, 8},
		{"a tool that Anthropic defines", "claude-opus-4-8", one + `,"tools":[{"type":"bash_20250124"}]}`, 11 + 290 + 245},
		{"an image without data costs the cap", opus, image + `[{"type":"image","source":{"type":"url"}}]}]}`, 8 + 4784},
		{"the same, before 4.7", "claude-opus-4-6", image + `[{"type":"image","source":{"type":"url"}}]}]}`, 7 + 1568},
	}
	for _, tt := range tests {
		var s Scanner
		if got := scanIn(&s, tt.model, []byte(tt.body)); got.Fixed != tt.want {
			t.Errorf("%s: %d tokens around the texts, want %d", tt.reason, got.Fixed, tt.want)
		}
	}
}

// What earlier turns have thought counts on some models and is dropped on
// others; that of the turn at hand counts on all.
func TestScan_dropsThinkingAsTheModelDoes(t *testing.T) {
	thought := `{"type":"thinking","thinking":"` + strings.Repeat("Let me see. ", 100) + `","signature":"x"}`
	earlier := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[` + thought + `]},{"role":"user","content":"b"}]}`
	within := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[` + thought + `,{"type":"tool_use","id":"t","name":"n","input":{}}]},` +
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"b"}]}]}`
	tests := []struct {
		model          string
		earlier, since bool
	}{
		{"claude-opus-4-5", true, true},
		{"claude-opus-5-5", true, true},
		{"claude-sonnet-4-6", true, true},
		{"claude-sonnet-4-5", false, true},
		{"claude-haiku-4-5", false, true},
		{"claude-opus-4-1", false, true},
		{"claude-3-7-sonnet-20250219", false, true},
		{"unknown", true, true},
	}
	for _, tt := range tests {
		var s Scanner
		if got := scanIn(&s, tt.model, []byte(earlier)).Sums.Total() > 100; got != tt.earlier {
			t.Errorf("%s: thinking of an earlier turn counts: %v, want %v", tt.model, got, tt.earlier)
		}
		if got := scanIn(&s, tt.model, []byte(within)).Sums.Total() > 100; got != tt.since {
			t.Errorf("%s: thinking of the turn at hand counts: %v, want %v", tt.model, got, tt.since)
		}
	}
}
