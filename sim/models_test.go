package sim_test

import (
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

type modelView struct {
	ID, Lifecycle string
	Line          *string
	Retires       *string `json:"retires_at"`
	MaxInput      int     `json:"max_input_tokens"`
	MaxOutput     int     `json:"max_tokens"`
	Capabilities  struct {
		Thinking struct {
			Types map[string]struct{ Supported bool }
		}
	}
}

func TestModels(t *testing.T) {
	u := inBubble(t, sim.New(sim.Config{Forbidden: []string{"claude-mythos-*"}}))
	list := func(query string) (ids string) {
		var page struct{ Data []modelView }
		u.read(call{method: "GET", path: "/v1/models" + query}, &page)
		for _, m := range page.Data {
			ids += strings.TrimPrefix(m.ID, "claude-") + " "
		}
		return ids
	}
	if got := list("?limit=1000"); !strings.HasPrefix(got, "fable-5-2 opus-5-5 ") || !strings.HasSuffix(got, "sonnet-4-5-20250929 ") ||
		strings.Contains(got, "opus-4-5 ") || strings.Contains(got, "mythos") {
		t.Errorf("listed %s; want the newest first, no alias, none that is forbidden", got)
	}
	if got := list("?lifecycle[]=deprecated&lifecycle[]=retired"); got != "sonnet-4-5-20250929 " {
		t.Errorf("deprecated are %s", got)
	}
	for _, c := range []struct {
		id, is, line, lifecycle string
		input, output           int
		disabled                bool // thinking can be
	}{
		{"claude-opus-5-5", "claude-opus-5-5", "opus", "active", 1_000_000, 128_000, false},
		{"claude-haiku-4-5", "claude-haiku-4-5-20251001", "haiku", "active", 200_000, 64_000, true},
		{"claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "sonnet", "deprecated", 200_000, 64_000, true},
	} {
		var m modelView
		u.read(call{method: "GET", path: "/v1/models/" + c.id}, &m)
		if m.ID != c.is || m.Line == nil || *m.Line != c.line || m.Lifecycle != c.lifecycle || m.MaxInput != c.input ||
			m.MaxOutput != c.output || m.Capabilities.Thinking.Types["disabled"].Supported != c.disabled ||
			(m.Retires != nil) != (c.lifecycle == "deprecated") {
			t.Errorf("%s is %+v", c.id, m)
		}
	}
	for path, want := range map[string]int{"/claude-7": 404, "/claude-mythos-5": 403, "?lifecycle=old": 400} {
		if got := u.status("GET", "/v1/models"+path); got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}
