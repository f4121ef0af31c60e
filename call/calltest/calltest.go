// Package calltest is what every [call.Admission] has to do, as tests. They run
// in real time, with waits of tenths of seconds, because an Admission may
// have a store with a clock of its own.
package calltest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// Config is what an Admission under test is to be made with.
type Config struct {
	Breaker call.BreakerConfig
	Budget  int // tokens
	Limits  call.Limits
	Depth   int
}

// desk is an Admission with callers in front of it.
type desk struct {
	call.Admission
	t     *testing.T
	scope string
}

var (
	lastID    atomic.Uint64
	lastScope atomic.Uint64

	used       = claude.Usage{Input: 10, Output: 1}
	good       = classify.Verdict{Action: classify.Answer, Reason: classify.OK, Health: classify.Good, Settle: classify.Settle}
	overloaded = classify.Verdict{Action: classify.Again, Reason: classify.OverloadedReason, Health: classify.Failure, Price: 5, Settle: classify.Refund}
)

// key is of calls that are limited by requests only; no two tests have the same.
func (d *desk) key() call.Key {
	return call.Key{Upstream: "api-" + d.scope + ".example", Path: claude.Messages, Model: "claude-opus-4-8"}
}

func (d *desk) need() call.Need {
	return call.Need{
		Call: call.ID(lastID.Add(1)), Key: d.key(), Scope: d.scope, Arrived: time.Now(), Attempt: 1,
		Caller: call.Caller{Flow: d.scope}, Cost: call.Cost{Input: 10, MaxTokens: 10},
	}
}

func (d *desk) admit(n call.Need) call.Decision {
	return d.Admit(context.Background(), time.Now(), n)
}

// patient asks until it is granted, as a call does that may wait for so long.
func (d *desk) patient(n call.Need, within time.Duration) (call.Ticket, bool) {
	began := time.Now()
	for {
		x := d.admit(n)
		left := within - time.Since(began)
		if x.Ticket.ID != 0 || x.Hold.Refuse || left <= 0 {
			return x.Ticket, x.Ticket.ID != 0
		}
		select {
		case <-x.Hold.Wake:
		case <-time.After(min(time.Until(x.Hold.Until), left)):
		}
	}
}

func (d *desk) granted(n call.Need, within time.Duration) call.Ticket {
	d.t.Helper()
	t, ok := d.patient(n, within)
	if !ok {
		d.t.Fatalf("held for longer than %v", within)
	}
	return t
}

// admitted asks once, and ends the attempt if there is one.
func (d *desk) admitted(v classify.Verdict) bool {
	n := d.need()
	x := d.admit(n)
	if x.Ticket.ID == 0 {
		d.Leave(time.Now(), n, call.Uncounted)
		return false
	}
	end := call.Succeeded
	if v.Health == classify.Failure {
		end = call.GaveUp
	}
	d.settle(x.Ticket, call.End{Verdict: v, Call: end})
	return true
}

func (d *desk) now(n call.Need) call.Ticket {
	d.t.Helper()
	x := d.admit(n)
	if x.Ticket.ID == 0 {
		d.t.Fatalf("held for %v until %v from now, want a grant", x.Hold.Reason, time.Until(x.Hold.Until))
	}
	return x.Ticket
}

// held wants a call to be held, and says until when.
func (d *desk) held(n call.Need, reason ...call.HoldReason) call.Hold {
	d.t.Helper()
	x := d.admit(n)
	if x.Ticket.ID != 0 {
		d.t.Fatalf("granted, want to be held for %v", reason)
	}
	if slices.Contains(reason, x.Hold.Reason) {
		return x.Hold
	}
	d.t.Fatalf("held for %v, want %v", x.Hold.Reason, reason)
	return x.Hold
}

func (d *desk) settle(t call.Ticket, e call.End) call.Settled {
	return d.Settle(context.Background(), time.Now(), t, e)
}

// retry has an attempt fail, and asks for another.
func (d *desk) retry() (n call.Need, s call.Settled) {
	d.t.Helper()
	n = d.need()
	s = d.settle(d.now(n), call.End{Verdict: overloaded, Call: call.Continues, Retry: true})
	n.Attempt, n.Price, n.Purse, n.Paid, n.Counted = 2, overloaded.Price, overloaded.Purse, s.Paid, s.Counted
	return n, s
}

// answer tells what the headers of an answer say of a limit of requests.
func (d *desk) answer(t call.Ticket, status int, perMinute, left int64) {
	now := time.Now()
	w := func(limit, left int64) claude.Window {
		return claude.Window{Limit: limit, Remaining: left, Reset: now.Add(time.Duration(float64(limit-left) / float64(limit) * float64(10*time.Second)))}
	}
	d.Answered(context.Background(), now, t, limit.Response{
		Status: status, At: now, Organization: "org-" + d.scope,
		Limits: claude.RateLimits{Requests: w(perMinute, left), Input: w(1_000_000, 1_000_000), Output: w(1_000_000, 1_000_000)},
	})
}

// Run tests what makes Admissions. Each is asked for once per test; what it
// needs to be closed is the maker's.
func Run(t *testing.T, make func(t *testing.T, c Config) call.Admission) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &desk{Admission: make(t, tt.cfg), t: t, scope: fmt.Sprint("scope", lastScope.Add(1))}
			tt.play(d)
		})
	}
}
