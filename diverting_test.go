package evenkeel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const first, second = "claude-opus-5-5", "claude-sonnet-5-5"

func fallbacks() []evenkeel.Fallback { return []evenkeel.Fallback{{From: first, To: second}} }

// bodyOf is a request for the first model with more fields, and more messages.
func bodyOf(fields, messages string) string {
	return `{"model":"` + first + `","max_tokens":64` + fields + `,"messages":[{"role":"user","content":"hi"}` + messages + `]}`
}

// fails is a rule: all attempts for a model get this answer.
func fails(model string, status int, retryAfter string) sim.Rule {
	r := sim.Rule{Name: model, Rate: 1, Models: model, Fault: sim.Fault{Status: status}}
	if retryAfter != "" {
		r.Header = map[string]string{"Retry-After": retryAfter}
	}
	return r
}

// tripped returns a transport whose breaker for a model is open.
func tripped(t *testing.T, api *sim.API, cfg evenkeel.Config, models ...string) *evenkeel.Transport {
	t.Helper()
	cfg.Base, cfg.Breaker.MinCalls = api, 1
	tr := newTransport(t, cfg)
	for _, model := range models {
		api.SetFaults(fails(model, 529, ""))
		req := newRequest(t, "POST", endpoint, strings.Replace(bodyOf("", ""), first, model, 1))
		req.Header.Set(evenkeel.HeaderMaxWait, "0s")
		mustSend(t, tr, req)
	}
	api.ClearFaults()
	api.Reset()
	return tr
}

// ledger is an Admission that counts.
type ledger struct {
	call.Admission
	t       *testing.T
	mu      sync.Mutex
	out     map[uint64]bool
	settled int
}

func newLedger(t *testing.T, cfg call.MemoryConfig) *ledger {
	return &ledger{Admission: call.NewMemory(cfg), t: t, out: make(map[uint64]bool)}
}

func (l *ledger) Admit(ctx context.Context, now time.Time, n call.Need) call.Decision {
	d := l.Admission.Admit(ctx, now, n)
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Ticket.ID != 0 {
		l.out[d.Ticket.ID] = true
	}
	return d
}

func (l *ledger) Settle(ctx context.Context, now time.Time, tk call.Ticket, e call.End) call.Settled {
	l.mu.Lock()
	if !l.out[tk.ID] {
		l.t.Errorf("ticket %d is settled twice, or was never given", tk.ID)
	}
	delete(l.out, tk.ID)
	l.settled++
	l.mu.Unlock()
	return l.Admission.Settle(ctx, now, tk, e)
}

// checkNothingLeft looks for what a call that has ended must not hold.
func checkNothingLeft(t *testing.T, tr *evenkeel.Transport, api *sim.API) {
	t.Helper()
	if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
		t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
	}
	for i, a := range api.Attempts() {
		if !a.Done {
			t.Errorf("attempt %d is still in flight", i+1)
		}
	}
}

// TestFallback_breakerOpen: the other model answers at once, in every form.
func TestFallback_breakerOpen(t *testing.T) {
	for name, cfg := range map[string]evenkeel.Config{
		"plain":               {},
		"plain, as a stream":  {Stream: evenkeel.Stream{Plain: true}},
		"told not to wait":    {Breaker: evenkeel.Breaker{Refuse: true}},
		"stream":              {},
		"stream, may go on":   {Stream: evenkeel.Stream{Resume: true}},
		"a class of models":   {Fallback: []evenkeel.Fallback{{From: "opus-5-5", To: second}}},
		"a glob of models":    {Fallback: []evenkeel.Fallback{{From: "claude-haiku-*", To: "a"}, {From: "claude-*", To: second}}},
		"body without rewind": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				cfg.Observer = seen
				if cfg.Fallback == nil {
					cfg.Fallback = fallbacks()
				}
				api := sim.New(sim.Config{})
				tr := tripped(t, api, cfg, first)
				body := bodyOf("", "")
				if strings.HasPrefix(name, "stream") {
					body = bodyOf(`,"stream":true`, "")
				}
				req := newRequest(t, "POST", endpoint, body)
				if name == "body without rewind" {
					req.GetBody = nil
				}
				a := mustSend(t, tr, req)
				if a.StatusCode != 200 || a.read != nil || a.Header.Get(evenkeel.HeaderModel) != second || a.Header.Get(evenkeel.HeaderAttempts) != "1" {
					t.Errorf("got %d, %v, by %q: %s", a.StatusCode, a.read, a.Header.Get(evenkeel.HeaderModel), a.body)
				}
				if !strings.Contains(a.body, second) || strings.Contains(a.body, first) {
					t.Errorf("the answer is not of %s: %s", second, a.body)
				}
				if a.Header.Get(evenkeel.HeaderQueued) != "0" {
					t.Errorf("waited %s ms, want none", a.Header.Get(evenkeel.HeaderQueued))
				}
				at := api.Attempts()
				if len(at) != 1 || at[0].Model != second || at[0].BodyBytes < int64(len(body)) {
					t.Errorf("attempts %+v, want one for %s", at, second)
				}
				e := seen.last(observe.FellBack)
				if e.Model != first || e.Fallback != second || e.Reason != "breaker" || e.State != "" {
					t.Errorf("event %+v, want the breaker of %s", e, first)
				}
				if e := seen.last(observe.CallDone); e.Model != first || e.Fallback != second || e.Reason != "ok" {
					t.Errorf("the call is done with %+v, want it answered by %s", e, second)
				}
				checkNothingLeft(t, tr, api)
			})
		})
	}
}

// TestFallback_deadline: told to wait longer than the caller can.
func TestFallback_deadline(t *testing.T) {
	for name, on := range map[string]bool{"on": true, "off by default": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.New(sim.Config{})
				api.SetFaults(fails(first, 429, "30"))
				cfg := evenkeel.Config{Base: api}
				if on {
					cfg.Fallback = fallbacks()
				}
				tr := newTransport(t, cfg)
				req := newRequest(t, "POST", endpoint, bodyOf("", ""))
				req.Header.Set(evenkeel.HeaderDeadline, "5s")
				a := mustSend(t, tr, req)
				status, model, trail := 429, "", ""
				if on {
					status, model, trail = 200, second, "429@0ms 200@0ms/"+second
				}
				if a.StatusCode != status || a.Header.Get(evenkeel.HeaderModel) != model || a.Header.Get(evenkeel.HeaderTrail) != trail {
					t.Errorf("got %d by %q, trail %q; want %d by %q, %q", a.StatusCode, a.Header.Get(evenkeel.HeaderModel),
						a.Header.Get(evenkeel.HeaderTrail), status, model, trail)
				}
				checkNothingLeft(t, tr, api)
			})
		})
	}
}

// TestFallback_never where the request would be refused, or read otherwise.
func TestFallback_never(t *testing.T) {
	const thought = `,{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"s"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}`
	long := `,{"role":"user","content":"` + strings.Repeat("some words of a long document ", 40_000) + `"}`
	tests := []struct{ name, to, body, why string }{
		{"a conversation with thinking", second, bodyOf("", thought), "thinking_blocks"},
		{"a tool must be called", second, bodyOf(`,"tool_choice":{"type":"any"},"tools":[{"name":"a","input_schema":{"type":"object"}}]`, ""), "forced_tool_choice"},
		{"temperature", second, bodyOf(`,"temperature":0.2`, ""), "sampling"},
		{"prefill", second, bodyOf("", `,{"role":"assistant","content":"so"}`), "prefill"},
		{"thinking of another sort", "claude-haiku-4-5", bodyOf(`,"thinking":{"type":"adaptive"}`, ""), "thinking_mode"},
		{"too long for the window", "claude-haiku-4-5", bodyOf("", long), "context_window"},
		{"too long an answer", "claude-haiku-4-5", strings.Replace(bodyOf("", ""), "64", "100000", 1), "max_tokens"},
		{"a model twice", second, bodyOf(`,"model":"`+first+`"`, ""), "body_unclear"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				api := sim.New(sim.Config{})
				api.SetFaults(fails(first, 429, "30"))
				cfg := evenkeel.Config{Base: api, Observer: seen, Fallback: []evenkeel.Fallback{{From: "claude-opus-*", To: tt.to}}}
				tr := newTransport(t, cfg)
				req := newRequest(t, "POST", endpoint, tt.body)
				req.Header.Set(evenkeel.HeaderDeadline, "5s")
				a := mustSend(t, tr, req)
				if a.StatusCode != 429 || a.Header.Get(evenkeel.HeaderModel) != "" || api.Calls() != 1 {
					t.Errorf("got %d by %q after %d attempts, want the first's 429", a.StatusCode, a.Header.Get(evenkeel.HeaderModel), api.Calls())
				}
				if e := seen.last(observe.FellBack); e.State != tt.why || e.Fallback != tt.to {
					t.Errorf("told %q of %q, want %q of %q", e.State, e.Fallback, tt.why, tt.to)
				}
				if e := seen.last(observe.CallDone); e.Fallback != "" || e.Reason != "rate_limited" {
					t.Errorf("the call is done with %+v", e)
				}
				checkNothingLeft(t, tr, api)
			})
		})
	}
}

// TestFallback_notElsewhere: no request but one for a message has another model.
func TestFallback_notElsewhere(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"count_tokens": func(r *http.Request) { r.URL.Path += "/count_tokens" },
		"compressed":   func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				base := &upstream{statuses: []int{529}}
				tr := newTransport(t, evenkeel.Config{Base: base, Observer: seen, Fallback: []evenkeel.Fallback{{From: "*", To: second}}})
				req := newRequest(t, "POST", endpoint, bodyOf("", ""))
				req.Header.Set(evenkeel.HeaderMaxWait, "0s")
				change(req)
				mustSend(t, tr, req)
				if e := seen.last(observe.FellBack); len(base.bodies) != 1 || e.Kind != 0 {
					t.Errorf("%d attempts, event %+v, want one attempt and none", len(base.bodies), e)
				}
			})
		})
	}
}

// TestFallback_endsAsWithout: a fallback that brings no answer leaves the caller
// with what it would have got.
func TestFallback_endsAsWithout(t *testing.T) {
	lost := sim.Rule{Name: first, Rate: 1, Models: first, Fault: sim.Fault{Kind: sim.ResetBeforeHeaders}}
	tests := []struct {
		name        string
		open        []string // breakers
		here, there sim.Rule
		deadline    string
		attempts    int // of the other model, at least
	}{
		{"the other refuses", nil, fails(first, 429, "30"), fails(second, 400, ""), "5s", 1},
		{"the other is overloaded", nil, fails(first, 429, "30"), fails(second, 529, ""), "5s", 1},
		{"the other is limited", nil, fails(first, 429, "30"), fails(second, 429, "40"), "5s", 1},
		{"the other's breaker is open", []string{second}, fails(first, 429, "30"), fails(second, 200, ""), "5s", 0},
		{"both breakers are open", []string{first, second}, fails(first, 200, ""), fails(second, 200, ""), "5s", 0},
		{"the first's is, and the other refuses", []string{first}, fails(first, 200, ""), fails(second, 400, ""), "5s", 1},
		{"no connection, and the other refuses", nil, lost, fails(second, 400, ""), "20ms", 1},
		{"the first's is open for a while, and the other refuses", []string{first}, fails("none", 500, ""), fails(second, 400, ""), "2m", 1},
	}
	for _, tt := range tests {
		for _, streams := range []string{"", `,"stream":true`} {
			t.Run(tt.name+streams, func(t *testing.T) {
				run := func(cfg evenkeel.Config) (end string, others int) {
					synctest.Test(t, func(t *testing.T) {
						adm := newLedger(t, call.MemoryConfig{Breaker: evenkeel.Breaker{MinCalls: 1}})
						cfg.Admission, cfg.Backoff = adm, flat(100*time.Millisecond)
						api := sim.New(sim.Config{})
						tr := tripped(t, api, cfg, tt.open...)
						for _, r := range []sim.Rule{tt.here, tt.there} {
							if r.Status != 200 {
								_ = api.SetFault(r)
							}
						}
						req := newRequest(t, "POST", endpoint, bodyOf(streams, ""))
						req.Header.Set(evenkeel.HeaderDeadline, tt.deadline)
						a, err := send(t, tr, req)
						if own, ok := errors.AsType[*evenkeel.Error](err); ok {
							end = fmt.Sprint(own.Code, own.Kind, own.Status, own.Err, own.RequestID)
						} else {
							for _, name := range []string{"Retry-After", "X-Should-Retry", evenkeel.HeaderReason, evenkeel.HeaderModel} {
								end += fmt.Sprint(a.Header.Get(name), ", ")
							}
							end += fmt.Sprint(a.StatusCode, len(a.body), gjson.Get(a.body, "error"))
						}
						for _, at := range api.Attempts() {
							if at.Model == second {
								others++
							}
						}
						if api.Calls() > 6 {
							t.Errorf("%d attempts, want 6 at most", api.Calls())
						}
						if len(adm.out) != 0 {
							t.Errorf("%d tickets were never settled", len(adm.out))
						}
						checkNothingLeft(t, tr, api)
					})
					return end, others
				}
				want, _ := run(evenkeel.Config{})
				got, others := run(evenkeel.Config{Fallback: fallbacks()})
				if got != want || others < tt.attempts {
					t.Errorf("ended with\n%s\nwithout\n%s\nafter %d attempts of the other, want %d", got, want, others, tt.attempts)
				}
			})
		}
	}
}

type flat time.Duration

func (f flat) Delay(int) time.Duration { return time.Duration(f) }

// TestFallback_streams: one whose headers are out stays where it is, and one of
// the other model is gone on with like any other.
func TestFallback_streams(t *testing.T) {
	t.Run("headers are out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(sim.Config{})
			api.SetFaults(sim.Rule{Rate: 1, Models: first, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}})
			tr := newTransport(t, evenkeel.Config{Base: api, Fallback: fallbacks(), Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}})
			req := newRequest(t, "POST", endpoint, bodyOf(`,"stream":true`, ""))
			req.Header.Set(evenkeel.HeaderMaxWait, "1ms")
			a := mustSend(t, tr, req)
			if a.took < 5*time.Second || strings.Count(a.body, "event: error\n") != 1 {
				t.Errorf("ended after %v with %s, want an error event when it has been silent for 5s", a.took, a.body)
			}
			for _, at := range api.Attempts() {
				if at.Model != first {
					t.Errorf("an attempt for %s under headers that do not say so", at.Model)
				}
			}
			if a.Header.Get(evenkeel.HeaderModel) != "" {
				t.Errorf("said to be by %q", a.Header.Get(evenkeel.HeaderModel))
			}
			checkNothingLeft(t, tr, api)
		})
	})
	t.Run("headers of the other are out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			seen := &recorder{}
			api := sim.New(sim.Config{})
			tr := tripped(t, api, evenkeel.Config{Observer: seen, Fallback: fallbacks(), Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second}}, first)
			api.SetFaults(sim.Rule{Rate: 1, Times: 1, Models: second, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}})
			a := mustSend(t, tr, newRequest(t, "POST", endpoint, bodyOf(`,"stream":true`, "")))
			words, starts, _ := text(t, a.body)
			if err := sim.CheckWhole(words); err != nil || starts != 1 || a.Header.Get(evenkeel.HeaderModel) != second {
				t.Errorf("read %q (%v) of %q, want one whole message of %s", words, err, a.Header.Get(evenkeel.HeaderModel), second)
			}
			if e := seen.last(observe.CallDone); e.Fallback != second || e.Attempt != 2 {
				t.Errorf("done with %+v, want the second attempt of %s", e, second)
			}
			checkNothingLeft(t, tr, api)
		})
	})
	t.Run("the other's breaks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const older = "claude-opus-4-5"
			seen := &recorder{}
			api := sim.New(sim.Config{})
			tr := tripped(t, api, evenkeel.Config{
				Observer: seen, Stream: evenkeel.Stream{Resume: true}, Fallback: []evenkeel.Fallback{{From: first, To: older}},
			}, first)
			api.SetFaults(sim.Rule{Rate: 1, Times: 1, Models: older, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 7}})
			a := mustSend(t, tr, newRequest(t, "POST", endpoint, bodyOf(`,"stream":true`, "")))
			words, starts, stops := text(t, a.body)
			if err := sim.CheckWhole(words); err != nil || starts != 1 || stops != 1 || a.Trailer.Get(evenkeel.HeaderResumed) != "1" {
				t.Errorf("read %q (%v), %d starts, %d stops, trailer %v; want one whole message", words, err, starts, stops, a.Trailer)
			}
			if e := seen.last(observe.CallDone); e.Fallback != older || e.Resume != "resumed" {
				t.Errorf("done with %+v, want it resumed at %s", e, older)
			}
			checkNothingLeft(t, tr, api)
		})
	})
	t.Run("the other's breaks for good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const older = "claude-opus-4-5"
			seen := &recorder{}
			api := sim.New(sim.Config{})
			tr := tripped(t, api, evenkeel.Config{
				Observer: seen, Stream: evenkeel.Stream{Resume: true}, Fallback: []evenkeel.Fallback{{From: first, To: older}},
			}, first)
			api.SetFaults(sim.Rule{Rate: 1, Times: 1, Models: older, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 7}}, fails(older, 400, ""))
			a := mustSend(t, tr, newRequest(t, "POST", endpoint, bodyOf(`,"stream":true`, "")))
			if strings.Count(a.body, "event: error\n") != 1 || api.Calls() != 2 {
				t.Errorf("%d attempts, and read %s; want two and one error event", api.Calls(), a.body)
			}
			if e := seen.last(observe.CallDone); e.Fallback != older || e.Resume != "failed" {
				t.Errorf("done with %+v, want it broken at %s", e, older)
			}
			checkNothingLeft(t, tr, api)
		})
	})
}

// TestFallback_noMemory for a second body: the call stays where it is.
func TestFallback_noMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		api := sim.New(sim.Config{})
		api.SetFaults(fails(first, 429, "30"))
		tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen, Fallback: fallbacks(), Memory: evenkeel.Memory{Bodies: 50}})
		req := newRequest(t, "POST", endpoint, bodyOf("", ""))
		req.Header.Set(evenkeel.HeaderDeadline, "5s")
		if a := mustSend(t, tr, req); a.StatusCode != 429 || seen.last(observe.FellBack).State != "body_too_large" {
			t.Errorf("got %d, event %+v; want the 429, for lack of memory", a.StatusCode, seen.last(observe.FellBack))
		}
		checkNothingLeft(t, tr, api)
	})
}

// TestFallback_breakersApart: each breaker is told of its own model, and so are
// those who watch.
func TestFallback_breakersApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		api := sim.New(sim.Config{})
		tr := tripped(t, api, evenkeel.Config{Observer: seen, Fallback: fallbacks(), MaxAttempts: 1}, first)
		api.SetFaults(fails(second, 529, ""))
		req := newRequest(t, "POST", endpoint, bodyOf("", ""))
		req.Header.Set(evenkeel.HeaderMaxWait, "1s")
		_, err := send(t, tr, req)
		if own, ok := errors.AsType[*evenkeel.Error](err); !ok || own.Code != evenkeel.CodeBreaker || own.Attempts != 1 || own.RetryAfter <= 0 {
			t.Errorf("got %v, want the open breaker of the first, and when it is looked at again", err)
		}
		var moved []string
		for _, e := range seen.events {
			if e.Kind == observe.BreakerMoved {
				moved = append(moved, e.Model+" "+e.State)
			}
		}
		if want := first + " open, " + second + " open"; strings.Join(moved, ", ") != want {
			t.Errorf("breakers moved: %v, want %s", moved, want)
		}
	})
}

// TestNew_fallback: what cannot be used is named.
func TestNew_fallback(t *testing.T) {
	_, err := evenkeel.New(evenkeel.Config{Fallback: []evenkeel.Fallback{
		{From: "claude-opus-*", To: second}, {To: second}, {From: "[", To: second}, {From: first}, {From: first, To: "a b"}, {From: first, To: first},
	}})
	for i, want := range []string{"", "1].From", "2].From", "3].To", "4].To", "5].To"} {
		if got := err != nil && strings.Contains(err.Error(), fmt.Sprintf("Config.Fallback[%d]", i)); got != (want != "") {
			t.Errorf("entry %d is named: %v; %v", i, got, err)
		}
		if want != "" && !strings.Contains(err.Error(), "Config.Fallback["+want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
