package sim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// piece is a part of a body and how long after the piece before it is due.
// In a stream it is one event.
type piece struct {
	data []byte
	wait time.Duration
	ping bool

	tokens int // of output that this piece takes to produce
}

// source yields the pieces of a body; false means there are no more.
type source func() (piece, bool)

// once is a source of pieces that are due at once.
func once(parts ...[]byte) source {
	return func() (piece, bool) {
		if len(parts) == 0 {
			return piece{}, false
		}
		p := piece{data: parts[0]}
		parts = parts[1:]
		return p, true
	}
}

// garbage is what a proxy in the way puts between events.
const garbage = "<html><head><title>502 Bad Gateway</title></head><body>\n<center><h1>502 Bad Gateway</h1></center>\n</body></html>\n"

const pingEvent = "event: ping\ndata: {\"type\":\"ping\"}\n\n"

// errReset is what a reader of a reset connection sees.
var errReset error = &net.OpError{Op: "read", Net: "tcp", Addr: remote, Err: os.NewSyscallError("read", syscall.ECONNRESET)}

// feed gives out a body on time, and breaks it where its fault says. The zero
// value of what is not set by its maker is ready.
type feed struct {
	body   source
	fault  Fault
	charge func(ctx context.Context, tokens int) error // gives leave to produce tokens; may wait, and take nothing if ctx ends
	failed []byte                                      // the frame of an ErrorEventAt
	ping   time.Duration                               // longest silence; 0 for a plain body
	whole  End                                         // what it means that all of body left
	struck func()                                      // called when the fault strikes
	flush  func()                                      // called before a wait, if bytes or headers were given out since; nil for none

	begun   bool
	flushed bool
	due     time.Time // of the piece before
	sent    time.Time // when the last bytes left
	events  int       // that passed whole, pings not counted
	bytes   int64     // that passed, of the body as it is without the fault
	pending piece     // comes next, unless the body has ended
	spent   bool      // the fault has struck
	end     error     // what follows, once set; io.EOF as soon as the last piece is out
	how     End       // … and what that means
	held    []byte    // to be given out byte by byte
	zip     *zipper   // nil if the body is not compressed
	timer   *time.Timer
	leave   patience
}

// next returns the next bytes when they are due, or how the body ends: io.EOF,
// io.ErrUnexpectedEOF, a reset, or the cause of ctx's end. The bytes are good
// until it is called again.
func (f *feed) next(ctx context.Context) ([]byte, error) {
	if !f.begun {
		f.begin()
	}
	if len(f.held) == 0 {
		if f.end != nil {
			return nil, f.end
		}
		data, err := f.frame(ctx)
		if err != nil {
			return nil, err
		}
		if f.zip != nil {
			data = f.zip.write(data, f.end != nil)
		}
		if f.fault.Kind != SlowBytes {
			f.flushed = false
			return data, nil
		}
		f.held = data
	}
	return f.drip(ctx)
}

func (f *feed) begin() {
	f.begun = true
	f.due = time.Now()
	f.sent = f.due
	if f.fault.Kind == Gzip && f.ping > 0 {
		f.zip = newZipper()
	}
	f.pull()
}

// pull gets the next piece; if there is none, the body is whole. A connection
// that breaks after the piece before breaks now, whoever reads it.
func (f *feed) pull() {
	p, ok := f.body()
	if f.pending = p; !ok {
		f.finish(io.EOF, f.whole)
	} else if f.breaks() {
		f.snap()
	}
}

// finish sets how the body ends; the first call counts.
func (f *feed) finish(err error, how End) {
	if f.end == nil {
		f.end, f.how = err, how
	}
}

// ended is how the answer ends for the one who leaves it now.
func (f *feed) ended() End {
	if f.end == nil || len(f.held) > 0 {
		return EndCanceled
	}
	return f.how
}

// frame returns the next piece, or part of it, or a ping.
func (f *feed) frame(ctx context.Context) ([]byte, error) {
	if f.breaks() {
		return f.strike(ctx)
	}
	due := f.due.Add(f.pending.wait)
	pinged, err := f.await(ctx, due)
	if err == nil && !pinged && f.pending.tokens > 0 {
		pinged, err = f.produce(ctx)
		due = due.Add(f.leave.waited)
	}
	switch {
	case err != nil:
		f.finish(err, EndCanceled)
		return nil, err
	case pinged:
		return pingFrame, nil
	}
	if room := f.fault.Bytes - f.bytes; f.fault.Bytes > 0 && room < int64(len(f.pending.data)) && !f.spent {
		f.bytes += room
		data := f.pending.data[:room]
		f.due, f.pending.wait, f.pending.tokens = due, 0, 0
		f.snap()
		return data, nil
	}
	f.due, f.leave.waited = due, 0
	data, isPing := f.spoiled(f.pending.data), f.pending.ping
	f.bytes += int64(len(f.pending.data))
	if f.end != nil {
		return data, nil
	}
	if !isPing {
		f.events++
	}
	f.pull()
	return data, nil
}

var pingFrame = []byte(pingEvent)

// breaks reports whether now is when the body breaks off.
func (f *feed) breaks() bool {
	switch f.fault.Kind {
	case ResetAfter, CloseAfter, EndAfter, StallAfter, ErrorEventAt, Garbage:
	default:
		return false
	}
	if f.fault.Bytes > 0 {
		return f.bytes >= f.fault.Bytes
	}
	return f.events >= f.fault.Events
}

// snap ends a body that breaks off without another byte.
func (f *feed) snap() {
	switch f.fault.Kind {
	case ResetAfter:
		f.finish(errReset, EndCut)
	case CloseAfter:
		f.finish(io.ErrUnexpectedEOF, EndCut)
	case EndAfter:
		f.finish(io.EOF, EndClean)
	default:
		return
	}
	f.hit()
}

// hit notes that the fault has struck.
func (f *feed) hit() {
	if !f.spent {
		f.spent = true
		f.struck()
	}
}

// strike breaks the body off as the fault says.
func (f *feed) strike(ctx context.Context) ([]byte, error) {
	f.hit()
	switch f.fault.Kind {
	case StallAfter:
		return f.stall(ctx)
	case ErrorEventAt:
		f.finish(io.EOF, EndError)
		return f.failed, nil
	case Garbage:
		f.finish(io.EOF, EndClean)
		return []byte(garbage), nil
	}
	f.snap()
	return nil, f.end
}

// spoiled is an event as a fault that strikes in it leaves it.
func (f *feed) spoiled(data []byte) []byte {
	if f.spent || f.pending.ping || f.events < f.fault.Events {
		return data
	}
	switch f.fault.Kind {
	case HalfEvent:
		f.hit()
		f.finish(io.ErrUnexpectedEOF, EndCut)
		return data[:len(data)/2]
	case DuplicateEvent:
		f.hit()
		f.events++
		return bytes.Repeat(data, 2)
	case HugeEvent:
		if padded, ok := pad(data, "\n\n", cmp.Or(f.fault.Size, defaultSize)); ok {
			f.hit()
			return padded
		}
	}
	return data
}

// stall is silent, but for pings if they go on, until ctx ends.
func (f *feed) stall(ctx context.Context) ([]byte, error) {
	if f.fault.Pings && f.ping > 0 {
		if err := f.pause(ctx, time.Until(f.sent.Add(f.ping))); err != nil {
			f.finish(err, EndCanceled)
			return nil, err
		}
		f.sent = time.Now()
		return pingFrame, nil
	}
	f.push()
	<-ctx.Done()
	f.finish(context.Cause(ctx), EndCanceled)
	return nil, f.end
}

// drip gives out one byte of what is held.
func (f *feed) drip(ctx context.Context) ([]byte, error) {
	pace := cmp.Or(f.fault.Pace, defaultPace)
	if err := f.pause(ctx, time.Until(f.sent.Add(pace))); err != nil {
		f.end, f.how = err, EndCanceled
		return nil, err
	}
	f.sent = time.Now()
	f.flushed = false
	data := f.held[:1]
	f.held = f.held[1:]
	return data, nil
}

// zipper compresses a stream, an event at a time.
type zipper struct {
	out bytes.Buffer
	zip *gzip.Writer
}

func newZipper() *zipper {
	z := &zipper{}
	z.zip = gzip.NewWriter(&z.out)
	return z
}

// write returns data compressed so far that all of it can be read. A buffer
// never fails.
func (z *zipper) write(data []byte, last bool) []byte {
	z.out.Reset()
	_, _ = z.zip.Write(data)
	if last {
		_ = z.zip.Close()
	} else {
		_ = z.zip.Flush()
	}
	return z.out.Bytes()
}
