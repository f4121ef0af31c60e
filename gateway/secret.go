package gateway

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a credential. Printed, logged or marshalled, with any verb and in
// any format, it shows its last four characters at most, and none of a short
// one. The value itself is string(s).
type Secret string

// shown is how many characters of a Secret are printed, and longSecret how
// many it must have for that: four of a short one would be too much of it.
const (
	shown      = 4
	longSecret = 16
)

// String returns the end of s behind an ellipsis, or "" if s is empty.
func (s Secret) String() string {
	switch {
	case s == "":
		return ""
	case len(s) < longSecret:
		return "…"
	default:
		return "…" + string(s[len(s)-shown:])
	}
}

// GoString is String: %#v tells no more.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// Format is String for every verb: without it, %d would print the value in
// the message about the wrong verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // fmt.State keeps its own errors
}

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
