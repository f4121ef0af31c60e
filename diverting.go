package evenkeel

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/fallback"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// A call for a model that cannot answer in time may be answered by another
// (Config.Fallback). When it comes to that is for its machine to say; here it is
// looked whether the request may go there, and bodies are exchanged:
//
//	perform ── Offer ──► divert ── may go ──► Redirect ──► Wait, Send, … as before
//	                       │ not                                │ answer    │ none
//	                       ▼                                    ▼           ▼
//	                     Stay                                deliver     comeBack

// Fallback names the model that is asked when another cannot answer in time.
type Fallback struct {
	// From says whose calls: a model, a class of models as limits have it
	// (opus-4), or a glob as of [path.Match] (claude-opus-*).
	From string
	// To is the model that is asked instead.
	To string
}

// covers tells that the fallback is for calls of a model.
func (f Fallback) covers(model string) bool {
	if model == "" || model == f.To {
		return false
	}
	ok, _ := path.Match(f.From, model)
	return ok || f.From == claude.ModelClass(model)
}

// mistakes returns what cannot be used of it.
func (f Fallback) mistakes(name string) (errs []error) {
	fault := func(format string, v string) {
		errs = append(errs, fmt.Errorf("evenkeel: Config."+name+format, v))
	}
	_, err := path.Match(f.From, "")
	foreign := func(r rune) bool { // in a header, too
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:@/", r)
	}
	if f.From == "" || err != nil {
		fault(".From is %q, want a model, a class of models or a glob", f.From)
	}
	switch {
	case f.To == "" || len(f.To) > 128 || strings.ContainsFunc(f.To, foreign):
		fault(".To is %q, want the id of a model", f.To)
	case f.From == f.To:
		fault(".To is %q, which is From", f.To)
	}
	return errs
}

// diversion is what a call knows of the other model that may answer it.
type diversion struct {
	to   string // "" if there is none
	on   bool   // attempts go there
	back *away  // nil if they do not
}

// away is what is put back when attempts do not go to the other model any longer.
type away struct {
	body      payload
	plain     *assembly
	scan      tokens.Scan
	estimate  tokens.Estimate
	lastErr   error
	lastFault classify.Fault
	requestID string
}

// spare tells that another model may be asked, as far as can be told without
// looking at the request.
func (x *exchange) spare() bool {
	d := &x.desc
	if len(x.s.Fallback) == 0 || x.req.Method != http.MethodPost || d.path != claude.Messages || !d.body.Complete ||
		!d.rewinds || encoded(x.req.Header) {
		return false
	}
	for _, f := range x.s.Fallback {
		if f.covers(d.body.Model) {
			x.other.to = f.To
			return true
		}
	}
	return false
}

// model is the one that attempts are made to.
func (x *exchange) model() string {
	if x.other.on {
		return x.other.to
	}
	return x.desc.body.Model
}

// offer performs an Offer.
func (x *exchange) offer(a call.Action) call.Action {
	e := observe.Event{Kind: observe.FellBack, Attempt: a.Attempt, Reason: x.waitReason(a), Fallback: x.other.to}
	resp := x.resp
	x.resp = nil
	cost, err := x.divert()
	if err != nil {
		x.resp = resp
		e.State = "no_body" // its error may say anything, and this is for logs
		if reason, ok := errors.AsType[fallback.Reason](err); ok {
			e.State = string(reason)
		}
		x.emit(e)
		return x.machine.Stay(x.ctx, time.Now())
	}
	if resp != nil {
		x.store(resp)
	}
	x.emit(e)
	key := call.Key{Upstream: x.desc.upstream, Path: x.desc.path, Model: x.other.to}
	return x.machine.Redirect(x.ctx, time.Now(), key, cost)
}

// divert makes attempts go to the other model, and tells what the call costs
// there. If the error is not nil all is as it was.
func (x *exchange) divert() (cost call.Cost, err error) {
	o := &x.other
	asked, err := x.asked()
	if err != nil {
		return cost, err
	}
	request, err := fallback.Request(asked, o.to)
	if err != nil {
		return cost, err
	}
	body := payload{ledger: x.body.ledger, kept: request, isKept: true}
	if !body.grow(int64(len(request)), x.s.Memory) {
		return cost, fallback.ErrLarge
	}
	o.on, o.back = true, &away{
		body: x.body, plain: x.plain, scan: x.desc.scan, estimate: x.desc.estimate,
		lastErr: x.lastErr, lastFault: x.lastFault, requestID: x.requestID,
	}
	x.body, x.plain = body, nil
	d := description{path: x.desc.path}
	d.read(bytes.NewReader(request), "", x.t.estimator(x.desc.upstream))
	x.desc.scan, x.desc.estimate = d.scan, d.estimate
	if x.s.Counter != nil {
		x.desc.estimate = x.counted(d.estimate)
	}
	if err := fallback.Fits(o.to, x.desc.estimate.High, x.desc.body.MaxTokens); err != nil {
		x.restore()
		return cost, err
	}
	x.openAssembly()
	cost = x.costOf(x.desc.estimate)
	cost.Bytes += o.back.body.held
	return cost, nil
}

// asked is the body as the caller has sent it.
func (x *exchange) asked() ([]byte, error) {
	p := x.body
	if x.plain != nil {
		p.kept, p.isKept = x.plain.asked, x.plain.asked != nil
	}
	return p.whole(x.s.Memory)
}

// restore makes attempts go to the model that was asked for again.
func (x *exchange) restore() {
	was := x.other.back
	x.body.free()
	x.body, x.plain, x.desc.scan, x.desc.estimate = was.body, was.plain, was.scan, was.estimate
	x.other.on, x.other.back = false, nil
}

// comeBack follows a machine that has given the other model up: what that has
// answered is forgotten, as if it had not been asked.
func (x *exchange) comeBack() {
	was := x.other.back
	x.discard()
	x.restore()
	x.lastErr, x.lastFault, x.requestID = was.lastErr, was.lastFault, was.requestID
	x.used, x.served = claude.Usage{}, ""
}

// discard lets go of the answer to the current attempt.
func (x *exchange) discard() {
	if x.resp == nil {
		return
	}
	_ = x.resp.Body.Close()
	x.cur.end(errClosed)
	x.resp = nil
}
