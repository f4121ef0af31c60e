package resume

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What counts as a repetition at the seam. All are guesses.
const (
	window = 512 // bytes of the text delivered that are looked at, and the most that is held

	// Characters that must be the same. A model that was asked to go on may
	// begin with the last word or two; one that goes on from a prefill hardly
	// does, and may well write a word twice on purpose.
	leastAsked   = 6
	leastPrefill = 24
)

// seam joins the beginning of a continuation to the text that was delivered.
// It holds what comes until it can tell
//
//  1. how much of it repeats the end of what was delivered, and
//  2. what is to become of the white space between the two.
//
// Mostly both are clear with the first delta.
type seam struct {
	tail    string // the end of what was delivered, without the space after it
	cut     bool   // the tail begins in the middle of the text
	space   string // white space at its very end
	prefill bool   // the continuation begins where the tail ends, not the space
	words   bool   // deltas ended where words did, as far as was seen

	anchored bool // a repetition was found: what follows it follows the tail
}

func (t *Transcript) seam() seam {
	text := t.delivered()
	tail := trim(text)
	s := seam{space: text[len(tail):], prefill: t.prefill, words: t.borders.split <= t.borders.spaced}
	if from := len(tail) - window; from > 0 {
		for !utf8.RuneStart(tail[from]) {
			from++
		}
		tail, s.cut = tail[from:], true
	}
	s.tail = tail
	return s
}

// join takes all text of the continuation so far. It returns what of it to
// deliver, and false if that takes more to tell; at the end it always can.
func (s *seam) join(text string, atEnd bool) (string, bool) {
	atEnd = atEnd || len(text) > window // what is held has an end, too
	if strings.HasSuffix(text, "\uFFFD") && !atEnd {
		return "", false // perhaps half a character
	}
	bare := strings.TrimLeftFunc(text, unicode.IsSpace)
	if bare == "" && !atEnd {
		return "", false
	}
	repeated, sure := s.repeated(bare, atEnd)
	if !sure {
		return "", false
	}
	if repeated > 0 {
		s.anchored = true
		text = bare[repeated:]
		if bare = strings.TrimLeftFunc(text, unicode.IsSpace); bare == "" && s.space != "" && !atEnd {
			return "", false
		}
	}
	return s.between(text[:len(text)-len(bare)], bare) + bare, true
}

// repeated returns how many bytes at the beginning of text are the end of the
// tail: as many as can be. It is not sure while more text could make them more.
func (s *seam) repeated(text string, atEnd bool) (n int, sure bool) {
	least := leastAsked
	if s.prefill {
		least = leastPrefill
	}
	for from := range s.tail { // at each character, so that none is divided
		same := s.tail[from:]
		whole := strings.HasPrefix(text, same)
		begun := !atEnd && strings.HasPrefix(same, text)
		if (whole || begun) && s.credible(from, least) {
			return len(same), whole
		}
	}
	return 0, true
}

// credible tells that the tail from that byte on, should it come again, would
// be a repetition: it begins with a word, is long enough, says something, and
// the text has not just said it twice already, as in "ha ha ha".
func (s *seam) credible(from, least int) bool {
	same := s.tail[from:]
	if utf8.RuneCountInString(same) < least || !strings.ContainsFunc(same, says) {
		return false
	}
	if from == 0 && s.cut {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(s.tail[:from])
	first, _ := utf8.DecodeRuneInString(same)
	if from > 0 && spaced(before) && spaced(first) {
		return false
	}
	return !strings.Contains(s.tail[max(0, from-len(same)):len(s.tail)-1], same)
}

// between returns the white space to deliver before the rest, given the one
// that it came with.
func (s *seam) between(space, rest string) string {
	if s.prefill || s.anchored {
		return s.expected(space)
	}
	switch {
	case s.space == "" && space == "":
		if s.words && wantsSpace(s.tail, rest) {
			return " "
		}
		return ""
	case s.space == "":
		return space
	}
	// Some was delivered, and whether more was due nobody can tell. Spaces and
	// tabs are not doubled, and lines are not parted by more than one that is
	// empty.
	if last := s.space[len(s.space)-1]; last == ' ' || last == '\t' {
		space = strings.TrimLeft(space, " \t")
	}
	lines := strings.Count(s.space, "\n")
	for lines+strings.Count(space, "\n") > 2 && strings.Contains(space, "\n") {
		_, space, _ = strings.Cut(space, "\n")
	}
	return space
}

// expected takes off what has been delivered of white space that comes again.
// Where it is not the same, a space more is one too many.
func (s *seam) expected(space string) string {
	n := 0
	for n < len(space) && n < len(s.space) && space[n] == s.space[n] {
		n++
	}
	space = strings.ToValidUTF8(space[n:], "")
	if n < len(s.space) {
		space = strings.TrimLeft(space, " \t")
	}
	return space
}

// wantsSpace tells that between two texts a space is missing: between words,
// or where a sentence or a part of it ends and a word begins. Whoever asked for
// the rest got an answer of its own, and answers do not begin with a space.
func wantsSpace(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	switch last {
	case ',', ';':
		return unicode.IsLetter(first) && spaced(first)
	case '.', '!', '?', ':': // "example." and "com" belong together
		return unicode.IsUpper(first)
	}
	return spaced(last) && spaced(first)
}

// spaced tells that a character is part of a word that is written apart from
// the next.
func spaced(r rune) bool {
	return says(r) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

func says(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
