// Package stream passes server-sent events on whole, and knows whether the
// message they carry is whole.
//
// A [Reader] reads bytes and gives bytes, unchanged, but never half an event:
// what it returns ends where an event ends, at its blank line. An event that
// is not complete when the stream breaks is dropped. On the way the reader
// notes what decisions need: content seen, message finished, error told.
//
// An event of more than [MaxEvent] bytes is passed as it comes, because
// holding it would cost more than it protects; [Reader.Broken] then tells that
// a cut has left half of it with the caller.
//
// Where an event ends is the standard's rule (“Server-sent events”,
// html.spec.whatwg.org) but for one thing: a line ends with LF or CRLF, and a
// CR alone is a byte like any other, as for the official Go client. The API
// sends none, and whether a CR at the end of what has come ends a line is not
// known before the next byte. What ends here ends for every client, so nobody
// gets half an event.
//
// What an event says is read as the official clients read it: its name decides
// where it has one, else the type in its data; data that is no JSON object
// says nothing, unless the event is named error. TestReader_asTheReference
// holds all of this against a second reader that is slow and obvious.
package stream

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// MaxEvent is the size above which an event is passed on before it is complete.
const MaxEvent = 1 << 20

// A stream's buffer begins small, since most events are, and is read into
// while minRead bytes of it are free.
const (
	firstBuffer = 4 << 10
	minRead     = 512
)

// State is what a stream has brought so far.
type State struct {
	Events   int          // complete ones with a name or data; comments are none
	Content  bool         // content of the answer: a delta that is not empty, a finished block, a message_delta, or more than MaxEvent bytes of one event
	Stopped  bool         // a message_delta named a stop reason
	Finished bool         // message_stop has come
	Usage    claude.Usage // as far as it has been told
	Model    string       // that message_start names: an alias may mean another than was asked for
	Error    claude.Error // of an error event; zero if none came
}

// Whole tells whether the message is complete: message_stop has come, or a
// stop reason, after which some intermediaries end the stream.
func (s State) Whole() bool { return s.Finished || s.Stopped }

// Reader passes whole events. It is not safe for concurrent use.
type Reader struct {
	// Each, unless nil, is called with every whole event before Read returns
	// any of it, and with nil where an event is passed as it comes. It may not
	// keep the bytes. Set it before the first Read.
	Each func(event []byte)

	// Withhold makes an error event end the stream: Read does not return it,
	// and Held has it.
	Withhold bool

	// Max is the size in bytes above which an event is passed before it is
	// complete. NewReader sets it to MaxEvent.
	Max int

	src   io.Reader
	buf   []byte // what has been read and is still of use
	off   int    // buf[:off] has been returned
	ready int    // buf[off:ready] may be returned: whole events
	next  int    // buf[:next] has been searched for line ends
	line  int    // start of the line being searched; negative if it was returned long ago
	lines int    // of the event at hand, so far
	cr    bool   // the byte before buf was the line's first, and a CR
	begun bool   // the first event, or comment, has ended
	giant bool   // inside an event that is passed as it comes
	eof   error
	state State

	joined []byte // memory for data in several lines
}

// NewReader returns a Reader over src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, Max: MaxEvent} }

// State returns what has been read so far. Events are counted when they are
// complete, which is before the Read that returns them.
func (r *Reader) State() State { return r.state }

// Broken tells that the stream ended inside an event of which a part has
// already been passed on.
func (r *Reader) Broken() bool { return r.giant && r.eof != nil }

// Hold reads until the stream has content, without giving any of it out. It
// returns nil once it has; what it has read is what Read returns next. If
// there is none it returns how the stream ended: io.EOF also for one with an
// error event, whose cause State tells. A stream that begins with an event
// that is passed as it comes, or with more than twice MaxEvent bytes of others,
// is taken to have content.
func (r *Reader) Hold() error {
	for !r.state.Content && !r.state.Finished && r.state.Error.Type == "" {
		switch {
		case r.eof != nil:
			return r.eof
		case len(r.buf) > 2*r.Max:
			return nil
		}
		r.fill()
	}
	if r.state.Error.Type != "" {
		return io.EOF
	}
	return nil
}

// Held returns the whole events that have been read and not returned, and
// what is there of one that is not complete. An error event that is withheld
// is the last of the former. Both are valid until the next Read or Hold.
func (r *Reader) Held() (events, half []byte) {
	if r.refused() {
		return r.buf[r.off:], nil
	}
	return r.buf[r.off:r.ready], r.buf[r.ready:]
}

// Read implements [io.Reader]. It waits until at least one event is complete,
// and returns as many whole ones as it has and p can hold. It returns the
// error of the source, or io.EOF, after the last whole event.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.ready == r.off {
		if r.eof != nil {
			return 0, r.eof
		}
		r.fill()
	}
	n := copy(p, r.buf[r.off:r.ready])
	r.off += n
	return n, nil
}

// fill reads once from the source and looks for the ends of events.
func (r *Reader) fill() {
	r.compact()
	if cap(r.buf)-len(r.buf) < minRead {
		grown := make([]byte, len(r.buf), max(2*cap(r.buf), firstBuffer))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.eof = err
	r.scan()
	if len(r.buf)-r.ready > r.Max && !r.giant && !r.refused() {
		r.tooLarge()
		r.giant = true
	}
	if r.giant {
		r.ready = len(r.buf)
	}
}

// tooLarge tells of an event that is passed as it comes, once.
func (r *Reader) tooLarge() {
	r.state.Content = true
	if r.Each != nil {
		r.Each(nil)
	}
}

// refused tells that an error event has come, which is not passed on.
func (r *Reader) refused() bool { return r.Withhold && r.state.Error.Type != "" }

// compact forgets the bytes that have been returned. It is called when all
// that was ready has been, so what it moves is less than one event.
func (r *Reader) compact() {
	n := r.off
	if n == 0 {
		return
	}
	if r.line >= 0 && r.line < n { // only inside a giant
		r.cr = r.buf[r.line] == '\r'
	}
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	r.off, r.ready, r.next, r.line = 0, r.ready-n, r.next-n, r.line-n
}

// scan looks for the blank lines that end events.
func (r *Reader) scan() {
	for {
		i := bytes.IndexByte(r.buf[r.next:], '\n')
		if i < 0 {
			r.next = len(r.buf)
			return
		}
		end := r.next + i
		blank := end == r.line || end == r.line+1 && r.startsWithCR()
		r.cr = false
		r.next, r.line = end+1, end+1
		if !blank {
			r.lines++
			continue
		}
		switch {
		case r.giant: // its end: what follows is passed whole again
			r.giant = false
			r.state.Events++
		case r.next-r.ready > r.Max:
			r.tooLarge()
			r.state.Events++
		default:
			r.whole(r.buf[r.ready:r.next])
			if r.refused() {
				r.buf, r.eof = r.buf[:r.next], io.EOF
				return
			}
		}
		r.ready, r.lines, r.begun = r.next, 0, true
	}
}

// whole takes a whole event.
func (r *Reader) whole(event []byte) {
	if !r.begun {
		event = bytes.TrimPrefix(event, mark)
	}
	r.note(event)
	if r.Each != nil && !r.refused() {
		r.Each(event)
	}
}

func (r *Reader) startsWithCR() bool {
	if r.line < 0 {
		return r.cr
	}
	return r.buf[r.line] == '\r'
}

// deltaEvent and deltaEventCRLF begin nearly every event of a stream.
var (
	deltaEvent     = []byte("event: content_block_delta\ndata:")
	deltaEventCRLF = []byte("event: content_block_delta\r\ndata:")
)

// mark may stand at the beginning of a stream, and is no part of it.
var mark = []byte("\xef\xbb\xbf")

// note reads what an event says about the message. Name and type are the same
// (“Streaming messages”, platform.claude.com, 2026-09-02); the name is cheaper
// to find.
func (r *Reader) note(event []byte) {
	if r.state.Content && r.lines == 2 && (bytes.HasPrefix(event, deltaEvent) || bytes.HasPrefix(event, deltaEventCRLF)) {
		r.state.Events++
		return
	}
	if r.lines == 1 && len(event) > 0 && event[0] == ':' {
		return // a comment
	}
	name, data, joined := appendFields(r.joined[:0], event)
	r.joined = joined
	if len(data) == 0 && len(name) == 0 {
		return // comments only
	}
	r.state.Events++
	kind := view(name)
	if kind == "" {
		kind = typeOf(data)
	}
	switch kind {
	case "content_block_delta":
		r.state.Content = r.state.Content || isObject(data) && !emptyDelta(data)
	case "content_block_stop":
		r.state.Content = r.state.Content || isObject(data)
	case "message_start":
		if isObject(data) {
			message := member(gjson.Parse(view(data)), "message")
			r.state.Usage.Merge(bytesOf(member(message, "usage").Raw))
			r.state.Model = cut(member(message, "model").Str)
		}
	case "message_delta":
		if isObject(data) {
			r.ending(gjson.Parse(view(data)))
		}
	case "message_stop":
		r.state.Finished = r.state.Finished || isObject(data)
	case "error":
		r.state.Error = claude.ParseErrorEvent(data)
		if r.state.Error.Type == "" {
			r.state.Error.Type = claude.API
		}
	}
}

// ending reads a message_delta.
func (r *Reader) ending(data gjson.Result) {
	r.state.Content = true
	r.state.Usage.Merge(bytesOf(member(data, "usage").Raw))
	if reason := member(member(data, "delta"), "stop_reason"); reason.Type == gjson.String && reason.Str != "" {
		r.state.Stopped = true
	}
}

// cut bounds a name, and takes it out of the event it stands in.
func cut(name string) string { return strings.Clone(name[:min(len(name), maxName)]) }

const maxName = 128 // bytes of a model

// isObject tells that data can be read by clients.
func isObject(data []byte) bool {
	at := bytes.TrimLeft(data, " \t\r\n")
	return len(at) > 0 && at[0] == '{' && valid(data)
}

// valid is [json.Valid], which is slower, and now and then allocates. That
// refuses what is more than 10,000 levels deep, for which 20,000 bytes are needed.
func valid(data []byte) bool {
	if len(data) < 20_000 {
		return gjson.ValidBytes(data)
	}
	return json.Valid(data)
}

// view is b as a string, and bytesOf a string as bytes, without a copy: that
// would be an allocation for each event. What is found in a view is only
// compared, or cloned, before the event's memory is used again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// typeOf returns the type in the data of an event, a view of it; "" if there
// is none.
func typeOf(data []byte) string {
	if !isObject(data) {
		return ""
	}
	return member(gjson.Parse(view(data)), "type").Str
}

// member returns a member of an object: of several of one name the last, as
// JSON parsers do. What is no object has none.
func member(object gjson.Result, name string) (last gjson.Result) {
	if !object.IsObject() {
		return last
	}
	object.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			last = value
		}
		return true
	})
	return last
}

// emptyDelta tells that a delta carries nothing: every text in it is empty, as
// in the one with which tool input begins, or there is none.
func emptyDelta(data []byte) bool {
	delta := member(gjson.Parse(view(data)), "delta")
	if !delta.IsObject() {
		return delta.Type == gjson.Null
	}
	empty := true
	delta.ForEach(func(key, value gjson.Result) bool {
		if key.Str != "type" && (value.Type != gjson.String || value.Str != "") {
			empty = false
		}
		return empty
	})
	return empty
}

// Fields returns the name and the data of one event. Lines end with LF or
// CRLF; data in several lines is joined with LF, as the standard of
// server-sent events says, and is then a copy; else both are parts of event.
func Fields(event []byte) (name, data []byte) {
	name, data, _ = appendFields(nil, event)
	return name, data
}

// appendFields is Fields, with the copy in the memory of joined, which is
// empty. It returns that memory, as far as it has grown.
func appendFields(joined, event []byte) (name, data, grown []byte) {
	some := 0
	for len(event) > 0 {
		line := event
		if i := bytes.IndexByte(event, '\n'); i >= 0 {
			line, event = event[:i], event[i+1:]
		} else {
			event = nil
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "event":
			name = value
		case "data":
			switch some++; some {
			case 1:
				data = value
				continue
			case 2:
				joined = append(joined, data...)
			}
			joined = append(append(joined, '\n'), value...)
			data = joined
		}
	}
	return name, data, joined
}
