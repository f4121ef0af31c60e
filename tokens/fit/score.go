package fit

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
)

// Long is the length in bytes from which a text is long enough for a relative
// error to say something. In a shorter one a token more or less is several per
// cent, and every tokenizer is off by one at the ends.
const Long = 300

// Report is how far a table is off.
type Report struct {
	Long  Errors  `json:"long"`  // texts of 300 bytes and more
	Short Errors  `json:"short"` // the others: read both columns, neither alone is fair
	Bias  float64 `json:"bias"`  // (estimates − counts)/counts over all together: 0.01 is 1 % too many
}

// Errors are sizes of errors over some texts. All are 0 where there is no text.
type Errors struct {
	Texts    int    `json:"texts"`
	Relative Spread `json:"relative"` // |estimate − count|/count
	Tokens   Spread `json:"tokens"`   // |estimate − count|
}

// Spread is a distribution: half is no larger than Median, 95 of 100 no larger
// than P95.
type Spread struct {
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
}

// Score compares the estimates of a table with counts. Samples of one Source
// are taken together, as the text they come from: an error that its pieces
// make up for is none. A text without a token is left out.
func Score(t *Table, samples []Sample) Report {
	type text struct {
		bytes            int
		estimate, tokens float64
	}
	var texts []text
	at := map[string]int{}
	for _, s := range samples {
		i, known := at[s.Source]
		if !known || s.Source == "" {
			i = len(texts)
			texts = append(texts, text{})
			at[s.Source] = i
		}
		texts[i].bytes += len(s.Text)
		texts[i].estimate += t.Tokens(s.Text)
		texts[i].tokens += float64(s.Tokens)
	}
	var long, short errorList
	estimates, tokens := 0.0, 0.0
	for _, x := range texts {
		if x.tokens == 0 {
			continue
		}
		estimates += x.estimate
		tokens += x.tokens
		if x.bytes >= Long {
			long.add(x.estimate, x.tokens)
		} else {
			short.add(x.estimate, x.tokens)
		}
	}
	r := Report{Long: long.errors(), Short: short.errors()}
	if tokens > 0 {
		r.Bias = estimates/tokens - 1
	}
	return r
}

type errorList struct{ relative, tokens []float64 }

func (l *errorList) add(estimate, tokens float64) {
	off := math.Abs(estimate - tokens)
	l.relative = append(l.relative, off/tokens)
	l.tokens = append(l.tokens, off)
}

func (l *errorList) errors() Errors {
	return Errors{Texts: len(l.tokens), Relative: spread(l.relative), Tokens: spread(l.tokens)}
}

// spread takes the nearest rank: a value that has occurred, never one between.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	rank := func(percent int) float64 { return values[(len(values)*percent+99)/100-1] }
	return Spread{Median: rank(50), P95: rank(95), Max: rank(100)}
}

// Split keeps one in every n sources away from the fit, at least one if there
// are two. Samples of one source stay together, and one without a source is a
// source by itself: pieces of one text know too much of each other to judge
// each other. Which sources are kept depends on their names and the seed, or
// on the text where there is no name, not on the order of the samples. n below 2
// keeps nothing.
func Split(samples []Sample, n int, seed uint64) (fitted, kept []Sample) {
	name := func(s Sample) string { return cmp.Or(s.Source, s.Text) }
	type source struct {
		name string
		hash uint64
	}
	var sources []source
	seen := map[string]bool{}
	for _, s := range samples {
		if !seen[name(s)] {
			seen[name(s)] = true
			sources = append(sources, source{name(s), hash(seed, name(s))})
		}
	}
	slices.SortFunc(sources, func(a, b source) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name))
	})
	keep := map[string]bool{}
	if n >= 2 && len(sources) >= 2 {
		for _, s := range sources[:max(1, len(sources)/n)] {
			keep[s.name] = true
		}
	}
	for _, s := range samples {
		if keep[name(s)] {
			kept = append(kept, s)
		} else {
			fitted = append(fitted, s)
		}
	}
	return fitted, kept
}

// hash mixes a text with a seed. It is stable: which probes are asked and which
// texts are kept must not change from one run to the next.
func hash(seed uint64, text string) uint64 {
	f := fnv.New64a()
	_, _ = f.Write([]byte(text)) // never fails
	h := f.Sum64() ^ seed*0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd // the finalizer of MurmurHash3: FNV alone leaves alike names alike
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
