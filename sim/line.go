package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// token is a word of a story.
type token struct {
	text   string
	column int // the first is 1
	quoted bool
}

// line is a line of a story that is being read.
type line struct {
	number int
	end    int // the column after the last word
	tokens []token
	at     int // the next token

	is       Rule
	known    bool           // the name was understood, so that its kind is known
	said     map[string]int // words that may stand once, and where they do
	mistakes []*StoryError
}

func newLine(number int, text string) *line {
	l := &line{number: number, said: map[string]int{}, is: Rule{Rate: 1}}
	text = strings.TrimSuffix(text, "\r")
	for at := 0; at < len(text); {
		switch text[at] {
		case ' ', '\t':
			at++
			continue
		case '#':
			return l
		case '"':
			at += l.quoted(text[at:], at+1)
		default:
			n := strings.IndexAny(text[at:]+" ", " \t")
			l.tokens = append(l.tokens, token{text: text[at : at+n], column: at + 1})
			at += n
		}
		l.end = at + 1
	}
	return l
}

// quoted reads a Go string, and returns its length.
func (l *line) quoted(text string, column int) int {
	quote, err := strconv.QuotedPrefix(text)
	if err != nil {
		l.wrongAt(column, nil, "the quote does not end, or what is in it is no Go string")
		quote = text
	}
	value, _ := strconv.Unquote(quote) // nothing, if it is no quote
	l.tokens = append(l.tokens, token{value, column, true})
	glued := strings.IndexAny(text[len(quote):]+" ", " \t")
	if glued > 0 {
		l.wrongAt(column+len(quote), nil, "a space is missing after the quote")
	}
	return len(quote) + glued
}

// wrongAt notes a mistake. suggest, if not nil, is the word that is wrong and
// then those it may have been.
func (l *line) wrongAt(column int, suggest []string, format string, args ...any) {
	e := &StoryError{Line: l.number, Column: column, Problem: fmt.Sprintf(format, args...)}
	if len(suggest) > 0 {
		e.Suggestion = nearest(suggest[0], suggest[1:])
	}
	l.mistakes = append(l.mistakes, e)
}

// wrong returns the mistakes in the order of their columns.
func (l *line) wrong() []error {
	slices.SortStableFunc(l.mistakes, func(a, b *StoryError) int { return cmp.Compare(a.Column, b.Column) })
	out := make([]error, len(l.mistakes))
	for i, e := range l.mistakes {
		out[i] = e
	}
	return out
}

// peek returns the next word, unless it is quoted.
func (l *line) peek() string {
	if l.at < len(l.tokens) && !l.tokens[l.at].quoted {
		return l.tokens[l.at].text
	}
	return ""
}

// accept passes over the next word if it is one of those.
func (l *line) accept(words ...string) bool {
	if !slices.Contains(words, l.peek()) || l.peek() == "" {
		return false
	}
	l.at++
	return true
}

// value returns the token that must follow a word; false, and a mistake, if
// there is none.
func (l *line) value(after token, want string) (token, bool) {
	if l.at < len(l.tokens) {
		l.at++
		return l.tokens[l.at-1], true
	}
	l.wrongAt(l.end, nil, "%q wants %s after it", after.text, want)
	return token{}, false
}

// once notes that something was said; false, and a mistake, if it had been.
func (l *line) once(what string, column int) bool {
	if before, ok := l.said[what]; ok {
		l.wrongAt(column, nil, "%s is said twice, first at column %d", what, before)
		return false
	}
	l.said[what] = column
	return true
}

// belongs notes a mistake if the kind does not look at what was said.
func (l *line) belongs(field trait, column int, what string) bool {
	if l.known && l.is.Kind.traits()&field == 0 {
		l.wrongAt(column, nil, "%s has no %s", l.is.Kind, what)
		return false
	}
	return true
}
