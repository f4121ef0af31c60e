package sim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

const (
	plainCall  = `{"model":"claude-opus-4-5","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
	streamCall = `{"model":"claude-opus-4-5","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
)

// call is a request to make.
type call struct {
	method, path, body string // default POST /v1/messages plainCall
	header             map[string]string
	drop               string // a header to leave out
	ctx                context.Context
}

func (c call) request(t testing.TB, base string) *http.Request {
	t.Helper()
	method, path, body := c.method, c.path, c.body
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/v1/messages"
	}
	if body == "" && method == http.MethodPost {
		body = plainCall
	}
	ctx := c.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-api-key", "sk-ant-test")
	req.Header.Set("anthropic-version", "2023-06-01")
	req.Header.Set("content-type", "application/json")
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	if c.drop != "" {
		req.Header.Del(c.drop)
	}
	return req
}

// result is what a caller saw.
type result struct {
	status  int
	header  http.Header
	body    string
	err     error // before headers
	bodyErr error // after them; nil for io.EOF
	took    time.Duration
}

func do(t testing.TB, rt http.RoundTripper, base string, c call) result {
	t.Helper()
	start := time.Now()
	resp, err := rt.RoundTrip(c.request(t, base))
	if err != nil {
		return result{err: err, took: time.Since(start)}
	}
	body, bodyErr := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		t.Errorf("closing the body: %v", err)
	}
	return result{resp.StatusCode, resp.Header, string(body), nil, bodyErr, time.Since(start)}
}

// onBothFaces runs test with an API in a bubble and with one behind a socket.
func onBothFaces(t *testing.T, cfg sim.Config, test func(t *testing.T, api *sim.API, do func(call) result)) {
	t.Helper()
	t.Run("bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(cfg)
			test(t, api, func(c call) result { return do(t, api, "https://api.test", c) })
		})
	})
	t.Run("socket", func(t *testing.T) {
		api := sim.New(cfg)
		srv := httptest.NewServer(api)
		tr := &http.Transport{DisableCompression: true}
		t.Cleanup(func() {
			tr.CloseIdleConnections()
			srv.Close()
		})
		test(t, api, func(c call) result { return do(t, tr, srv.URL, c) })
	})
}

// isCut reports whether err is what a closed connection looks like.
func isCut(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

func TestFaults_sameOnBothFaces(t *testing.T) {
	whole := func(t *testing.T, r result) {
		if r.status != 200 || r.err != nil || r.bodyErr != nil {
			t.Errorf("got %+v, want a whole answer", r)
		}
	}
	before := func(is func(error) bool) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			if !is(r.err) {
				t.Errorf("got status %d, error %v, want the failure before headers", r.status, r.err)
			}
		}
	}
	// inside wants so many events, and then the error.
	inside := func(events int, is func(error) bool) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			if r.status != 200 || !is(r.bodyErr) {
				t.Errorf("got status %d, body error %v, want 200 and the failure inside", r.status, r.bodyErr)
			}
			if got := countEvents(r.body); got != events {
				t.Errorf("got %d events, want %d:\n%s", got, events, r.body)
			}
		}
	}
	none := func(err error) bool { return err == nil }
	status := func(want int, contains string) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			if r.status != want || !strings.Contains(r.body, contains) {
				t.Errorf("got %d %s, want %d with %s", r.status, r.body, want, contains)
			}
		}
	}
	for _, c := range []struct {
		name   string
		fault  sim.Fault
		body   string
		record string
		end    sim.End
		want   func(*testing.T, result)
	}{
		{"no fault leaves a stream whole", sim.Fault{}, streamCall, "", sim.EndWhole, whole},
		{"no fault leaves a plain answer whole", sim.Fault{}, plainCall, "", sim.EndWhole, whole},
		{"529 names its type", sim.Fault{Status: 529}, plainCall, "status 529", sim.EndWhole, status(529, `"type":"overloaded_error"`)},
		{"504 names its type", sim.Fault{Status: 504}, streamCall, "status 504", sim.EndWhole, status(504, `"type":"timeout_error"`)},
		{"an undocumented 5xx is a general error", sim.Fault{Status: 599}, plainCall, "status 599", sim.EndWhole, status(599, `"type":"api_error"`)},
		{"a code stands in details", sim.Fault{Status: 429, Code: "ramp_limit_exceeded"}, plainCall, "status 429", sim.EndWhole, status(429, `"details":{"error_code":"ramp_limit_exceeded"}`)},
		{"a proxy answers with what it likes", sim.Fault{Status: 502, Body: "<html>"}, plainCall, "status 502", sim.EndWhole, status(502, "<html>")},
		{"a hang ends with the caller", sim.Fault{Kind: sim.Hang}, plainCall, "hang", sim.EndCanceled, before(isDeadline)},
		{"reset before headers", sim.Fault{Kind: sim.ResetBeforeHeaders}, plainCall, "reset_before_headers", sim.EndNone, before(isReset)},
		{"closed before headers", sim.Fault{Kind: sim.CloseBeforeHeaders}, plainCall, "close_before_headers", sim.EndNone, before(isCut)},
		{"reset in the headers of a stream", sim.Fault{Kind: sim.ResetInHeaders}, streamCall, "reset_in_headers", sim.EndNone, before(isCut)},
		{"reset in the headers of a plain answer", sim.Fault{Kind: sim.ResetInHeaders}, plainCall, "reset_in_headers", sim.EndNone, before(isCut)},
		{"reset right after headers", sim.Fault{Kind: sim.ResetAfter}, streamCall, "reset_after 0", sim.EndCut, inside(0, isReset)},
		{"reset after three events", sim.Fault{Kind: sim.ResetAfter, Events: 3}, streamCall, "reset_after 3", sim.EndCut, inside(3, isReset)},
		{"closed right after headers", sim.Fault{Kind: sim.CloseAfter}, streamCall, "close_after 0", sim.EndCut, inside(0, isCut)},
		{"closed after three events", sim.Fault{Kind: sim.CloseAfter, Events: 3}, streamCall, "close_after 3", sim.EndCut, inside(3, isCut)},
		{"an empty body is no whole message", sim.Fault{Kind: sim.EndAfter}, streamCall, "end_after 0", sim.EndClean, inside(0, none)},
		{"a clean end is no whole message", sim.Fault{Kind: sim.EndAfter, Events: 4}, streamCall, "end_after 4", sim.EndClean, inside(4, none)},
		{"a stall right after headers", sim.Fault{Kind: sim.StallAfter}, streamCall, "stall_after 0", sim.EndCanceled, inside(0, isDeadline)},
		{"a stall ends with the caller", sim.Fault{Kind: sim.StallAfter, Events: 2}, streamCall, "stall_after 2", sim.EndCanceled, inside(2, isDeadline)},
		{"overloaded as the first frame of a 200", sim.Fault{Kind: sim.ErrorEventAt}, streamCall, "error_event_at 0", sim.EndError, inside(1, none)},
		{"an error event in the middle", sim.Fault{Kind: sim.ErrorEventAt, Events: 5}, streamCall, "error_event_at 5", sim.EndError, inside(6, none)},
		{"half an event", sim.Fault{Kind: sim.HalfEvent, Events: 5}, streamCall, "half_event 5", sim.EndCut, inside(5, isCut)},
		{"garbage between events", sim.Fault{Kind: sim.Garbage, Events: 2}, streamCall, "garbage 2", sim.EndClean, inside(2, none)},
		{"more events than there are", sim.Fault{Kind: sim.ResetAfter, Events: 999}, streamCall, "", sim.EndWhole, whole},
		{"a plain answer is reset half-way", sim.Fault{Kind: sim.ResetAfter}, plainCall, "reset_after 0", sim.EndCut, inside(0, isReset)},
		{"a plain answer is cut half-way", sim.Fault{Kind: sim.EndAfter}, plainCall, "end_after 0", sim.EndCut, inside(0, isCut)},
		{"a plain answer stalls half-way", sim.Fault{Kind: sim.StallAfter}, plainCall, "stall_after 0", sim.EndCanceled, inside(0, isDeadline)},
		{"a plain answer has no event for an error", sim.Fault{Kind: sim.ErrorEventAt}, plainCall, "error_event_at 0", sim.EndWhole, status(529, "overloaded_error")},
		{"garbage with status 200", sim.Fault{Kind: sim.Garbage}, plainCall, "garbage 0", sim.EndClean, status(200, "<html>")},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := sim.Config{Faults: []sim.Rule{{Fault: c.fault, Rate: 1}}}
			onBothFaces(t, cfg, func(t *testing.T, api *sim.API, do func(call) result) {
				ctx := t.Context()
				if c.end == sim.EndCanceled {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
					defer cancel()
				}
				c.want(t, do(call{body: c.body, ctx: ctx}))
				a := ended(t, api)
				if a.Fault != c.record || a.End != c.end || a.Canceled != (c.end == sim.EndCanceled) {
					t.Errorf("recorded fault %q, end %q, canceled %v, want %q, %q", a.Fault, a.End, a.Canceled, c.record, c.end)
				}
			})
		})
	}
}

// ended returns the record of the first attempt, once it is complete: behind a
// socket a client may know of an end before the server does.
func ended(t testing.TB, api *sim.API) sim.Attempt {
	t.Helper()
	for range 2000 {
		if a := api.Attempts()[0]; a.Done {
			return a
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the attempt does not end")
	return sim.Attempt{}
}

func TestRefuse(t *testing.T) {
	onBothFaces(t, sim.Config{Script: []sim.Reply{{Fault: sim.Fault{Kind: sim.Refuse}}, {}}},
		func(t *testing.T, api *sim.API, do func(call) result) {
			if r := do(call{}); r.err == nil {
				t.Errorf("got status %d, want no connection", r.status)
			}
			a := api.Attempts()[0]
			if a.Status != 0 || a.BodyBytes != 0 || a.Fault != "refuse" {
				t.Errorf("recorded %+v, want nothing read and nothing answered", a)
			}
			if r := do(call{}); r.status != 200 {
				t.Errorf("after it got %d %v, want 200", r.status, r.err)
			}
		})
}

func TestValidation(t *testing.T) {
	for _, c := range []struct {
		name   string
		call   call
		status int
		typ    string // of the error; empty for success
	}{
		{"a proper call", call{}, 200, ""},
		{"any query", call{path: "/v1/messages?beta=true"}, 200, ""},
		{"the newer version with a bearer", call{drop: "x-api-key", header: map[string]string{"authorization": "Bearer k", "anthropic-version": "2026-10-21"}}, 200, ""},
		{"no credential", call{drop: "x-api-key"}, 401, "authentication_error"},
		{"basic auth is no credential", call{drop: "x-api-key", header: map[string]string{"authorization": "Basic k"}}, 401, "authentication_error"},
		{"no version", call{drop: "anthropic-version"}, 400, "invalid_request_error"},
		{"a version that does not exist", call{header: map[string]string{"anthropic-version": "1999-01-01"}}, 400, "invalid_request_error"},
		{"no JSON", call{body: "{"}, 400, "invalid_request_error"},
		{"stream is no bool", call{body: `{"model":"claude-opus-5-5","max_tokens":1,"stream":"yes","messages":[{}]}`}, 400, "invalid_request_error"},
		{"no max_tokens", call{body: `{"model":"claude-opus-5-5","messages":[{}]}`}, 400, "invalid_request_error"},
		{"no messages", call{body: `{"model":"claude-opus-5-5","max_tokens":1,"messages":[]}`}, 400, "invalid_request_error"},
		{"unknown model", call{body: `{"model":"gpt-4","max_tokens":1,"messages":[{}]}`}, 404, "not_found_error"},
		{"unknown encoding", call{header: map[string]string{"content-encoding": "zstd"}}, 400, "invalid_request_error"},
		{"encoding that is not true", call{header: map[string]string{"content-encoding": "gzip"}}, 400, "invalid_request_error"},
		{"over 32 MB", call{body: strings.Repeat(" ", 33<<20)}, 413, "request_too_large"},
		{"unknown path", call{path: "/v1/nothing"}, 404, "not_found_error"},
		{"a form for a path that is not simulated", call{path: "/v1/oauth/token", body: "grant_type=x"}, 404, "not_found_error"},
		{"an upload that is no form", call{path: "/v1/files"}, 400, "invalid_request_error"},
		{"a form that breaks off", call{path: "/v1/files", body: "--x\r\n", header: map[string]string{"content-type": "multipart/form-data; boundary=x"}}, 400, "invalid_request_error"},
		{"the same custom_id twice", call{path: "/v1/messages/batches", body: `{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}`}, 400, "invalid_request_error"},
		{"count_tokens of nothing", call{path: "/v1/messages/count_tokens", body: `{"model":"claude-opus-5-5"}`}, 400, "invalid_request_error"},
		{"wrong method", call{method: "PUT"}, 405, "invalid_request_error"},
		{"count_tokens needs no max_tokens", call{path: "/v1/messages/count_tokens", body: `{"model":"claude-opus-5-5","messages":[{"role":"user","content":"hi"}]}`}, 200, ""},
		{"probe without a key", call{method: "HEAD", path: "/api/hello", drop: "x-api-key"}, 200, ""},
		{"models", call{method: "GET", path: "/v1/models?limit=1000"}, 200, ""},
		{"one model", call{method: "GET", path: "/v1/models/claude-haiku-5-5"}, 200, ""},
		{"no such model", call{method: "GET", path: "/v1/models/claude-1"}, 404, "not_found_error"},
		{"no such batch", call{method: "GET", path: "/v1/messages/batches/msgbatch_1"}, 404, "not_found_error"},
		{"a batch of nothing", call{path: "/v1/messages/batches", body: `{"requests":[]}`}, 400, "invalid_request_error"},
		{"a legacy completion", call{path: "/v1/complete", body: `{"model":"claude-opus-5-5","max_tokens_to_sample":5,"prompt":"Human: hi"}`}, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(c.call)
				if r.status != c.status || r.bodyErr != nil {
					t.Fatalf("got %d %s (%v, %v), want %d", r.status, r.body, r.err, r.bodyErr, c.status)
				}
				if c.typ != "" && !strings.Contains(r.body, `"type":"`+c.typ+`"`) {
					t.Errorf("got %s, want error type %s", r.body, c.typ)
				}
				edge := c.status == http.StatusRequestEntityTooLarge
				if id := r.header.Get("request-id"); (id == "") != edge || !edge && c.typ != "" && !strings.Contains(r.body, id) {
					t.Errorf("request-id is %q, body %s", id, r.body)
				}
			})
		})
	}
}
