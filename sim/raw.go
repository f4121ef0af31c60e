package sim

import (
	"bytes"
	"encoding/binary"
	"iter"
	"unicode/utf16"
	"unicode/utf8"
)

// raw is one JSON value, white space around it aside, in a text that is known
// to be valid. Looking into it costs one pass over its bytes and no memory: a
// body is walked, never turned into maps.
type raw []byte

// fields yields the keys and values of an object; none of anything else.
func (v raw) fields() iter.Seq2[[]byte, raw] {
	return func(yield func([]byte, raw) bool) {
		if v.kind() != '{' {
			return
		}
		for i := space(v, 1); i < len(v) && v[i] == '"'; {
			end := afterString(v, i)
			key := v[i:end].bytes()
			i = space(v, end)
			i = space(v, i+1) // the colon
			end = afterValue(v, i)
			if !yield(key, v[i:end]) {
				return
			}
			i = space(v, end)
			i = space(v, i+1) // the comma, or the end
		}
	}
}

// items yields the values of an array; none of anything else.
func (v raw) items() iter.Seq2[int, raw] {
	return func(yield func(int, raw) bool) {
		if v.kind() != '[' {
			return
		}
		n := 0
		for i := space(v, 1); i < len(v) && v[i] != ']'; n++ {
			end := afterValue(v, i)
			if !yield(n, v[i:end]) {
				return
			}
			i = space(v, end)
			i = space(v, i+1)
		}
	}
}

// kind is the first byte: '{', '[', '"', 't', 'f', 'n', or that of a number.
func (v raw) kind() byte {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

// missing reports whether there is no value, or null.
func (v raw) missing() bool { return len(v) == 0 || v[0] == 'n' }

// bytes returns the text of a string, and nil for anything else. It may be a
// part of v.
func (v raw) bytes() []byte {
	if v.kind() != '"' || len(v) < 2 {
		return nil
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return unescape(inner)
}

// unescape returns what a string says whose escapes are known to be valid. Half
// of a surrogate pair says U+FFFD.
func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...)
		}
		out = append(out, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			var r rune
			r, s = codePoint(s)
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
}

// codePoint reads what follows \u: four digits, or twelve characters of a pair.
func codePoint(s []byte) (rune, []byte) {
	r := hex4(s)
	s = s[4:]
	if !utf16.IsSurrogate(r) {
		return r, s
	}
	if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
		if both := utf16.DecodeRune(r, hex4(s[2:])); both != utf8.RuneError {
			return both, s[6:]
		}
	}
	return utf8.RuneError, s
}

func hex4(s []byte) (r rune) {
	for _, c := range s[:4] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

// hash is the same for values that mean the same: white space, the order of
// keys and the spelling of strings do not matter, nor do marks for the cache.
func (v raw) hash() uint64 {
	switch v.kind() {
	case '{':
		var sum uint64
		for key, value := range v.fields() {
			if string(key) != "cache_control" {
				sum += mix(hashBytes(key), value.hash())
			}
		}
		return mix('{', sum)
	case '[':
		h := uint64('[')
		for _, value := range v.items() {
			h = mix(h, value.hash())
		}
		return h
	case '"':
		return hashBytes(v.bytes())
	}
	return mix('0', hashBytes(v))
}

// hashBytes is a quick hash, eight bytes at a time. It keeps nobody out.
func hashBytes(b []byte) uint64 {
	h := uint64(len(b)) + 0x9e3779b97f4a7c15
	for len(b) >= 8 {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 0xbf58476d1ce4e5b9
		h ^= h >> 29
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return mix(h)
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// afterValue returns where the value that begins at i has ended.
func afterValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = afterString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth <= 0 {
				return i + min(1, depth+1) // an end that is not ours stays
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// afterString returns where the string whose opening quote is at i has ended.
func afterString(b []byte, i int) int {
	open := i
	for i++; ; {
		n := bytes.IndexByte(b[min(i, len(b)):], '"')
		if n < 0 {
			return len(b)
		}
		i += n + 1
		slashes := 0
		for at := i - 2; at > open && b[at] == '\\'; at-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
}

// appendString appends s as a JSON string. s is UTF-8.
func appendString[S string | []byte](b []byte, s S) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		if from = i + 1; c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
	}
	return append(append(b, s[from:]...), '"')
}
