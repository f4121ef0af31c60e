package sim

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// An Attempt is the record of one request as it was seen on the wire. It holds
// neither a prompt nor a credential. The names of its JSON fields are stable.
type Attempt struct {
	At    time.Time     `json:"at"`
	Since time.Duration `json:"since_ns"` // since New or Reset

	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Model  string `json:"model,omitempty"`
	Stream bool   `json:"stream,omitempty"`

	KeyTag       string `json:"key_tag,omitempty"` // stands for the credential; "" if none was sent
	Organization string `json:"organization,omitempty"`
	Workspace    string `json:"workspace,omitempty"`

	Call       string      `json:"call,omitempty"`        // header sim-call, else evenkeel-id
	RetryCount string      `json:"retry_count,omitempty"` // header x-stainless-retry-count
	Header     http.Header `json:"header"`                // without credentials and cookies
	BodyBytes  int64       `json:"body_bytes"`            // as sent, before decoding; so far, if it broke off
	BodySHA256 string      `json:"body_sha256,omitempty"` // of the same; empty for uploads

	Status      int              `json:"status,omitempty"` // 0 if no headers were sent
	ErrorType   claude.ErrorType `json:"error_type,omitempty"`
	ErrorCode   claude.ErrorCode `json:"error_code,omitempty"`
	ShouldRetry string           `json:"should_retry,omitempty"`   // header x-should-retry, as sent
	RetryAfter  time.Duration    `json:"retry_after_ns,omitempty"` // header retry-after-ms, else retry-after, as sent
	Headers     time.Duration    `json:"headers_ns,omitempty"`     // from At until the headers of the answer left

	Fault     string        `json:"fault,omitempty"` // [Fault.String] of what struck; in a body, if it was long enough
	RequestID string        `json:"request_id"`      // the answer's request-id; known even if none was sent
	Done      bool          `json:"done"`            // no longer in flight
	Canceled  bool          `json:"canceled,omitempty"`
	Duration  time.Duration `json:"duration_ns,omitempty"` // to the end of the answer, once Done
	Events    int           `json:"events,omitempty"`      // of a stream, that left whole, pings not counted
	End       End           `json:"end,omitempty"`         // how the answer ended, once Done
	Effect    bool          `json:"effect,omitempty"`      // something was made that outlives the attempt: a batch, a file

	// What it has cost: input that was read, and output that was produced,
	// whether or not it arrived. All 0 for what was refused.
	InputTokens      int `json:"input_tokens,omitempty"`
	CacheReadTokens  int `json:"cache_read_tokens,omitempty"`
	CacheWriteTokens int `json:"cache_write_tokens,omitempty"`
	OutputTokens     int `json:"output_tokens,omitempty"`

	// Continues marks a request that asks for the rest of an answer that was
	// cut. CutHistory marks one that carries an answer of ours, which was cut,
	// in its history as if it had been whole.
	Continues  bool `json:"continues,omitempty"`
	CutHistory bool `json:"cut_history,omitempty"`

	// Told is what the client said of the call, on the last attempt of it;
	// see [API.Told].
	Told Told `json:"told,omitempty"`
}

// Told is how a call went in the words of the client.
type Told string

// What clients say. Empty is nothing.
const (
	ToldOK     Told = "ok"     // it has used the answer as a whole one
	ToldFailed Told = "failed" // it has not
)

// End is how the answer to an attempt ended, as the API saw it.
type End string

// The ends.
const (
	EndWhole    End = "whole"    // all of it left, whatever its status
	EndNone     End = "none"     // no headers left: refused, reset or closed
	EndError    End = "error"    // an error event ended a stream
	EndCut      End = "cut"      // reset or closed in the middle
	EndClean    End = "clean"    // the body ended as if it were whole, and was not
	EndCanceled End = "canceled" // the caller left first
)

// belongs returns whose attempt it is. Without a credential nobody knows.
func (t *attempt) belongs() (organization, workspace string) {
	if t.key == "" {
		return "", ""
	}
	if t.api.cfg.Workspace != nil {
		workspace = t.api.cfg.Workspace(t.key)
	}
	return t.organization(), workspace
}

// made records that the attempt made something that outlives it.
func (t *attempt) made() { t.update(func(rec *Attempt) { rec.Effect = true }) }

// maxEnvelope is the largest body in which an error is looked for. Those of
// the API have a few hundred bytes.
const maxEnvelope = 64 << 10

// answered records the headers of an outcome as they leave, and the error its
// body tells. The outcome it returns has the same body, unread.
func (t *attempt) answered(o outcome) outcome {
	var e envelope
	if o.status >= http.StatusBadRequest && o.body != nil && o.length >= 0 && o.length <= maxEnvelope {
		var said []byte
		said, o.body = peek(o.body)
		_ = json.Unmarshal(said, &e) // what is no envelope tells nothing
	}
	now := time.Now()
	t.update(func(rec *Attempt) {
		rec.Status, rec.Headers = o.status, now.Sub(t.began)
		rec.ErrorType = e.Error.Type
		if e.Error.Details != nil {
			rec.ErrorCode = e.Error.Details.Code
		}
		rec.ShouldRetry = o.header.Get("X-Should-Retry")
		rec.RetryAfter = retryAfter(o.header, now)
	})
	return o
}

// peek returns the bytes of a body, and the body as it was.
func peek(body source) ([]byte, source) {
	var pieces []piece
	var data []byte
	for p, ok := body(); ok; p, ok = body() {
		pieces = append(pieces, p)
		data = append(data, p.data...)
	}
	return data, func() (piece, bool) {
		if len(pieces) == 0 {
			return piece{}, false
		}
		p := pieces[0]
		pieces = pieces[1:]
		return p, true
	}
}

// retryAfter returns how long the headers ask to wait: retry-after-ms, which
// the official SDKs read first, else retry-after in seconds or as a date. A
// date counts from the Date of the same answer, because that clock wrote it. 0
// is nothing, or no time at all.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if d, ok := number(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d
	}
	text := h.Get("Retry-After")
	if d, ok := number(text, time.Second); ok {
		return d
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, until.Sub(now))
}

// number reads a number of units, not less than 0 and at most what a Duration
// holds.
func number(text string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(n) {
		return 0, false
	}
	if n *= float64(unit); n >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(max(0, n)), true
}

// ring keeps the newest records, and what clients said of the newest calls.
// Guarded by API.mu.
type ring struct {
	limit  int
	list   []*Attempt
	oldest int

	told map[string]Told // by call
	said []string        // its keys, oldest first
}

func (r *ring) add(a *Attempt) {
	if len(r.list) < r.limit {
		r.list = append(r.list, a)
		return
	}
	r.list[r.oldest] = a
	r.oldest = (r.oldest + 1) % len(r.list)
}

// tell keeps what was said of a call. The calls told of are at most as many as
// the records kept; the oldest is forgotten first.
func (r *ring) tell(call string, said Told) {
	if r.told == nil {
		r.told = map[string]Told{}
	}
	if _, again := r.told[call]; !again {
		if len(r.said) >= r.limit {
			delete(r.told, r.said[0])
			r.said = r.said[1:]
		}
		r.said = append(r.said, call)
	}
	r.told[call] = said
}

func (r *ring) all() []Attempt {
	out := make([]Attempt, 0, len(r.list))
	for i := range r.list {
		a := *r.list[(r.oldest+i)%len(r.list)]
		a.Header = a.Header.Clone()
		out = append(out, a)
	}
	attach(out, r.told)
	return out
}

// attach writes what was said of calls to the last attempt of each. attempts
// are in the order in which they began.
func attach(attempts []Attempt, told map[string]Told) {
	if len(told) == 0 {
		return
	}
	done := make(map[string]bool, len(told))
	for i := len(attempts) - 1; i >= 0; i-- {
		a := &attempts[i]
		if said := told[a.Call]; said != "" && !done[a.Call] {
			a.Told, done[a.Call] = said, true
		}
	}
}
