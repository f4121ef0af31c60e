package claude

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// modelText is the string that a model's text in a document stands for. A
// model that the API has documented costs no allocation.
func modelText(raw []byte) string {
	if m, ok := models[string(raw)]; ok {
		return m.id
	}
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw)
	}
	var b [maxText]byte
	// As encoding/json does: one replacement character for each bad byte.
	text := string([]rune(string(unescape(b[:0], raw))))
	return cut(text, maxText)
}

// unescape appends to dst what the inside of a JSON string stands for. It
// never appends more bytes than raw has. A lone surrogate becomes U+FFFD, as
// in encoding/json. What is no escape, or only the start of one because raw
// was cut, is dropped.
func unescape(dst, raw []byte) []byte {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst, raw = append(dst, raw[:i]...), raw[i+1:]
		if len(raw) == 0 {
			return dst
		}
		if raw[0] == 'u' {
			dst, raw = unescapeRune(dst, raw[1:])
			continue
		}
		if c, ok := shortEscape(raw[0]); ok {
			dst = append(dst, c)
		}
		raw = raw[1:]
	}
	return dst
}

// unescapeRune takes the digits of a \u escape, and a second escape where the
// two make a surrogate pair.
func unescapeRune(dst, raw []byte) (text, rest []byte) {
	r, ok := hex4(raw)
	if !ok {
		return dst, nil
	}
	raw = raw[4:]
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, r), raw
	}
	if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
		if low, ok := hex4(raw[2:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), raw[6:]
			}
		}
	}
	return utf8.AppendRune(dst, utf8.RuneError), raw
}

func shortEscape(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

func hex4(p []byte) (rune, bool) {
	if len(p) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range p[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// wholeRunes drops a character that the end of p has cut.
func wholeRunes(p []byte) []byte {
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return p[:i]
			}
			break
		}
	}
	return p
}
