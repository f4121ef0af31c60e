package tokens

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// target is where the contents of a string go.
type target uint8

const (
	toNothing target = iota
	toKey            // word; a colon follows
	toWord           // word; the value of a key that matters
	toData           // what is encoded in base64, or a document that is text
	toText           // a text of its own; this and the rest go to the sink
	toThink          // the same, thinking
	toRaw            // inside of a raw value
)

// stringState is where in a string the next byte is.
type stringState struct {
	to   target
	back state // a string in a raw or skipped value goes back there; else 0

	// The escape at hand.
	escape uint8  // 0: none; 1: after the backslash; 2 to 5: so many hex digits, less one, are missing
	code   uint16 // its hex digits so far
	high   uint16 // the first half of a pair of surrogates; 0 if none
}

// openString begins a string of any sort. Strings of keys and values say where
// to go on by themselves.
func (s *Scanner) openString(to target) {
	s.str = stringState{to: to}
	if s.state == inRaw || s.state == inSkip {
		s.str.back = s.state
	}
	s.state = inString
}

// readString takes the string at hand, and returns what follows it.
func (s *Scanner) readString(p []byte) []byte {
	if s.str.to == toNothing {
		return s.skipString(p)
	}
	for len(p) > 0 {
		if s.str.escape != 0 {
			ended := s.escaped(p[0])
			p = p[1:]
			if ended {
				return p
			}
			continue
		}
		n := 0
		switch {
		case s.str.to == toData:
			n = plainFar(p)
		case s.str.to >= toText && s.str.high == 0:
			p = s.text.take(s, p)
			fallthrough
		default:
			n = plain(p)
		}
		if n > 0 {
			s.emit(p[:n])
			p = p[n:]
		}
		if len(p) == 0 {
			return nil
		}
		switch {
		case p[0] == '"':
			s.endString()
			return p[1:]
		case p[0] != '\\': // plainFar looks at a window only
		case len(p) >= 2 && p[1] != 'u': // the usual escape at once
			s.emitByte(unescaped[p[1]])
			p = p[2:]
		case len(p) >= 6:
			if code, ok := hex4(p[2:6]); ok {
				s.unit(code)
				p = p[6:]
				continue
			}
			fallthrough
		default:
			s.str.escape = 1
			p = p[1:]
		}
	}
	return nil
}

// skipString goes to the end of a string that does not count. Whether a quote
// ends it is told by the run of backslashes before it.
func (s *Scanner) skipString(p []byte) []byte {
	from := 0
	if s.str.escape != 0 {
		s.str.escape, from = 0, 1
	}
	for {
		i := bytes.IndexByte(p[from:], '"')
		if i < 0 {
			if oddBackslashes(p[from:]) {
				s.str.escape = 1
			}
			return nil
		}
		end := from + i
		if !oddBackslashes(p[from:end]) {
			s.endString()
			return p[end+1:]
		}
		from = end + 1
	}
}

// oddBackslashes tells whether p ends inside an escape of two bytes.
func oddBackslashes(p []byte) bool {
	n := 0
	for n < len(p) && p[len(p)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// escaped takes one byte of an escape that is cut between two writes, or
// malformed; it reports whether the string has ended.
func (s *Scanner) escaped(c byte) (ended bool) {
	st := &s.str
	switch digit, ok := hex(c); {
	case st.escape == 1 && c == 'u':
		st.escape, st.code = 5, 0
	case st.escape == 1:
		st.escape = 0
		s.emitByte(unescaped[c])
	case !ok:
		st.escape = 0
		s.emitRune(utf8.RuneError)
		if c == '"' {
			s.endString()
			return true
		}
	default:
		st.code = st.code<<4 | uint16(digit)
		if st.escape--; st.escape == 1 {
			st.escape = 0
			s.unit(st.code)
		}
	}
	return false
}

// unit takes an escape of the form \uXXXX: a character, or half of a pair.
// Halves without the other read as U+FFFD, as encoding/json reads them.
func (s *Scanner) unit(code uint16) {
	high := s.str.high
	s.str.high = 0
	if high != 0 {
		if r := utf16.DecodeRune(rune(high), rune(code)); r != utf8.RuneError {
			s.emitRune(r)
			return
		}
		s.emitRune(utf8.RuneError)
	}
	switch {
	case code >= 0xd800 && code < 0xdc00:
		s.str.high = code
	case code >= 0xdc00 && code < 0xe000:
		s.emitRune(utf8.RuneError)
	default:
		s.emitRune(rune(code))
	}
}

// unescaped are the bytes that \c stands for.
var unescaped = func() (t [256]byte) {
	for c := range t {
		t[c] = byte(c)
	}
	t['n'], t['t'], t['r'], t['b'], t['f'] = '\n', '\t', '\r', '\b', '\f'
	return t
}()

// hex4 reads four hex digits.
func hex4(p []byte) (code uint16, ok bool) {
	a, b, c, d := hexDigits[p[0]], hexDigits[p[1]], hexDigits[p[2]], hexDigits[p[3]]
	if a == 0 || b == 0 || c == 0 || d == 0 {
		return 0, false
	}
	return uint16(a-1)<<12 | uint16(b-1)<<8 | uint16(c-1)<<4 | uint16(d-1), true
}

// hexDigits are the values of hex digits, plus one.
var hexDigits = func() (t [256]byte) {
	for i, c := range []byte("0123456789abcdef") {
		t[c], t[bytes.ToUpper([]byte{c})[0]] = byte(i+1), byte(i+1)
	}
	return t
}()

func hex(c byte) (digit byte, ok bool) { return hexDigits[c] - 1, hexDigits[c] != 0 }

// emit passes on contents of the string at hand, unescaped.
func (s *Scanner) emit(p []byte) {
	if s.str.high != 0 {
		s.str.high = 0
		s.emitRune(utf8.RuneError)
	}
	switch s.str.to {
	case toKey, toWord:
		s.word.write(p)
	case toText, toThink, toRaw:
		s.text.write(s, p)
	case toData:
		s.data.write(s, p)
	}
}

func (s *Scanner) emitByte(c byte) {
	if s.str.high == 0 && s.str.to >= toText {
		s.text.put(s, c)
		return
	}
	b := [1]byte{c}
	s.emit(b[:])
}

func (s *Scanner) emitRune(r rune) {
	var b [utf8.UTFMax]byte
	s.emit(b[:utf8.EncodeRune(b[:], r)])
}

// Patterns of eight bytes at once.
const (
	ones        = 0x0101010101010101
	highs       = 0x8080808080808080
	quotes      = '"' * ones
	backslashes = '\\' * ones
)

// special marks, at its high bit, the first byte of v that is a quote or a
// backslash; bytes after it may be marked wrongly.
func special(v uint64) uint64 {
	q, b := v^quotes, v^backslashes
	return ((q-ones)&^q | (b-ones)&^b) & highs
}

// plain returns how many bytes of p come before the first quote or backslash.
func plain(p []byte) int {
	n := 0
	for q := p; len(q) >= 8; q = q[8:] {
		if m := special(binary.LittleEndian.Uint64(q)); m != 0 {
			return n + bits.TrailingZeros64(m)/8
		}
		n += 8
	}
	for n < len(p) && p[n] != '"' && p[n] != '\\' {
		n++
	}
	return n
}

// window is how far plainFar looks at once: it stays in the cache for the
// second look.
const window = 16 << 10

// plainFar is plain for strings that are long and have hardly an escape; it
// may stop at the end of a window.
func plainFar(p []byte) int {
	p = p[:min(len(p), window)]
	if i := bytes.IndexByte(p, '"'); i >= 0 {
		p = p[:i]
	}
	if i := bytes.IndexByte(p, '\\'); i >= 0 {
		return i
	}
	return len(p)
}

// word keeps the beginning of a key or of a value that is looked at.
type word struct {
	b [64]byte
	n int
}

func (w *word) reset()         { w.n = 0 }
func (w *word) write(p []byte) { w.n += copy(w.b[w.n:], p) }
func (w *word) text() []byte   { return w.b[:w.n] }

// sink gathers texts, so that the sums and the hash take long pieces: a string
// with an escape in every line would be slow otherwise.
type sink struct {
	buf  [1 << 10]byte
	n    int
	kind kind
	prev byte // the byte before buf
	hash maphash.Hash
}

// begin begins a text.
func (t *sink) begin(k kind) { t.kind, t.prev = k, first }

// take adds the contents of a string up to its end, or until a byte needs a
// closer look, and returns the rest. Bytes are copied a word at a time and
// looked at in passing; the usual escapes cost no more than that.
func (t *sink) take(s *Scanner, p []byte) []byte {
	const spare = 16 // a word, or a character
	for len(p) >= 8 {
		// Long plain pieces need no copy.
		if len(p) >= len(t.buf) {
			if n := plain(p[:min(len(p), window)]); n >= len(t.buf)/2 {
				t.write(s, p[:n])
				p = p[n:]
				continue
			}
		}
		if t.n > len(t.buf)-spare {
			t.flush(s)
		}
		room := t.buf[t.n:]
		i, j := 0, 0
		more := true
		for more && i <= len(room)-spare && j <= len(p)-8 {
			v := binary.LittleEndian.Uint64(p[j:])
			binary.LittleEndian.PutUint64(room[i:], v)
			m := special(v)
			if m == 0 {
				i, j = i+8, j+8
				continue
			}
			k := bits.TrailingZeros64(m) / 8
			i, j = i+k, j+k
			switch {
			case p[j] == '"' || j+1 == len(p):
				more = false
			case p[j+1] != 'u':
				room[i] = unescaped[p[j+1]]
				i, j = i+1, j+2
				// Escapes come in runs: line ends before indentation.
				for i < len(room) && j+1 < len(p) && p[j] == '\\' && p[j+1] != 'u' {
					room[i] = unescaped[p[j+1]]
					i, j = i+1, j+2
				}
			default:
				code, ok := uint16(0), false
				if j+6 <= len(p) {
					code, ok = hex4(p[j+2:])
				}
				if !ok || code >= 0xd800 && code < 0xe000 {
					more = false
					break
				}
				i += utf8.EncodeRune(room[i:], rune(code))
				j += 6
			}
		}
		t.n += i
		p = p[j:]
		if !more {
			break
		}
	}
	return p
}

// put adds a byte.
func (t *sink) put(s *Scanner, c byte) {
	if t.n == len(t.buf) {
		t.flush(s)
	}
	t.buf[t.n] = c
	t.n++
}

// write adds some.
func (t *sink) write(s *Scanner, p []byte) {
	if len(p) > len(t.buf)-t.n {
		t.flush(s)
		if len(p) > len(t.buf)/2 {
			t.add(s, p)
			return
		}
	}
	t.n += copy(t.buf[t.n:], p)
}

// end ends a text.
func (t *sink) end(s *Scanner) {
	t.flush(s)
	_ = t.hash.WriteByte(byte(t.kind))
}

func (t *sink) flush(s *Scanner) {
	if t.n > 0 {
		n := t.n
		t.n = 0
		t.add(s, t.buf[:n])
	}
}

// add sums and hashes.
func (t *sink) add(s *Scanner, p []byte) {
	last := t.prev
	for f := s.from; f <= s.to; f++ {
		last = tables[f]().sum(&s.now.sums[f][t.kind], t.prev, p)
	}
	t.prev = last
	_, _ = t.hash.Write(p)
}
