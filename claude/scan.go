package claude

import (
	"bytes"
	"strconv"
)

// Body is what one pass over a request body tells about it: facts of the
// outermost JSON object only. Where a key stands twice the last one counts, as
// with every JSON parser the API is known to use; a value of the wrong type
// reads as an absent one. The zero value is an empty body.
type Body struct {
	// Model is the model as the caller wrote it, unescaped and valid UTF-8. It
	// is cut at 256 bytes of its text in the document; real ids have 30.
	Model string
	// Stream tells that the answer is wanted as server-sent events.
	Stream bool
	// MaxTokens is max_tokens where it is a whole number of at least 0 that
	// fits; else 0.
	MaxTokens int64
	// MCPServers tells that mcp_servers names at least one server, so that the
	// message may call tools that have effects.
	MCPServers bool
	// Fast tells that speed is "fast": such calls have limits of their own
	// (“Fast mode”, platform.claude.com, 2026-08-22).
	Fast bool
	// Complete tells that the object has been closed and only white space
	// followed. It means whole, not valid: what is nested is not parsed.
	Complete bool
}

// ScanBody reads the facts of a body that is in memory as a whole.
func ScanBody(body []byte) Body {
	var s Scanner
	_, _ = s.Write(body)
	return s.Body()
}

// maxText bounds what is kept of a key or value, as written in the document.
const maxText = 256

// maxNumber bounds the text of max_tokens: longer than any int64.
const maxNumber = 32

// Scanner reads the facts of a [Body] from a JSON document that is written to
// it in pieces of any size. It neither decodes nor copies the document and
// allocates nothing: a body of megabytes is mostly strings, and those are
// skipped from quote to quote. Nesting costs a counter and no stack, so that
// no document can exhaust memory.
//
// A Scanner is an [io.Writer] whose Write never fails, so that [io.Copy] feeds
// it from any source without a copy where the source is an [io.WriterTo].
// Bytes that are not a JSON object leave Complete false and are otherwise
// swallowed: whether a body is acceptable is for the API to say.
//
// The zero value is ready. It is not safe for concurrent use.
type Scanner struct {
	state   state
	after   state // to go to when the string at hand ends
	escaped bool  // the next byte of the string at hand is escaped
	keep    bool  // the string at hand is wanted: its bytes go to text
	long    bool  // it was longer than text
	key     field // whose value comes next
	depth   int   // objects and arrays open, the outermost included
	found   Body  // all but what is read from the texts below

	// Texts as they stand in the document, escapes included.
	text   [maxText]byte // the key, value or literal at hand
	n      int
	model  [maxText]byte
	nm     int
	number [maxNumber]byte // max_tokens
	nn     int
}

// state says what the next byte belongs to.
type state uint8

const (
	atStart  state = iota // before the outermost brace
	atFirst               // a key, or the end of the object
	atKey                 // a key
	atColon               // the colon after a key
	atValue               // the value of s.key
	atNext                // a comma, or the end of the object
	atServer              // inside mcp_servers, before anything has been seen
	inString              // inside a string, key or value, nested or not
	inScalar              // inside a number, true, false or null
	inNested              // inside an object or array that is a value
	atEnd                 // after the outermost object
	broken                // not a JSON object
)

// field is a key that matters.
type field uint8

const (
	noField field = iota
	fieldModel
	fieldStream
	fieldMaxTokens
	fieldMCPServers
	fieldSpeed
)

// Body returns what is known so far.
func (s *Scanner) Body() Body {
	b := s.found
	b.Model = modelText(s.model[:s.nm])
	b.MaxTokens = wholeNumber(s.number[:s.nn])
	b.Complete = s.state == atEnd
	return b
}

// Write implements [io.Writer]. It takes all of p and keeps none of it.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch s.state {
		case inString:
			p = s.skipString(p)
		case inNested:
			p = s.skipNested(p)
		case inScalar:
			p = s.readScalar(p)
		case broken:
			return n, nil
		default:
			if !isSpace(p[0]) && !s.step(p[0]) {
				continue // the byte belongs to the next state
			}
			p = p[1:]
		}
	}
	return n, nil
}

// step takes one byte of the outermost object's frame; false leaves it.
func (s *Scanner) step(c byte) bool {
	switch {
	case s.state == atStart && c == '{':
		s.state, s.depth = atFirst, 1
	case s.state == atFirst && c == '}', s.state == atNext && c == '}':
		s.state, s.depth = atEnd, 0
	case s.state == atFirst && c == '"', s.state == atKey && c == '"':
		s.open(atColon, true)
	case s.state == atColon && c == ':':
		s.state = atValue
		s.key = fieldOf(s.text[:s.n], s.long)
		s.forget(s.key)
	case s.state == atNext && c == ',':
		s.state = atKey
	case s.state == atValue:
		return s.value(c)
	case s.state == atServer:
		s.state = inNested
		s.found.MCPServers = c != ']'
		return false
	default:
		s.state = broken
	}
	return true
}

// value takes the first byte of a value of the outermost object.
func (s *Scanner) value(c byte) bool {
	switch c {
	case '"':
		s.open(atNext, s.key == fieldModel || s.key == fieldSpeed)
	case '[', '{':
		s.depth++
		s.state = inNested
		if c == '[' && s.key == fieldMCPServers {
			s.state = atServer
		}
	case ',', ':', '}', ']':
		s.state = broken
	default:
		s.state, s.n, s.long = inScalar, 0, false
		return false
	}
	return true
}

// open begins a string.
func (s *Scanner) open(after state, keep bool) {
	s.state, s.after, s.keep = inString, after, keep
	s.n, s.long, s.escaped = 0, false, false
}

// skipString goes to the end of the string at hand and returns what follows.
//
// It looks for quotes only. Whether a quote is escaped is told by the run of
// backslashes before it, and runs of different quotes do not overlap: a string
// made of escapes costs no more than twice its length.
func (s *Scanner) skipString(p []byte) []byte {
	from := 0 // bytes before it have been judged
	if s.escaped {
		s.escaped, from = false, 1
	}
	for {
		i := bytes.IndexByte(p[from:], '"')
		if i < 0 {
			s.escaped = oddBackslashes(p[from:])
			s.store(p)
			return nil
		}
		quote := from + i
		if oddBackslashes(p[from:quote]) {
			from = quote + 1
			continue
		}
		s.store(p[:quote])
		s.close()
		return p[quote+1:]
	}
}

// close ends the string at hand.
func (s *Scanner) close() {
	s.state = s.after
	if s.after != atNext || !s.keep {
		return // a key is looked at when its colon comes
	}
	switch s.key {
	case fieldModel:
		text := s.text[:s.n]
		if s.long {
			text = wholeRunes(text)
		}
		s.nm = copy(s.model[:], text)
	case fieldSpeed:
		var b [maxText]byte
		s.found.Fast = !s.long && string(unescape(b[:0], s.text[:s.n])) == "fast"
	}
}

// store keeps the bytes of a wanted string or literal, as far as they fit.
func (s *Scanner) store(p []byte) {
	if !s.keep {
		return
	}
	n := copy(s.text[s.n:], p)
	s.n += n
	s.long = s.long || n < len(p)
}

// skipNested goes to the end of the value at hand and returns what follows.
// Most of a request is strings without an escape before their last quote:
// those are passed over here, without a change of state.
func (s *Scanner) skipNested(p []byte) []byte {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '"':
			end := bytes.IndexByte(p[i+1:], '"')
			if end < 0 || end > 0 && p[i+end] == '\\' {
				s.open(inNested, false)
				return s.skipString(p[i+1:])
			}
			i += end + 1
		case '{', '[':
			s.depth++
		case '}', ']':
			s.depth--
			if s.depth == 1 {
				s.state = atNext
				return p[i+1:]
			}
		}
	}
	return nil
}

// readScalar goes to the end of the literal at hand and returns what follows.
func (s *Scanner) readScalar(p []byte) []byte {
	s.keep = true
	for i, c := range p {
		switch {
		case c == ',' || c == '}' || isSpace(c):
			s.store(p[:i])
			s.state = atNext
			s.scalar(s.text[:s.n])
			return p[i:]
		case c == '"' || c == ':' || c == '{' || c == '[' || c == ']':
			s.state = broken
			return nil
		}
	}
	s.store(p)
	return nil
}

// scalar takes a literal that has ended.
func (s *Scanner) scalar(text []byte) {
	switch s.key {
	case fieldStream:
		s.found.Stream = string(text) == "true"
	case fieldMaxTokens:
		if len(text) <= maxNumber {
			s.nn = copy(s.number[:], text)
		}
	}
}

// forget drops what an earlier value of the same key said.
func (s *Scanner) forget(k field) {
	switch k {
	case fieldModel:
		s.nm = 0
	case fieldStream:
		s.found.Stream = false
	case fieldMaxTokens:
		s.nn = 0
	case fieldMCPServers:
		s.found.MCPServers = false
	case fieldSpeed:
		s.found.Fast = false
	}
}

// fieldOf names a key; raw is its text in the document.
func fieldOf(raw []byte, long bool) field {
	if long {
		return noField
	}
	var b [maxText]byte
	switch string(unescape(b[:0], raw)) {
	case "model":
		return fieldModel
	case "stream":
		return fieldStream
	case "max_tokens":
		return fieldMaxTokens
	case "mcp_servers":
		return fieldMCPServers
	case "speed":
		return fieldSpeed
	}
	return noField
}

// wholeNumber reads a JSON number that is whole, also one written as 1024.0 or
// 1e3, as the API's own parser does; 0 for all others.
func wholeNumber(text []byte) int64 {
	if len(text) == 0 {
		return 0
	}
	if !bytes.ContainsAny(text, ".eE") {
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return 0
		}
		return max(n, 0)
	}
	const exact = 1 << 53 // beyond it a float64 is not every whole number
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= exact) || f != float64(int64(f)) {
		return 0
	}
	return int64(f)
}

// oddBackslashes tells whether p ends inside an escape of two bytes.
func oddBackslashes(p []byte) bool {
	n := 0
	for n < len(p) && p[len(p)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
