package evenkeel

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"

	"github.com/evenkeel-dev/evenkeel/stream"
)

// encoded tells that a body came compressed although identity was asked for.
// It is passed as it came, and decoded on the side for what must be known.
func encoded(h http.Header) bool {
	e := field(h, "Content-Encoding")
	return e != "" && e != "identity"
}

// decoded returns the beginning of an error body, decoded as far as it can be.
func decoded(h http.Header, head []byte) []byte {
	if !encoded(h) {
		return head
	}
	if field(h, "Content-Encoding") != "gzip" {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(z, errorBody)) // as far as it goes
	return plain
}

// sideReader watches a compressed stream that passes as it came: what is
// written to it is decoded, and its events are followed, on a goroutine that
// ends with close.
type sideReader struct {
	in     *io.PipeWriter
	events *stream.Reader // belongs to the goroutine until done is closed
	done   chan struct{}
}

// newSideReader returns nil for an encoding that cannot be followed.
func newSideReader(h http.Header) *sideReader {
	if field(h, "Content-Encoding") != "gzip" {
		return nil
	}
	out, in := io.Pipe()
	s := &sideReader{in: in, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		z, err := gzip.NewReader(out)
		if err == nil {
			s.events = stream.NewReader(z)
			_, err = io.Copy(io.Discard, s.events)
		}
		if err != nil {
			_ = out.CloseWithError(err) // what follows cannot be followed
		}
		_, _ = io.Copy(io.Discard, out) // nor may it block what passes
	}()
	return s
}

// write hands bytes over; they are used when it returns.
func (s *sideReader) write(p []byte) { _, _ = s.in.Write(p) }

// close ends the goroutine and returns what the stream has brought.
func (s *sideReader) close() stream.State {
	_ = s.in.Close()
	<-s.done
	if s.events == nil {
		return stream.State{}
	}
	return s.events.State()
}
