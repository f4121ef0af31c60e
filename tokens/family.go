package tokens

import (
	"slices"
	"strings"
)

// Family is a tokenizer that Claude models share.
type Family uint8

// The families, in order of time; the last one is taken for models that are
// not known.
const (
	Claude3  Family = iota // Claude 3 up to Opus 4.6, Sonnet 4.6 and Haiku 4.5
	Claude47               // Claude 4.7 and later

	families = iota
	newest   = Claude47
)

// String names the family as its table is named.
func (f Family) String() string {
	if f == Claude3 {
		return "claude3"
	}
	return "claude47"
}

// FamilyOf tells which tokenizer a model uses; known is false if that is a
// guess, because the id is not understood or its version is newer than any
// that the table was measured for. It takes ids as the API, Bedrock and Vertex
// write them.
func FamilyOf(model string) (f Family, known bool) {
	return parse(model).family()
}

// version is what an id tells about a model.
type version struct {
	line   string // opus, sonnet, haiku, …; or "" if the id is not understood
	number int    // 100·major + minor: 405 for 4.5; 0 if it has none
}

// lines are the lines of models whose names are understood.
var lines = [...]string{"opus", "sonnet", "haiku", "fable", "mythos", "instant"}

// latest is the newest version that the newest table was measured for
// (tables/README.md; “Models”, platform.claude.com, 2026-11-09).
const latest = 505

// parse reads ids such as claude-opus-4-5-20251101, claude-3-5-haiku-20241022,
// us.anthropic.claude-sonnet-4-20250514-v1:0 and claude-opus-4-1@20250805. It
// does not allocate.
func parse(model string) (v version) {
	_, rest, ok := strings.Cut(model, "claude-")
	if !ok {
		return version{}
	}
	var numbers [2]int
	n := 0
	for part := range strings.FieldsFuncSeq(rest, isSeparator) {
		number, ok := small(part)
		switch {
		case ok && n < len(numbers):
			numbers[n] = number
			n++
		case isLine(part):
			v.line = part
		case n > 0: // a date or a suffix
			n = len(numbers)
		}
	}
	v.number = 100*numbers[0] + numbers[1]
	return v
}

// isSeparator tells whether r stands between the parts of an id.
func isSeparator(r rune) bool { return r == '-' || r == '@' || r == '.' || r == ':' }

// isLine tells whether a part of an id is the name of a line.
func isLine(part string) bool {
	return slices.Contains(lines[:], part)
}

// small reads a number of one or two digits; a longer one is a date.
func small(part string) (number int, ok bool) {
	if len(part) > 2 {
		return 0, false
	}
	for _, c := range []byte(part) {
		if c < '0' || c > '9' {
			return 0, false
		}
		number = 10*number + int(c-'0')
	}
	return number, true
}

// family is the tokenizer of the version.
func (v version) family() (f Family, known bool) {
	switch {
	case v.number == 0:
		return newest, false
	case v.number < 300:
		return Claude3, false // Claude 2 and Instant: another tokenizer, 10 % off
	case v.line == "":
		return newest, false
	case v.number < 407:
		return Claude3, true
	}
	return Claude47, v.number <= latest
}
