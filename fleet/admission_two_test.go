package fleet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// credential is what must appear nowhere.
const credential = "sk-ant-secret-0123456789"

var (
	servedWell = classify.Verdict{Action: classify.Answer, Reason: classify.OK, Health: classify.Good, Settle: classify.Settle}
	overloaded = classify.Verdict{Action: classify.Again, Reason: classify.OverloadedReason, Health: classify.Failure, Price: 5, Settle: classify.Refund}
)

// process is the Admission of one process of a fleet.
type process struct {
	*Admission
	t     *testing.T
	store *Store
	scope string
}

var lastCall atomic.Uint64

// newProcess waits longer for the store than a call does: it is what the store
// says that is tested, on a machine that has much else to do.
func newProcess(t *testing.T, addr string, p Policy, m call.MemoryConfig) *process {
	t.Helper()
	s := newStore(t, Options{URL: "redis://" + addr, Policy: p, Timeout: 2 * time.Second})
	s.Ready(t.Context())
	a := NewAdmission(s, m)
	t.Cleanup(func() { _ = a.Close() })
	return &process{Admission: a, t: t, store: s, scope: a.Hash(t.Context(), credential)}
}

// two plays a test with two processes of one fleet, on miniredis and on Redis.
func two(t *testing.T, p Policy, m call.MemoryConfig, test func(t *testing.T, a, b *process, addr string)) {
	t.Helper()
	run := func(t *testing.T, addr string) {
		test(t, newProcess(t, addr, p, m), newProcess(t, addr, p, m), addr)
	}
	t.Run("miniredis", func(t *testing.T) { run(t, miniredis.RunT(t).Addr()) })
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) { run(t, servertest.Single(t, kind).Addr) })
	}
}

func (p *process) need() call.Need {
	return call.Need{
		Call: call.ID(lastCall.Add(1)), Key: call.Key{Upstream: "api.example", Path: claude.Messages, Model: "claude-opus-4-8"},
		Scope: p.scope, Arrived: time.Now(), Attempt: 1, Caller: call.Caller{Flow: "flow"}, Cost: call.Cost{Input: 10, MaxTokens: 10},
	}
}

func (p *process) admit(n call.Need) call.Decision {
	return p.Admit(context.Background(), time.Now(), n)
}

func (p *process) granted(n call.Need) call.Ticket {
	p.t.Helper()
	x := p.admit(n)
	if x.Ticket.ID == 0 {
		p.t.Fatalf("held for %v for %v, want to be granted", x.Hold.Reason, time.Until(x.Hold.Until))
	}
	return x.Ticket
}

func (p *process) end(t call.Ticket, v classify.Verdict, e call.CallEnd) {
	p.Settle(context.Background(), time.Now(), t, call.End{Verdict: v, Call: e, Usage: claude.Usage{Input: 10, Output: 1}})
}

// answer tells what an answer shows of a limit of requests.
func (p *process) answer(t call.Ticket, status int, perMinute, left int64) {
	now := time.Now()
	w := func(limit, left int64) claude.Window {
		return claude.Window{Limit: limit, Remaining: left, Reset: now.Add(time.Duration(float64(limit-left) / float64(limit) * float64(10*time.Second)))}
	}
	p.Answered(context.Background(), now, t, limit.Response{
		Status: status, At: now, Organization: "org-1",
		Limits: claude.RateLimits{Requests: w(perMinute, left), Input: w(1_000_000, 1_000_000), Output: w(1_000_000, 1_000_000)},
	})
}

// introduce has an answer tell whose the credential is, and waits until the store
// has heard of it.
func (p *process) introduce(perMinute, left int64) {
	p.t.Helper()
	t := p.granted(p.need())
	p.answer(t, 200, perMinute, left)
	p.end(t, servedWell, call.Succeeded)
	p.idle()
}

// idle waits until the store has been told everything.
func (p *process) idle() { p.errand.Wait() }

// soon is within a second, on a machine that may be late.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > time.Second+lags.since(began) {
			t.Fatalf("after a second not yet: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// refuses says whether a new call is held, and for what; it leaves no trace.
func (p *process) refuses(why call.HoldReason) bool {
	n := p.need()
	x := p.admit(n)
	if x.Ticket.ID != 0 {
		p.end(x.Ticket, classify.Verdict{Settle: classify.Refund}, call.Uncounted)
		return false
	}
	p.Leave(time.Now(), n, call.Uncounted)
	return x.Hold.Reason == why
}

func TestAdmission_pauseIsForAll(t *testing.T) {
	two(t, Policy{}, call.MemoryConfig{}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(6000, 5000)
		tk := a.granted(a.need())
		const pause = 3 * time.Second
		began := time.Now()
		a.answer(tk, 429, 6000, 0)
		a.Settle(t.Context(), began, tk, call.End{Call: call.Uncounted, PauseUntil: began.Add(pause), Verdict: classify.Verdict{
			Action: classify.Again, Reason: classify.RateLimited, RetryAfter: pause, Pause: classify.PauseScope, Settle: classify.Empty,
		}})
		soon(t, "the other process pauses", func() bool { return b.refuses(call.HoldPause) })
		n := b.need()
		hold := b.admit(n).Hold
		// It is told how much is left of the pause, which is as old as the answer
		// is when it has come: an answer may take the whole timeout.
		most := pause + defaultTimeout + lags.since(began)
		if until := hold.Until.Sub(began); hold.Reason != call.HoldPause || until > most {
			t.Errorf("held for %v until %v after the 429, want for the pause of %v", hold.Reason, until, pause)
		}
	})
}

func TestAdmission_limitsAreForAll(t *testing.T) {
	two(t, Policy{}, call.MemoryConfig{}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(1234, 1000)
		a.introduce(1234, 1000) // the first was counted under the credential alone
		b.end(b.granted(b.need()), servedWell, call.Succeeded)
		for _, l := range b.Limits(time.Now()) {
			for _, x := range l.Buckets {
				if l.Owner == "org-1" && x.Kind == "requests" && x.PerMinute == 1234 && x.From == "fleet" {
					return
				}
			}
		}
		t.Errorf("the other process knows %+v, want 1234 requests a minute", b.Limits(time.Now()))
	})
}

func TestAdmission_breakerIsForAll(t *testing.T) {
	policy := Policy{MinCalls: 4, ProbeEvery: 700 * time.Millisecond, Probes: 1, Ramp: -1, OpenFor: time.Minute}
	two(t, policy, call.MemoryConfig{Breaker: call.BreakerConfig{Off: true}}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(6000, 5000)
		b.end(b.granted(b.need()), servedWell, call.Succeeded)
		for range 6 {
			a.end(a.granted(a.need()), overloaded, call.GaveUp)
			a.idle()
			if a.refuses(call.HoldBreaker) {
				break
			}
		}
		soon(t, "the other process holds its calls", func() bool { return b.refuses(call.HoldBreaker) })

		var mu sync.Mutex
		var wg sync.WaitGroup
		out, most, probes := 0, 0, 0
		for _, p := range []*process{a, b, a, b} {
			n := p.need()
			wg.Go(func() {
				for began := time.Now(); ; {
					x := p.admit(n)
					if x.Ticket.ID == 0 {
						if time.Since(began) > 20*time.Second {
							t.Error("still held 20 s after a probe was due")
							return
						}
						select {
						case <-x.Hold.Wake:
						case <-time.After(time.Until(x.Hold.Until)):
						}
						continue
					}
					mu.Lock()
					if x.Ticket.Probe {
						probes++
						out++
						most = max(most, out)
					}
					mu.Unlock()
					time.Sleep(100 * time.Millisecond) // the others have time to ask
					mu.Lock()
					if x.Ticket.Probe {
						out--
					}
					mu.Unlock()
					p.Content(context.Background(), time.Now(), x.Ticket, claude.Usage{})
					p.end(x.Ticket, servedWell, call.Succeeded)
					return
				}
			})
		}
		wg.Wait()
		if most != 1 || probes != 2 {
			t.Errorf("%d probes, %d at once; want two that half-open and close it, one after the other", probes, most)
		}
		soon(t, "it is closed for both", func() bool { return !a.refuses(call.HoldBreaker) && !b.refuses(call.HoldBreaker) })
	})
}

func TestAdmission_budgetIsOne(t *testing.T) {
	two(t, Policy{Budget: 10, BreakerOff: true}, call.MemoryConfig{Breaker: call.BreakerConfig{Off: true}}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(6000, 5000)
		paid := func(p *process) bool {
			tk := p.granted(p.need())
			return p.Settle(t.Context(), time.Now(), tk, call.End{Verdict: overloaded, Call: call.Continues, Retry: true}).Paid
		}
		if !paid(a) || !paid(b) {
			t.Error("ten tokens do not pay for a retry in each of two processes")
		}
		if paid(a) || paid(b) {
			t.Error("ten tokens have paid for three retries")
		}

		// A retry that does well gives back its price, and who waits for it hears.
		n := a.need()
		n.Attempt, n.Price, n.Paid = 2, 5, true
		tk := a.granted(n)
		poor, hold := a.poor()
		a.end(tk, servedWell, call.Succeeded)
		select {
		case <-hold.Wake:
		case <-time.After(5 * time.Second):
			t.Fatal("not woken by what has come into the budget")
		}
		a.end(a.granted(poor), servedWell, call.Succeeded)
	})
}

// poor is a call whose retry nothing pays for.
func (p *process) poor() (call.Need, call.Hold) {
	p.t.Helper()
	n := p.need()
	n.Attempt, n.Price = 2, 5
	hold := p.admit(n).Hold
	if hold.Reason != call.HoldBudget {
		p.t.Fatalf("held for %v, want the budget", hold.Reason)
	}
	return n, hold
}

// Where all wait for the budget nobody asks, and so hears that others have filled
// it: that is looked for.
func TestAdmission_budgetOfOthers(t *testing.T) {
	two(t, Policy{Budget: 10, BreakerOff: true}, call.MemoryConfig{Breaker: call.BreakerConfig{Off: true}}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(6000, 5000)
		var last call.Ticket
		for range 2 { // ten tokens
			n := b.need()
			n.Attempt, n.Price = 2, 5
			last = b.granted(n)
		}
		_, hold := b.poor()
		b.end(last, overloaded, call.GaveUp)
		for range 5 {
			a.end(a.granted(a.need()), servedWell, call.Succeeded)
		}
		start := time.Now()
		select {
		case <-hold.Wake:
		case <-time.After(9 * time.Second): // in ten a retry is owed
			t.Fatalf("not woken within %v by what others have brought in", time.Since(start))
		}
	})
}

// A call that is booked ahead and leaves gives back its booking, and the price
// that was charged with it.
func TestAdmission_aBookingIsGivenBack(t *testing.T) {
	two(t, Policy{Budget: 10}, call.MemoryConfig{}, func(t *testing.T, a, b *process, _ string) {
		a.introduce(150, 120)
		var n call.Need
		var at *attempt
		for range 50 {
			a.introduce(150, 0)
			n = a.need()
			n.Attempt, n.Price = 2, 5
			x := a.admit(n)
			a.mu.Lock()
			at = a.booked[n.Call]
			a.mu.Unlock()
			if at != nil {
				break
			}
			if x.Ticket.ID != 0 { // the machine is slow
				a.end(x.Ticket, servedWell, call.Succeeded)
				continue
			}
			t.Fatalf("held for %v for %v, want to be booked", x.Hold.Reason, time.Until(x.Hold.Until))
		}
		if at == nil {
			t.Fatal("never booked ahead")
		}
		see := func() State {
			r, err := b.store.shared.look(t.Context(), 0, &glimpse{Request: at.req, instance: "b"})
			if err != nil {
				t.Fatal(err)
			}
			return r.State
		}
		was := see()
		if was.Budget != 5 {
			t.Fatalf("the budget is %v, want 5 to be paid", was.Budget)
		}
		a.Leave(time.Now(), n, call.Uncounted)
		a.idle()
		is := see()
		if is.Budget != 10 {
			t.Errorf("the budget is %v after it has left, want 10", is.Budget)
		}
		if up := is.Groups[0].Buckets[0].Level - was.Groups[0].Buckets[0].Level; up < 1 {
			t.Errorf("the level has risen by %v, want by the attempt", up)
		}
		a.empty()
	})
}

// empty wants nothing to be kept of calls that have ended.
func (p *process) empty() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.attempts)+len(p.booked)+len(p.places) != 0 {
		p.t.Errorf("%d attempts, %d booked, %d places are left", len(p.attempts), len(p.booked), len(p.places))
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if len(p.store.open) != 0 {
		p.t.Errorf("%d reservations are left", len(p.store.open))
	}
}

// What a client of a gateway has to itself does not hold back the others.
func TestAdmission_aClientsOwnLimit(t *testing.T) {
	m := call.MemoryConfig{}
	m.Limits.Clients = map[string]map[string]limit.Rates{"small": {"*": {RPM: 6}}}
	two(t, Policy{}, m, func(t *testing.T, a, b *process, _ string) {
		a.introduce(6000, 5000)
		small := func(p *process) call.Decision {
			n := p.need()
			n.Class, n.Caller.Name = call.Batch, "small"
			return p.admit(n)
		}
		held := call.Decision{}
		for _, p := range []*process{a, b, a, b} {
			if x := small(p); x.Ticket.ID == 0 {
				held = x
			}
		}
		if held.Hold.Reason != call.HoldLimit || held.Hold.Refuse {
			t.Fatalf("got %+v, want the client to wait for its limit", held.Hold)
		}
		for _, p := range []*process{a, b} {
			n := p.need()
			n.Class = call.Batch
			p.end(p.granted(n), servedWell, call.Succeeded)
		}
	})
}

func TestAdmission_keepsNoCredential(t *testing.T) {
	two(t, Policy{Budget: 10}, call.MemoryConfig{}, func(t *testing.T, a, b *process, addr string) {
		if a.scope != b.scope || strings.Contains(a.scope, "secret") {
			t.Fatalf("hashes %q and %q, want the same one", a.scope, b.scope)
		}
		a.introduce(6000, 5000)
		b.introduce(6000, 5000)
		ta, tb := a.granted(a.need()), b.granted(b.need())
		for p, tk := range map[*process]call.Ticket{a: ta, b: tb} {
			p.answer(tk, 429, 6000, 0)
			p.Settle(t.Context(), time.Now(), tk, call.End{Verdict: overloaded, Call: call.Continues, Retry: true})
		}
		a.idle()
		b.idle()
		c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
		defer c.Close()
		keys, err := c.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		hashed := false
		for _, k := range keys {
			text := k + " " + valueOf(t, c, k)
			hashed = hashed || strings.Contains(text, a.scope)
			if strings.Contains(text, credential) || strings.Contains(text, "secret") {
				t.Errorf("the credential is in %s", k)
			}
		}
		if !hashed || len(keys) < 4 {
			t.Errorf("%d keys, want some, of the hash: %v", len(keys), keys)
		}
	})
}

// valueOf is all of a key's value as text.
func valueOf(t *testing.T, c *redis.Client, key string) string {
	t.Helper()
	kind, err := c.Type(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	read := map[string][]any{
		"string": {"get", key}, "hash": {"hgetall", key}, "zset": {"zrange", key, "0", "-1"}, "list": {"lrange", key, "0", "-1"}, "set": {"smembers", key},
	}[kind]
	if read == nil {
		return "" // it has expired
	}
	v, err := c.Do(t.Context(), read...).Result()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(v)
}
