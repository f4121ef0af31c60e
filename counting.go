package evenkeel

import (
	"context"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// maxEstimators bounds the upstreams whose counts are learned each for itself.
// A Transport mostly has one; beyond the bound they share what they teach.
const maxEstimators = 64

// estimator is that of an upstream: one in between may add text of its own.
func (t *Transport) estimator(upstream string) *tokens.Estimator {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.estimators) >= maxEstimators && t.estimators[upstream] == nil {
		upstream = ""
	}
	e := t.estimators[upstream]
	if e == nil {
		if t.estimators == nil {
			t.estimators = make(map[string]*tokens.Estimator)
		}
		e = new(tokens.Estimator)
		t.estimators[upstream] = e
	}
	return e
}

// nextTurn is how much earlier than new work a conversation's next turn counts
// as having come: whoever waits for it has waited for the turns before, and its
// prompt is still in the cache, whose shortest life is five minutes.
const nextTurn = time.Minute

// cost is what the call is expected to cost.
func (x *exchange) cost() call.Cost {
	e := x.desc.estimate
	if x.s.Counter != nil && x.desc.path == claude.Messages && x.desc.rewinds { // of what passes once there is only the beginning
		e = x.counted(e)
	}
	return x.costOf(e)
}

// costOf is what the call is expected to cost with so much input.
func (x *exchange) costOf(e tokens.Estimate) call.Cost {
	d := &x.desc
	c := call.Cost{MaxTokens: int(min(d.body.MaxTokens, maxPlainTokens)), Tag: d.tag, Bytes: x.body.held}
	c.Input, c.Reads = e.Input, e.Input-e.Counted
	if (e.Marks|d.estimate.Marks)&tokens.Caches == 0 { // what is read from the cache may not count
		c.Sure = min(e.Low, e.Counted)
	}
	if seen := int64(len(x.body.kept)); x.body.rest != nil && seen > 0 && e.How != tokens.Counted && x.req.ContentLength > seen {
		c.Input = int(float64(c.Input) * float64(x.req.ContentLength) / float64(seen)) // the rest is taken to be like the beginning
	}
	if e.How == tokens.Anchored && e.Further > 0 { // and not the same request again
		c.Since = x.arrived.Add(-nextTurn)
	}
	return c
}

// counted asks the configured counter; what it cannot count stays estimated.
func (x *exchange) counted(e tokens.Estimate) tokens.Estimate {
	body, err := x.body.whole(x.s.Memory)
	if err != nil || len(body) == 0 {
		return e
	}
	ctx, cancel := context.WithTimeout(x.req.Context(), countTime)
	defer cancel()
	if own, err := x.s.Counter.Count(ctx, time.Now(), x.model(), body); err == nil {
		return own
	}
	return e
}

// countTime bounds a Counter that asks the network. A guess: longer than
// count_tokens takes, shorter than a caller notices.
const countTime = 2 * time.Second

// learn teaches the estimator what the request has cost.
func (x *exchange) learn(now time.Time, u claude.Usage, served string, whole bool) {
	if x.desc.path != claude.Messages || !u.Known() || x.resumed.done || x.desc.scan.Messages == 0 {
		return
	}
	seen := tokens.Usage{Input: u.Input, CacheWrite: u.CacheWrite, CacheRead: u.CacheRead, Partial: !u.Caches}
	if whole {
		seen.Output = u.Output
	}
	x.t.estimator(x.desc.upstream).Observe(served, x.desc.scan, seen, now)
}
