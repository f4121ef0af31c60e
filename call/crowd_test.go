package call

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/queue"
)

type event struct {
	at  time.Time
	seq int
	f   func(now time.Time)
}
type agenda []*event

func (e agenda) Len() int { return len(e) }
func (e agenda) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].seq < e[j].seq
	}
	return e[i].at.Before(e[j].at)
}
func (e agenda) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *agenda) Push(x any)   { *e = append(*e, x.(*event)) }
func (e *agenda) Pop() any     { o := *e; x := o[len(o)-1]; *e = o[:len(o)-1]; return x }

type crowd struct {
	t     *testing.T
	r     *rand.Rand
	m     *Memory
	now   time.Time
	evs   agenda
	seq   int
	waits map[ID]*waiter
	live  int
	calm  bool
	last  string
	lost  map[string]int
}
type waiter struct {
	mac   *Machine
	c     Call
	wake  <-chan struct{}
	until time.Time
}

func (h *crowd) at(t time.Time, f func(time.Time)) {
	h.seq++
	heap.Push(&h.evs, &event{t, h.seq, f})
}

func (h *crowd) dur(n int) time.Duration {
	return time.Duration(h.r.Int64N(int64(n) * int64(time.Second)))
}

func (h *crowd) act(mac *Machine, c Call, a Action) {
	switch a.Kind {
	case Wait:
		w := &waiter{mac: mac, c: c, wake: a.Wake, until: a.Until}
		h.waits[c.ID] = w
		h.at(a.Until, func(now time.Time) {
			if h.waits[c.ID] == w {
				delete(h.waits, c.ID)
				h.last = "timer " + a.Hold.String()
				act := mac.Next(ctx, now)
				h.last += fmt.Sprint(">", act.Kind, act.Hold)
				h.act(mac, c, act)
			}
		})
		if h.r.IntN(30) == 0 && !h.calm {
			h.at(h.now.Add(h.dur(20)), func(now time.Time) {
				if h.waits[c.ID] == w {
					h.last = "abandon"
					delete(h.waits, c.ID)
					mac.Abandon(now)
					h.live--
				}
			})
		}
	case Send:
		took := 50*time.Millisecond + h.dur(1+h.r.IntN(20))
		stream := h.r.IntN(2) == 0
		h.attempt(mac, c, took, stream)
	default:
		h.live--
	}
}

var goodAnswer = classify.Verdict{Action: classify.Answer, Reason: classify.OK, Health: classify.Good, Settle: classify.Settle}

func (h *crowd) attempt(mac *Machine, c Call, took time.Duration, stream bool) {
	kind := h.r.IntN(14)
	if h.calm {
		kind = 0
	}
	org := "org" + c.Scope[:1]
	hdr := http.Header{}
	if h.r.IntN(10) > 0 {
		hdr.Set(claude.HeaderOrganizationID, org)
	}
	hdr.Set("Anthropic-Ratelimit-Requests-Limit", "120")
	hdr.Set("Anthropic-Ratelimit-Requests-Remaining", strconv.Itoa(h.r.IntN(20)))
	u := claude.Usage{Input: h.r.IntN(3000), Output: h.r.IntN(500), CacheRead: h.r.IntN(2000)}
	switch {
	case kind < 8:
		begin := took
		if stream {
			begin = took / 4
		}
		h.at(h.now.Add(begin), func(now time.Time) {
			h.last = "answered"
			mac.Answered(ctx, now, 200, hdr)
			if stream {
				h.last = "content"
				mac.Content(ctx, now, u)
			}
			a := mac.Judge(ctx, now, goodAnswer, true)
			if a.Kind != Deliver || a.Ended {
				h.t.Fatal("not delivered")
			}
			h.at(now.Add(took-begin), func(now time.Time) {
				h.last = "finish"
				if h.r.IntN(3) > 0 {
					mac.Used(u)
				}
				mac.Finish(ctx, now, goodAnswer)
				h.live--
			})
		})
		return
	}
	var v classify.Verdict
	answered := true
	switch kind {
	case 8, 9:
		v = overloaded
		v.Settle = classify.Refund
	case 10:
		v = told(h.dur(30))
		v.Settle = classify.Empty
		if h.r.IntN(3) == 0 {
			v.Pause = classify.PauseCredential
		}
	case 11:
		v, answered = lost, false
	case 12:
		v = rejected
	default:
		v, answered = classify.Verdict{Action: classify.Stop, Reason: classify.CallerLeft, Settle: classify.Settle}, false
	}
	h.at(h.now.Add(took/10), func(now time.Time) {
		h.last = fmt.Sprint("judge ", v.Reason, " pause ", v.Pause)
		if answered {
			mac.Answered(ctx, now, 529, hdr)
		}
		h.act(mac, c, mac.Judge(ctx, now, v, answered))
	})
}

// settleDown lets everybody come who may at this moment.
func (h *crowd) settleDown() {
	for {
		var ids []ID
		for id, w := range h.waits {
			if w.wake != nil && isClosed(w.wake) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			return
		}
		slices.Sort(ids)
		for _, id := range ids {
			w := h.waits[id]
			delete(h.waits, id)
			if !h.calm && h.r.IntN(25) == 0 { // it leaves between being woken and coming
				h.last += "+left when woken"
				w.mac.Abandon(h.now)
				h.live--
				continue
			}
			h.last += "+woken"
			h.act(w.mac, w.c, w.mac.Next(ctx, h.now))
		}
	}
}

// shadow looks for calls that could go and that nobody wakes.
func (h *crowd) shadow() {
	m := h.m
	groups := map[string]bool{}
	for _, x := range m.held {
		if x.entered && x.turn == nil && x.gone == queue.None {
			groups[x.group] = true
		}
	}
	for g := range groups {
		soonest := time.Time{}
		for id, x := range m.held {
			if x.entered && x.group == g {
				if w := h.waits[id]; w != nil && (soonest.IsZero() || w.until.Before(soonest)) {
					soonest = w.until
				}
			}
		}
		had := map[ID]bool{}
		for id, x := range m.held {
			had[id] = x.turn != nil
		}
		m.pump(h.now, g)
		for id, x := range m.held {
			if x.turn != nil && !had[id] {
				late := soonest.Sub(h.now)
				if late > 50*time.Millisecond {
					h.lost[strings.Fields(h.last)[0]]++
				}
			}
		}
	}
}

// TestMemory_crowd plays many calls with one Memory: classes, clients, reloads,
// models that nobody has, callers that leave between a wake-up and their turn.
// Every call ends, nothing is left behind, and what an event made possible is
// not slept through.
func TestMemory_crowd(t *testing.T) {
	const seeds = 60
	lost := map[string]int{}
	for seed := range uint64(seeds) {
		playCrowd(t, seed, lost)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	missed := 0
	for event, n := range lost {
		// What only time has made possible is not counted: a call for which a
		// bucket must be nearly full is asked when it would be, and others could
		// go before it by then.
		if event != byTime {
			missed += n
		}
	}
	// A client's own bucket may serve several organisations, and what one gives
	// back the others find out in time only: 5 to 8 of these. Without the pump
	// after content it is 59.
	if missed > seeds/3 {
		t.Errorf("calls that could go and were not woken: %v", lost)
	}
}

const byTime = "time"

func playCrowd(t *testing.T, seed uint64, lost map[string]int) {
	r := rand.New(rand.NewPCG(seed, 77))
	cfg := MemoryConfig{Rand: r.Float64, QueueDepth: 20 + r.IntN(100), RetryBudget: 5 + r.IntN(100)}
	cfg.Breaker.MinCalls = 5
	if r.IntN(2) == 0 {
		cfg.Concurrency.Max = 2 + r.IntN(8)
	}
	if r.IntN(3) == 0 {
		cfg.Limits.Fixed = true
		cfg.Limits.Models = map[string]Rates{"*": {RPM: 120, ITPM: 60000, OTPM: 20000}}
	}
	if r.IntN(3) == 0 {
		cfg.Limits.Clients = map[string]map[string]Rates{"ci": {"*": {RPM: 20}}}
	}
	h := &crowd{t: t, r: r, m: NewMemory(cfg), now: start, waits: map[ID]*waiter{}, lost: lost}
	models := []string{"claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-opus-5-5"}
	n := 100 + r.IntN(300)
	doShadow := seed%2 == 0
	for i := range n {
		c := Call{
			ID: ID(i + 1), Key: Key{Upstream: "up", Path: claude.Messages, Model: models[r.IntN(3)]}, Scope: string(rune('a'+r.IntN(3))) + string(rune('0'+r.IntN(2))),
			Class: Class(r.IntN(3)), Arrived: start.Add(h.dur(120)), Repeat: r.IntN(5) == 0,
			Cost: Cost{Input: r.IntN(4000), MaxTokens: r.IntN(4000), Bytes: int64(r.IntN(1000))},
		}
		c.Cost.Sure = c.Cost.Input / 2
		c.Caller = Caller{Flow: c.Scope, Own: r.IntN(2) == 0, Weight: float64(1 + r.IntN(4))}
		if r.IntN(3) == 0 {
			c.Caller.Name = "ci"
		}
		switch r.IntN(12) {
		case 0:
			c.Key.Path = claude.CountTokens
		case 1:
			c.Key.Path = claude.Other
		case 2:
			c.Key.Model = fmt.Sprint("junk", r.IntN(1000))
		case 3:
			c.Fast = true
		}
		if r.IntN(3) > 0 {
			c.Deadline = c.Arrived.Add(h.dur(200))
		}
		h.live++
		h.at(c.Arrived, func(now time.Time) {
			h.last = "arrival"
			mac := New(Policy{Rand: r.Float64}, h.m, c)
			h.act(mac, c, mac.Next(ctx, now))
		})
	}
	for range r.IntN(4) { // reloads
		h.at(start.Add(h.dur(120)), func(now time.Time) {
			h.last = "configure"
			c := cfg
			c.QueueDepth = 5 + r.IntN(100)
			if r.IntN(2) == 0 {
				c.Breaker.MinCalls = 5 + r.IntN(10)
			}
			h.m.Configure(c)
		})
	}
	calmAt := start.Add(300 * time.Second)
	end := start.Add(6 * time.Hour)
	for len(h.evs) > 0 {
		e := heap.Pop(&h.evs).(*event)
		if e.at.After(h.now) {
			h.now = e.at
		}
		if h.now.After(calmAt) {
			h.calm = true
		}
		if h.now.After(end) {
			break
		}
		now := h.now
		if r.IntN(20) == 0 {
			now = now.Add(-time.Duration(r.IntN(100)) * time.Millisecond) // clocks are read before locks
		}
		if doShadow {
			last := h.last
			h.last = byTime
			h.shadow()
			h.settleDown()
			h.last = last
		}
		e.f(now)
		h.settleDown()
		if doShadow {
			h.shadow()
			h.settleDown()
		}
	}
	if h.live != 0 || len(h.waits) != 0 {
		t.Errorf("seed %d: %d calls never ended, %d wait", seed, h.live, len(h.waits))
		for id, w := range h.waits {
			x := h.m.held[id]
			t.Logf("   call %d waits until %v, reason %v gone %v", id, w.until.Sub(start), x.reason, x.gone)
		}
	}
	m := h.m
	if len(m.held) != 0 || len(m.flights) != 0 || m.queue.Len() != 0 || m.poor != 0 {
		t.Errorf("seed %d: held %d flights %d queue %d poor %d", seed, len(m.held), len(m.flights), m.queue.Len(), m.poor)
	}
	if s := m.queue.Snapshot(); s.Bytes != 0 || s.Groups != 0 {
		t.Errorf("seed %d: queue %+v", seed, s)
	}
	for k, l := range m.lanes.all {
		if l.inFlight != 0 || l.waiting.calls != 0 || l.waiting.live != 0 || l.slots.State(h.now).InFlight != 0 {
			t.Errorf("seed %d: lane %v: inFlight %d waiting %d groups %v slots %d", seed, k, l.inFlight, l.waiting.calls, l.waiting.live, l.slots.State(h.now).InFlight)
		}
		if len(l.forMoney) > 2*m.cfg.QueueDepth+2 {
			t.Errorf("seed %d: %d in the list for money", seed, len(l.forMoney))
		}
	}
	for _, g := range m.book.Groups(h.now) {
		if g.InFlight != 0 {
			t.Errorf("seed %d: group %v in flight %d", seed, g, g.InFlight)
		}
		for _, b := range g.Buckets {
			if b.Ledger.Outstanding > 1e-3 || b.Ledger.Outstanding < -1e-3 {
				t.Errorf("seed %d: %v outstanding %v", seed, b.Kind, b.Ledger)
			}
			if d := b.Ledger.Reserved - b.Ledger.Settled - b.Ledger.Refunded - b.Ledger.Outstanding; d > 1e-3 || d < -1e-3 {
				t.Errorf("seed %d: %v ledger %+v", seed, b.Kind, b.Ledger)
			}
		}
	}
}
