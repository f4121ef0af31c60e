package evenkeel_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
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

// drip is a body that gives a piece now and then, for so long.
type drip struct {
	piece string
	every time.Duration
	times int
	then  error // after that; nil blocks until the request is cancelled
	done  <-chan struct{}
}

func (d *drip) Read(p []byte) (int, error) {
	if d.times == 0 && d.then != nil {
		return 0, d.then
	}
	wait := d.every
	if d.times == 0 {
		wait = 1000 * time.Hour
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		d.times--
		return copy(p, d.piece), nil
	case <-d.done:
		return 0, errors.New("cancelled")
	}
}

// TestTransport_limitsHoldAfterHeaders: the caller's deadline and the total
// limit do not end with upstream's headers.
func TestTransport_limitsHoldAfterHeaders(t *testing.T) {
	const ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n"
	tests := []struct {
		name    string
		status  int
		sse     bool
		piece   string
		every   time.Duration
		timeout string // x-stainless-timeout
		atMost  time.Duration
		want    string
	}{
		{"a plain answer that stalls", 200, false, "", 0, "20", 20 * time.Second, "EK-UPSTREAM-TIMEOUT"},
		{"an error that stalls: what has come is the answer", 529, false, "", 0, "20", 20 * time.Second, "529"},
		{"a plain answer of a byte now and then", 200, false, "x", 100 * time.Millisecond, "", 10 * time.Minute, "EK-UPSTREAM-TIMEOUT"},
		{"a stream of pings without content", 200, true, ping, 10 * time.Second, "", 10 * time.Minute, "EK-UPSTREAM-TIMEOUT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTrip(func(r *http.Request) (*http.Response, error) {
					_, _ = io.Copy(io.Discard, r.Body)
					h := http.Header{"Content-Length": {"50000"}}
					if tt.sse {
						h = http.Header{"Content-Type": {"text/event-stream"}}
					}
					d := &drip{piece: tt.piece, every: tt.every, times: 1 << 30, done: r.Context().Done()}
					if tt.piece == "" {
						d.times = 0
					}
					return &http.Response{StatusCode: tt.status, Header: h, ContentLength: 50000, Body: io.NopCloser(d)}, nil
				})
				req := newRequest(t, "POST", endpoint, plainBody)
				if tt.timeout != "" {
					req.Header.Set("X-Stainless-Timeout", tt.timeout)
				}
				start := time.Now()
				a, err := send(t, newTransport(t, evenkeel.Config{Base: base}), req)
				took := time.Since(start)
				got := fmt.Sprint(err)
				if err == nil {
					got = fmt.Sprint(a.StatusCode, a.read, a.body)
				}
				if !strings.Contains(got, tt.want) {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if took > tt.atMost {
					t.Errorf("took %v, want at most %v", took, tt.atMost)
				}
				if err == nil && tt.status == 529 && a.ContentLength != int64(len(a.body)) {
					t.Errorf("content length %d of a body of %d bytes", a.ContentLength, len(a.body))
				}
			})
		})
	}
}

// TestTransport_contentLiftsTheTotal: a stream that flows is bounded by
// silence alone.
func TestTransport_contentLiftsTheTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{TokenTime: time.Minute})
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", endpoint, streamBody))
		if a.read != nil || a.took < 20*time.Minute {
			t.Errorf("the stream ended with %v after %v, want all of its twenty-odd minutes", a.read, a.took)
		}
	})
}

// TestTransport_bodiesUpToTheBound are kept, however they grow.
func TestTransport_bodiesUpToTheBound(t *testing.T) {
	const bound = 32 << 20
	for size, attempts := range map[int]int{16<<20 + 1: 2, 31 << 20: 2, bound: 2, bound + 1: 1} {
		synctest.Test(t, func(t *testing.T) {
			sent := 0
			base := roundTrip(func(r *http.Request) (*http.Response, error) {
				n, _ := io.Copy(io.Discard, r.Body)
				if int(n) != size {
					t.Errorf("sent %d bytes of %d", n, size)
				}
				sent++
				return &http.Response{StatusCode: 529, Header: http.Header{}, Body: http.NoBody}, nil
			})
			req := newRequest(t, "POST", endpoint, "")
			req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeros{}, int64(size))), -1
			tr := newTransport(t, evenkeel.Config{Base: base, MaxAttempts: 2})
			a := mustSend(t, tr, req)
			if sent != attempts {
				t.Errorf("%d bytes: %d attempts, want %d", size, sent, attempts)
			}
			if got, want := a.Header.Get("X-Should-Retry") == "false", attempts == 2; got != want {
				t.Errorf("%d bytes: told not to retry: %v, want %v", size, got, want)
			}
			if tr.Snapshot().Bodies != 0 {
				t.Errorf("%d bytes are still counted", tr.Snapshot().Bodies)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestTransport_otherPathsHaveNoTotal: a legacy completion may take its time.
func TestTransport_otherPathsHaveNoTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(15 * time.Minute)
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, r.Context().Err()
		})
		for _, path := range []string{"/v1/complete", "/v1/files"} {
			if a := mustSend(t, newTransport(t, evenkeel.Config{Base: base}), newRequest(t, "POST", "https://api.example"+path, "{}")); a.StatusCode != 200 {
				t.Errorf("%s got %d", path, a.StatusCode)
			}
		}
	})
}

func TestTransport_timeoutOfACallWithEffectsIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.Hang}})
		_, err := send(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", "https://api.example/v1/messages/batches", "{}"))
		if e, ok := errors.AsType[*evenkeel.Error](err); !ok || e.Status != 504 || e.Attempts != 1 {
			t.Errorf("got %v, want a 504 after one attempt", err)
		}
	})
}

func TestTransport_refusalsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &recorder{}
		req := newRequest(t, "POST", endpoint, plainBody)
		req.Header.Set(evenkeel.HeaderPriority, "urgent")
		_, _ = send(t, newTransport(t, evenkeel.Config{Base: sim.New(sim.Config{}), Observer: seen}), req)
		if got := seen.last(observe.Refused); got.Reason != string(evenkeel.CodeBadHeader) {
			t.Errorf("told %+v, want the refusal", got)
		}
	})
}

// TestTransport_refusedTogetherIsNotBackTogether: a retry-after of ours has jitter.
func TestTransport_refusedTogetherIsNotBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "30"}})
		tr := newTransport(t, evenkeel.Config{Base: api})
		go func() { _, _ = send(t, tr, newRequest(t, "POST", endpoint, plainBody)) }()
		synctest.Wait()
		told := map[time.Duration]bool{}
		for range 100 {
			req := newRequest(t, "POST", endpoint, plainBody)
			req.Header.Set(evenkeel.HeaderMaxWait, "1s")
			_, err := send(t, tr, req)
			e, ok := errors.AsType[*evenkeel.Error](err)
			if !ok || e.RetryAfter < 30*time.Second || e.RetryAfter > 37*time.Second {
				t.Fatalf("got %v, want a refusal for 30s and some jitter", err)
			}
			told[e.RetryAfter.Round(100*time.Millisecond)] = true
		}
		if len(told) < 10 {
			t.Errorf("a hundred callers were told %d different times", len(told))
		}
		time.Sleep(10 * time.Minute)
	})
}

// TestTransport_encodedAnyway: identity is asked for; an answer that comes
// compressed is passed as it came, and understood all the same.
func TestTransport_encodedAnyway(t *testing.T) {
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	answer := func(status int, typ, body string) roundTrip {
		return func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			h := http.Header{"Content-Type": {typ}, "Content-Encoding": {"gzip"}}
			return &http.Response{StatusCode: status, Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
	}
	spent := zip(`{"type":"error","error":{"type":"rate_limit_error","message":"no","details":{"error_code":"enforced_spend_limit_reached"}}}`)
	const begun = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"
	const ended = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	tests := []struct {
		name     string
		base     roundTrip
		body     string
		err      error
		attempts string
	}{
		{"a spend limit is final", answer(429, "application/json", spent), spent, nil, "1"},
		{"a whole stream", answer(200, "text/event-stream", zip(begun+ended)), zip(begun + ended), nil, "1"},
		{"a stream that ends early", answer(200, "text/event-stream", zip(begun)), zip(begun), evenkeel.ErrTruncated, "1"},
		{"a stream that is cut in its compression", answer(200, "text/event-stream", zip(begun + ended)[:30]), zip(begun + ended)[:30], evenkeel.ErrTruncated, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := mustSend(t, newTransport(t, evenkeel.Config{Base: tt.base}), newRequest(t, "POST", endpoint, plainBody))
				if a.body != tt.body || a.Header.Get("Content-Encoding") != "gzip" {
					t.Error("the answer was changed on its way")
				}
				if !errors.Is(a.read, tt.err) || a.Header.Get(evenkeel.HeaderAttempts) != tt.attempts {
					t.Errorf("ended with %v after %s attempts, want %v after %s", a.read, a.Header.Get(evenkeel.HeaderAttempts), tt.err, tt.attempts)
				}
			})
		})
	}
}

// TestTransport_lastAnswerIsKept up to 64 KiB, for when later attempts bring none.
func TestTransport_lastAnswerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 100<<10)
		refused := sim.Reply{Fault: sim.Fault{Kind: sim.Refuse}}
		api := sim.NewScript(sim.Reply{Status: 529, Body: long}, refused)
		a := mustSend(t, newTransport(t, evenkeel.Config{Base: api}), newRequest(t, "POST", endpoint, plainBody))
		if a.StatusCode != 529 || len(a.body) != 64<<10 || a.ContentLength != 64<<10 {
			t.Errorf("got %d with %d bytes, length %d; want the stored 529 with its first 64 KiB", a.StatusCode, len(a.body), a.ContentLength)
		}
		whole := mustSend(t, newTransport(t, evenkeel.Config{Base: sim.NewScript(sim.Reply{Status: 400, Body: long})}), newRequest(t, "POST", endpoint, plainBody))
		if whole.body != long {
			t.Errorf("a final answer of %d bytes was passed as %d", len(long), len(whole.body))
		}
	})
}
