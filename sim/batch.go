package sim

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// batch is a message batch. It stays in progress: nothing here works on it.
type batch struct {
	id, organization string
	created          time.Time
	requests         int
}

// batchItem is one request of a batch. Its params are checked only when it is
// worked on.
type batchItem struct {
	ID     string `json:"custom_id"`
	Params json.RawMessage
}

// customID is what a custom_id must look like, and maxRequests how many a batch
// may have (“Batch processing”, platform.claude.com, 2026-08-14).
var customID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

const maxRequests = 100_000

// createBatch answers POST /v1/messages/batches. As in the API, the same
// request twice makes two batches.
func (t *attempt) createBatch(in input, told bool) outcome {
	if bad := badBatch(in.Requests); bad != nil && !told {
		return t.rejected(bad)
	}
	b := &batch{
		id: "msgbatch_" + t.api.id(t.n, 'b'), organization: t.organization(),
		created: t.began, requests: len(in.Requests),
	}
	t.api.mu.Lock()
	t.api.batches = append(t.api.batches, b)
	t.api.mu.Unlock()
	return t.ok(b.object())
}

// badBatch returns why a batch is refused, or nil.
func badBatch(items []batchItem) *reject {
	if len(items) == 0 || len(items) > maxRequests {
		return invalid("requests: must have 1 to %d entries", maxRequests)
	}
	seen := map[string]bool{}
	for i, item := range items {
		switch {
		case !customID.MatchString(item.ID):
			return invalid("requests.%d.custom_id: must match %s", i, customID)
		case seen[item.ID]:
			return invalid("requests.%d.custom_id: must be unique", i)
		case len(item.Params) == 0:
			return invalid("requests.%d.params: Field required", i)
		}
		seen[item.ID] = true
	}
	return nil
}

// own returns the batches of the attempt's organisation, newest first.
func (t *attempt) own() []*batch {
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	var list []*batch
	for _, b := range slices.Backward(t.api.batches) {
		if b.organization == t.organization() {
			list = append(list, b)
		}
	}
	return list
}

func (t *attempt) listBatches(r *http.Request) outcome {
	var list []batchObject
	for _, b := range t.own() {
		list = append(list, b.object())
	}
	return page(t, r, list, func(b batchObject) string { return b.ID })
}

func (t *attempt) oneBatch(id string) outcome {
	for _, b := range t.own() {
		if b.id == id {
			return t.ok(b.object())
		}
	}
	return t.problem(http.StatusNotFound, claude.NotFound, "", "Batch not found")
}

// batchObject is a batch as the API shows it.
type batchObject struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Status     string         `json:"processing_status"`
	Counts     map[string]int `json:"request_counts"`
	Created    string         `json:"created_at"`
	Expires    string         `json:"expires_at"`
	Ended      *string        `json:"ended_at"`
	Archived   *string        `json:"archived_at"`
	Cancel     *string        `json:"cancel_initiated_at"`
	ResultsURL *string        `json:"results_url"`
}

func (b *batch) object() batchObject {
	return batchObject{
		ID: b.id, Type: "message_batch", Status: "in_progress",
		Counts:  map[string]int{"processing": b.requests, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
		Created: rfc3339(b.created), Expires: rfc3339(b.created.Add(24 * time.Hour)),
	}
}
