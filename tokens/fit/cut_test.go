package fit_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

const white = " \n\t\r\v\f"

// checkPieces says what is wrong with the pieces of a text.
func checkPieces(tb testing.TB, text string, pieces []string) {
	tb.Helper()
	at := 0
	for _, p := range pieces {
		i := strings.Index(text[at:], p)
		if i < 0 {
			tb.Fatalf("%q is no part of %q after byte %d", p, text, at)
		}
		at += i + len(p)
		switch runes := utf8.RuneCountInString(p); {
		case !utf8.ValidString(p):
			tb.Errorf("%q is not UTF-8", p)
		case len(p) < 20:
			tb.Errorf("%q has %d bytes, want 20 or more", p, len(p))
		case len(p) > 160 && runes > 90:
			tb.Errorf("%q has %d bytes and %d runes, want 160 or less, or 90 or less", p, len(p), runes)
		case strings.TrimRight(p, white) != p:
			tb.Errorf("%q ends with white space", p)
		}
	}
}

func TestCut(t *testing.T) {
	words := strings.Repeat("ships have keels, boats have boards\n", 40)
	for _, tt := range []struct {
		reason, text string
		pieces       int // at least
		covered      int // per cent of the bytes, at least
	}{
		{"words", words, 15, 98},
		{"no white space, one byte a rune", strings.Repeat("ab12", 250), 6, 95},
		{"no white space, three bytes a rune", strings.Repeat("船の竜骨", 100), 4, 90},
		{"long words between spaces", strings.Repeat(strings.Repeat("船", 60)+" ", 20), 8, 98},
		{"indented deeper than a piece is long", strings.Repeat("\n"+strings.Repeat(" ", 400)+"x = function(argument)", 5), 5, 15},
		{"a whole text shorter than a piece may be", "too short", 0, 0},
		{"nothing but white space", strings.Repeat(" \n", 200), 0, 0},
		{"nothing", "", 0, 0},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			pieces := fit.Cut(tt.text)
			checkPieces(t, tt.text, pieces)
			if len(pieces) < tt.pieces {
				t.Errorf("%d pieces, want %d or more", len(pieces), tt.pieces)
			}
			if got := len(strings.Join(pieces, "")); got*100 < tt.covered*len(tt.text) {
				t.Errorf("the pieces have %d of %d bytes, want %d %%", got, len(tt.text), tt.covered)
			}
		})
	}
}

func TestCut_keepsWordsWhole(t *testing.T) {
	text := strings.Repeat("ships have keels, boats have boards\n", 40)
	words := strings.Fields(text)
	for _, p := range fit.Cut(text) {
		for word := range strings.FieldsSeq(p) {
			if !slices.Contains(words, word) {
				t.Errorf("%q of %q is a part of a word", word, p)
			}
		}
	}
}

func TestCut_leavesOutWhatNoJSONCarries(t *testing.T) {
	text := strings.Repeat("ships have keels and more ", 10) + "\xff\xfe\xfd broken " + strings.Repeat("boats have boards and less ", 10)
	pieces := fit.Cut(text)
	checkPieces(t, text, pieces)
	if all := strings.Join(pieces, ""); !strings.Contains(all, "keels") || !strings.Contains(all, "boards") {
		t.Errorf("what is before and after the broken bytes should be there: %q", all)
	}
}

func TestCut_lengthsVary(t *testing.T) {
	lengths := map[bool]int{}
	for _, x := range readCorpus(t).plain {
		for _, p := range fit.Cut(x.Text) {
			lengths[len(p) < 80]++
		}
	}
	if lengths[true]*3 < lengths[false] || lengths[false]*3 < lengths[true] {
		t.Errorf("%d pieces below 80 bytes and %d others: want a good number of both", lengths[true], lengths[false])
	}
}

func FuzzCut(f *testing.F) {
	f.Add("ships have keels, boats have boards\n\n    and rafts have neither")
	f.Add(strings.Repeat("船", 300) + " \xff")
	f.Add(strings.Repeat(" ", 500) + strings.Repeat("a", 500))
	f.Add("ab" + strings.Repeat(" ", 500) + "cd")
	f.Fuzz(func(t *testing.T, text string) {
		pieces := fit.Cut(text)
		checkPieces(t, text, pieces)
		if !slices.Equal(pieces, fit.Cut(text)) {
			t.Error("a second cut differs")
		}
	})
}

func TestChoose_coversEveryKind(t *testing.T) {
	c := readCorpus(t)
	all := map[string]int{}
	for _, p := range fit.Choose(c.plain, 1e6, 1) {
		all[p.Kind]++
	}
	some := map[string]int{}
	for _, p := range fit.Choose(c.plain, 1000, 1) {
		some[p.Kind]++
	}
	for kind, n := range all {
		switch got := some[kind]; {
		case n >= 10 && got == 0:
			t.Errorf("%d pieces of kind %q, and none among 1,000", n, kind)
		case got > 100:
			t.Errorf("%d of 1,000 pieces are of kind %q", got, kind)
		}
	}
	if len(all) < 40 {
		t.Errorf("%d kinds: %v", len(all), all)
	}
}

// With a larger budget nothing is asked twice, and the order of files does not
// matter, so that what was counted before an interruption is worth its cost.
func TestChoose_isNestedAndStable(t *testing.T) {
	c := readCorpus(t)
	many := fit.Choose(c.plain, 2000, 3)
	texts := slices.Clone(c.plain)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	if few := fit.Choose(texts, 500, 3); !slices.Equal(few, many[:500]) {
		t.Error("the first 500 of 2,000 are not those that are chosen for 500")
	}
	if other := fit.Choose(c.plain, 500, 4); slices.Equal(other, many[:500]) {
		t.Error("another seed draws the same lots")
	}
	seen := map[string]bool{}
	for _, p := range many {
		if seen[p.Text] {
			t.Errorf("%q was chosen twice", p.Text)
		}
		seen[p.Text] = true
	}
	if len(many) != 2000 {
		t.Errorf("%d pieces, want 2,000", len(many))
	}
	if got := fit.Choose(c.plain, 0, 1); len(got) != 0 {
		t.Errorf("a budget of 0 gave %d pieces", len(got))
	}
}
