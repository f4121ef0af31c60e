package claude

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestModelClass(t *testing.T) {
	for _, tt := range []struct{ name, model, want string }{
		{"Opus 4.5 to 4.8 share a bucket", "claude-opus-4-8", "opus-4"},
		{"Opus 4.5 to 4.8 share a bucket", "claude-opus-4-5", "opus-4"},
		{"a dated id is the same model", "claude-opus-4-5-20251101", "opus-4"},
		{"Opus 5 has its own", "claude-opus-5", "opus-5"},
		{"Opus 5.5 has its own", "claude-opus-5-5", "opus-5-5"},
		{"Sonnet 4.6 and 4.5 share a bucket", "claude-sonnet-4-6", "sonnet-4"},
		{"Sonnet 4.6 and 4.5 share a bucket", "claude-sonnet-4-5-20250929", "sonnet-4"},
		{"Sonnet 5 has its own", "claude-sonnet-5", "sonnet-5"},
		{"Sonnet 5.5 has its own", "claude-sonnet-5-5", "sonnet-5-5"},
		{"Fable 5 and 5.1 share a bucket", "claude-fable-5", "fable-5"},
		{"Fable 5 and 5.1 share a bucket", "claude-fable-5-1", "fable-5"},
		{"Fable 5.2 is not known to share", "claude-fable-5-2", "fable-5-2"},
		{"Mythos is apart from Fable", "claude-mythos-5-1", "mythos-5"},
		{"Haiku 4.5", "claude-haiku-4-5-20251001", "haiku-4-5"},
		{"Haiku 5.5", "claude-haiku-5-5", "haiku-5-5"},
		{"an unknown model is a class of its own", "claude-opus-4-1", "claude-opus-4-1"},
		{"an unknown point release is not guessed", "claude-opus-4-9", "claude-opus-4-9"},
		{"ids are exact", "Claude-Opus-5", "Claude-Opus-5"},
		{"no model", "", ""},
		{"bounded", strings.Repeat("x", 65), strings.Repeat("x", 64)},
		{"bounded without splitting a character", strings.Repeat("x", 63) + "é", strings.Repeat("x", 63)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ModelClass(tt.model)
			if got != tt.want {
				t.Errorf("ModelClass(%q) = %q, want %q", tt.model, got, tt.want)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q is not UTF-8", got)
			}
			if n := testing.AllocsPerRun(100, func() { ModelClass(tt.model) }); n != 0 {
				t.Errorf("%v allocations, want 0", n)
			}
		})
	}
}
