package sim

// valid reports whether b is one JSON value with nothing but white space around
// it: what [encoding/json.Valid] says, in a quarter of the time, because most of
// a request is text that can be skipped over.
func valid(b []byte) bool {
	i := validValue(b, space(b, 0), 0)
	return i >= 0 && space(b, i) == len(b)
}

// maxDepth is how deep values may be nested, as in encoding/json.
const maxDepth = 10_000

// validValue returns where the value that begins at i has ended; -1 if it is
// none. So do those below.
func validValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return validString(b, i)
	case '{':
		return validList(b, i, '}', depth+1)
	case '[':
		return validList(b, i, ']', depth+1)
	case 't':
		return validWord(b, i, "true")
	case 'f':
		return validWord(b, i, "false")
	case 'n':
		return validWord(b, i, "null")
	}
	return validNumber(b, i)
}

// validList is for objects and arrays, the one that begins at i being nested in
// depth of them, itself included.
func validList(b []byte, i int, end byte, depth int) int {
	if depth > maxDepth {
		return -1
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if end == '}' {
			if i >= len(b) || b[i] != '"' {
				return -1
			}
			if i = validString(b, i); i < 0 {
				return -1
			}
			if i = space(b, i); i >= len(b) || b[i] != ':' {
				return -1
			}
			i = space(b, i+1)
		}
		if i = validValue(b, i, depth); i < 0 {
			return -1
		}
		if i = space(b, i); i >= len(b) {
			return -1
		}
		switch b[i] {
		case end:
			return i + 1
		case ',':
			i = space(b, i+1)
		default:
			return -1
		}
	}
}

func validString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c < ' ':
			return -1
		case c == '\\':
			if i = validEscape(b, i+1); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// validEscape returns where the last character of an escape is.
func validEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		if i+4 >= len(b) {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if (c < '0' || c > '9') && (c|' ' < 'a' || c|' ' > 'f') {
				return -1
			}
		}
		return i + 4
	}
	return -1
}

func validWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func validNumber(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole == i || b[i] == '0' && whole > i+1 {
		return -1
	}
	if i = whole; i < len(b) && b[i] == '.' {
		fraction := digits(b, i+1)
		if fraction == i+1 {
			return -1
		}
		i = fraction
	}
	if i < len(b) && b[i]|' ' == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exponent := digits(b, i)
		if exponent == i {
			return -1
		}
		i = exponent
	}
	return i
}

// digits returns where the digits that begin at i have ended.
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}
