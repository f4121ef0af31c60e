package resume

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// The ways in which a continuing attempt fails.
var (
	ErrUpstream  = errors.New("resume: the continuation ended with an error event")
	ErrMalformed = errors.New("resume: the continuation is not as documented")
)

// Splice turns the events of a continuing attempt into those that go on where
// the cut attempt ended. It is made by [Transcript.Splice] and not safe for
// concurrent use.
type Splice struct {
	err     error
	out     []byte
	event   rawjson.Object // at hand; its memory is used again
	started bool
	done    bool

	block string // index of the block that was cut, as written
	stage stage  // of that block
	held  []byte // of its text, as it stands between quotes
	seam  seam
	slots []slot // of the continuing attempt's blocks, by its index
	next  int    // index of the next block that begins

	before, usage rawjson.Object // of the cut attempt; of this one
}

// stage is how far the block that was cut has come.
type stage uint8

const (
	waiting stage = iota // for a block that goes on with it
	holding              // for text that shows the seam
	joined               // text passes
	closed               // stopped
)

// slot is what becomes of a block.
type slot struct {
	index string // as the caller sees it; "" if swallowed
	open  bool
	joins bool // it goes on with the block that was cut
}

// Splice returns one for a continuing attempt, after [Transcript.Request] has
// made its body. Each attempt needs one of its own.
func (t *Transcript) Splice() *Splice {
	before := append(rawjson.Object(nil), t.usage...)
	before.Set("output_tokens", strconv.FormatInt(t.Output(), 10))
	return &Splice{block: strconv.Itoa(t.blocks - 1), next: t.blocks, seam: t.seam(), before: before}
}

// Whole tells that the message has come to its end, and all of it was returned.
func (s *Splice) Whole() bool { return s.done }

// Event takes the next whole event of the continuing attempt, with its lines
// and the blank one after them, and returns what the caller gets: nothing, or
// whole events, valid until the next call.
//
// [ErrUpstream] and [ErrMalformed] end the message, and are returned ever
// after; text that was held is then lost, as the message is.
func (s *Splice) Event(event []byte) (out []byte, err error) {
	if s.err != nil {
		return nil, s.err
	}
	s.out = s.out[:0]
	if s.err = s.take(event); s.err != nil {
		return nil, s.err
	}
	return s.out, nil
}

func (s *Splice) take(event []byte) error {
	field, data := stream.Fields(event)
	name := string(field)
	if len(data) == 0 {
		s.out = append(s.out, event...) // comments are a sign of life
		return nil
	}
	if !rawjson.Valid(data) {
		return fmt.Errorf("%w: no JSON", ErrMalformed)
	}
	e, ok := s.event.Reparse(string(data))
	s.event = e
	if !ok {
		return fmt.Errorf("%w: no object", ErrMalformed)
	}
	kind := e.Text("type")
	if kind == "" {
		kind = name
	}
	switch {
	case kind == "error":
		return fmt.Errorf("%w: %s", ErrUpstream, claude.ParseErrorEvent(data).Type)
	case isPart(kind) && (s.done || s.started == (kind == "message_start")):
		return fmt.Errorf("%w: %s in the wrong place", ErrMalformed, kind)
	}
	switch kind {
	case "message_start":
		return s.start(e)
	case "content_block_start":
		return s.startBlock(name, e)
	case "content_block_delta":
		return s.delta(name, e)
	case "content_block_stop":
		return s.stopBlock(name, e)
	case "message_delta":
		return s.end(name, e)
	case "message_stop":
		if err := s.finish(); err != nil {
			return err
		}
		s.done = true
	}
	return s.pass(name, e, event)
}

// pass returns an event that is none of the message as it came, unless it
// speaks of a block.
func (s *Splice) pass(name string, e rawjson.Object, event []byte) error {
	i, err := strconv.Atoi(e.Get("index"))
	switch {
	case err != nil || i < 0 || i >= len(s.slots):
		s.out = append(s.out, event...)
	case s.slots[i].index != "":
		s.emit(name, e, s.slots[i].index)
	}
	return nil
}

// emit writes an event under the index that the caller sees.
func (s *Splice) emit(name string, e rawjson.Object, index string) {
	e.Set("index", index)
	s.out = appendEvent(s.out, name, e)
}

func (s *Splice) start(e rawjson.Object) error {
	m, ok := rawjson.Parse(e.Get("message"))
	if c := m.Get("content"); !ok || c != "" && c != "[]" && c != "null" {
		return fmt.Errorf("%w: message_start", ErrMalformed)
	}
	told, ok := parseUsage(m.Get("usage"))
	if !ok {
		return fmt.Errorf("%w: usage", ErrMalformed)
	}
	overwrite(&s.usage, told)
	s.started = true
	return nil
}

func (s *Splice) startBlock(name string, e rawjson.Object) error {
	b, ok := rawjson.Parse(e.Get("content_block"))
	if !ok || e.Get("index") != strconv.Itoa(len(s.slots)) {
		return fmt.Errorf("%w: content_block_start", ErrMalformed)
	}
	switch kind := b.Text("type"); {
	case kind == "thinking" || kind == "redacted_thinking":
		s.slots = append(s.slots, slot{open: true})
		return nil
	case kind == "text" && s.stage == waiting:
		s.slots = append(s.slots, slot{s.block, true, true})
		s.stage = holding
		return s.hold(b.Get("text"))
	}
	if s.stage == waiting { // the text was complete after all
		s.close()
	}
	index := strconv.Itoa(s.next)
	s.next++
	s.slots = append(s.slots, slot{index: index, open: true})
	s.emit(name, e, index)
	return nil
}

// close stops the block that was cut.
func (s *Splice) close() {
	s.out = appendStop(s.out, s.block)
	s.stage = closed
}

// slot returns what becomes of the open block that an event is for.
func (s *Splice) slot(e rawjson.Object) (*slot, error) {
	i, err := strconv.Atoi(e.Get("index"))
	if err != nil || i < 0 || i >= len(s.slots) || !s.slots[i].open {
		return nil, fmt.Errorf("%w: event for a block that is not open", ErrMalformed)
	}
	return &s.slots[i], nil
}

func (s *Splice) delta(name string, e rawjson.Object) error {
	to, err := s.slot(e)
	if err != nil || to.index == "" {
		return err
	}
	if to.joins && s.stage == holding {
		if d, ok := rawjson.Parse(e.Get("delta")); ok && d.Text("type") == "text_delta" {
			return s.hold(d.Get("text"))
		}
	}
	s.emit(name, e, to.index)
	return nil
}

// hold takes text before the seam is known, and lets it go when it is.
func (s *Splice) hold(raw string) error {
	piece, ok := rawjson.Inner(raw)
	if !ok && raw != "" {
		return fmt.Errorf("%w: text", ErrMalformed)
	}
	s.held = append(s.held, piece...)
	if len(s.held) > 0 {
		s.release(false)
	}
	return nil
}

func (s *Splice) release(atEnd bool) {
	text, sure := s.seam.join(rawjson.Decode(`"`+string(s.held)+`"`), atEnd)
	if sure {
		s.out = appendText(s.out, s.block, text)
		s.held, s.stage = nil, joined
	}
}

func (s *Splice) stopBlock(name string, e rawjson.Object) error {
	to, err := s.slot(e)
	if err != nil {
		return err
	}
	to.open = false
	if to.index == "" {
		return nil
	}
	if to.joins {
		if s.stage == holding {
			s.release(true)
		}
		s.stage = closed
	}
	s.emit(name, e, to.index)
	return nil
}

// end takes a message_delta.
func (s *Splice) end(name string, e rawjson.Object) error {
	if d, ok := rawjson.Parse(e.Get("delta")); ok && d.Text("stop_reason") != "" {
		if err := s.finish(); err != nil {
			return err
		}
	}
	told, ok := parseUsage(e.Get("usage"))
	if !ok {
		return fmt.Errorf("%w: usage", ErrMalformed)
	}
	overwrite(&s.usage, told)
	e.Set("usage", string(sum(s.before, s.usage, told).Append(nil)))
	s.out = appendEvent(s.out, name, e)
	return nil
}

// finish stops the block that was cut if nothing went on with it, and checks
// that no other is left open.
func (s *Splice) finish() error {
	if s.stage == waiting {
		s.close()
	}
	for _, b := range s.slots {
		if b.open && b.index != "" {
			return fmt.Errorf("%w: ends with a block open", ErrMalformed)
		}
	}
	return nil
}
