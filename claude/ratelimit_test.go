package claude

import (
	"net/http"
	"testing"
	"time"
)

func TestReadRateLimits(t *testing.T) {
	reset := time.Date(2026, 11, 26, 6, 0, 30, 0, time.UTC)
	for _, tt := range []struct {
		why    string
		header map[string]string
		want   RateLimits
	}{
		{"an answer that speaks of no limit", map[string]string{"Request-Id": "req_1"}, RateLimits{}},
		{"all of one bucket", map[string]string{
			"Anthropic-Ratelimit-Requests-Limit": "1000", "Anthropic-Ratelimit-Requests-Remaining": "0",
			"Anthropic-Ratelimit-Requests-Reset": "2026-11-26T06:00:30Z",
		}, RateLimits{Requests: Window{1000, 0, reset}}},
		{"a level without a limit is nothing to refill", map[string]string{"Anthropic-Ratelimit-Requests-Remaining": "7"}, RateLimits{}},
		{"a limit without a level is half a bucket", map[string]string{"Anthropic-Ratelimit-Input-Tokens-Limit": "7"}, RateLimits{}},
		{"no reset, or one that cannot be read", map[string]string{
			"Anthropic-Ratelimit-Input-Tokens-Limit": "2000", "Anthropic-Ratelimit-Input-Tokens-Remaining": "1000",
			"Anthropic-Ratelimit-Input-Tokens-Reset": "soon",
		}, RateLimits{Input: Window{2000, 1000, time.Time{}}}},
		{"malformed", map[string]string{"Anthropic-Ratelimit-Output-Tokens-Limit": "1e3", "Anthropic-Ratelimit-Output-Tokens-Remaining": "-1"}, RateLimits{}},
		{"fast and priority are not the usual limits", map[string]string{
			"Anthropic-Fast-Input-Tokens-Limit": "50", "Anthropic-Fast-Input-Tokens-Remaining": "5",
			"Anthropic-Priority-Output-Tokens-Limit": "60", "Anthropic-Priority-Output-Tokens-Remaining": "6",
		}, RateLimits{FastInput: Window{50, 5, time.Time{}}, PriorityOutput: Window{60, 6, time.Time{}}}},
		{"a subscription login", map[string]string{"Anthropic-Ratelimit-Unified-5h-Status": "allowed"}, RateLimits{Unified: true}},
	} {
		h := http.Header{}
		for name, value := range tt.header {
			h.Set(name, value)
		}
		if got := ReadRateLimits(h); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.why, got, tt.want)
		}
	}
}

func TestRateLimits_summed(t *testing.T) {
	r := RateLimits{Input: Window{Limit: 200_000}, Output: Window{Limit: 80_000}, Tokens: Window{Limit: 280_000}}
	if !r.Summed() {
		t.Error("input and output together count as a limit of its own")
	}
	if r.Tokens.Limit = 100_000; r.Summed() {
		t.Error("a tighter limit counts as the sum")
	}
}

func FuzzReadRateLimits(f *testing.F) {
	f.Add("Anthropic-Ratelimit-Requests-Limit", "1000", "0", "2026-11-26T06:00:30Z")
	f.Add("Anthropic-Ratelimit-Unified-Status", "allowed", "", "")
	f.Add("Anthropic-", "9223372036854775807", "9223372036854775807", "x")
	f.Fuzz(func(t *testing.T, name, limit, remaining, reset string) {
		h := http.Header{
			name:                                   {limit},
			"Anthropic-Ratelimit-Tokens-Limit":     {limit},
			"Anthropic-Ratelimit-Tokens-Remaining": {remaining},
			"Anthropic-Ratelimit-Tokens-Reset":     {reset},
		}
		r := ReadRateLimits(h)
		for _, w := range []Window{r.Requests, r.Input, r.Output, r.Tokens, r.FastInput, r.FastOutput} {
			if w.Limit < 0 || w.Remaining < 0 || w.Limit > 1<<53 || w.Remaining > 1<<53 || !w.Told() && w != (Window{}) {
				t.Errorf("%q, %q: %+v", limit, remaining, w)
			}
		}
	})
}
