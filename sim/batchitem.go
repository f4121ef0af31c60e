package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"time"
)

// A rule with this Path is about the requests in batches, one by one; no other
// rule is. Those that were in force when a batch was made go on for it.
// Of the kinds, Status makes a request come back errored with that error,
// Expire makes it come back expired; others do nothing.
const pathBatchItems = "batch_items"

// Expire makes a request in a batch come back expired, though there was time.
const Expire Kind = "expire"

// batchItem is one request of a batch. Its params are checked only when it is
// worked on.
type batchItem struct {
	ID     string `json:"custom_id"`
	Params json.RawMessage

	failed  *reject // why it errored; known once the batch has ended
	expired bool    // by a rule
}

// customID is what a custom_id must look like, and maxRequests how many a batch
// may have (“Batch processing”, platform.claude.com, 2026-08-14).
var customID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

const maxRequests = 100_000

// badBatch returns why a batch is refused, or nil.
func badBatch(items []batchItem) *reject {
	if len(items) == 0 || len(items) > maxRequests {
		return invalid("requests: must have 1 to %d entries", maxRequests)
	}
	seen := make(map[string]bool, len(items))
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

// shuffle brings the requests into the order in which they are worked on and
// come back. The API promises none, so nobody may rely on theirs.
func (b *batch) shuffle(seed uint64) {
	for i := len(b.items) - 1; i > 0; i-- {
		j := mix(seed, 's', b.n, uint64(i)) % uint64(i+1)
		b.items[i], b.items[j] = b.items[j], b.items[i]
	}
}

// settle finds out how each request of a batch that has ended came out, and
// returns the counts. Results that are gone are thrown away.
func (a *API) settle(b *batch, s stage) *batchCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.judge(a, s)
	}
	if s.archived && b.items != nil {
		b.items = nil
		a.mu.Lock()
		b.bytes = 0
		a.mu.Unlock()
	}
	return b.counts
}

// judge works on the requests that have been reached. b.mu is held.
func (b *batch) judge(a *API, s stage) {
	b.counts = &batchCounts{}
	for i := range b.items {
		item := &b.items[i]
		if i < s.done {
			t := b.attempt(a, i)
			in := item.input()
			if f := b.strike(t, in.Model); f.Kind == Expire {
				item.expired = true
			} else if f.Kind == Status {
				item.failed = &reject{status: f.Status, typ: cmp.Or(f.Type, typeOf(f.Status)), code: f.Code, message: f.Message}
			} else {
				item.failed = t.badItem(in)
			}
		}
		switch {
		case i >= s.done && !s.canceled.IsZero():
			b.counts.Canceled++
		case i >= s.done || item.expired:
			b.counts.Expired++
		case item.failed != nil:
			b.counts.Errored++
		default:
			b.counts.Succeeded++
		}
	}
}

// attempt returns what stands for request i as it is worked on. It is charged
// to nothing and recorded nowhere.
func (b *batch) attempt(a *API, i int) *attempt {
	t := &attempt{
		api: a, n: mix('b', b.n, uint64(i)), began: b.created.Add(time.Duration(i+1) * b.step()),
		key: b.key, keyTag: a.keyTag(b.key), rec: &Attempt{Header: http.Header{}},
	}
	if b.workspace != "" {
		t.rec.Header.Set(headerWorkspace, b.workspace)
	}
	t.requestID = "req_" + a.id(t.n)
	return t
}

// strike returns the fault of the first rule that strikes a request.
func (b *batch) strike(t *attempt, model string) Fault {
	for j, f := range b.rules {
		if f.Path == pathBatchItems && f.holds(t.began.Sub(f.set), model, b.organization) &&
			unit(mix(t.api.cfg.Seed, t.n, uint64(j))) < f.Rate && t.take(f) {
			return f.Fault
		}
	}
	return Fault{}
}

// input returns a request as if it had come alone.
func (item batchItem) input() input {
	in := input{body: item.Params}
	if err := json.Unmarshal(item.Params, &in.request); err != nil {
		in.broken = badJSON(err)
	}
	return in
}

// notInBatches are the fields a request in a batch must not have (“Batch
// processing”, platform.claude.com, 2026-08-14).
type notInBatches struct {
	Stream    bool
	Speed     json.RawMessage
	Fallbacks json.RawMessage
	Thread    json.RawMessage
	MaxTokens *int `json:"max_tokens"`
	Billing   struct {
		To string `json:"bill_to"`
	} `json:"billing_policy"`
}

// badItem returns why a request in a batch errors, or nil.
func (t *attempt) badItem(in input) *reject {
	if in.broken != nil {
		return in.broken
	}
	var odd notInBatches
	if err := json.Unmarshal(in.body, &odd); err != nil {
		return badJSON(err)
	}
	given := func(raw json.RawMessage) bool { return len(raw) > 0 && !bytes.Equal(raw, []byte("null")) }
	switch {
	case odd.Stream:
		return invalid("stream: not supported in message batches")
	case given(odd.Speed):
		return invalid("speed: not supported in message batches")
	case given(odd.Fallbacks):
		return invalid("fallbacks: not supported in message batches")
	case given(odd.Thread):
		return invalid("thread: not supported in message batches")
	case odd.MaxTokens != nil && *odd.MaxTokens == 0:
		return invalid("max_tokens: must be 1 or more in message batches")
	case odd.Billing.To == "user_profile":
		return invalid("billing_policy.bill_to: user_profile is not supported in message batches")
	}
	return t.badMessages(in)
}

// batchResults answers GET /v1/messages/batches/{id}/results: a line of JSON
// per request. The answers are made as they are read, the same each time. That
// there is nothing to find before the end, or after 29 days, is a guess.
func (t *attempt) batchResults(q ask) outcome {
	b, s := t.batch(q.id)
	switch {
	case b == nil:
		return t.noBatch(q.id)
	case s.ended.IsZero():
		return t.rejected(missing("Message batch " + q.id + " has no results yet: it is " + s.status))
	case s.archived:
		return t.rejected(missing("The results of message batch " + q.id + " are no longer available"))
	}
	t.api.settle(b, s)
	b.mu.Lock()
	items := b.items
	b.mu.Unlock()
	next := 0
	o := t.stream(func() (piece, bool) {
		if next >= len(items) {
			return piece{}, false
		}
		next++
		return piece{data: append(marshal(b.result(t.api, s, items[next-1], next-1)), '\n')}, true
	})
	o.header.Set("Content-Type", "application/x-jsonl")
	return o
}

// batchResult is one line of the results.
type batchResult struct {
	ID     string `json:"custom_id"`
	Result struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message,omitempty"`
		Error   json.RawMessage `json:"error,omitempty"`
	} `json:"result"`
}

// result returns how request i came out.
func (b *batch) result(a *API, s stage, item batchItem, i int) batchResult {
	r := batchResult{ID: item.ID}
	t := b.attempt(a, i)
	switch {
	case i >= s.done && !s.canceled.IsZero():
		r.Result.Type = "canceled"
	case i >= s.done || item.expired:
		r.Result.Type = "expired"
	case item.failed != nil:
		r.Result.Type = "errored"
		r.Result.Error = t.envelope(item.failed.typ, item.failed.code, item.failed.message)
	default:
		r.Result.Type, r.Result.Message = "succeeded", t.message(item.input()).plain()
	}
	return r
}
