package demo

import (
	"strings"
	"unicode/utf8"
)

// paint colours text, or leaves it as it is.
type paint bool

func (p paint) sgr(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string    { return p.sgr("1", s) }
func (p paint) dim(s string) string     { return p.sgr("2", s) }
func (p paint) reverse(s string) string { return p.sgr("7", s) }
func (p paint) red(s string) string     { return p.sgr("31", s) }
func (p paint) green(s string) string   { return p.sgr("32", s) }
func (p paint) yellow(s string) string  { return p.sgr("33", s) }

// left and right pad s to width columns. All text of the demo is of
// characters one column wide.
func left(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func right(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}

// wrap breaks text into lines of at most width columns, at spaces where there
// are any.
func wrap(text string, width int) []string {
	width = max(width, 1)
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for {
			joined := strings.TrimPrefix(line+" "+word, " ")
			if utf8.RuneCountInString(joined) <= width {
				line = joined
				break
			}
			if line == "" {
				runes := []rune(word)
				lines, word = append(lines, string(runes[:width])), string(runes[width:])
				continue
			}
			lines, line = append(lines, line), ""
		}
	}
	return append(lines, line)
}

// clip cuts a painted line to width columns.
func clip(line string, width int) string {
	var b strings.Builder
	for n := 0; line != ""; {
		if strings.HasPrefix(line, "\x1b") { // as sgr writes it
			end := strings.IndexByte(line, 'm') + 1
			b.WriteString(line[:end])
			line = line[end:]
			continue
		}
		_, size := utf8.DecodeRuneInString(line)
		if n < width {
			b.WriteString(line[:size])
		}
		n++
		line = line[size:]
	}
	return b.String()
}
