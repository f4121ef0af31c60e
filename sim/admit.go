package sim

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim/internal/quota"
)

// A messages call passes, in this order,
//
//	spend cap ─► buckets ─► ramp ─► a slot of the model ─► served
//	   429         429       429      529, or waits
//
// and what it has taken from the buckets is given back if there is no slot: a
// 529 does not count against limits (Claude Code “Error reference”,
// 2026-08-22).

// charge is what the prompt of a call takes.
type charge struct {
	input, write, read int // tokens: new, written to the cache, read from it
	hour               int // of write, those kept for an hour
}

func chargeOf(use usage) charge {
	return charge{input: use.Input, write: use.CacheWrite, read: use.CacheRead, hour: use.OneHour}
}

func (c charge) cost() quota.Cost { return quota.Cost{Input: c.input + c.write, CacheRead: c.read} }

// ticket is the leave of a messages call to be served: what it is charged to,
// and how fast it goes. A nil ticket charges nothing.
type ticket struct {
	attempt    *attempt
	firstToken time.Duration // until the headers
	tokenTime  time.Duration // from one token to the next

	spec         spec
	organization string
	pools        []*quota.Pool // the organisation's first; those of a workspace behind it
	fast         bool
	counts       bool // output is limited
	pays         bool // output is paid for
	use          charge
	minute       time.Time         // in which it was charged
	server       *server           // whose slot it holds; nil for none
	reserved     quota.Reservation // output that waits to leave; one goroutine at a time produces
	produced     atomic.Int64
	left         atomic.Bool
}

// admit asks limits and capacity for leave to serve a messages call. If it is
// refused, the answer is returned; else t.ticket is set. What a script has
// decided is charged, but not refused. The error is the cause of ctx's end
// while the call waited for a slot.
func (t *attempt) admit(ctx context.Context, in input, use usage, told bool) (*outcome, error) {
	k := &ticket{
		attempt: t, spec: specOf(in.Model), organization: t.organization(),
		fast: in.Speed == "fast", use: chargeOf(use),
	}
	if refused := k.take(in.Model, t.workspace(), told); refused != nil {
		return refused, nil
	}
	a := t.api
	server, err := a.enter(ctx, in.Model, k.organization, told)
	if server == nil && err == nil {
		k.giveBack()
		o := t.problem(claude.StatusOverloaded, claude.Overloaded, "", "Overloaded")
		k.write(o.header)
		return &o, nil
	}
	if err != nil {
		k.giveBack()
		return nil, err
	}
	k.server = server
	k.pace(in.Model)
	t.ticket = k
	return nil, nil
}

// take charges the limits, or returns the 429 of the one that has not enough.
func (k *ticket) take(model, workspace string, told bool) *outcome {
	a, now := k.attempt.api, time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	k.choose(now, model, workspace)
	others := a.others(now, model, k.organization)
	account := a.accountOf(k.organization, now)
	if !told {
		if message := overspent(account, a.cfg.SpendCap); message != "" {
			return k.refuse(claude.EnforcedSpendLimit, message, 0)
		}
		if message := a.cfg.Ramp.ramped(account, k.use.cost().Input); message != "" {
			return k.refuse(claude.RampLimitExceeded, message, account.minute.Add(time.Minute).Sub(now))
		}
		if r, ok := quota.Admit(now, k.pools, k.use.cost(), others); !ok {
			return k.refuse("", k.wording(r), r.Wait)
		}
	} else {
		quota.Charge(now, k.pools, k.use.cost(), others)
	}
	account.used += k.use.cost().Input
	k.minute = account.minute
	if a.cfg.SpendCap > 0 {
		k.pays = true
		account.spent += k.spec.inputPrice(k.use)
	}
	k.counts = quota.CountsOutput(k.pools)
	return nil
}

// choose finds the pools that a call is charged to. API.mu is held.
func (k *ticket) choose(now time.Time, model, workspace string) {
	a := k.attempt.api
	if k.fast { // a fast call is counted as one where that is limited, else as any
		k.fast = a.pool(now, k.organization, "", model, true) != nil
	}
	if p := a.pool(now, k.organization, "", model, k.fast); p != nil {
		k.pools = append(k.pools, p)
	} else {
		k.pools = append(k.pools, quota.NewPool(quota.Limit{}, now))
	}
	if workspace == "" {
		return
	}
	if p := a.pool(now, k.organization, workspace, model, k.fast); p != nil {
		k.pools = append(k.pools, p)
	}
}

// wording is the message of a 429 (as reported by users, 2026).
func (k *ticket) wording(r quota.Refusal) string {
	limit := r.Pool.Limit()
	n := map[quota.Kind]int{quota.Requests: limit.Requests, quota.Input: limit.Input, quota.Output: limit.Output}[r.Kind]
	whose := "organization (" + k.organization + ")"
	if r.Pool != k.pools[0] {
		whose = "workspace"
	}
	return fmt.Sprintf("This request would exceed the rate limit for your %s of %d %v per minute. "+
		"Reduce the prompt length or the maximum tokens requested, or try again later.", whose, n, r.Kind)
}

// refuse is a 429. A wait of 0 is not told. API.mu is held.
func (k *ticket) refuse(code claude.ErrorCode, message string, wait time.Duration) *outcome {
	t := k.attempt
	o := t.problem(http.StatusTooManyRequests, claude.RateLimit, code, message)
	k.show(o.header, time.Now())
	if wait > 0 {
		o.header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	}
	return &o
}

// giveBack returns what a call has taken that is not served after all.
func (k *ticket) giveBack() {
	a, now := k.attempt.api, time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	cost := k.use.cost()
	quota.Refund(now, k.pools, cost, a.others(now, k.spec.id, k.organization))
	account := a.accountOf(k.organization, now)
	if account.minute.Equal(k.minute) {
		account.used -= cost.Input
	}
	if k.pays && account.month.Equal(monthOf(k.minute)) {
		account.spent -= k.spec.inputPrice(k.use)
	}
}

// pace sets how fast a call goes.
func (k *ticket) pace(model string) {
	a := k.attempt.api
	c := capacityOf(a.cfg.Capacity, model)
	k.firstToken = cmp.Or(c.FirstToken, a.cfg.FirstToken)
	k.tokenTime = cmp.Or(k.attempt.reply.TokenTime, c.TokenTime, a.cfg.TokenTime)
	a.mu.Lock()
	slow := a.condition(Slowdown, time.Now(), claude.Messages, model, k.organization)
	a.mu.Unlock()
	if slow != 1 {
		k.firstToken = time.Duration(float64(k.firstToken) * slow)
		k.tokenTime = time.Duration(float64(k.tokenTime) * slow)
	}
}

// produce charges tokens of output whose time has passed, and waits where a
// limit holds them back. If ctx ends first, they stay reserved: the next call
// is about the same tokens, or there is none.
func (k *ticket) produce(ctx context.Context, tokens int) error {
	if k == nil || tokens == 0 {
		return nil
	}
	if k.counts {
		k.reserve(tokens)
		if err := sleep(ctx, time.Until(k.reserved.At)); err != nil {
			return err
		}
		k.reserved = quota.Reservation{}
	}
	k.produced.Add(int64(tokens))
	if k.pays {
		a := k.attempt.api
		a.mu.Lock()
		a.accountOf(k.organization, time.Now()).spent += float64(tokens) * k.spec.outputPrice(k.use)
		a.mu.Unlock()
	}
	return nil
}

// reserve takes tokens of output from the limits, unless they are reserved
// already.
func (k *ticket) reserve(tokens int) {
	if k.reserved.Tokens > 0 {
		return
	}
	a, now := k.attempt.api, time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	k.reserved = quota.Produce(now, k.pools, tokens, a.others(now, k.spec.id, k.organization))
}

// portion is how many tokens of a plain answer are produced at a time where a
// limit counts them.
const portion = 4

// produceAll lets the time pass that a plain answer takes to produce.
func (k *ticket) produceAll(ctx context.Context, tokens int) error {
	if k == nil || tokens == 0 {
		return nil
	}
	if !k.counts {
		if err := sleep(ctx, time.Duration(tokens)*k.tokenTime); err != nil {
			return err
		}
		return k.produce(ctx, tokens)
	}
	for due := time.Now(); tokens > 0; tokens -= portion {
		n := min(portion, tokens)
		due = due.Add(time.Duration(n) * k.tokenTime)
		if err := sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		if err := k.produce(ctx, n); err != nil {
			return err
		}
		if now := time.Now(); now.After(due) && k.tokenTime > 0 {
			due = now // it was held back: what follows is later too
		}
	}
	return nil
}

// leave gives back the slot that the attempt held, and records what it has
// produced. Only the first call counts.
func (k *ticket) leave() {
	if k == nil || k.left.Swap(true) {
		return
	}
	k.attempt.update(func(rec *Attempt) {
		rec.OutputTokens = int(k.produced.Load())
		if k.reserved.Tokens > 0 {
			quota.Withdraw(k.pools, k.reserved)
		}
	})
	k.server.leave()
}
