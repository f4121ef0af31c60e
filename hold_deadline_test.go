package evenkeel_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// deadlines are the ways in which a call is given so much time.
var deadlines = map[string]func(d time.Duration, c *evenkeel.Config, r *http.Request) (*http.Request, context.CancelFunc){
	"evenkeel-deadline": func(d time.Duration, _ *evenkeel.Config, r *http.Request) (*http.Request, context.CancelFunc) {
		r.Header.Set(evenkeel.HeaderDeadline, d.String())
		return r, func() {}
	},
	"x-stainless-timeout": func(d time.Duration, _ *evenkeel.Config, r *http.Request) (*http.Request, context.CancelFunc) {
		r.Header.Set("X-Stainless-Timeout", strings.TrimSuffix(d.String(), "s"))
		return r, func() {}
	},
	"context": func(d time.Duration, _ *evenkeel.Config, r *http.Request) (*http.Request, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		return r.WithContext(ctx), cancel
	},
	"total": func(d time.Duration, c *evenkeel.Config, r *http.Request) (*http.Request, context.CancelFunc) {
		c.Timeouts.FirstByte, c.Timeouts.Total = d, d
		return r, func() {}
	},
}

// TestHold_deadline: as long as no content has come nothing goes on past the
// caller's deadline, whether the headers are out or not, and the caller is told
// what a plain call would be.
func TestHold_deadline(t *testing.T) {
	tests := []struct {
		name     string
		deadline time.Duration
		idle     time.Duration
		fault    sim.Fault
		late     bool // the headers are out by then
	}{
		{"silent from the first byte, again and again", 5 * time.Second, 2 * time.Second, sim.Fault{Kind: sim.StallAfter}, true},
		{"silent after an event, again and again", 5 * time.Second, 2 * time.Second, sim.Fault{Kind: sim.StallAfter, Events: 1}, true},
		{"one attempt that is silent for longer", 5 * time.Second, time.Minute, sim.Fault{Kind: sim.StallAfter, Events: 1}, true},
		{"alive without content", 30 * time.Second, time.Minute, sim.Fault{Kind: sim.StallAfter, Events: 1, Pings: true}, true},
		{"over before the headers go out", time.Second, 2 * time.Second, sim.Fault{Kind: sim.StallAfter, Events: 1}, false},
	}
	for _, tt := range tests {
		for how, give := range deadlines {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := sim.NewScript(sim.Reply{Status: 200, Fault: tt.fault})
					cfg := evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{Idle: tt.idle}}
					req, cancel := give(tt.deadline, &cfg, newRequest(t, "POST", endpoint, streamBody))
					defer cancel()
					tr := newTransport(t, cfg)
					a, err := send(t, tr, req)
					if a.took > tt.deadline {
						t.Errorf("it ended after %v, want within %v", a.took, tt.deadline)
					}
					if tt.late {
						if err != nil || a.read != nil || strings.Count(a.body, "event: error\n") != 1 || !strings.Contains(a.body, string(evenkeel.CodeTimeout)) {
							t.Errorf("got %v, %v, %q, want one error event with %s", err, a.read, a.body, evenkeel.CodeTimeout)
						}
					} else if e, ok := errors.AsType[*evenkeel.Error](err); !ok || e.Code != evenkeel.CodeTimeout {
						t.Errorf("got %v, want %s", err, evenkeel.CodeTimeout)
					}
					synctest.Wait()
					checkAttempts(t, api, api.Calls()) // none is in flight
					if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
						t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
					}
				})
			})
		}
	}
}

// TestHold_deadlineIsForTheBeginning: what has begun by then is not cut,
// whether the headers had to go out first or not.
func TestHold_deadlineIsForTheBeginning(t *testing.T) {
	for name, pace := range map[string]time.Duration{"content at once": time.Second, "headers first": 3 * time.Second} {
		for how, give := range deadlines {
			if how == "context" {
				continue // it ends what the caller reads, too
			}
			t.Run(name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg := evenkeel.Config{Base: sim.New(sim.Config{TokenTime: pace})}
					req, cancel := give(10*time.Second, &cfg, newRequest(t, "POST", endpoint, streamBody))
					defer cancel()
					a := mustSend(t, newTransport(t, cfg), req)
					if words, _, stops := text(t, a.body); a.read != nil || stops != 1 || sim.CheckWhole(words) != nil {
						t.Errorf("the stream ended with %v after %v: %q", a.read, a.took, words)
					}
					if a.took < 20*time.Second {
						t.Errorf("it took %v, which does not reach beyond the deadline", a.took)
					}
				})
			})
		}
	}
}

// TestHold_cutToTheEnd: an upstream that breaks off each time is not told as
// one that cannot be reached.
func TestHold_cutToTheEnd(t *testing.T) {
	for _, fault := range beforeContent() {
		if fault.Kind == sim.ErrorEventAt || fault.Kind == sim.StallAfter {
			continue
		}
		for kind, body := range map[string]string{"stream": streamBody, "plain": plainBody} {
			t.Run(kind+"/"+strings.ReplaceAll(fault.String(), " ", "/"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := sim.NewScript(sim.Reply{Status: 200, Fault: fault})
					cfg := evenkeel.Config{Base: api, Stream: evenkeel.Stream{Plain: true}}
					_, err := send(t, newTransport(t, cfg), newRequest(t, "POST", endpoint, body))
					e, ok := errors.AsType[*evenkeel.Error](err)
					if !ok || e.Code != evenkeel.CodeStreamCut || e.Status != 502 || e.Kind != "api_error" || strings.Count(e.Trail, "stream_cut@") != 6 {
						t.Errorf("got %v, want %s with 502 after six cuts", err, evenkeel.CodeStreamCut)
					}
				})
			})
		}
	}
}
