package house

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// mayUse draws the arrows: a room may import the rooms listed for it, and no
// others. A room is a folder at the root, with all below it; "evenkeel" is the
// root itself. Tests may import what they like.
//
// Arrows point one way, from those who wire to those who decide to those who
// know facts; a new one needs a reason in the commit that draws it.
var mayUse = map[string][]string{
	// Facts and pure decisions: no clock, no HTTP of their own, no goroutine.
	"claude":      {},
	"backoff":     {},
	"tokens":      {}, // with tokens/fit, which makes its tables and knows no API
	"classify":    {"claude"},
	"retry":       {},
	"breaker":     {},
	"queue":       {},
	"concurrency": {},
	"limit":       {"claude"}, // headers, usage and model classes; how answers are judged it is told
	"stream":      {"claude"},
	"observe":     {"claude"},
	"assemble":    {"claude", "internal/rawjson"},
	"fallback":    {"claude", "internal/rawjson"},
	"resume":      {"claude", "internal/rawjson", "stream"}, // stream: what an event is

	// The one path.
	"call":     {"backoff", "breaker", "classify", "claude", "concurrency", "limit", "observe", "queue", "retry"}, // observe: the types of a snapshot
	"evenkeel": {"assemble", "backoff", "call", "classify", "claude", "fallback", "observe", "resume", "stream", "tokens"},

	// Those who stand in front of it.
	"gateway": {"call", "claude", "evenkeel", "observe", "stream"},
	"sdk":     {"evenkeel"},
	"fleet":   {"call", "classify", "claude", "limit", "observe"},
	"cmd":     {anyRoom},

	// The simulated API shares no code with what is tested against it: a
	// mistake made once must not agree with itself.
	"sim": {"claude"},

	"internal/house":   {},
	"internal/rawjson": {}, // editing JSON in place, for assemble, fallback and resume
	"proof":            {anyRoom},
}

// anyRoom stands for all rooms, in the two modules where everything is joined.
const anyRoom = "*"

// deciders are the rooms that package evenkeel must not import even if an
// arrow is drawn: its Transport performs what package call decides. A second
// place that decides would be one the simulations do not see.
var deciders = []string{"breaker", "concurrency", "limit", "queue", "retry"}

func TestArrows(t *testing.T) {
	report(t, undrawn(repository(t), mayUse))
}

// undrawn complains about imports without an arrow and arrows without a room.
func undrawn(files []file, mayUse map[string][]string) (complaints []string) {
	seen := map[string]bool{}
	for _, f := range files {
		if f.test() {
			continue
		}
		from := roomOf(f.dir())
		allowed, drawn := mayUse[from]
		if !drawn && !seen[from] {
			complaints = append(complaints, fmt.Sprintf(
				"room %s is not in mayUse (internal/house/arrows_test.go): add a line saying which rooms it may import", from))
		}
		seen[from] = true
		for _, imported := range f.imports {
			to, ok := roomOfImport(imported)
			switch {
			case !ok || to == from || !drawn:
			case from == "evenkeel" && slices.Contains(deciders, to):
				complaints = append(complaints, fmt.Sprintf(
					"%s imports %s: package evenkeel performs, package call decides; ask call for it", f.path, to))
			case !slices.Contains(allowed, to) && !slices.Contains(allowed, anyRoom):
				complaints = append(complaints, fmt.Sprintf(
					"%s imports %s: turn the arrow round, or draw it first: %q in the line %q of mayUse (internal/house/arrows_test.go)",
					f.path, to, to, from))
			}
		}
	}
	for _, room := range slices.Sorted(maps.Keys(mayUse)) {
		if !seen[room] {
			complaints = append(complaints, fmt.Sprintf("mayUse has a line for %s, which is no room: remove it", room))
		}
	}
	return complaints
}

// roomOf names the room that a folder, given from the root, belongs to.
func roomOf(dir string) string {
	first, rest, _ := strings.Cut(dir, "/")
	switch first {
	case ".":
		return "evenkeel"
	case "internal":
		second, _, _ := strings.Cut(rest, "/")
		return first + "/" + second
	}
	return first
}

// roomOfImport names the room of an import path, or reports that it is not ours.
func roomOfImport(imported string) (string, bool) {
	if imported == module {
		return "evenkeel", true
	}
	rel, ok := strings.CutPrefix(imported, module+"/")
	return roomOf(rel), ok
}

func TestArrows_bite(t *testing.T) {
	imports := func(pkg, path string) string { return "package " + pkg + "\nimport _ \"" + path + "\"\n" }
	drawn := map[string][]string{"evenkeel": {"call", "retry"}, "call": {"claude"}, "claude": {}, "cmd": {anyRoom}}
	good := map[string]string{
		"evenkeel.go":       imports("evenkeel", module+"/call"),
		"call/call.go":      imports("call", module+"/claude"),
		"call/call_test.go": imports("call", module),
		"call/a/a.go":       imports("a", module+"/call"),
		"claude/claude.go":  imports("claude", "net/http"),
		"cmd/x/main.go":     imports("main", module),
	}
	tests := []struct {
		reason, path, source string
		want                 []string
	}{
		{reason: "nothing but drawn arrows"},
		{"an arrow turned back", "claude/b.go", imports("claude", module+"/call"), []string{"claude/b.go imports call: turn"}},
		{"a room may not import the root without an arrow", "claude/b.go", imports("claude", module), []string{"claude/b.go imports evenkeel: turn"}},
		{"a folder in a room is bound as the room is", "claude/b/b.go", imports("b", module+"/call/a"), []string{"claude/b/b.go imports call: turn"}},
		{"the transport decides nothing, drawn or not", "transport.go", imports("evenkeel", module+"/retry"), []string{"package evenkeel performs"}},
		{"a new room", "attic/a.go", imports("attic", module+"/call"), []string{"room attic is not in mayUse"}},
		{"internal rooms are rooms of their own", "internal/a/a.go", imports("a", "os"), []string{"room internal/a is not in mayUse"}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			sources := maps.Clone(good)
			if tt.path != "" {
				sources[tt.path] = tt.source
			}
			wantComplaints(t, undrawn(madeUp(t, sources), drawn), tt.want...)
		})
	}
	t.Run("a room that is gone", func(t *testing.T) {
		drawn := maps.Clone(drawn)
		drawn["attic"] = nil
		wantComplaints(t, undrawn(madeUp(t, good), drawn), "attic, which is no room")
	})
}
