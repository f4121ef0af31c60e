package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// attempt is one request on its way through the API. Both faces do the same
// with it: begin, maybe refused, handle, send the outcome, done.
type attempt struct {
	api       *API
	n         uint64 // the first is 1
	began     time.Time
	key       string // the credential; "" if there is none
	keyTag    string
	requestID string
	rec       *Attempt // guarded by api.mu

	reply    Reply // if scripted
	scripted bool
	badReply error // the sim-script header is wrong
	rules    []Rule
	ruled    time.Duration // age of the rules
	fault    Fault
}

// outcome is what an attempt gets. With a fate there is no answer at all.
type outcome struct {
	wait   time.Duration // before anything happens
	fate   Kind          // Hang, ResetBeforeHeaders, CloseBeforeHeaders, or none
	status int
	header http.Header
	length int64  // of the body; -1 for a stream
	body   source // nil for none
	fault  Fault  // what happens to the body
}

// begin counts and records an attempt, and decides what is decided before a
// byte of the request has been read.
func (a *API) begin(r *http.Request) *attempt {
	t := &attempt{api: a, began: time.Now(), key: credential(r.Header)}
	t.keyTag = a.keyTag(t.key)
	t.rec = &Attempt{
		At: t.began, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		KeyTag: t.keyTag, RetryCount: r.Header.Get("X-Stainless-Retry-Count"),
		Call: r.Header.Get(headerCall), Header: withoutSecrets(r.Header),
	}
	if t.rec.Call == "" {
		t.rec.Call = r.Header.Get("Evenkeel-Id")
	}
	a.mu.Lock()
	a.calls++
	t.n = uint64(a.calls)
	t.rec.Since = t.began.Sub(a.began)
	t.requestID = "req_" + a.id(t.n)
	t.rec.RequestID = t.requestID
	t.rules, t.ruled = a.rules, t.began.Sub(a.ruled)
	a.log.add(t.rec)
	a.mu.Unlock()

	t.reply, t.scripted, t.badReply = a.scripted(r, t.keyTag)
	if t.scripted {
		t.fault = t.reply.fault()
		t.scripted = t.fault.Kind != "" || t.reply.Status != 0
	}
	if !t.scripted && t.fault.Kind == "" {
		t.fault = t.strike(claude.PathOf(r.Method, r.URL.Path), "", true)
	}
	return t
}

// strike returns the fault of the first rule that strikes, among those that
// refuse the connection or among all others.
func (t *attempt) strike(class claude.Path, model string, connecting bool) Fault {
	for i, rule := range t.rules {
		rule.Fault = rule.filled()
		if connecting != (rule.Kind == Refuse) || !rule.covers(t.ruled, class, model) {
			continue
		}
		if unit(mix(t.api.cfg.Seed, t.n, uint64(i))) < rule.Rate {
			return rule.Fault
		}
	}
	return Fault{}
}

// handle reads the request and returns what happens to it. The error is that
// of reading the body.
func (t *attempt) handle(r *http.Request) (outcome, error) {
	in, err := t.read(r)
	if err != nil {
		return outcome{}, err
	}
	if t.badReply != nil {
		return t.problem(http.StatusBadRequest, claude.InvalidRequest, "", t.badReply.Error()), nil
	}
	if !t.scripted {
		t.fault = t.strike(claude.PathOf(r.Method, r.URL.Path), in.Model, false)
		t.fault.After += t.reply.After
	}
	switch f := t.fault; f.Kind {
	case Status, Hang, ResetBeforeHeaders, CloseBeforeHeaders:
		t.struck()
		if f.Accept {
			t.route(r, in)
		}
		if f.Kind == Status {
			return t.failure(f), nil
		}
		return outcome{wait: f.After, fate: f.Kind}, nil
	}
	return t.spoil(t.route(r, in), t.fault), nil
}

// struck records the fault.
func (t *attempt) struck() {
	t.update(func(rec *Attempt) { rec.Fault = t.fault.String() })
}

// spoil lets a fault into the body of an answer. What is no answer, or has no
// body, is left as it is.
func (t *attempt) spoil(o outcome, f Fault) outcome {
	o.wait += f.After
	for name, value := range f.Header {
		o.header.Set(name, value)
	}
	for name, value := range t.reply.Header {
		o.header.Set(name, value)
	}
	if f.Kind == Slow {
		t.struck()
		return o
	}
	if f.Kind == "" || o.status != http.StatusOK || o.body == nil {
		return o
	}
	t.struck()
	o.fault = f
	if o.length < 0 {
		return o
	}
	whole, _ := o.body() // a plain body is one piece
	switch f.Kind {
	case ErrorEventAt: // before the headers, it still has a status
		f.Kind, f.Status = Status, statusOf(f.Type)
		failed := t.failure(f)
		failed.wait = o.wait
		return failed
	case Garbage:
		o.length = int64(len(garbage))
		o.body, o.fault = once([]byte(garbage)), Fault{}
		return o
	case EndAfter, HalfEvent: // less than Content-Length is never a clean end
		o.fault.Kind = CloseAfter
	}
	o.fault.Events = 1
	half := len(whole.data) / 2
	o.body = once(whole.data[:half], whole.data[half:])
	return o
}

// update changes the record.
func (t *attempt) update(f func(*Attempt)) {
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	f(t.rec)
}

// done closes the record; the first call counts.
func (t *attempt) done(canceled bool) {
	now := time.Now()
	t.update(func(rec *Attempt) {
		if !rec.Done {
			rec.Done, rec.Canceled, rec.Duration = true, canceled, now.Sub(t.began)
		}
	})
}

// refused reports whether the attempt gets no connection, once the time until
// that shows has passed.
func (t *attempt) refused(ctx context.Context) (bool, error) {
	if t.fault.Kind != Refuse {
		return false, nil
	}
	t.struck()
	return true, sleep(ctx, t.fault.After)
}

// credential returns what authenticates a request. If both headers are there,
// x-api-key counts (which one the API prefers is not documented).
func credential(h http.Header) string {
	if key := h.Get("X-Api-Key"); key != "" {
		return key
	}
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// keyTag stands for a key in records. It cannot be turned back.
func (a *API) keyTag(key string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("evenkeel sim\n" + key))
	return hex.EncodeToString(sum[:6])
}

// organization returns the organisation of the attempt's key.
func (t *attempt) organization() string {
	if t.api.cfg.Organization != nil && t.key != "" {
		return t.api.cfg.Organization(t.key)
	}
	return "org-" + t.keyTag
}

// withoutSecrets returns a copy of h without what authenticates.
func withoutSecrets(h http.Header) http.Header {
	out := h.Clone()
	for name := range out {
		if slices.Contains([]string{"X-Api-Key", "Authorization", "Proxy-Authorization", "Cookie"}, http.CanonicalHeaderKey(name)) {
			delete(out, name)
		}
	}
	return out
}
