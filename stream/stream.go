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
package stream

import (
	"bytes"
	"io"

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
	Events   int          // complete ones
	Content  bool         // content of the answer: a delta that is not empty, a finished block, or a message_delta
	Stopped  bool         // a message_delta named a stop reason
	Finished bool         // message_stop has come
	Usage    claude.Usage // as far as it has been told
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

	// Max is the size above which an event is passed before it is complete.
	// 0 means MaxEvent.
	Max int

	src   io.Reader
	buf   []byte // what has been read and is still of use
	off   int    // buf[:off] has been returned
	ready int    // buf[off:ready] may be returned: whole events
	next  int    // buf[:next] has been searched for line ends
	line  int    // start of the line being searched; negative if it was returned long ago
	cr    bool   // the byte before buf was the line's first, and a CR
	giant bool   // inside an event that is passed as it comes
	eof   error
	state State
}

// NewReader returns a Reader over src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// State returns what has been read so far. Events are counted when they are
// complete, which is before the Read that returns them.
func (r *Reader) State() State { return r.state }

// Broken tells that the stream ended inside an event of which a part has
// already been passed on.
func (r *Reader) Broken() bool { return r.giant && r.eof != nil }

// held bounds what [Reader.Hold] keeps; a stream that begins with more is
// taken to have content.
const held = 2 * MaxEvent

// Hold reads until the stream has content, without giving any of it out. It
// returns nil once it has; what it has read is what Read returns next. If
// there is none it returns how the stream ended: io.EOF also for one with an
// error event, whose cause State tells.
func (r *Reader) Hold() error {
	for !r.state.Content && !r.state.Finished && r.state.Error.Type == "" {
		switch {
		case r.eof != nil:
			return r.eof
		case r.giant || len(r.buf) > held:
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
	if len(r.buf)-r.ready > r.max() && !r.giant && !r.refused() {
		r.giant = true
		if r.Each != nil {
			r.Each(nil)
		}
	}
	if r.giant {
		r.ready = len(r.buf)
	}
}

func (r *Reader) max() int {
	if r.Max > 0 {
		return r.Max
	}
	return MaxEvent
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
	if r.line >= 0 && r.line < n {
		r.cr = n == r.line+1 && r.buf[r.line] == '\r' // only inside a giant
	} else if r.line < 0 {
		r.cr = false
	}
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	r.off, r.ready, r.next, r.line = 0, r.ready-n, r.next-n, r.line-n
}

// scan looks for the blank lines that end events. A line ends with LF or
// CRLF, as in every stream of the API seen so far.
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
			continue
		}
		if r.giant {
			r.giant = false // its end: what follows is passed whole again
		} else {
			event := r.buf[r.ready:r.next]
			r.note(event)
			if r.refused() {
				r.buf, r.eof = r.buf[:r.next], io.EOF
				return
			}
			if r.Each != nil {
				r.Each(event)
			}
		}
		r.ready = r.next
	}
}

func (r *Reader) startsWithCR() bool {
	if r.line < 0 {
		return r.cr
	}
	return r.buf[r.line] == '\r'
}

// deltaEvent begins nearly every event of a stream.
var deltaEvent = []byte("event: content_block_delta\n")

// note reads what an event says about the message. The name in the event
// field and the type in the data are the same (“Streaming messages”,
// platform.claude.com, 2026-09-02); the name is cheaper to find.
func (r *Reader) note(event []byte) {
	if r.state.Content && bytes.HasPrefix(event, deltaEvent) {
		r.state.Events++
		return
	}
	name, data := Fields(event)
	if len(data) == 0 && len(name) == 0 {
		return // comments only
	}
	r.state.Events++
	if len(name) == 0 {
		name = []byte(gjson.GetBytes(data, "type").Str)
	}
	switch string(name) {
	case "content_block_delta":
		r.state.Content = r.state.Content || !emptyDelta(data)
	case "content_block_stop":
		r.state.Content = true
	case "message_start":
		r.state.Usage.Merge(raw(data, "message.usage"))
	case "message_delta":
		r.state.Content = true
		r.state.Usage.Merge(raw(data, "usage"))
		if gjson.GetBytes(data, "delta.stop_reason").Type == gjson.String {
			r.state.Stopped = true
		}
	case "message_stop":
		r.state.Finished = true
	case "error":
		r.state.Error = claude.ParseErrorEvent(data)
		if r.state.Error.Type == "" {
			r.state.Error.Type = claude.API
		}
	}
}

func raw(data []byte, path string) []byte { return []byte(gjson.GetBytes(data, path).Raw) }

// emptyDelta tells that a delta carries nothing: every text in it is empty, as
// in the one with which tool input begins.
func emptyDelta(data []byte) bool {
	empty := true
	gjson.GetBytes(data, "delta").ForEach(func(key, value gjson.Result) bool {
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
	some := 0
	for len(event) > 0 {
		line := event
		if i := bytes.IndexByte(event, '\n'); i >= 0 {
			line, event = event[:i], event[i+1:]
		} else {
			event = nil
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if v, ok := bytes.CutPrefix(line, []byte("event:")); ok {
			name = bytes.TrimPrefix(v, []byte{' '})
			continue
		}
		v, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		v = bytes.TrimPrefix(v, []byte{' '})
		switch some++; some {
		case 1:
			data = v
		case 2:
			data = append(append(append(make([]byte, 0, len(data)+len(v)+1), data...), '\n'), v...)
		default:
			data = append(append(data, '\n'), v...)
		}
	}
	return name, data
}
