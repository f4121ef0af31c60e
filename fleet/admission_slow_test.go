package fleet

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// hasty is a process whose calls wait for the store as long as calls do.
func hasty(t *testing.T, addr string) *process {
	t.Helper()
	s := newStore(t, Options{URL: "redis://" + addr, Policy: Policy{Budget: 10}})
	s.Ready(t.Context())
	a := NewAdmission(s, call.MemoryConfig{})
	t.Cleanup(func() { _ = a.Close() })
	return &process{Admission: a, t: t, store: s, scope: a.Hash(t.Context(), credential)}
}

// bounded wants something not to take longer than the store may keep a call.
func bounded(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took, most := time.Since(began), 2*defaultTimeout+40*time.Millisecond+lags.since(began); took > most {
		t.Errorf("%s took %v, want at most %v", what, took, most)
	}
}

// TestAdmission_frozenStore: whatever the store is to be told before, nobody
// waits for it longer than twice what an operation may take.
func TestAdmission_frozenStore(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	p := hasty(t, server.Addr)
	p.introduce(6000, 5000)
	tk := p.granted(p.need())
	server.Freeze()
	defer server.Thaw()
	p.answer(tk, 429, 6000, 0)
	for range 3 {
		p.tell(p.attempt(tk), func(ctx context.Context) { p.store.SetOrganization(ctx, p.scope, time.Now().String(), "") })
	}
	bounded(t, "a retry", func() {
		p.Settle(t.Context(), time.Now(), tk, call.End{Verdict: overloaded, Call: call.Continues, Retry: true})
	})
	n := p.need()
	n.Scope = "another"
	bounded(t, "a credential that is new", func() { p.admit(n) })
	p.idle()
}

// TestAdmission_frozenFromTheStart: nor do those who come before the store has
// said its salt.
func TestAdmission_frozenFromTheStart(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	server.Freeze()
	defer server.Thaw()
	s := newStore(t, Options{URL: "redis://" + server.Addr})
	a := NewAdmission(s, call.MemoryConfig{})
	defer a.Close()
	p := &process{Admission: a, t: t, store: s}
	for range 8 {
		n := p.need()
		bounded(t, "a call", func() {
			n.Scope = a.Hash(t.Context(), credential)
			p.admit(n)
		})
	}
}

// A call whose caller leaves while the store is asked takes everything with it,
// and holds back nobody.
func TestAdmission_leavesWhileItAsks(t *testing.T) {
	p := newProcess(t, miniredis.RunT(t).Addr(), Policy{}, call.MemoryConfig{})
	p.introduce(6000, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := p.need()
	x := p.Admit(ctx, time.Now(), n)
	if x.Ticket.ID != 0 || x.Hold.Refuse {
		t.Fatalf("got %+v, want to be held", x)
	}
	p.Leave(time.Now(), n, call.Uncounted)
	p.empty()
	p.end(p.granted(p.need()), servedWell, call.Succeeded)
}

// An end that is told twice counts once, also while the first is being told.
func TestAdmission_settledTwiceAtOnce(t *testing.T) {
	p := newProcess(t, miniredis.RunT(t).Addr(), Policy{Budget: 100, BreakerOff: true}, call.MemoryConfig{Breaker: call.BreakerConfig{Off: true}})
	p.introduce(60_000, 50_000)
	for range 20 {
		tk := p.granted(p.need())
		var wg sync.WaitGroup
		paid := make(chan bool, 2)
		for range 2 {
			wg.Go(func() {
				paid <- p.Settle(context.Background(), time.Now(), tk, call.End{Verdict: overloaded, Call: call.Continues, Retry: true}).Paid
			})
		}
		wg.Wait()
		if first, second := <-paid, <-paid; first == second {
			t.Fatalf("paid: %v and %v, want one", first, second)
		}
	}
	p.empty()
}

// TestAdmission_closesUnderCalls: attempts under way end as they like, and
// wait for nobody.
func TestAdmission_closesUnderCalls(t *testing.T) {
	m := miniredis.RunT(t)
	for range 20 {
		p := hasty(t, m.Addr())
		var tickets []call.Ticket
		for range 8 {
			if x := p.admit(p.need()); x.Ticket.ID != 0 {
				tickets = append(tickets, x.Ticket)
				p.answer(x.Ticket, 200, 60_000, 50_000)
			}
		}
		var wg sync.WaitGroup
		for i, tk := range tickets {
			wg.Go(func() {
				p.Settle(context.Background(), time.Now(), tk, call.End{Verdict: overloaded, Call: call.Continues, Retry: i%2 == 0})
				n := p.need()
				n.Price, n.Paid = 5, true
				p.Leave(time.Now(), n, call.GaveUp)
			})
		}
		_ = p.Close()
		wg.Wait()
		p.mu.Lock()
		left := len(p.attempts)
		p.mu.Unlock()
		if left != 0 {
			t.Fatalf("%d attempts are left", left)
		}
		if x := p.admit(p.need()); x.Ticket.ID != 0 {
			if s := p.Settle(t.Context(), time.Now(), x.Ticket, call.End{Verdict: overloaded, Call: call.Continues, Retry: true}); s.Paid {
				t.Error("a retry is paid for, and the store is not told any more")
			}
		}
	}
}

// Whose a credential is, is asked again as soon as the store answers: what is
// counted under the credential until then the others do not see.
func TestAdmission_asksAgainWhose(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	first := newProcess(t, server.Addr, Policy{}, call.MemoryConfig{})
	first.introduce(6000, 5000)
	p := hasty(t, server.Addr)
	server.Freeze()
	n := p.need()
	p.admit(n)
	p.Leave(time.Now(), n, call.Uncounted)
	server.Thaw()
	soon(t, "the second process knows whose the credential is", func() bool {
		n := p.need()
		if x := p.admit(n); x.Ticket.ID != 0 {
			p.end(x.Ticket, servedWell, call.Succeeded)
		} else {
			p.Leave(time.Now(), n, call.Uncounted)
		}
		return p.organization(p.scope) == "org-1"
	})
}
