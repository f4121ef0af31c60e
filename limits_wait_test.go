package evenkeel_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

type noGetBody struct{ io.Reader }

func (noGetBody) Close() error { return nil }

// When the memory for bodies is used up, limits hold all the same.
func TestLimits_holdWithoutMemoryForBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			sent.Add(1)
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message","usage":{"input_tokens":10,"output_tokens":10}}`)), ContentLength: -1}, nil
		})
		for name, mem := range map[string]evenkeel.Memory{"room": {}, "none": {Body: 1 << 20, Bodies: 100}} {
			tr, err := evenkeel.New(evenkeel.Config{Base: base, Memory: mem, Limits: evenkeel.Limits{Models: map[string]evenkeel.Rates{"claude-haiku-5-5": {RPM: 60, ITPM: 10000}}}})
			if err != nil {
				t.Fatal(err)
			}
			sent.Store(0)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					body := `{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 800) + `"}]}`
					r, _ := http.NewRequestWithContext(ctx, "POST", "https://api.example/v1/messages", noGetBody{strings.NewReader(body)})
					r.ContentLength = int64(len(body))
					resp, err := tr.RoundTrip(r) //nolint:contextcheck // the request carries it
					if err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				})
			}
			wg.Wait()
			cancel()
			if sent.Load() > 20 {
				t.Errorf("%s: limits were passed by", name)
			}
			_ = tr.Close()
		}
	})
}

type fixedCounter struct{ asked *int }

func (c fixedCounter) Count(context.Context, time.Time, string, []byte) (tokens.Estimate, error) {
	*c.asked++
	return tokens.Estimate{Input: 50000, Counted: 1000, Low: 50000, High: 50000, How: tokens.Counted}, nil
}

// A counter that tells how much counts, and sets no marks, is believed.
func TestLimits_counterThatSetsNoMarks(t *testing.T) {
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message"}`)), ContentLength: -1}, nil
	})
	tr, err := evenkeel.New(evenkeel.Config{Base: base, Counter: fixedCounter{new(int)}, Limits: evenkeel.Limits{Models: map[string]evenkeel.Rates{"claude-haiku-5-5": {ITPM: 10000}}}})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequest("POST", "https://api.example/v1/messages", strings.NewReader(`{"model":"claude-haiku-5-5","max_tokens":64,"system":[{"type":"text","text":"long","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"}]}`))
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatalf("1,000 of 50,000 tokens count, 10,000 a minute may: %v", err)
	}
	_ = resp.Body.Close()
}

// Callers who may wait 20 s, where one waits a few seconds at most.
func TestLimits_waitsAsLongAsItMay(t *testing.T) {
	for _, h := range [][2]string{{evenkeel.HeaderMaxWait, "20s"}, {evenkeel.HeaderDeadline, "20s"}} {
		t.Run(h[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTrip(func(r *http.Request) (*http.Response, error) {
					_, _ = io.Copy(io.Discard, r.Body)
					_ = r.Body.Close()
					return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message"}`)), ContentLength: -1}, nil
				})
				tr, err := evenkeel.New(evenkeel.Config{Base: base, Limits: evenkeel.Limits{Models: map[string]evenkeel.Rates{"claude-haiku-5-5": {RPM: 60}}}})
				if err != nil {
					t.Fatal(err)
				}
				var ok, refused atomic.Int64
				var wg sync.WaitGroup
				for range 20 { // ten go at once, ten in the ten seconds after
					wg.Go(func() {
						r, _ := http.NewRequest("POST", "https://api.example/v1/messages", strings.NewReader(`{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`))
						r.Header.Set(h[0], h[1])
						resp, err := tr.RoundTrip(r)
						if err != nil {
							refused.Add(1)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
						ok.Add(1)
					})
				}
				wg.Wait()
				if refused.Load() > 0 {
					t.Errorf("%s %s: %d refused", h[0], h[1], refused.Load())
				}
				_ = tr.Close()
			})
		})
	}
}

// Of a body that cannot be kept there is only the beginning, which nobody can count.
func TestLimits_counterIsNotAskedForABeginning(t *testing.T) {
	base := roundTrip(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"type":"message"}`)), ContentLength: -1}, nil
	})
	for bound, want := range map[int64]int{100: 0, 1000: 1} {
		asked := 0
		tr, err := evenkeel.New(evenkeel.Config{Base: base, Counter: fixedCounter{&asked}, Memory: evenkeel.Memory{Body: bound}})
		if err != nil {
			t.Fatal(err)
		}
		body := `{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 40) + `"}]}`
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example/v1/messages", noGetBody{strings.NewReader(body)})
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if asked != want {
			t.Errorf("bodies of up to %d bytes are kept: counted %d times, want %d", bound, asked, want)
		}
	}
}
