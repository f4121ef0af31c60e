package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// Whatever is in a file or a flag, reading it ends, does not panic, and fails
// with errors that each have a known code and a place.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../examples/scenarios/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "rpm=60,models=opus-4", "overload 60% for 20s")
	}
	f.Add("timeline: [{at: 'it''s odd'}, {at: \"\\u00e4 b\"}, at, {at: }, {}]", "rpm", "")
	f.Add("timeline:\n - at: |\n    10s overload\n    for ever\n - at: >-\n    a\n    b", ",=", "\n")
	f.Add("limits: &a [*a]\n<<: {seed: 1}\n? {a: b}\n: c", "=", "\x00\xff")
	f.Add("answers: {spread: .nan, tokens: 1e3, first_token: 9999999h}", "models=[", "10s")
	f.Fuzz(func(t *testing.T, file, limit, story string) {
		_, err := parse("s.yaml", []byte(file), []Flag{{"limits", "limits", limit}, {"story", "timeline", story}})
		for _, e := range ekerr.All(err) {
			if _, ok := ekerr.Lookup(e.Code); !ok || e.What == "" || e.At == "" && !strings.Contains(e.What, "--") {
				t.Errorf("error without a known code, text or place: %+v", e)
			}
		}
	})
}
