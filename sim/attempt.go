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
	logged    bool     // rec is in Config.Record; guarded by api.mu

	reply    Reply // if scripted
	scripted bool
	badReply error // the sim-script header is wrong
	rules    []*force
	fault    Fault
	taken    *force  // whose Times the fault was counted against; nil for none
	hit      bool    // the fault has struck; guarded by api.mu
	ticket   *ticket // of a messages call that was let in; nil otherwise
}

// outcome is what an attempt gets. With a fate there is no answer at all.
type outcome struct {
	wait   time.Duration // before anything happens
	tokens int           // of a plain messages answer, produced after wait and before the headers
	fate   Kind          // Hang, ResetBeforeHeaders, CloseBeforeHeaders, ResetInHeaders, or none
	status int
	header http.Header
	length int64  // of the body; -1 for a stream
	body   source // nil for none
	fault  Fault  // what happens to the body; the feed's business

	end     End  // what it means that all of the body left; "" is EndWhole
	oddDate bool // dates are of odd forms
}

// begin counts and records an attempt, and decides what is decided before a
// byte of the request has been read.
func (a *API) begin(r *http.Request) *attempt {
	t := &attempt{api: a, began: time.Now(), key: credential(r.Header)}
	t.keyTag = a.keyTag(t.key)
	t.rec = &Attempt{
		At: t.began, Method: r.Method, Path: r.URL.Path, Query: withoutSecretsIn(r.URL.RawQuery),
		KeyTag: t.keyTag, RetryCount: r.Header.Get("X-Stainless-Retry-Count"),
		Call: r.Header.Get(headerCall), Header: withoutSecrets(r.Header),
	}
	t.rec.Organization, t.rec.Workspace = t.belongs()
	if t.rec.Call == "" {
		t.rec.Call = r.Header.Get("Evenkeel-Id")
	}
	a.mu.Lock()
	a.calls++
	t.n = uint64(a.calls)
	t.rec.Since = t.began.Sub(a.began)
	t.requestID = "req_" + a.id(t.n)
	t.rec.RequestID = t.requestID
	t.rules = a.rules
	a.log.add(t.rec)
	a.mu.Unlock()

	t.reply, t.scripted, t.badReply = a.scripted(r, t.keyTag)
	if t.scripted {
		t.fault = t.reply.fault()
		t.scripted = t.fault.Kind != "" || t.reply.Status != 0
	}
	if !t.scripted {
		t.fault = Fault{}
		t.strike(claude.PathOf(r.Method, r.URL.Path), "", true)
	}
	return t
}

// handle reads the request and returns what happens to it. The error is that
// of reading the body.
//
// It may wait, for a place among those the API serves at once; the error then
// is the cause of the context's end.
func (t *attempt) handle(r *http.Request) (outcome, error) {
	in, err := t.read(r)
	if err != nil {
		return outcome{}, err
	}
	if t.badReply != nil {
		return t.problem(http.StatusBadRequest, claude.InvalidRequest, "", t.badReply.Error()), nil
	}
	if !t.scripted {
		t.strike(claude.PathOf(r.Method, r.URL.Path), in.Model, false)
		t.fault.After += t.reply.After
	}
	return t.decide(r, in, t.fault)
}

// update changes the record.
func (t *attempt) update(f func(*Attempt)) {
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	f(t.rec)
}

// await lets the time pass that an outcome takes before its headers, and dates
// them.
func (t *attempt) await(ctx context.Context, o outcome) error {
	if err := sleep(ctx, o.wait); err != nil {
		return err
	}
	if err := t.ticket.produceAll(ctx, o.tokens); err != nil {
		return err
	}
	if o.length >= 0 {
		t.ticket.leave() // nothing is left to be produced
	}
	if t.ticket != nil && o.status == http.StatusOK {
		shown := http.Header{}
		t.ticket.write(shown)
		for name, values := range shown {
			if _, told := o.header[name]; !told { // by a fault, or a script
				o.header[name] = values
			}
		}
	}
	switch now := time.Now().UTC(); {
	case o.oddDate:
		oddDates(o.header, now)
	case o.header != nil:
		o.header.Set("Date", now.Format(http.TimeFormat))
	}
	return nil
}

// done closes the record and gives back what the attempt held; the first call
// counts.
func (t *attempt) done(end End) {
	t.ticket.leave()
	now := time.Now()
	t.update(func(rec *Attempt) {
		if rec.Done {
			return
		}
		rec.Done, rec.End, rec.Canceled, rec.Duration = true, end, end == EndCanceled, now.Sub(t.began)
		if t.taken != nil && !t.hit {
			t.taken.struck-- // there was nothing to strike
		}
	})
	t.log()
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

// secrets are parts of the names of what may authenticate.
var secrets = []string{"key", "token", "secret", "auth", "cookie", "password", "credential", "signature"}

func mayBeSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secrets, func(part string) bool { return strings.Contains(name, part) })
}

// withoutSecrets returns a copy of h without what may authenticate.
func withoutSecrets(h http.Header) http.Header {
	out := h.Clone()
	for name := range out {
		if mayBeSecret(name) {
			delete(out, name)
		}
	}
	return out
}

// withoutSecretsIn returns a query without the values that may authenticate.
func withoutSecretsIn(query string) string {
	if query == "" {
		return ""
	}
	fields := strings.Split(query, "&")
	for i, field := range fields {
		if name, _, ok := strings.Cut(field, "="); ok && mayBeSecret(name) {
			fields[i] = name + "=redacted"
		}
	}
	return strings.Join(fields, "&")
}
