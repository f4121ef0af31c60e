package evenkeel

import (
	"fmt"
	"io"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel/resume"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// source is a stream of whole events: as upstream sends them, or spliced to
// what has been delivered already. Its methods are those of [stream.Reader].
type source interface {
	io.Reader
	Hold() error
	Held() (events, half []byte)
	State() stream.State
	Broken() bool
}

// splicer gives the events of a continuing attempt as those that go on with
// the stream that was cut.
type splicer struct {
	*stream.Reader
	splice  *resume.Splice
	out     []byte // for the caller
	off     int    // out[:off] has been returned
	begun   bool   // something of the continuation has been in out
	err     error  // the continuation is not as documented
	scratch [4 << 10]byte
}

func newSplicer(src io.Reader, s *resume.Splice) *splicer {
	c := &splicer{Reader: stream.NewReader(src), splice: s}
	c.Each, c.Withhold = c.take, true
	return c
}

// take splices an event. Signs of life are left out until there is something
// to deliver, so that the attempt can be tried again as long as there is not.
func (c *splicer) take(event []byte) {
	switch {
	case c.err != nil:
	case event == nil:
		c.err = fmt.Errorf("%w: an event of more than %d bytes", resume.ErrMalformed, stream.MaxEvent)
	case c.begun || !quiet(event):
		var out []byte
		out, c.err = c.splice.Event(event)
		c.out = append(c.out, out...)
		c.begun = c.begun || len(out) > 0
	}
}

// quiet tells that an event says nothing but that the stream is alive.
func quiet(event []byte) bool {
	name, data := stream.Fields(event)
	if len(name) == 0 {
		name = []byte(gjson.GetBytes(data, "type").Str)
	}
	return len(data) == 0 || string(name) == "ping"
}

// Hold reads until there is something to deliver. What is not as documented is
// left to Read to tell: another attempt would bring the same.
func (c *splicer) Hold() error {
	for !c.begun && c.err == nil {
		if err := c.more(); err != nil {
			return err
		}
	}
	return nil
}

// more reads on; what comes has been spliced when it returns.
func (c *splicer) more() error {
	_, err := c.Reader.Read(c.scratch[:])
	return err
}

// Read implements [io.Reader].
func (c *splicer) Read(p []byte) (int, error) {
	for c.off == len(c.out) {
		c.out, c.off = c.out[:0], 0
		if c.err != nil {
			return 0, c.err
		}
		if err := c.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.out[c.off:])
	c.off += n
	return n, nil
}

// State is that of the continuing attempt. What could not be spliced is not whole.
func (c *splicer) State() stream.State {
	s := c.Reader.State()
	if c.err != nil {
		s.Stopped, s.Finished = false, false
	}
	return s
}

// Broken implements source: only whole events are made.
func (c *splicer) Broken() bool { return false }
