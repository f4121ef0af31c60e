package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// A Rule is a Fault and when it strikes. Rules are asked in order for each
// attempt; the first that strikes is used.
type Rule struct {
	// Name is what it can be replaced and removed by; see [API.SetFault]. It
	// has up to 64 letters, digits, dots, dashes and underscores, or is empty.
	Name string `json:"name,omitempty"`

	Fault

	// Rate is the share of the matching attempts that fail, from 0 to 1.
	// Which ones is drawn from Config.Seed and the number of the attempt. A
	// rule without a rate never strikes; in JSON, a missing rate means 1.
	Rate float64 `json:"rate"`

	// Models is a glob as of [path.Match] on the id, or a class such as
	// opus-4; empty matches all, and requests that name no model. A refused
	// connection knows no model: for Refuse it is not looked at.
	Models string `json:"models,omitempty"`

	// Path is the class it is limited to, as [claude.Path.String] prints it;
	// empty matches all.
	Path string `json:"path,omitempty"`

	// Organization is a glob on the organisation of the attempt's key; empty
	// matches all.
	Organization string `json:"organization,omitempty"`

	// Times is how many attempts it strikes at most; 0 is no end. An answer
	// that was too short to be struck does not count.
	Times int `json:"times,omitempty"`

	// From and Until bound it in time, counted from when the rule was set;
	// an Until of 0 is no end. If Every is set, both count anew from each of
	// its multiples. In JSON they are strings such as "30s".
	From, Until, Every time.Duration `json:"-"`
}

// Bounds beyond which a rule is taken for a mistake. All are guesses.
const (
	longest     = 365 * 24 * time.Hour
	mostEvents  = 1_000_000_000
	largestSize = 64 << 20 // of a HugeEvent, in bytes; twice what the Go SDK reads as one line
	largestSlow = 1e6
)

var ruleName = regexp.MustCompile(`^[A-Za-z0-9._-]{0,64}$`)

// paths are the values of Rule.Path.
var paths = []string{"messages", "count_tokens", "batches", "other", pathBatchItems}

// Validate reports every mistake in the rule, as one error each, joined.
func (r Rule) Validate() error {
	v := mistakes{}
	v.fault(r.filled())
	if !ruleName.MatchString(r.Name) {
		v.add("name is %q, want up to 64 of A-Z a-z 0-9 . _ -", r.Name)
	}
	if !(r.Rate >= 0 && r.Rate <= 1) {
		v.add("rate is %v, want 0 to 1", r.Rate)
	}
	if _, err := path.Match(r.Models, ""); err != nil {
		v.add("models is %q: %w", r.Models, err)
	}
	if _, err := path.Match(r.Organization, ""); err != nil {
		v.add("organization is %q: %w", r.Organization, err)
	}
	if r.Path != "" && !slices.Contains(paths, r.Path) {
		v.suggest(r.Path, paths, "path is %q, want one of %s", r.Path, strings.Join(paths, ", "))
	}
	if kind := r.filled().Kind; (r.Path == pathBatchItems) != (kind == Expire) && kind != Status {
		v.add("path is %q with kind %s: %s takes the kinds %s and %s, and %s no other path", r.Path, kind, pathBatchItems, Status, Expire, Expire)
	}
	if r.Times < 0 || r.Times > mostEvents {
		v.add("times is %d, want 0 to %d", r.Times, mostEvents)
	}
	v.times(r)
	return errors.Join(v...)
}

// mistakes are what is wrong with a rule.
type mistakes []error

func (m *mistakes) add(format string, args ...any) { *m = append(*m, fmt.Errorf(format, args...)) }

// suggest adds a mistake about a word that may have been another one.
func (m *mistakes) suggest(word string, known []string, format string, args ...any) {
	*m = append(*m, &StoryError{Problem: fmt.Sprintf(format, args...), Suggestion: nearest(word, known)})
}

func (m *mistakes) fault(f Fault) {
	if !f.Kind.isKnown() {
		m.suggest(string(f.Kind), kindNames(), "kind is %q, want one of %s", f.Kind, strings.Join(kindNames(), ", "))
		return
	}
	for _, name := range (f.given() &^ f.Kind.traits()).names() {
		m.add("%s has no %s", f.Kind, name)
	}
	if f.isError() && (f.Status < 200 || f.Status > 999) || f.Status < 0 {
		m.add("status is %d, want 200 to 999", f.Status)
	}
	if f.Events < 0 || f.Bytes < 0 || f.Events > 0 && f.Bytes > 0 {
		m.add("events is %d and bytes is %d, want one of them, and not negative", f.Events, f.Bytes)
	}
	if f.Events > mostEvents {
		m.add("events is %d, want %d at most", f.Events, mostEvents)
	}
	if f.Size < 0 || f.Size > largestSize {
		m.add("size is %d, want 0 to %d", f.Size, largestSize)
	}
	m.factor(f)
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(f.Header)) {
		lower := strings.ToLower(name)
		switch {
		case !isHeader(name, f.Header[name]):
			m.add("header %q cannot be sent", name)
		case seen[lower]:
			m.add("header %q is there twice", name)
		}
		seen[lower] = true
	}
}

func (m *mistakes) factor(f Fault) {
	switch f.Kind {
	case Slots, Others:
		if !(f.Factor >= 0 && f.Factor <= 1) {
			m.add("factor of %s is %v, want 0 to 1", f.Kind, f.Factor)
		}
	case Slowdown:
		if !(f.Factor > 0 && f.Factor <= largestSlow) {
			m.add("factor of %s is %v, want more than 0, and at most %v", f.Kind, f.Factor, largestSlow)
		}
	}
}

func (m *mistakes) times(r Rule) {
	for _, d := range []struct {
		name string
		time time.Duration
	}{{"after", r.After}, {"pace", r.Pace}, {"from", r.From}, {"until", r.Until}, {"every", r.Every}} {
		if d.time < 0 || d.time > longest {
			m.add("%s is %v, want 0s to %v", d.name, d.time, longest)
		}
	}
	if r.Until > 0 && r.Until <= r.From {
		m.add("until is %v, want later than from (%v)", r.Until, r.From)
	}
	if r.Every > 0 && (r.From >= r.Every || r.Until > r.Every) {
		m.add("every is %v, want from (%v) and until (%v) within it", r.Every, r.From, r.Until)
	}
}

// isHeader reports whether net/http can send a header.
func isHeader(name, value string) bool {
	if name == "" {
		return false
	}
	for _, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) || c >= 0x80 {
			return false
		}
	}
	for _, c := range []byte(value) {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func kindNames() []string {
	var out []string
	for _, kind := range Kinds() {
		out = append(out, string(kind))
	}
	return out
}

// covers reports whether the rule is about an attempt, rate aside.
func (r Rule) covers(since time.Duration, class claude.Path, model, organization string) bool {
	if r.Path != "" && r.Path != class.String() || r.Kind == Expire {
		return false
	}
	return r.holds(since, model, organization)
}

// holds reports whether the rule is in force at a time for a model and an
// organisation, whatever the path.
func (r Rule) holds(since time.Duration, model, organization string) bool {
	if r.Every > 0 {
		since %= r.Every
	}
	if since < r.From || r.Until > 0 && since >= r.Until {
		return false
	}
	return (r.Kind == Refuse || covers(r.Models, model)) && covers(r.Organization, organization)
}

// ruleTimes are the durations of a Rule as they stand in JSON.
type ruleTimes struct {
	After string `json:"after,omitempty"`
	Pace  string `json:"pace,omitempty"`
	From  string `json:"from,omitempty"`
	Until string `json:"until,omitempty"`
	Every string `json:"every,omitempty"`
}

// plainRule is a Rule without its methods.
type plainRule Rule

// MarshalJSON implements [json.Marshaler].
func (r Rule) MarshalJSON() ([]byte, error) {
	text := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	return json.Marshal(struct {
		plainRule
		ruleTimes
	}{plainRule(r), ruleTimes{text(r.After), text(r.Pace), text(r.From), text(r.Until), text(r.Every)}})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Rule) UnmarshalJSON(data []byte) error {
	in := struct {
		plainRule
		ruleTimes
	}{plainRule: plainRule{Rate: 1}}
	if err := unmarshalStrict(data, &in); err != nil {
		return err
	}
	*r = Rule(in.plainRule)
	for _, t := range []struct {
		name, text string
		d          *time.Duration
	}{
		{"after", in.ruleTimes.After, &r.After},
		{"pace", in.ruleTimes.Pace, &r.Pace},
		{"from", in.ruleTimes.From, &r.From},
		{"until", in.ruleTimes.Until, &r.Until},
		{"every", in.ruleTimes.Every, &r.Every},
	} {
		if t.text == "" {
			continue
		}
		d, err := time.ParseDuration(t.text)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		*t.d = d
	}
	return nil
}
