package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
)

func TestGateway_answersForTheTransport(t *testing.T) {
	for _, c := range []struct {
		name        string
		err         error
		status      int
		kind        string
		code        evenkeel.Code
		retry       string
		retryAfter  string
		attempts    string
		trail, want string
	}{
		{"no connection", &evenkeel.Error{
			Code: evenkeel.CodeUnreachable, Kind: claude.API, Status: 502, Attempts: 6, Trail: "connect@0s connect@1s", Call: "ek_0123456789abcdef", Err: errors.New("refused"),
		}, 502, "api_error", evenkeel.CodeUnreachable, "false", "", "6", "connect@0s connect@1s", "gave up after 6 attempts"},
		{"broken off each time", &evenkeel.Error{
			Code: evenkeel.CodeStreamCut, Kind: claude.API, Status: 502, Attempts: 2, Trail: "stream_cut@0ms stream_cut@1s", Call: "ek_0123456789abcdef", Err: evenkeel.ErrTruncated,
		}, 502, "api_error", evenkeel.CodeStreamCut, "false", "", "2", "stream_cut@0ms stream_cut@1s", "was reached and broke off"},
		{"no first byte", &evenkeel.Error{
			Code: evenkeel.CodeTimeout, Kind: claude.Timeout, Status: 504, Attempts: 1, Trail: "first_byte@0s", Call: "ek_0123456789abcdef", RequestID: "req_1", Err: evenkeel.ErrFirstByte,
		}, 504, "timeout_error", evenkeel.CodeTimeout, "false", "", "1", "", "Stream long answers"},
		{"breaker open", &evenkeel.Error{
			Code: evenkeel.CodeBreaker, Kind: claude.Overloaded, Status: 529, RetryAfter: 12100 * time.Millisecond, Call: "ek_0123456789abcdef", Err: evenkeel.ErrBreakerOpen,
		}, 529, "overloaded_error", evenkeel.CodeBreaker, "", "13", "0", "", "probe"},
		{"queue full", &evenkeel.Error{
			Code: evenkeel.CodeQueueFull, Kind: claude.RateLimit, Status: 429, RetryAfter: time.Minute, Call: "ek_0123456789abcdef", Err: evenkeel.ErrQueueFull,
		}, 429, "rate_limit_error", evenkeel.CodeQueueFull, "", "60", "0", "", "waiting already"},
		{"deadline", &evenkeel.Error{
			Code: evenkeel.CodeDeadline, Kind: claude.RateLimit, Status: 429, RetryAfter: time.Millisecond, Call: "ek_0123456789abcdef", Err: evenkeel.ErrDeadline,
		}, 429, "rate_limit_error", evenkeel.CodeDeadline, "", "1", "0", "", "deadline"},
		{"draining", &evenkeel.Error{
			Code: evenkeel.CodeDraining, Kind: claude.API, Status: 503, Call: "ek_0123456789abcdef", Err: evenkeel.ErrQueueFull,
		}, 503, "api_error", evenkeel.CodeDraining, "", "1", "0", "", "going away"},
		{"bad header", &evenkeel.Error{
			Code: evenkeel.CodeBadHeader, Kind: claude.InvalidRequest, Status: 400, Call: "ek_0123456789abcdef", Err: errors.New("bad"),
		}, 400, "invalid_request_error", evenkeel.CodeBadHeader, "false", "", "0", "", "leave it out"},
		{"an error of some other transport", io.ErrUnexpectedEOF, 502, "api_error", evenkeel.CodeUnreachable, "false", "", "0", "", "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := New(Config{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, c.err }), Upstream: upstream(t, nil)})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader("{}"))
			r.Host = "localhost"
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			got := reply{w.Result(), w.Body.Bytes()}
			wantOwn(t, got, c.status, c.kind, c.code)
			for field, want := range map[string]string{
				"X-Should-Retry": c.retry, "Retry-After": c.retryAfter, evenkeel.HeaderAttempts: c.attempts, evenkeel.HeaderTrail: c.trail,
			} {
				if v := got.Header.Get(field); v != want {
					t.Errorf("got %s: %q, want %q", field, v, want)
				}
			}
			if !strings.Contains(string(got.body), c.want) {
				t.Errorf("got %s, want it to say %q", got.body, c.want)
			}
			if e, ok := errors.AsType[*evenkeel.Error](c.err); ok {
				if e.Call != got.Header.Get(evenkeel.HeaderID) {
					t.Errorf("got evenkeel-id %q, want that of the call", got.Header.Get(evenkeel.HeaderID))
				}
				if e.RequestID != "" && e.RequestID != got.Header.Get("Request-Id") {
					t.Errorf("got request-id %q, want upstream's", got.Header.Get("Request-Id"))
				}
			}
		})
	}
}

// Whatever spread the Transport has drawn reaches the callers, and nobody is
// told less. What is longer than anyone is asked to wait is spread here.
func TestGateway_spreadsRetryAfter(t *testing.T) {
	for _, c := range []struct {
		name            string
		wait            func(i int) time.Duration
		shortest, most  int
		differ, atLeast bool
	}{
		{"drawn from 25 to 27 s", func(i int) time.Duration { return 25*time.Second + time.Duration(i)*20*time.Millisecond }, 25, 27, true, true},
		{"all the same", func(int) time.Duration { return 25100 * time.Millisecond }, 26, 26, false, true},
		{"longer than a minute", func(int) time.Duration { return 5 * time.Minute }, 54, 60, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var wait time.Duration
			g, err := New(Config{Upstream: upstream(t, nil), Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return nil, &evenkeel.Error{Code: evenkeel.CodePaused, Kind: claude.RateLimit, Status: 429, RetryAfter: wait, Err: evenkeel.ErrPaused}
			})})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int]bool{}
			for i := range 100 {
				wait = c.wait(i)
				got, err := strconv.Atoi(ask(g, "POST", "/v1/messages").Header.Get("Retry-After"))
				if err != nil || got < c.shortest || got > c.most {
					t.Fatalf("got %d, %v; want %d to %d s", got, err, c.shortest, c.most)
				}
				if c.atLeast && time.Duration(got)*time.Second < wait {
					t.Errorf("got %d s for %v, want no less", got, wait)
				}
				seen[got] = true
			}
			if (len(seen) > 1) != c.differ {
				t.Errorf("100 answers said %v, want different ones: %v", seen, c.differ)
			}
		})
	}
}

func TestGateway_tellsAboutADeadUpstream(t *testing.T) {
	up := upstream(t, nil)
	dead := listen(t)
	up.Host = dead.Addr().String()
	_ = dead.Close()
	g := start(t, up, nil)
	got := do(t, g.request(t, "POST", "/v1/messages", `{"model":"m"}`))
	wantOwn(t, got, 502, "api_error", evenkeel.CodeUnreachable)
	if got.Header.Get(evenkeel.HeaderAttempts) == "0" || got.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("got %v, want some attempts and advice not to add more", got.Header)
	}
}

// Nothing is written to a caller that has gone, not even an empty 200.
func TestGateway_writesNothingToNobody(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	g, err := New(Config{Upstream: upstream(t, nil), Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		leave()
		return nil, r.Context().Err()
	})})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	if got := w.Result(); w.Body.Len() > 0 || len(got.Header) > 0 {
		t.Errorf("got %v %s, want nothing", got.Header, w.Body)
	}
}

func TestGateway_refusesProtocolsNobodyAskedFor(t *testing.T) {
	g, err := New(Config{Upstream: upstream(t, nil), Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 101, Body: http.NoBody, Header: http.Header{}}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	wantOwn(t, reply{w.Result(), w.Body.Bytes()}, 502, "api_error", evenkeel.CodeUnreachable)
}
