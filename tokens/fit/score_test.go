package fit_test

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// oneEach is a table by which every byte is a token.
func oneEach() *fit.Table {
	t := new(fit.Table)
	for i := range t {
		t[i] = fit.Unit
	}
	return t
}

func TestScore(t *testing.T) {
	text := strings.Repeat("x", 400)
	var samples []fit.Sample
	for i := range 20 { // off by 0 to 19 tokens of 400
		samples = append(samples, fit.Sample{Text: text, Tokens: 400 - i})
	}
	samples = append(samples,
		fit.Sample{Text: "four", Tokens: 2},
		fit.Sample{Text: strings.Repeat("y", 200), Tokens: 100, Source: "in two parts"},
		fit.Sample{Text: strings.Repeat("y", 200), Tokens: 300, Source: "in two parts"},
		fit.Sample{Text: "no tokens", Tokens: 0})
	r := fit.Score(oneEach(), samples)
	if got, want := r.Long.Texts, 21; got != want {
		t.Errorf("%d long texts, want %d: parts of one text are that text", got, want)
	}
	// Sorted: twice 0 (one of them the parts that make up for each other), then 1 … 19.
	if got, want := r.Long.Tokens, (fit.Spread{Median: 9, P95: 18, Max: 19}); got != want {
		t.Errorf("tokens %+v, want %+v", got, want)
	}
	if got, want := r.Long.Relative.Max, 19.0/381; math.Abs(got-want) > 1e-9 {
		t.Errorf("largest relative error %v, want %v", got, want)
	}
	if got, want := r.Short, (fit.Errors{Texts: 1, Relative: fit.Spread{Median: 1, P95: 1, Max: 1}, Tokens: fit.Spread{Median: 2, P95: 2, Max: 2}}); got != want {
		t.Errorf("short %+v, want %+v", got, want)
	}
	if got, want := r.Bias, 8404.0/8212-1; math.Abs(got-want) > 1e-9 {
		t.Errorf("bias %v, want %v", got, want)
	}
	if got := fit.Score(oneEach(), nil); got != (fit.Report{}) {
		t.Errorf("no samples: %+v, want zeros", got)
	}
}

func TestSplit(t *testing.T) {
	var samples []fit.Sample
	for i := range 200 {
		source := ""
		if i%2 == 0 {
			source = "text " + strconv.Itoa(i%40)
		}
		samples = append(samples, fit.Sample{Text: strconv.Itoa(i), Tokens: 1, Source: source})
	}
	fitted, kept := fit.Split(samples, 10, 7)
	if len(fitted)+len(kept) != len(samples) {
		t.Errorf("%d and %d samples of %d", len(fitted), len(kept), len(samples))
	}
	sources := map[string]bool{}
	for _, s := range kept {
		sources[cmp.Or(s.Source, s.Text)] = true
		if s.Source != "" && slices.ContainsFunc(fitted, func(f fit.Sample) bool { return f.Source == s.Source }) {
			t.Errorf("samples of %q are on both sides", s.Source)
		}
	}
	if got, want := len(sources), 12; got != want { // of 100 that stand alone and 20 others
		t.Errorf("%d sources are kept, want %d", got, want)
	}

	turned := slices.Clone(samples)
	slices.Reverse(turned)
	_, again := fit.Split(turned, 10, 7)
	slices.Reverse(again)
	if !slices.Equal(kept, again) {
		t.Error("what is kept depends on the order of the samples")
	}
	for _, tt := range []struct {
		reason  string
		samples []fit.Sample
		n, want int
	}{
		{"one source cannot judge itself", samples[:1], 10, 0},
		{"two sources: one for each side", samples[:2], 10, 1},
		{"nothing is to be kept", samples, 0, 0},
		{"none", nil, 10, 0},
	} {
		if _, kept := fit.Split(tt.samples, tt.n, 1); len(kept) != tt.want {
			t.Errorf("%s: %d kept, want %d", tt.reason, len(kept), tt.want)
		}
	}
}
