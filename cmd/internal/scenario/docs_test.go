package scenario

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// manual is docs/sim.md.
func manual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/sim.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns what stands in the fences of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(manual(t), -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("docs/sim.md has no %s", language)
	}
	return all
}

// What the manual shows can be copied.
func TestManual_examplesAreRead(t *testing.T) {
	for _, file := range blocks(t, "yaml") {
		if _, err := parse("sim.md", []byte(file), nil); err != nil {
			t.Errorf("%v in\n%s", told(err), file)
		}
	}
	for _, story := range blocks(t, "story") {
		if _, err := sim.ParseStory(story); err != nil {
			t.Errorf("%v in\n%s", err, story)
		}
	}
}

// What can be said is in the manual: every failure, profile, metric and key.
func TestManual_isComplete(t *testing.T) {
	text := manual(t)
	names := slices.Concat(sim.Presets(), sim.Profiles())
	for _, kind := range sim.Kinds() {
		names = append(names, string(kind))
	}
	for _, m := range (sim.Report{}).Metrics() {
		names = append(names, m.Name)
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[` ]").MatchString(text) {
			t.Errorf("docs/sim.md does not tell of %s", name)
		}
	}
	r := newReader("", nil)
	var s Scenario
	keys := s.keys(r)
	for name, of := range map[string]map[string]take{
		"": keys, "answers": s.answers(r), "limits[]": r.limit(&sim.Limit{}).keys, "capacity[]": r.capacity(&sim.Capacity{}).keys,
	} {
		for key := range of {
			if !regexp.MustCompile(`\b` + key + `\b`).MatchString(text) {
				t.Errorf("docs/sim.md does not tell of %s.%s", name, key)
			}
		}
	}
	file := strings.Join(blocks(t, "yaml"), "\n")
	for key := range keys {
		if !regexp.MustCompile(`(?m)^` + key + `:`).MatchString(file) {
			t.Errorf("the scenario in docs/sim.md has no %s", key)
		}
	}
}
