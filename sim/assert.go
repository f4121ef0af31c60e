package sim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An Assertion is what must hold of a [Report], such as amplification<1.3.
type Assertion struct {
	Metric string  // a name of [Report.Metrics]
	Op     string  // < <= > >= == or !=
	Want   float64 // shares from 0 to 1, times in seconds
}

// operators are tried in this order, so that <= is not taken for <.
var operators = []string{"<=", ">=", "==", "!=", "<", ">"}

// An AssertionError says where the text of an assertion is wrong.
type AssertionError struct {
	Column     int    // in bytes, the first is 1
	Problem    string // what is wrong
	Suggestion string // the word that was probably meant; or ""
}

// Error implements [error].
func (e *AssertionError) Error() string {
	text := fmt.Sprintf("column %d: %s", e.Column, e.Problem)
	if e.Suggestion != "" {
		text += fmt.Sprintf(": did you mean %q?", e.Suggestion)
	}
	return text
}

// ParseAssertion reads a metric, an operator and a number, with blanks between
// them or not. A number with a percent sign is a hundredth: limit_hits<0.5%.
// The error is an [*AssertionError].
func ParseAssertion(text string) (Assertion, error) {
	at := strings.IndexAny(text, "<>=!")
	if at < 0 {
		return Assertion{}, &AssertionError{len(text) + 1, "an operator is missing, want one of " + strings.Join(operators, " "), ""}
	}
	a := Assertion{Metric: strings.TrimSpace(text[:at])}
	for _, op := range operators {
		if strings.HasPrefix(text[at:], op) {
			a.Op = op
			break
		}
	}
	if a.Op == "" {
		return Assertion{}, &AssertionError{at + 1, "no operator, want one of " + strings.Join(operators, " "), map[byte]string{'=': "==", '!': "!="}[text[at]]}
	}
	if err := knownMetric(text, a.Metric); err != nil {
		return Assertion{}, err
	}
	rest := text[at+len(a.Op):]
	number, isPercent := strings.CutSuffix(strings.TrimSpace(rest), "%")
	want, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(want) || math.IsInf(want, 0) {
		blanks := len(rest) - len(strings.TrimLeft(rest, " \t"))
		return Assertion{}, &AssertionError{at + len(a.Op) + blanks + 1, fmt.Sprintf("%q is no number", strings.TrimSpace(rest)), ""}
	}
	if isPercent {
		want /= 100
	}
	a.Want = want
	return a, nil
}

// String returns the assertion as [ParseAssertion] reads it.
func (a Assertion) String() string {
	return a.Metric + a.Op + strconv.FormatFloat(a.Want, 'g', -1, 64)
}

// Check returns nil if the assertion holds of r, else an error that names what
// is and what should be. What was not observed fails every assertion: a run
// without a retry proves nothing about retries.
func (a Assertion) Check(r Report) error {
	for _, m := range r.Metrics() {
		if m.Name != a.Metric {
			continue
		}
		want := a.Op + " " + m.unit.format(a.Want)
		if !m.Observed {
			return fmt.Errorf("%s was not observed, want %s: %s", m.Name, want, m.Doc)
		}
		if !holds(m.Value, a.Op, a.Want) {
			return fmt.Errorf("%s is %s, want %s", m.Name, m.exact(a.Want), want)
		}
		return nil
	}
	return knownMetric(a.Metric, a.Metric)
}

// exact returns the value with as many digits as it takes to tell it from
// another one.
func (m Metric) exact(other float64) string {
	if text := m.String(); m.Value == other || text != m.unit.format(other) {
		return text
	}
	return strconv.FormatFloat(m.Value, 'g', -1, 64)
}

func holds(got float64, op string, want float64) bool {
	switch op {
	case "<":
		return got < want
	case "<=":
		return got <= want
	case ">":
		return got > want
	case ">=":
		return got >= want
	case "==":
		return got == want
	}
	return got != want
}

// knownMetric returns an error if there is no metric of that name, which
// stands in text.
func knownMetric(text, name string) error {
	names := []string{}
	for _, m := range (Report{}).Metrics() {
		names = append(names, m.Name)
	}
	column := 1 + len(text) - len(strings.TrimLeft(text, " \t"))
	switch {
	case slices.Contains(names, name):
		return nil
	case name == "":
		return &AssertionError{column, "a metric is missing, want one of " + strings.Join(names, ", "), ""}
	}
	near := slices.MinFunc(names, func(a, b string) int { return slips(name, a) - slips(name, b) })
	if slips(name, near) > max(2, len(near)/3) {
		return &AssertionError{column, fmt.Sprintf("unknown metric %q, want one of %s", name, strings.Join(names, ", ")), ""}
	}
	return &AssertionError{column, fmt.Sprintf("unknown metric %q", name), near}
}

// slips is how many bytes must be put in, taken out or replaced to make b of
// a (Levenshtein's distance). Words of more than 64 bytes are far from all.
func slips(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
