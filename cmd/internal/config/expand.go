package config

import (
	"regexp"
	"strings"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

var reference = regexp.MustCompile(`\$\$\{|\$\{[^}]*\}?`)

var referenceParts = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}$`)

// expand replaces ${VAR} and ${VAR:-default} in text. The default stands in for
// a variable that is unset or empty, as in a shell; a variable without one must
// be set. $${ is a literal ${. What comes out is a value and never YAML, so a
// variable cannot add keys.
func expand(text string, lookup func(string) (string, bool)) (string, *ekerr.Error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var failed *ekerr.Error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$${" {
			return "${"
		}
		m := referenceParts.FindStringSubmatch(ref)
		if m == nil {
			failed = ekerr.New(ekerr.ConfigEnv, "%q is no reference to a variable", clip(ref)).
				Hint("write ${VAR} or ${VAR:-default}").Hint("write $${ for a literal ${")
			return ""
		}
		name, hasDefault, fallback := m[1], m[2] != "", m[3]
		value, ok := lookup(name)
		switch {
		case value != "":
			return value
		case hasDefault:
			return fallback
		case !ok:
			failed = ekerr.New(ekerr.ConfigEnv, "${%s} is not set", name).
				Hint("set %s", name).Hint("or write ${%s:-} to leave it empty", name)
		}
		return ""
	})
	return out, failed
}
