package sim

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Times of a batch, from its creation (“Batch processing”,
// platform.claude.com, 2026-08-14).
const (
	batchLife = 24 * time.Hour      // until what is not done expires
	batchKept = 29 * 24 * time.Hour // until the results are gone
)

// How much is remembered of batches, all organisations together: guesses. The
// oldest that have ended are forgotten first.
const (
	keepBatches    = 1_000
	keepBatchBytes = 1 << 30
)

// batch is a message batch. Nothing works on it: how far it is follows from
// the time, see stage.
type batch struct {
	id                           string
	n                            uint64 // of the attempt that made it
	key, organization, workspace string // its maker's
	created                      time.Time
	size                         int           // number of requests
	work                         time.Duration // what all of them take
	rules                        []*force      // that were in force when it was made

	canceled time.Time // zero if it was not; guarded by API.mu
	bytes    int       // of the requests that are kept; guarded by API.mu

	mu     sync.Mutex // guards all below; API.mu may be locked inside, not outside
	items  []batchItem
	counts *batchCounts // once it has ended
}

// stage is how far a batch is.
type stage struct {
	status   string
	done     int       // requests that have been worked on
	canceled time.Time // zero if it was not
	ended    time.Time // zero if it has not
	archived bool      // the results are gone
}

// stage returns how far the batch is at a time. a.mu is held.
//
// A cancellation lets what is being worked on come to its end. That this is a
// twentieth of the work is a guess.
func (b *batch) stage(now time.Time) stage {
	end := b.created.Add(min(b.work, batchLife))
	s := stage{status: "in_progress", canceled: b.canceled}
	if !b.canceled.IsZero() {
		s.status = "canceling"
		if last := b.canceled.Add(b.work / 20); last.Before(end) {
			end = last
		}
	}
	if now.Before(end) {
		end = now
	} else {
		s.status, s.ended = "ended", end
		s.archived = !now.Before(b.created.Add(batchKept))
	}
	s.done = b.doneAfter(end.Sub(b.created))
	return s
}

// doneAfter returns how many requests are done after a time.
func (b *batch) doneAfter(d time.Duration) int {
	if d >= b.work {
		return b.size
	}
	return min(b.size, int(d/b.step()))
}

// step is the time one request takes. A script may have let in a batch of none.
func (b *batch) step() time.Duration { return max(1, b.work/time.Duration(max(1, b.size))) }

// createBatch answers POST /v1/messages/batches. As in the API, the same
// request twice makes two batches.
func (t *attempt) createBatch(q ask) outcome {
	if bad := badBatch(q.in.Requests); bad != nil && !q.told {
		return t.rejected(bad)
	}
	a := t.api
	b := &batch{
		id: "msgbatch_" + a.id(t.n, 'b'), n: t.n,
		key: t.key, organization: t.organization(), workspace: t.workspace(),
		created: time.Now(), size: len(q.in.Requests), work: a.cfg.BatchTime,
		rules: t.rules, items: q.in.Requests,
	}
	b.shuffle(a.cfg.Seed)
	for _, item := range b.items {
		b.bytes += len(item.ID) + len(item.Params)
	}
	limit := a.cfg.Other.BatchQueue
	if q.told {
		limit = 0
	}
	if !a.addBatch(b, limit) {
		return t.problem(http.StatusTooManyRequests, claude.RateLimit, "", fmt.Sprintf(
			"This request would exceed your organization's limit of %d queued batch requests", limit))
	}
	t.made()
	return t.ok(b.object(stage{status: "in_progress"}, nil, baseURL(q.r)))
}

// addBatch keeps a batch, unless that makes more requests wait in its
// organisation than limit; 0 is no limit.
func (a *API) addBatch(b *batch, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	waiting := b.size
	for _, other := range a.batches {
		if s := other.stage(b.created); other.organization == b.organization && s.ended.IsZero() {
			waiting += other.size - s.done
		}
	}
	if limit > 0 && waiting > limit {
		return false
	}
	a.batches = append(a.batches, b)
	for len(a.batches) > keepBatches || a.batchBytes() > keepBatchBytes && len(a.batches) > 1 {
		oldest := slices.IndexFunc(a.batches, func(b *batch) bool { return !b.stage(time.Now()).ended.IsZero() })
		a.batches = slices.Delete(a.batches, max(0, oldest), max(0, oldest)+1)
	}
	return true
}

// batchBytes returns how much the requests take that are kept. a.mu is held.
func (a *API) batchBytes() int {
	sum := 0
	for _, b := range a.batches {
		sum += b.bytes
	}
	return sum
}

// ownBatches returns the batches of the attempt's workspace, newest first.
func (t *attempt) ownBatches() []*batch {
	organization, workspace := t.organization(), t.workspace()
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	var list []*batch
	for _, b := range slices.Backward(t.api.batches) {
		if b.organization == organization && b.workspace == workspace {
			list = append(list, b)
		}
	}
	return list
}

// batch returns a batch of the attempt's workspace and how far it is, or nil.
func (t *attempt) batch(id string) (*batch, stage) {
	for _, b := range t.ownBatches() {
		if b.id == id {
			return b, t.api.stageOf(b)
		}
	}
	return nil, stage{}
}

// stageOf returns how far a batch is now.
func (a *API) stageOf(b *batch) stage {
	a.mu.Lock()
	defer a.mu.Unlock()
	return b.stage(time.Now())
}

// noBatch is the answer for a batch that does not exist, or is another
// workspace's.
func (t *attempt) noBatch(id string) outcome {
	return t.rejected(missing("Message batch not found: " + id))
}

func (t *attempt) listBatches(q ask) outcome {
	id := func(b *batch) string { return b.id }
	p, bad := cut(q.r.URL.Query(), t.ownBatches(), id, usualPage)
	if bad != nil {
		return t.rejected(bad)
	}
	return t.ok(pageOf(p, each(p.data, func(b *batch) batchObject { return t.shown(b, t.api.stageOf(b), q.r) }), id))
}

func (t *attempt) oneBatch(q ask) outcome {
	b, s := t.batch(q.id)
	if b == nil {
		return t.noBatch(q.id)
	}
	return t.ok(t.shown(b, s, q.r))
}

// cancelBatch answers POST /v1/messages/batches/{id}/cancel. Cancelling twice
// does no harm; that a batch that has ended cannot be canceled is documented,
// the status is a guess.
func (t *attempt) cancelBatch(q ask) outcome {
	b, s := t.batch(q.id)
	switch {
	case b == nil:
		return t.noBatch(q.id)
	case !s.ended.IsZero():
		return t.rejected(invalid("Message batch %s has ended and cannot be canceled", q.id))
	}
	t.api.mu.Lock()
	if b.canceled.IsZero() {
		b.canceled = time.Now()
	}
	canceling := stage{status: "canceling", canceled: b.canceled}
	t.api.mu.Unlock()
	return t.ok(b.object(canceling, nil, baseURL(q.r)))
}

// deleteBatch answers DELETE /v1/messages/batches/{id}. That a batch which has
// not ended cannot be deleted is documented, the status is a guess.
func (t *attempt) deleteBatch(q ask) outcome {
	b, s := t.batch(q.id)
	switch {
	case b == nil:
		return t.noBatch(q.id)
	case s.ended.IsZero():
		return t.rejected(invalid("Message batch %s is still in progress: cancel it before deleting it", q.id))
	}
	t.api.mu.Lock()
	t.api.batches = slices.DeleteFunc(t.api.batches, func(other *batch) bool { return other == b })
	t.api.mu.Unlock()
	return t.ok(deleted{b.id, "message_batch_deleted"})
}

// batchCounts is how many requests of a batch are in which state.
type batchCounts struct {
	Processing int `json:"processing"`
	Succeeded  int `json:"succeeded"`
	Errored    int `json:"errored"`
	Canceled   int `json:"canceled"`
	Expired    int `json:"expired"`
}

// batchObject is a batch as the API shows it.
type batchObject struct {
	ID         string      `json:"id"`
	Type       string      `json:"type"`
	Status     string      `json:"processing_status"`
	Counts     batchCounts `json:"request_counts"`
	Created    string      `json:"created_at"`
	Expires    string      `json:"expires_at"`
	Ended      *string     `json:"ended_at"`
	Archived   *string     `json:"archived_at"`
	Cancel     *string     `json:"cancel_initiated_at"`
	ResultsURL *string     `json:"results_url"`
}

// shown returns the batch as the API shows it to who made a request.
func (t *attempt) shown(b *batch, s stage, r *http.Request) batchObject {
	if s.ended.IsZero() {
		return b.object(s, nil, baseURL(r))
	}
	return b.object(s, t.api.settle(b, s), baseURL(r))
}

// object returns the batch as the API shows it. All its requests count as
// processing until it ends, when there are counts.
func (b *batch) object(s stage, counts *batchCounts, base string) batchObject {
	o := batchObject{
		ID: b.id, Type: "message_batch", Status: s.status, Counts: batchCounts{Processing: b.size},
		Created: rfc3339(b.created), Expires: rfc3339(b.created.Add(batchLife)),
		Ended: date(s.ended), Cancel: date(s.canceled),
	}
	if counts != nil {
		o.Counts = *counts
		url := base + "/v1/messages/batches/" + b.id + "/results"
		o.ResultsURL = &url
	}
	if s.archived {
		o.Archived, o.ResultsURL = date(b.created.Add(batchKept)), nil
	}
	return o
}

// date returns a time as it stands in JSON: null if it is zero.
func date(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := rfc3339(t)
	return &text
}

// baseURL returns where a client has sent a request: clients follow a
// results_url as it stands.
func baseURL(r *http.Request) string {
	scheme, host := r.URL.Scheme, r.Host
	if scheme == "" { // on a connection; RoundTrip sees a whole URL
		scheme = "http"
		if r.TLS != nil {
			scheme = "https"
		}
	}
	if host == "" {
		host = r.URL.Host
	}
	return scheme + "://" + host
}
