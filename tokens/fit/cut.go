package fit

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Lengths of pieces. Short ones tell single weights apart, long ones have less
// of the errors at their ends; with 20 to 160 bytes a table needed the fewest
// counts in the study this follows.
const (
	shortest   = 20  // bytes
	longest    = 160 // bytes
	solidRunes = 90  // runes of a piece where there is no white space to cut at
	mostSpace  = 64  // bytes of white space that a piece may begin with
)

// A Text is what pieces are cut from.
type Text struct {
	Text   string
	Kind   string // what kind of text it is, such as "go" or "md"; "" is a kind, too
	Source string // passed on to the pieces
}

// A Piece is a part of a Text that is worth counting.
type Piece struct {
	Text   string
	Kind   string // the Text's, and what the piece itself looks like
	Source string
}

// Cut cuts a text into pieces of 20 to 160 bytes. A piece begins with white
// space, if it is not the first, and never ends with any: words stay whole and
// keep the space before them, as tokenizers want it, and an upstream that does
// not count white space at the end of a message counts all of the piece. Where
// 160 bytes have no white space a piece has up to 90 runes. What is left over at
// the end and is shorter than 20 bytes is dropped, and so are pieces that are
// not UTF-8, which no JSON carries, and pieces of white space.
//
// Lengths vary, and are the same at every run.
func Cut(text string) []string {
	var pieces []string
	for n := uint64(0); text != ""; n++ {
		text = lessSpace(text)
		want := shortest + int(hash(n, text[:min(len(text), shortest)])%(longest-shortest+1))
		end := pieceEnd(text, want)
		piece := text[:end]
		text = text[end:]
		if len(piece) >= shortest && utf8.ValidString(piece) {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

// lessSpace takes white space away from the beginning until no more than
// mostSpace are left, and all of it if nothing follows.
func lessSpace(text string) string {
	spaces := len(text) - len(strings.TrimLeft(text, asciiSpace))
	if spaces == len(text) {
		return ""
	}
	return text[max(0, spaces-mostSpace):]
}

// asciiSpace is what pieces are cut at. Other white space is letters to a
// tokenizer that works on bytes.
const asciiSpace = " \n\t\r\v\f"

func isSpace(b byte) bool { return strings.IndexByte(asciiSpace, b) >= 0 }

// pieceEnd returns where a piece that begins with text ends: before the last
// white space within want bytes, else before the next, but where that is far
// after solidRunes runes, if these have the longest length.
func pieceEnd(text string, want int) int {
	last, runes := 0, 0
	for at, r := range text {
		if at > want && last > 0 {
			return last
		}
		if at+utf8.RuneLen(r) > longest && runes >= solidRunes {
			return len(strings.TrimRight(text[:at], asciiSpace))
		}
		if at >= shortest && isSpace(text[at]) && !isSpace(text[at-1]) {
			if at >= want {
				return at
			}
			last = at
		}
		runes++
	}
	return len(strings.TrimRight(text, asciiSpace))
}

// Choose cuts the texts and returns the n pieces that are most worth counting,
// the most worthy first, or all if there are no more. None is there twice.
//
// Pieces are sorted into kinds: the kind of their text, and whether they are
// words, code, digits, capitals, one long word, or which script they are in.
// Of a kind with four times the pieces twice as many are taken, so that none is
// forgotten and none drowns the others; within a kind it is drawn lots, by the
// seed. The first m of n are those that Choose would return for m, whatever the
// order of the texts: with a larger budget only the rest has to be counted.
func Choose(texts []Text, n int, seed uint64) []Piece {
	kinds := map[string][]ranked{}
	seen := map[string]bool{}
	for _, t := range texts {
		for _, p := range Cut(t.Text) {
			if seen[p] {
				continue
			}
			seen[p] = true
			kind := t.Kind + "/" + looks(p)
			kinds[kind] = append(kinds[kind], ranked{Piece: Piece{p, kind, t.Source}, lot: hash(seed, p)})
		}
	}
	var all []ranked
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		pieces := kinds[kind]
		slices.SortFunc(pieces, func(a, b ranked) int {
			return cmp.Or(cmp.Compare(a.lot, b.lot), cmp.Compare(a.Text, b.Text))
		})
		for i := range pieces {
			pieces[i].rank = (float64(i) + 0.5) / math.Sqrt(float64(len(pieces)))
		}
		all = append(all, pieces...)
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	all = all[:max(0, min(n, len(all)))]
	chosen := make([]Piece, len(all))
	for i, r := range all {
		chosen[i] = r.Piece
	}
	return chosen
}

type ranked struct {
	Piece
	lot  uint64
	rank float64
}

// looks says what a piece looks like. The shares are guesses: what matters is
// that pieces that tokenizers treat unlike are mostly apart.
func looks(piece string) string {
	var spaces, digits, capitals, letters, marks, other int
	scripts := map[rune]int{}
	for _, r := range piece {
		switch {
		case r >= utf8.RuneSelf:
			other++
			scripts[script(r)]++
		case isSpace(byte(r)):
			spaces++
		case '0' <= r && r <= '9':
			digits++
		case 'A' <= r && r <= 'Z':
			capitals++
			letters++
		case 'a' <= r && r <= 'z':
			letters++
		default:
			marks++
		}
	}
	all := utf8.RuneCountInString(piece)
	switch {
	case other*3 >= all:
		return "script " + mostFrequent(scripts)
	case spaces == 0:
		return "solid"
	case digits*4 >= all:
		return "digits"
	case capitals*3 >= letters && letters*3 >= all:
		return "capitals"
	case spaces*3 >= all:
		return "layout"
	case marks*6 >= all:
		return "marks"
	case other*30 >= all:
		return "accents"
	}
	return "words"
}

// script returns the first rune of the block that r is in: most scripts of
// Unicode keep to blocks of 128, Han, Hangul and what lies beyond 16 bits have
// large ones.
func script(r rune) rune {
	switch {
	case r >= 0x10000:
		return 0x10000
	case r >= 0xac00 && r < 0xd800:
		return 0xac00
	case r >= 0x3400 && r < 0xa000:
		return 0x4e00
	}
	return r &^ 0x7f
}

// mostFrequent returns the most frequent script, the first of equals.
func mostFrequent(scripts map[rune]int) string {
	best := rune(0)
	for _, s := range slices.Sorted(maps.Keys(scripts)) {
		if scripts[s] > scripts[best] {
			best = s
		}
	}
	return string(best)
}
