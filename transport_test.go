package evenkeel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const (
	endpoint   = "https://api.example/v1/messages"
	plainBody  = `{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
	streamBody = `{"stream":true,` + `"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
)

func newTransport(t *testing.T, cfg evenkeel.Config) *evenkeel.Transport {
	t.Helper()
	tr, err := evenkeel.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func newRequest(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "sk-test")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("Content-Type", "application/json")
	return req
}

// answer is a response that has been read to its end.
type answer struct {
	*http.Response
	body string
	read error // of the body
	took time.Duration
}

func send(t *testing.T, rt http.RoundTripper, r *http.Request) (answer, error) {
	t.Helper()
	start := time.Now()
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return answer{took: time.Since(start)}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b), err, time.Since(start)}, nil
}

func mustSend(t *testing.T, rt http.RoundTripper, r *http.Request) answer {
	t.Helper()
	a, err := send(t, rt, r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func replies(statuses ...int) []sim.Reply {
	all := make([]sim.Reply, len(statuses))
	for i, s := range statuses {
		all[i] = sim.Reply{Status: s}
	}
	return all
}

// TestTransport_outcomes asserts the two numbers that matter: attempts made
// and time passed.
func TestTransport_outcomes(t *testing.T) {
	in := func(d time.Duration) map[string]string {
		return map[string]string{"Retry-After": fmt.Sprint(int(d.Seconds()))}
	}
	tests := []struct {
		name     string
		replies  []sim.Reply
		timeout  string // evenkeel-deadline
		status   int
		attempts int
		atLeast  time.Duration
		atMost   time.Duration
	}{
		{"an answer passes", replies(200), "", 200, 1, 0, 0},
		{"two overloads become one slow success", replies(529, 529, 200), "", 200, 3, 0, 3 * time.Second},
		{"an outage ends after six attempts with the upstream's answer", replies(529), "", 529, 6, 0, 31 * time.Second},
		{"a bad request is not retried", replies(400), "", 400, 1, 0, 0},
		{"a wrong key is not retried", replies(401), "", 401, 1, 0, 0},
		{"not implemented is final", replies(501), "", 501, 1, 0, 0},
		{"a 429 waits as told", []sim.Reply{{Status: 429, Header: in(7 * time.Second)}, {Status: 200}}, "", 200, 2, 7 * time.Second, 7700 * time.Millisecond},
		{"a 529 waits as told", []sim.Reply{{Status: 529, Header: in(7 * time.Second)}, {Status: 200}}, "", 200, 2, 7 * time.Second, 7700 * time.Millisecond},
		{"a 503 waits as told", []sim.Reply{{Status: 503, Header: in(7 * time.Second)}, {Status: 200}}, "", 200, 2, 7 * time.Second, 7700 * time.Millisecond},
		{"milliseconds go first", []sim.Reply{{Status: 429, Header: map[string]string{"Retry-After-Ms": "7000", "Retry-After": "60"}}, {Status: 200}}, "", 200, 2, 7 * time.Second, 7700 * time.Millisecond},
		{"told to wait, and 5 s are left: the answer comes now", []sim.Reply{{Status: 429, Header: in(7 * time.Second)}}, "5s", 429, 1, 0, 0},
		{"told to wait three hours: the answer comes now", []sim.Reply{{Status: 429, Header: in(3 * time.Hour)}}, "", 429, 1, 0, 0},
		{"told not to retry", []sim.Reply{{Status: 529, Header: map[string]string{"X-Should-Retry": "false"}}}, "", 529, 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(tt.replies...)
				tr := newTransport(t, evenkeel.Config{Base: api})
				req := newRequest(t, "POST", endpoint, plainBody)
				if tt.timeout != "" {
					req.Header.Set(evenkeel.HeaderDeadline, tt.timeout)
				}
				a := mustSend(t, tr, req)
				if a.StatusCode != tt.status {
					t.Errorf("status %d, want %d", a.StatusCode, tt.status)
				}
				if got := api.Calls(); got != tt.attempts {
					t.Errorf("%d attempts, want %d", got, tt.attempts)
				}
				if got := a.Header.Get(evenkeel.HeaderAttempts); got != fmt.Sprint(tt.attempts) {
					t.Errorf("evenkeel-attempts is %s, want %d", got, tt.attempts)
				}
				if a.took < tt.atLeast || a.took > tt.atMost {
					t.Errorf("took %v, want %v to %v", a.took, tt.atLeast, tt.atMost)
				}
				if a.Header.Get(evenkeel.HeaderID) == "" || a.Request != req {
					t.Error("the answer lacks its id, or is not the caller's request's")
				}
			})
		})
	}
}

// TestTransport_retryAfterDate is apart from the table because a date is
// written relative to the bubble's clock.
func TestTransport_retryAfterDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat)
		api := sim.NewScript(sim.Reply{Status: 529, Header: map[string]string{"Retry-After": date}}, sim.Reply{Status: 200})
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", endpoint, plainBody))
		if a.took < 7*time.Second || a.took > 7700*time.Millisecond {
			t.Errorf("waited %v, want 7s to 7.7s", a.took)
		}
	})
}

func TestTransport_trailTellsEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, evenkeel.Config{Base: sim.NewScript(replies(529, 529, 200)...)})
		a := mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody))
		trail := strings.Fields(a.Header.Get(evenkeel.HeaderTrail))
		if len(trail) != 3 || trail[0] != "529@0ms" || !strings.HasPrefix(trail[2], "200@") {
			t.Errorf("trail is %q, want 529@0ms 529@… 200@…", trail)
		}
	})
}

func TestTransport_gaveUpTellsTheClientNotToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, evenkeel.Config{Base: sim.NewScript(replies(529)...)})
		a := mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody))
		if got := a.Header.Get("X-Should-Retry"); got != "false" {
			t.Errorf("x-should-retry is %q, want false: the SDK would multiply attempts", got)
		}
		if !strings.Contains(a.body, `"overloaded_error"`) {
			t.Errorf("body is %q, want the upstream's", a.body)
		}
	})
}

func TestTransport_noAnswerIsAnError(t *testing.T) {
	tests := []struct {
		name     string
		fault    sim.Fault
		code     evenkeel.Code
		status   int
		attempts int
	}{
		{"refused", sim.Fault{Kind: sim.Refuse}, evenkeel.CodeUnreachable, 502, 6},
		{"reset before headers", sim.Fault{Kind: sim.ResetBeforeHeaders}, evenkeel.CodeUnreachable, 502, 6},
		{"hangs: four first-byte limits fill the ten minutes", sim.Fault{Kind: sim.Hang}, evenkeel.CodeTimeout, 504, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(sim.Reply{Fault: tt.fault})
				_, err := send(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", endpoint, plainBody))
				e, ok := errors.AsType[*evenkeel.Error](err)
				if !ok {
					t.Fatalf("error is %v, want *evenkeel.Error", err)
				}
				if e.Code != tt.code || e.Status != tt.status {
					t.Errorf("code %s status %d, want %s %d", e.Code, e.Status, tt.code, tt.status)
				}
				if tt.attempts > 0 && e.Attempts != tt.attempts {
					t.Errorf("%d attempts, want %d", e.Attempts, tt.attempts)
				}
			})
		})
	}
}

func TestTransport_callerThatLeavesIsFollowedAtOnce(t *testing.T) {
	for name, api := range map[string]*sim.API{
		"while an attempt hangs": sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.Hang}}),
		"while it waits":         sim.NewScript(sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "50"}}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(3*time.Second, cancel)
				req := newRequest(t, "POST", endpoint, plainBody).WithContext(ctx)
				a, err := send(t, newTransport(t, evenkeel.Config{Base: api}), req)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error is %v, want context.Canceled", err)
				}
				if a.took != 3*time.Second {
					t.Errorf("noticed after %v, want 3s", a.took)
				}
			})
		})
	}
}

// TestTransport_batchIsCreatedOnce is the case of an answer lost after the
// effect: the 502 is returned, and the client is told not to retry either.
func TestTransport_batchIsCreatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Status: 502, Accept: true}})
		tr := newTransport(t, evenkeel.Config{Base: api})
		body := `{"requests":[{"custom_id":"a","params":` + plainBody + `}]}`
		a := mustSend(t, tr, newRequest(t, "POST", "https://api.example/v1/messages/batches", body))
		if a.StatusCode != 502 || api.Calls() != 1 || api.Batches() != 1 {
			t.Errorf("status %d after %d attempts, %d batches; want 502, 1, 1", a.StatusCode, api.Calls(), api.Batches())
		}
		if got := a.Header.Get("X-Should-Retry"); got != "false" {
			t.Errorf("x-should-retry is %q, want false: the SDK would create a second batch", got)
		}
	})
}

func TestTransport_tenantsDoNotShareLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{})
		api.Script(func(r *http.Request) bool { return r.Header.Get("X-Api-Key") == "sk-busy" },
			sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "40"}})
		tr := newTransport(t, evenkeel.Config{Base: api})
		for range 300 { // more than would empty a shared budget
			go func() {
				req := newRequest(t, "POST", endpoint, plainBody)
				req.Header.Set("X-Api-Key", "sk-busy")
				_, _ = send(t, tr, req)
			}()
		}
		time.Sleep(time.Second)
		calm := newRequest(t, "POST", endpoint, plainBody)
		calm.Header.Set("X-Api-Key", "sk-calm")
		if a := mustSend(t, tr, calm); a.StatusCode != 200 || a.took != 0 {
			t.Errorf("the other tenant got %d after %v, want 200 at once", a.StatusCode, a.took)
		}
		second := newRequest(t, "POST", endpoint, plainBody)
		second.Header.Set("X-Api-Key", "sk-busy")
		before := api.Calls()
		second.Header.Set(evenkeel.HeaderMaxWait, "5s")
		if _, err := send(t, tr, second); !errors.Is(err, evenkeel.ErrPaused) {
			t.Errorf("a new call of the paused tenant ended with %v, want ErrPaused", err)
		}
		if got := api.Calls() - before; got != 0 {
			t.Errorf("the pause was answered with %d attempts, want none", got)
		}
		synctest.Wait()
		time.Sleep(11 * time.Minute)
	})
}
