package sim

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// maxQueue is how many lines may wait for a slow writer before attempts wait
// for it too: a few megabytes (guess).
const maxQueue = 4096

// recorder writes lines to Config.Record. Nobody works for it: an attempt that
// ends and finds nobody writing writes its line, and those that others leave
// meanwhile. So a slow disk holds up one attempt at a time, and the others
// only once maxQueue lines wait.
type recorder struct {
	w io.Writer // nil records nothing

	mu      sync.Mutex // guards all below
	free    sync.Cond  // something below has changed
	queue   [][]byte
	writing bool
	waiting int // how many wait for room in queue
	err     error
}

func newRecorder(w io.Writer) *recorder {
	r := &recorder{w: w}
	r.free.L = &r.mu
	return r
}

// add writes a line, or leaves it to the one who writes.
func (r *recorder) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && r.writing && len(r.queue) >= maxQueue {
		r.waiting++
		r.free.Wait()
		r.waiting--
	}
	r.queue = append(r.queue, line)
	if !r.writing {
		r.writing = true
		r.write(len(r.queue))
		r.writing = false
		r.free.Broadcast()
	}
}

// write writes what is queued: all of it, unless somebody waits to take over
// once the first own lines are out. r.mu is held, but not while writing.
func (r *recorder) write(own int) {
	for len(r.queue) > 0 && r.err == nil && (own > 0 || r.waiting == 0) {
		line := r.queue[0]
		r.queue = r.queue[1:]
		own--
		r.mu.Unlock()
		_, err := r.w.Write(line)
		r.mu.Lock()
		r.err = err
		r.free.Broadcast()
	}
	if r.err != nil {
		r.queue = nil
	}
}

// flush waits until all lines are written, and returns the error that ended
// the recording.
func (r *recorder) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writing || len(r.queue) > 0 {
		r.free.Wait()
	}
	return r.err
}

// log gives the record of an attempt that has ended to Config.Record, once.
func (t *attempt) log() {
	if t.api.cfg.Record == nil {
		return
	}
	t.api.mu.Lock()
	rec, due := *t.rec, t.rec.Done && !t.logged
	t.logged = t.logged || due
	t.api.mu.Unlock()
	if due {
		t.api.record.add(append(marshal(rec), '\n'))
	}
}

// FlushRecord waits until every attempt that has ended is written to
// Config.Record. Its error is that of the write that failed, after which
// nothing was written any more.
func (a *API) FlushRecord() error { return a.record.flush() }

// ErrCutRecord reports that the last line of a recording is incomplete, as a
// writer leaves it that was killed.
var ErrCutRecord = errors.New("the last line is incomplete")

// maxLine bounds the lines of a recording. Go's server takes headers of 1 MiB,
// which JSON can make six times as long.
const maxLine = 8 << 20

// recordLine is a line of a recording: an attempt, or what a client said of a
// call.
type recordLine struct {
	Attempt
	OK *bool `json:"ok"`
}

// ReadAttempts reads what Config.Record was given, or GET /sim/attempts has
// answered: a JSON object a line, of fields that are known. Attempts come back
// in the order in which they began. An error names the line and comes without
// attempts, except [ErrCutRecord], which comes with those before it.
func ReadAttempts(r io.Reader) ([]Attempt, error) {
	var attempts []Attempt
	told := map[string]Told{}
	in := bufio.NewReaderSize(r, 64<<10)
	var cut error
	for n := 1; ; n++ {
		line, err := readLine(in)
		whole := err == nil
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("sim: line %d: %w", n, err)
		}
		if !whole && len(line) == 0 {
			break
		}
		if err := addLine(line, &attempts, told); err != nil && !whole {
			cut = fmt.Errorf("sim: line %d: %w", n, ErrCutRecord)
		} else if err != nil {
			return nil, fmt.Errorf("sim: line %d: %w", n, err)
		}
		if !whole {
			break
		}
	}
	slices.SortStableFunc(attempts, func(a, b Attempt) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Since, b.Since))
	})
	attach(attempts, told)
	return attempts, cut
}

// readLine returns the next line without its end. At the end of the file it
// returns what is left and io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("longer than %d MiB", maxLine>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(line, []byte{'\n'}), err
		}
	}
}

// addLine adds what a line says.
func addLine(line []byte, attempts *[]Attempt, told map[string]Told) error {
	var l recordLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	if l.OK != nil {
		if l.Call == "" {
			return errors.New(`call is missing, want the header sim-call or evenkeel-id of the call`)
		}
		told[l.Call] = says(*l.OK)
		return nil
	}
	if err := l.check(); err != nil {
		return err
	}
	*attempts = append(*attempts, l.Attempt)
	return nil
}

// check reports what no recorder writes.
func (a *Attempt) check() error {
	ends := []End{"", EndWhole, EndNone, EndError, EndCut, EndClean, EndCanceled}
	switch {
	case a.At.IsZero():
		return errors.New("at is missing")
	case a.Method == "":
		return errors.New("method is missing")
	case a.Duration < 0 || a.Headers < 0 || a.RetryAfter < 0:
		return errors.New("durations must not be negative")
	case min(a.InputTokens, a.CacheReadTokens, a.CacheWriteTokens, a.OutputTokens) < 0:
		return errors.New("tokens must not be negative")
	case !slices.Contains(ends, a.End):
		return fmt.Errorf("end is %q, want one of %q", a.End, ends[1:])
	case a.Told != "" && a.Told != ToldOK && a.Told != ToldFailed:
		return fmt.Errorf("told is %q, want %q or %q", a.Told, ToldOK, ToldFailed)
	}
	return nil
}
