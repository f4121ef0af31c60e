package tokens

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// Scanner counts a Messages body that is written to it in pieces of any size;
// how it is cut, the order of its keys and the way its strings are escaped
// change nothing. It decodes texts in passing, skips the data of images, and
// neither builds a document nor, after its first body, allocates.
//
// It is an [io.Writer] whose Write never fails. A body that is truncated, no
// JSON, or made up to hurt costs no more than another: what was seen is
// counted and marked. What the fields of a body count as is told in
// scan_keys.go.
//
// The zero value is ready, as after Reset(""). A Scanner has some 16 KB; keep
// it and Reset it. It is not safe for concurrent use.
type Scanner struct {
	// What is known before the body.
	ready  bool   // Reset was called
	model  string // of the body; if it was not hinted, of an earlier one
	hinted bool   // model was given to Reset
	from   Family // families to count: from, …, to
	to     Family

	// Where in the JSON the next byte is.
	state   state
	section section // the key of the outermost object whose value this is
	use     use     // of the value that comes next
	depth   int     // containers open, other than in raw and skipped values
	nest    int     // containers open in the raw or skipped value at hand
	stack   [maxDepth]frameBits

	str  stringState
	word word // the key, or the value of a key that matters
	text sink // texts on their way to the sums
	data media

	// What was found.
	now     tally
	turn    [families]lanes // thinking before the turn at hand
	marks   Marks
	forced  bool // tool_choice any or tool
	found   [maxModel]byte
	nfound  int
	user    bool // the message at hand is the user's,
	result  bool // and brings a tool's result: the turn goes on
	inTool  bool // inside a definition of a tool,
	fields  int  // with so many of its fields counted
	keyed   [sections]uint64
	borders [keptBorders]border
	nborder int // borders met in all
}

// Sizes of what is kept of a body. No real body meets the first two.
const (
	maxDepth    = 64 // nesting in which keys are told from values
	maxModel    = 64 // bytes of a model id
	keptBorders = 16 // the newest ends of messages: a turn has two messages
)

// border is the end of a message.
type border struct {
	hash   uint64 // of the messages up to here
	at     tally
	turn   [families]lanes
	answer bool // the message is the assistant's
}

// frameBits tell what an open container is.
type frameBits uint8

const (
	isArray  frameBits = 1 << iota
	isSource           // the value of a key "source"
	isCache            // the value of a key "cache_control"
)

// state says what the next byte belongs to.
type state uint8

const (
	atStart  state = iota // before the outermost brace
	atFirst               // the first key, or the end of the object
	atKey                 // a key
	atColon               // the colon after a key
	atElem                // the first element, or the end of the array
	atValue               // a value
	atNext                // a comma, or the end of the container
	inString              // inside a string, key or value
	inScalar              // inside a number, true, false or null
	inRaw                 // inside an object or array that counts as it stands
	inSkip                // inside an object or array that does not count
	atEnd                 // after the outermost object
	broken                // not a JSON object
)

// seed of the hashes of prefixes: they are compared within this process only.
var seed = maphash.MakeSeed()

// Reset makes the scanner ready for another body, of a request to the model.
// If model is "" the scanner takes it from the body, which may name it last,
// and counts for all families until it knows: half as fast.
func (s *Scanner) Reset(model string) {
	earlier := s.model
	*s = Scanner{ready: true, model: model, hinted: model != "", to: families - 1, data: media{windows: s.data.windows}}
	if s.hinted {
		f, _ := FamilyOf(model)
		s.from, s.to = f, f
	} else {
		s.model = earlier
	}
	s.text.hash.SetSeed(seed)
}

// Write implements [io.Writer]. It takes all of p and keeps none of it.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	if !s.ready {
		s.Reset("")
	}
	for len(p) > 0 {
		switch s.state {
		case inString:
			p = s.readString(p)
		case inRaw:
			p = s.readRaw(p)
		case inSkip:
			p = s.skip(p)
		case inScalar:
			p = s.readScalar(p)
		case broken:
			return n, nil
		case atKey, atFirst:
			if p[0] == '"' {
				p = s.key(p[1:])
				continue
			}
			fallthrough
		default:
			if !isSpace(p[0]) && !s.step(p[0]) {
				continue // the byte belongs to the next state
			}
			p = p[1:]
		}
	}
	return n, nil
}

// key takes the contents of a key, at once if they are plain and all there,
// as they are but for the ends of writes. It returns what follows.
func (s *Scanner) key(p []byte) []byte {
	s.word.reset()
	n := plain(p[:min(len(p), len(s.word.b)+1)])
	if n == len(p) || n > len(s.word.b) || p[n] != '"' {
		s.openString(toKey)
		return p
	}
	s.word.write(p[:n])
	s.state = atColon
	return p[n+1:]
}

// step takes one byte of the structure; false leaves it.
func (s *Scanner) step(c byte) bool {
	switch {
	case s.state == atStart && c == '{':
		s.open(c)
	case s.state == atFirst && c == '}', s.state == atElem && c == ']':
		s.close()
	case s.state == atColon && c == ':':
		s.state, s.use = atValue, s.keyUse(s.word.text())
	case s.state == atElem:
		s.state, s.use = atValue, s.elementUse()
		return s.value(c)
	case s.state == atValue:
		return s.value(c)
	case s.state == atNext && c == ',':
		s.state = atKey
		if s.top()&isArray != 0 {
			s.state, s.use = atValue, s.elementUse()
		}
	case s.state == atNext && c == '}' && s.top()&isArray == 0, s.state == atNext && c == ']' && s.top()&isArray != 0:
		s.close()
	default:
		s.state = broken
	}
	return true
}

// top tells what the innermost container is.
func (s *Scanner) top() frameBits { return s.stack[s.depth-1] }

// value takes the first byte of a value; false leaves it.
func (s *Scanner) value(c byte) bool {
	switch c {
	case '"':
		s.beginString()
	case '{', '[':
		s.container(c)
	case ',', ':', '}', ']':
		s.state = broken
	default:
		s.state = inScalar
		if s.use == useRaw {
			s.beginRaw()
		}
		return false
	}
	return true
}

// container begins an object or an array that is a value.
func (s *Scanner) container(c byte) {
	if s.depth == maxDepth && s.use != useSkip && s.use != useTTL {
		s.marks |= Deep
		s.use = useRaw
	}
	switch s.use {
	case useSkip, useTTL:
		s.state, s.nest = inSkip, 1
	case useRaw:
		s.state, s.nest = inRaw, 1
		s.beginRaw()
		s.text.put(s, c)
	default:
		s.open(c)
	}
}

// open goes into a container whose parts are told apart.
func (s *Scanner) open(c byte) {
	bits, state := frameBits(0), atFirst
	if c == '[' {
		bits, state = isArray, atElem
	}
	switch s.use {
	case useSource:
		bits |= isSource
	case useCache:
		bits |= isCache
		s.marks |= Caches
	}
	s.stack[s.depth] = bits
	s.depth++
	s.state = state
	s.opened(c == '{')
}

// close leaves such a container.
func (s *Scanner) close() {
	s.closing(s.top()&isArray == 0)
	s.depth--
	s.done()
}

// done ends a value that is no container, or one that was closed.
func (s *Scanner) done() {
	s.state = atNext
	switch s.depth {
	case 0:
		s.state = atEnd
	case 1:
		s.endSection()
	}
}

// readScalar goes to the end of the literal at hand and returns what follows.
func (s *Scanner) readScalar(p []byte) []byte {
	n := 0
	for n < len(p) && !endsScalar[p[n]] {
		n++
	}
	if s.use == useRaw {
		s.text.write(s, p[:n])
	}
	if n == len(p) {
		return nil
	}
	switch p[n] {
	case '"', ':', '{', '[':
		s.state = broken
		return nil
	}
	if s.use == useRaw {
		s.endRaw()
	}
	s.done()
	return p[n:]
}

// readRaw counts the value at hand as it stands, without white space between
// its parts and with its strings unescaped, and returns what follows it.
func (s *Scanner) readRaw(p []byte) []byte {
	for len(p) > 0 {
		if s.text.n > len(s.text.buf)/2 {
			s.text.flush(s)
		}
		n, quote := s.rawPart(p[:min(len(p), len(s.text.buf)/2)], s.text.buf[s.text.n:])
		p = p[n:]
		switch {
		case quote:
			s.openString(toRaw)
			return p
		case s.nest == 0:
			s.endRaw()
			s.done()
			return p
		}
	}
	return nil
}

// rawPart copies a part of a raw value that is no longer than room, and
// returns how much of it was read: all, or up to the end of the value, or up
// to the contents of a string that ends beyond the part or has escapes.
func (s *Scanner) rawPart(p, room []byte) (read int, quote bool) {
	n := 0
	room = room[:len(p)]
	defer func() { s.text.n += n }()
	for i := 0; i < len(p); i++ {
		c := p[i]
		if isSpace(c) {
			continue
		}
		room[n] = c
		n++
		switch c {
		case '{', '[':
			s.nest++
		case '}', ']':
			if s.nest--; s.nest == 0 {
				return i + 1, false
			}
		case '"':
			// Most strings are short and plain: no change of state for those.
			// The words that hold one are copied as they are looked at.
			end, m := i+1, uint64(0)
			for m == 0 && end <= len(p)-8 && n <= len(room)-8 {
				v := binary.LittleEndian.Uint64(p[end:])
				binary.LittleEndian.PutUint64(room[n:], v)
				m = special(v)
				k := bits.TrailingZeros64(m) / 8 // 8 if there is none
				end, n = end+k, n+k
			}
			if m == 0 || p[end] != '"' {
				return end, true
			}
			room[n] = '"'
			n++
			i = end
		}
	}
	return len(p), false
}

// skip goes to the end of the value at hand, which does not count.
func (s *Scanner) skip(p []byte) []byte {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '"':
			end := bytes.IndexByte(p[i+1:], '"')
			if end < 0 || end > 0 && p[i+end] == '\\' {
				s.openString(toNothing)
				return p[i+1:]
			}
			i += end + 1
		case '{', '[':
			s.nest++
		case '}', ']':
			s.nest--
			if s.nest == 0 {
				s.done()
				return p[i+1:]
			}
		}
	}
	return nil
}

// endsScalar tells which bytes a literal cannot hold.
var endsScalar = func() (t [256]bool) {
	for _, c := range []byte(",}] \n\r\t\":{[") {
		t[c] = true
	}
	return t
}()

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
