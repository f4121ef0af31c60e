package config

import (
	"testing"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// Whatever is in a file or a variable, loading it ends, does not panic, and
// fails with errors that each have a code and a place.
func FuzzLoad(f *testing.F) {
	f.Add(string(Example), "6", "v")
	f.Add("retry: {max_attemps: 3}", "[a, b]", "")
	f.Add("a: &a [*a]", "{", "${X}")
	f.Add("clients: [{name: ${X}}]\nlimits: {models: {? [x] : y}}", "clients", "x: y")
	f.Add("<<: {listen: x}", "!!binary aGk=", "\x00")
	f.Add("? {a: b}\n: c", "", "")
	f.Add("version: !!int \"1\"\nupstream: {url: 'http://[::1%25x]:99999'}", "\xff", "1")
	f.Fuzz(func(t *testing.T, file, attempts, x string) {
		env := []string{"EVENKEEL_RETRY_MAX_ATTEMPTS=" + attempts, "EVENKEEL_CLIENTS=" + attempts, "EVENKEEL_LISTEN=" + x, "X=" + x}
		r, err := resolve(Sources{File: "f.yaml", Env: env}, []byte(file))
		if r == nil {
			t.Fatal("no configuration")
		}
		if err != nil {
			for _, e := range ekerr.All(err) {
				if _, ok := ekerr.Lookup(e.Code); !ok || e.What == "" {
					t.Errorf("error without a known code or text: %+v", e)
				}
			}
			return
		}
		if _, err := r.YAML(true); err != nil {
			t.Errorf("what was loaded cannot be shown: %v", err)
		}
	})
}
