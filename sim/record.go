package sim

import (
	"net/http"
	"time"
)

// An Attempt is the record of one request as it was seen on the wire. It holds
// neither a prompt nor a credential.
type Attempt struct {
	At    time.Time     `json:"at"`
	Since time.Duration `json:"since_ns"` // since New or Reset

	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Model  string `json:"model,omitempty"`
	Stream bool   `json:"stream,omitempty"`

	KeyTag     string      `json:"key_tag,omitempty"`     // stands for the credential; "" if none was sent
	Call       string      `json:"call,omitempty"`        // header sim-call, else evenkeel-id
	RetryCount string      `json:"retry_count,omitempty"` // header x-stainless-retry-count
	Header     http.Header `json:"header"`                // without credentials and cookies
	BodyBytes  int64       `json:"body_bytes"`            // as sent, before decoding; so far, if it broke off
	BodySHA256 string      `json:"body_sha256,omitempty"` // of the same; empty for uploads

	Status    int           `json:"status,omitempty"` // 0 if no headers were sent
	Fault     string        `json:"fault,omitempty"`  // [Fault.String] of what struck; in a body, if it was long enough
	RequestID string        `json:"request_id"`       // the answer's request-id; known even if none was sent
	Done      bool          `json:"done"`             // no longer in flight
	Canceled  bool          `json:"canceled,omitempty"`
	Duration  time.Duration `json:"duration_ns,omitempty"` // to the end of the answer, once Done
	Events    int           `json:"events,omitempty"`      // of a stream, that left whole, pings not counted
}

// ring keeps the newest records. Guarded by API.mu.
type ring struct {
	limit  int
	list   []*Attempt
	oldest int
}

func (r *ring) add(a *Attempt) {
	if len(r.list) < r.limit {
		r.list = append(r.list, a)
		return
	}
	r.list[r.oldest] = a
	r.oldest = (r.oldest + 1) % len(r.list)
}

func (r *ring) all() []Attempt {
	out := make([]Attempt, 0, len(r.list))
	for i := range r.list {
		a := *r.list[(r.oldest+i)%len(r.list)]
		a.Header = a.Header.Clone()
		out = append(out, a)
	}
	return out
}
