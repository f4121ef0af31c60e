package scenario

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// account is a key, and whose it is.
type account struct{ key, organization, workspace string }

// accounts reads the keys that are accepted. A limit that names an
// organisation or a workspace is about them.
func (s *Scenario) accounts(r *reader) take {
	return func(n *yaml.Node, path string) {
		var all []account
		list(r, &all, func(a *account) entry {
			return entry{
				keys: map[string]take{"key": r.text(&a.key), "organization": r.text(&a.organization), "workspace": r.text(&a.workspace)},
				check: func(n *yaml.Node, path string) {
					switch {
					case a.key == "":
						r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s has no key", path).Hint("key: sk-test-1"))
					case slices.ContainsFunc(all, func(b account) bool { return a.key == b.key }):
						r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s has a key that is in the list already", path).Hint("a key belongs to one workspace"))
					}
				},
			}
		})(n, path)
		s.enroll(all)
	}
}

// enroll makes the API know the keys. One without an organisation has its own.
func (s *Scenario) enroll(all []account) {
	byKey := map[string]account{}
	for i, a := range all {
		if a.organization == "" {
			a.organization = fmt.Sprintf("org-%d", i+1)
		}
		s.Keys = append(s.Keys, a.key)
		byKey[a.key] = a
	}
	if len(all) > 0 {
		s.Organization = func(key string) string { return byKey[key].organization }
		s.Workspace = func(key string) string { return byKey[key].workspace }
	}
}
