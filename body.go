package evenkeel

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// buffers lends out 32 KiB blocks for copying.
var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// ledger counts the bytes of all request bodies kept for retries.
type ledger struct{ used atomic.Int64 }

func (l *ledger) reserve(n, limit int64) bool {
	if l.used.Add(n) > limit {
		l.used.Add(-n)
		return false
	}
	return true
}

// payload is the body of one call. It can give each attempt a fresh reader,
// unless the body is larger than a bound or cannot be rewound: then it gives
// one, unbuffered.
type payload struct {
	orig   io.ReadCloser                 // the caller's; nil if there is none or it has been read
	again  func() (io.ReadCloser, error) // the caller's GetBody; may be nil
	kept   []byte                        // read from orig
	isKept bool
	rest   io.Reader // what follows kept in a body that is passed once
	ledger *ledger
	held   int64     // reserved in ledger
	once   *onceBody // given to the attempt of a body that passes once
}

// open prepares the body of r and reads it whole if need be, so that nothing
// is sent upstream before all of it has arrived.
func (p *payload) open(r *http.Request, l *ledger, m Memory) error {
	p.ledger = l
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	p.orig, p.again = r.Body, r.GetBody
	if p.again != nil {
		return nil
	}
	if r.ContentLength > m.Body {
		return p.look(r.ContentLength)
	}
	return p.read(r.ContentLength, m)
}

// firstBytes is how much of a body is read in one go, and how much is looked at
// of one that is not kept.
const firstBytes = int64(64 << 10)

// look reads the beginning of a body that passes once. Who cannot be kept must
// still be known: a call without a model would go past the limits. It is held
// beyond the bound, which is overdrawn by that much for each such call.
func (p *payload) look(announced int64) error {
	size := firstBytes
	if announced >= 0 {
		size = min(size, announced)
	}
	p.ledger.used.Add(size)
	p.held += size
	buf := make([]byte, size)
	n, err := io.ReadFull(p.orig, buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	p.kept, p.rest = buf[:n], p.orig
	return nil
}

// read keeps the body, growing with the bytes received and not with what the
// caller has announced.
func (p *payload) read(announced int64, m Memory) error {
	size := min(firstBytes, m.Body)
	if announced >= 0 {
		size = min(size, announced)
	}
	if !p.grow(size, m) {
		return p.look(announced)
	}
	buf := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	for {
		n, err := p.orig.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			p.kept, p.isKept = buf, true
			err := p.orig.Close()
			p.orig = nil
			return err
		}
		if err != nil {
			return err
		}
		if len(buf) < cap(buf) {
			continue
		}
		more := min(int64(cap(buf)), m.Body-p.held)
		if more <= 0 || !p.grow(more, m) {
			p.kept, p.rest = buf, p.orig
			return nil
		}
		buf = append(make([]byte, 0, int64(cap(buf))+more), buf...)
	}
}

func (p *payload) grow(n int64, m Memory) bool {
	if p.held+n > m.Body || !p.ledger.reserve(n, m.Bodies) {
		return false
	}
	p.held += n
	return true
}

// rewinds tells whether the body can be sent more than once.
func (p *payload) rewinds() bool { return p.rest == nil }

// describe hands the body, or what is known of it, to f without consuming it.
func (p *payload) describe(f func(io.Reader)) {
	switch {
	case p.kept != nil:
		f(bytes.NewReader(p.kept))
	case p.again != nil:
		if body, err := p.again(); err == nil {
			f(body)
			_ = body.Close()
		}
	}
}

// whole returns the body that attempts send, which must rewind and be no larger
// than one that is kept. It is not to be changed.
func (p *payload) whole(m Memory) ([]byte, error) {
	if p.isKept || p.again == nil {
		return p.kept, nil
	}
	body, err := p.again()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, m.Body+1))
	if err == nil && int64(len(b)) > m.Body {
		err = errLarge
	}
	return b, err
}

var errLarge = errors.New("body is larger than one that is kept")

// replace makes further attempts send another body.
func (p *payload) replace(body []byte) {
	more := int64(len(body)) - p.held
	p.ledger.used.Add(more)
	p.held += more
	p.kept, p.isKept = body, true
}

// attach gives an attempt its body.
func (p *payload) attach(r *http.Request) error {
	switch {
	case p.isKept && len(p.kept) == 0:
		r.Body, r.GetBody, r.ContentLength = http.NoBody, nil, 0
	case p.isKept:
		r.ContentLength = int64(len(p.kept))
		kept := p.kept
		r.Body = newKeptBody(kept)
		r.GetBody = func() (io.ReadCloser, error) { return newKeptBody(kept), nil }
	case p.rest != nil:
		r.GetBody = nil
		p.once = &onceBody{Reader: io.MultiReader(bytes.NewReader(p.kept), p.rest), Closer: p.orig}
		r.Body, p.orig = p.once, nil
	case p.orig != nil: // first attempt of a body that GetBody can repeat
		r.Body, p.orig = p.orig, nil
	case p.again != nil:
		body, err := p.again()
		if err != nil {
			return err
		}
		r.Body = body
	}
	return nil
}

// close closes the caller's body if no attempt has taken it, as a
// RoundTripper must, and gives the memory back.
func (p *payload) close() {
	if p.orig != nil {
		_ = p.orig.Close()
	}
	p.orig = nil
	p.free()
}

// free gives the memory back once no attempt can need it.
func (p *payload) free() {
	p.ledger.used.Add(-p.held)
	p.held, p.kept = 0, nil
}

// keptBody reads kept bytes, and lets go of them when it is closed: a
// transport holds a request until its answer has ended, which for a stream may
// be an hour.
type keptBody struct {
	mu sync.Mutex // transports may close under a Read
	r  *bytes.Reader
}

func newKeptBody(b []byte) *keptBody { return &keptBody{r: bytes.NewReader(b)} }

func (k *keptBody) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.Read(p)
}

func (k *keptBody) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.r.Reset(nil)
	return nil
}

// onceBody is a body that passes once. It remembers that the caller's side of
// it has failed, which is not upstream's fault.
type onceBody struct {
	io.Reader
	io.Closer
	failed atomic.Pointer[error]
}

func (b *onceBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed.Store(&err)
	}
	return n, err
}

// bodyError is an error of the caller's GetBody.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

// callersFault returns the error of the caller's own body, if that is why an
// attempt failed.
func (p *payload) callersFault(err error) error {
	if own, ok := errors.AsType[*bodyError](err); ok {
		return own.error
	}
	if p.once != nil {
		if failed := p.once.failed.Load(); failed != nil {
			return *failed
		}
	}
	return nil
}
