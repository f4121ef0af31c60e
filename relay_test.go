package evenkeel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// recorder keeps events; it is used by one call at a time.
type recorder struct{ events []observe.Event }

func (r *recorder) Observe(e observe.Event) { r.events = append(r.events, e) }

func (r *recorder) last(k observe.Kind) (e observe.Event) {
	for _, x := range r.events {
		if x.Kind == k {
			e = x
		}
	}
	return e
}

// TestTransport_streams checks how a stream ends for its reader, and what the
// call is known to have met.
func TestTransport_streams(t *testing.T) {
	tests := []struct {
		name   string
		fault  sim.Fault
		end    string // of what the caller reads
		reason string
	}{
		{"whole", sim.Fault{}, `{"type":"message_stop"}`, "ok"},
		{"a clean end without message_stop is no end", sim.Fault{Kind: sim.EndAfter, Events: 4}, "EK-STREAM-CUT", "stream_cut"},
		{"half an event is dropped, and the end is an error", sim.Fault{Kind: sim.HalfEvent, Events: 4}, "EK-STREAM-CUT", "stream_cut"},
		{"a reset is an error", sim.Fault{Kind: sim.ResetAfter, Events: 4}, "EK-STREAM-CUT", "stream_cut"},
		{"a stall is noticed after the idle limit", sim.Fault{Kind: sim.StallAfter, Events: 4}, "EK-STREAM-IDLE", "idle_timeout"},
		{"an error event is passed on, and known", sim.Fault{Kind: sim.ErrorEventAt, Events: 4}, "overloaded_error", "overloaded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &recorder{}
				api := sim.NewScript(sim.Reply{Status: 200, Fault: tt.fault})
				tr := newTransport(t, evenkeel.Config{Base: api, Observer: seen})
				a := mustSend(t, tr, newRequest(t, "POST", endpoint, streamBody))
				if a.read != nil {
					t.Errorf("the body ended with %v, want an end that a client can read", a.read)
				}
				events := strings.SplitAfter(a.body, "\n\n")
				if last := events[len(events)-1]; last != "" {
					t.Errorf("passed half an event: %q", last)
				} else if last = events[len(events)-2]; !strings.Contains(last, tt.end) {
					t.Errorf("the last event is %q, want one with %s", last, tt.end)
				}
				if got := seen.last(observe.CallDone); got.Reason != tt.reason {
					t.Errorf("the call is told to have ended as %q, want %q", got.Reason, tt.reason)
				}
				if tt.reason == "idle_timeout" && a.took < 3*time.Minute {
					t.Errorf("gave the stream up after %v, want the idle limit of 3m", a.took)
				}
			})
		})
	}
}

func TestTransport_pingsKeepAStreamAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{FirstToken: 20 * time.Minute, PingEvery: time.Minute})
		req := newRequest(t, "POST", endpoint, streamBody)
		tr := newTransport(t, evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{FirstByte: time.Hour}})
		if a := mustSend(t, tr, req); a.read != nil || !strings.Contains(a.body, "message_stop") {
			t.Errorf("ended with %v after %v, want the whole message", a.read, a.took)
		}
	})
}

func TestTransport_closingABodyCancelsUpstream(t *testing.T) {
	for name, readFirst := range map[string]bool{"between reads": false, "under a blocked read": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.New(sim.Config{TokenTime: time.Minute})
				tr := newTransport(t, evenkeel.Config{Base: api})
				resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody))
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				if readFirst {
					go func() { _, err := io.Copy(io.Discard, resp.Body); done <- err }()
					time.Sleep(10 * time.Second)
				} else {
					done <- errors.New("not read")
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
				if err := <-done; err == nil {
					t.Error("a body that was closed in the middle read to a good end")
				}
				synctest.Wait()
				attempts := api.Attempts()
				if len(attempts) != 1 || !attempts[0].Canceled {
					t.Errorf("upstream saw %+v, want one cancelled attempt", attempts)
				}
				if s := tr.Snapshot(); len(s.Calls) != 0 {
					t.Errorf("%d calls still live", len(s.Calls))
				}
			})
		})
	}
}

// TestTransport_plainAnswerCutIsRetriedUnseen: the headers of a plain answer
// come when it is done, so nothing has been delivered yet.
func TestTransport_plainAnswerCutIsRetriedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			body := io.Reader(strings.NewReader(`{"type":"message"}`))
			if calls++; calls == 1 {
				body = io.MultiReader(strings.NewReader(`{"type":`), failing{io.ErrUnexpectedEOF})
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(body)}, nil
		})
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: base}), newRequest(t, "POST", endpoint, plainBody))
		if a.body != `{"type":"message"}` || calls != 2 {
			t.Errorf("got %q after %d attempts, want the whole answer after 2", a.body, calls)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestTransport_unknownBaseIsNotBelieved: a base that calls no trace hooks may
// have sent everything before its error.
func TestTransport_unknownBaseIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			_ = r.Body.Close()
			return nil, errors.New("broken in the middle")
		})
		tr := newTransport(t, evenkeel.Config{Base: base})
		_, err := send(t, tr, newRequest(t, "POST", "https://api.example/v1/messages/batches", "{}"))
		if err == nil || calls != 1 {
			t.Errorf("a batch creation was sent %d times (%v), want once", calls, err)
		}
	})
}

func TestTransport_breakerOpensAndCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		api := sim.New(sim.Config{})
		api.SetFaults(sim.Rule{Rate: 1, Fault: sim.Fault{Status: 529}, Until: 4 * time.Minute})
		tr := newTransport(t, evenkeel.Config{Base: api})
		for range 60 {
			go func() { _, _ = send(t, tr, newRequest(t, "POST", endpoint, plainBody)) }()
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		s := tr.Snapshot()
		if len(s.Breakers) != 1 || s.Breakers[0].State != "open" {
			t.Fatalf("after two minutes of outage: %+v, want an open breaker", s.Breakers)
		}
		impatient := newRequest(t, "POST", endpoint, plainBody)
		impatient.Header.Set(evenkeel.HeaderDeadline, "5s")
		before := api.Calls()
		_, err := send(t, tr, impatient)
		e, ok := errors.AsType[*evenkeel.Error](err)
		if !ok || e.Code != evenkeel.CodeBreaker || e.Status != 529 || e.RetryAfter <= 0 || !errors.Is(err, evenkeel.ErrBreakerOpen) {
			t.Errorf("a call that cannot wait got %v, want EK-BREAKER-OPEN with the time of the next probe", err)
		}
		if got := api.Calls() - before; got > 1 { // one may be somebody's probe
			t.Errorf("%d attempts were made meanwhile", got)
		}
		patient := mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody))
		if patient.StatusCode != 200 {
			t.Errorf("a call that can wait got %d", patient.StatusCode)
		}
		if at := time.Since(start); at < 4*time.Minute || at > 5*time.Minute {
			t.Errorf("it was answered %v after the outage began, want soon after its end at 4m", at)
		}
		time.Sleep(15 * time.Minute)
	})
}

func TestTransport_deadlineOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		api := sim.NewScript(replies(529)...)
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", endpoint, plainBody).WithContext(ctx))
		if a.StatusCode != 529 || a.took > 10*time.Second {
			t.Errorf("got %d after %v, want the upstream's 529 before the deadline", a.StatusCode, a.took)
		}
	})
}
