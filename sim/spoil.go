package sim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// decide gives a request that was read its answer, and lets the fault into it.
func (t *attempt) decide(r *http.Request, in input, f Fault) (outcome, error) {
	switch {
	case f.Kind == Status, f.Kind == Hang, f.Kind == ResetBeforeHeaders, f.Kind == CloseBeforeHeaders:
		return t.instead(r, in, f)
	case f.isError():
		return t.spoil(t.failure(f), f), nil
	}
	o, err := t.route(r, in)
	if err != nil {
		return outcome{}, err
	}
	if f.Kind.isOtherEnd() && o.status == http.StatusOK && claude.PathOf(r.Method, r.URL.Path) == claude.Messages {
		t.struck()
	}
	return t.spoil(o, f), nil
}

// instead is what happens in place of the proper answer. If the fault accepts,
// the proper answer is made all the same, and lost.
func (t *attempt) instead(r *http.Request, in input, f Fault) (outcome, error) {
	t.struck()
	var proper outcome
	if f.Accept {
		var err error
		if proper, err = t.route(r, in); err != nil {
			return outcome{}, err
		}
	}
	o := outcome{fate: f.Kind}
	if f.Kind == Status {
		o = t.failure(f)
		t.dress(&o, f)
	}
	o.wait, o.tokens = proper.wait+f.After, proper.tokens
	return o, nil
}

// struck records the fault.
func (t *attempt) struck() {
	t.update(func(rec *Attempt) {
		t.hit = true
		rec.Fault = t.fault.String()
	})
}

// dress adds the headers of a fault, and of a reply of a script, to an answer.
func (t *attempt) dress(o *outcome, f Fault) {
	for _, headers := range []map[string]string{f.Header, t.reply.Header} {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			if headers[name] == "" {
				o.header.Del(name)
			} else {
				o.header.Set(name, headers[name])
			}
		}
	}
}

// spoil lets a fault into an answer. What is no answer, or has no body to
// strike, is left as it is.
func (t *attempt) spoil(o outcome, f Fault) outcome {
	o.wait += f.After
	t.dress(&o, f)
	switch {
	case f.Kind == Slow:
		t.struck()
	case f.Kind == ResetInHeaders:
		t.struck()
		o.fate = f.Kind
	case f.Kind == OddDate:
		t.struck()
		o.oddDate = true
	case o.body == nil || f.Kind == "" || f.Kind.isOtherEnd():
	case f.Kind == SlowBytes:
		t.struck()
		o.fault = f
	case f.Kind == Gzip:
		t.struck()
		o.header.Set("Content-Encoding", "gzip")
		if o.fault = f; o.length >= 0 {
			o = replaced(o, zipped(whole(o.body)))
		}
	case o.status != http.StatusOK:
	case o.length >= 0:
		return t.spoilPlain(o, f)
	default: // the feed of the stream sees to it
		o.fault = f
	}
	return o
}

// spoilPlain lets a fault into a plain answer.
func (t *attempt) spoilPlain(o outcome, f Fault) outcome {
	data := whole(o.body)
	o.body = once(data)
	switch f.Kind {
	case ErrorEventAt: // before the headers, it still has a status
		t.struck()
		f.Status = statusOf(f.Type)
		failed := t.failure(f)
		t.dress(&failed, f)
		failed.wait, failed.tokens = o.wait, o.tokens
		return failed
	case DuplicateEvent: // there are no events
		return o
	case HugeEvent:
		if padded, ok := pad(data, "", cmp.Or(f.Size, defaultSize)); ok {
			t.struck()
			return replaced(o, padded)
		}
		return o
	case Garbage:
		if f.Bytes < int64(len(data)) {
			t.struck()
			o = replaced(o, append(data[:f.Bytes:f.Bytes], garbage...))
			o.end = EndClean
		}
		return o
	}
	at := len(data) / 2
	if f.Bytes > 0 {
		at = int(min(f.Bytes, int64(len(data))))
	}
	if at == len(data) {
		return o
	}
	if f.Kind == EndAfter || f.Kind == HalfEvent { // less than Content-Length is never a clean end
		f.Kind = CloseAfter
	}
	o.fault = f
	o.fault.Events, o.fault.Bytes = 1, 0
	o.body = once(data[:at], data[at:])
	return o
}

// replaced is a plain answer with another body.
func replaced(o outcome, data []byte) outcome {
	o.length, o.body = int64(len(data)), once(data)
	return o
}

// whole returns all of a plain body.
func whole(body source) []byte {
	var out []byte
	for {
		p, ok := body()
		if !ok {
			return out
		}
		if out == nil {
			out = p.data
		} else {
			out = append(out, p.data...)
		}
	}
}

func zipped(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(data) // a buffer never fails
	_ = z.Close()
	return out.Bytes()
}

// pad makes data, which is a JSON object and then end, size bytes long with a
// field that nobody knows. It is false if data is no object, or too long
// already.
func pad(data []byte, end string, size int) ([]byte, bool) {
	const field = `,"padding":"`
	object, ok := bytes.CutSuffix(data, []byte("}"+end))
	room := size - len(data) - len(field) - len(`"`)
	if !ok || room < 0 {
		return nil, false
	}
	out := make([]byte, 0, size)
	out = append(append(out, object...), field...)
	out = append(out, bytes.Repeat([]byte("x"), room)...)
	return append(append(out, `"}`...), end...), true
}

// oddDates writes Date, and a Retry-After in seconds, in the obsolete forms of
// HTTP dates that recipients must accept (RFC 9110, 5.6.7), by a clock that is
// a day slow.
func oddDates(h http.Header, now time.Time) {
	now = now.AddDate(0, 0, -1)
	h.Set("Date", now.Format("Monday, 02-Jan-06 15:04:05 GMT"))
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		h.Set("Retry-After", now.Add(time.Duration(seconds)*time.Second).Format(time.ANSIC))
	}
}
