package compare

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
)

// The policies, in the order of the table.
const (
	policySDK = iota
	policySeed
	policyBudget
	policyAll
)

// policies are what the calls of a cell go through.
var policies = [...]policy{
	policySDK:    {"SDK's own rule", sdkRule},
	policySeed:   {"six blind attempts", seedPolicy},
	policyBudget: {"evenkeel, breaker off", keel(evenkeel.Config{Breaker: evenkeel.Breaker{Off: true}})},
	policyAll:    {"evenkeel", keel(evenkeel.Config{})},
}

type policy struct {
	name string
	over func(*testing.T, http.RoundTripper) http.RoundTripper
}

// keel is evenkeel with a configuration.
func keel(cfg evenkeel.Config) func(*testing.T, http.RoundTripper) http.RoundTripper {
	return func(t *testing.T, base http.RoundTripper) http.RoundTripper {
		own := cfg // cells run side by side
		own.Base = base
		tr, err := evenkeel.New(own)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Close() })
		return tr
	}
}

// sdkRule is what the official SDKs do on their own: two retries after 408,
// 409, 429, every status from 500 on, and errors of the connection; waits of
// 0.5 s doubling to 8 s, minus up to a quarter; x-should-retry wins over the
// status, retry-after over the wait; ten minutes per attempt
// (anthropic-sdk-go v2.13.0, internal/requestconfig/requestconfig.go).
// TestSDKRule compares it with the SDK itself.
func sdkRule(_ *testing.T, base http.RoundTripper) http.RoundTripper {
	return &loop{base: base, attempts: 3, again: sdkRetries, wait: sdkWait}
}

// seedPolicy is what is often written by hand: six attempts, full jitter from
// 1 s to 60 s, whatever the failure. The attempts are as long as the SDKs'.
func seedPolicy(_ *testing.T, base http.RoundTripper) http.RoundTripper {
	return &loop{
		base: base, attempts: 6,
		again: func(resp *http.Response) bool { return resp == nil || resp.StatusCode != http.StatusOK },
		wait: func(_ *http.Response, n int, r *rand.Rand) time.Duration {
			return backoff.Exponential{Rand: r.Float64}.Delay(n)
		},
	}
}

// loop is a client that retries by a rule and knows nothing of other calls.
type loop struct {
	base     http.RoundTripper
	attempts int
	again    func(*http.Response) bool                           // nil if there was no response
	wait     func(*http.Response, int, *rand.Rand) time.Duration // after the n-th failure
}

func (l *loop) RoundTrip(r *http.Request) (*http.Response, error) {
	call, _ := strconv.ParseUint(r.Header.Get(headerCall), 10, 64)
	random := rand.New(rand.NewPCG(call, 1))
	for n := 1; ; n++ {
		resp, err := l.attempt(r)
		if n == l.attempts || !l.again(resp) || r.Context().Err() != nil {
			return resp, err
		}
		select {
		case <-time.After(l.wait(resp, n, random)):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// perAttempt is the SDKs' limit on an attempt of a call that does not stream.
const perAttempt = 10 * time.Minute

// attempt makes one attempt and reads its answer.
func (l *loop) attempt(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), perAttempt)
	defer cancel()
	out := r.Clone(ctx)
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	out.Body = body
	resp, err := l.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(strings.NewReader(string(text)))
	return resp, nil
}

func sdkRetries(resp *http.Response) bool {
	if resp == nil {
		return true
	}
	switch resp.Header.Get("X-Should-Retry") {
	case "true":
		return true
	case "false":
		return false
	}
	switch s := resp.StatusCode; s {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	default:
		return s >= http.StatusInternalServerError
	}
}

func sdkWait(resp *http.Response, n int, r *rand.Rand) time.Duration {
	if resp != nil {
		if ms, err := strconv.ParseFloat(resp.Header.Get("Retry-After-Ms"), 64); err == nil {
			return time.Duration(max(0, ms) * float64(time.Millisecond))
		}
		after := resp.Header.Get("Retry-After")
		if s, err := strconv.ParseFloat(after, 64); err == nil {
			return time.Duration(max(0, s) * float64(time.Second))
		}
		if at, err := time.Parse(time.RFC1123, after); err == nil {
			return max(0, time.Until(at))
		}
	}
	wait := min(8*time.Second, 500*time.Millisecond<<(n-1))
	return wait - time.Duration(r.Int64N(int64(wait/4)))
}
