package claude

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Window is what an answer tells of one limit. The zero Window is none.
type Window struct {
	Limit     int64     // per minute; never below 1 if anything was told
	Remaining int64     // never below 0; tokens are rounded to the nearest thousand
	Reset     time.Time // when the bucket is full again; zero if it was not told
}

// Told reports whether the answer spoke of this limit.
func (w Window) Told() bool { return w.Limit > 0 }

// RateLimits are the limits an answer speaks of, each kind apart: what one
// says never holds for another (“Rate limits”, “Fast mode”, “Service tiers”,
// platform.claude.com, 2026-08-22).
type RateLimits struct {
	Requests, Input, Output Window
	// Tokens is the tightest limit in effect, such as a workspace's; without
	// one, input and output summed.
	Tokens                        Window
	FastInput, FastOutput         Window // of calls in fast mode
	PriorityInput, PriorityOutput Window // of what is committed; no longer sold
	Unified                       bool   // a subscription login: no buckets per minute
}

// Told reports whether the answer speaks of a usual limit per minute.
func (r RateLimits) Told() bool {
	return r.Requests.Told() || r.Input.Told() || r.Output.Told() || r.Tokens.Told()
}

// Summed reports whether Tokens is no limit of its own, but input and output
// together.
func (r RateLimits) Summed() bool {
	return r.Input.Told() && r.Output.Told() && r.Tokens.Limit == r.Input.Limit+r.Output.Limit
}

// ReadRateLimits reads the limits that an answer's headers tell. A header that
// is malformed is as good as none; a bucket without a limit or without
// remaining is none.
func ReadRateLimits(h http.Header) RateLimits {
	var r RateLimits
	for name, values := range h {
		if len(values) == 0 || !strings.HasPrefix(name, "Anthropic-") {
			continue
		}
		if strings.HasPrefix(name, PrefixUnified) {
			r.Unified = true
			continue
		}
		w, field := r.window(name)
		if w == nil {
			continue
		}
		w.read(field, strings.TrimSpace(values[0]))
	}
	for _, w := range [...]*Window{
		&r.Requests, &r.Input, &r.Output, &r.Tokens, &r.FastInput, &r.FastOutput, &r.PriorityInput, &r.PriorityOutput,
	} {
		w.finish()
	}
	return r
}

// window finds the limit that a header is about, and what it tells of it.
func (r *RateLimits) window(name string) (w *Window, field string) {
	bucket, field, ok := cutLast(name, '-')
	if !ok {
		return nil, ""
	}
	switch bucket {
	case PrefixRateLimit + "Requests":
		w = &r.Requests
	case PrefixRateLimit + "Input-Tokens":
		w = &r.Input
	case PrefixRateLimit + "Output-Tokens":
		w = &r.Output
	case PrefixRateLimit + "Tokens":
		w = &r.Tokens
	case PrefixFast + "Input-Tokens":
		w = &r.FastInput
	case PrefixFast + "Output-Tokens":
		w = &r.FastOutput
	case PrefixPriority + "Input-Tokens":
		w = &r.PriorityInput
	case PrefixPriority + "Output-Tokens":
		w = &r.PriorityOutput
	}
	return w, field
}

// mostTokens bounds what is believed, and keeps sums far from overflow.
const mostTokens = 1 << 52

func (w *Window) read(field, value string) {
	switch field {
	case "Limit":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && n <= mostTokens {
			w.Limit = n
		}
	case "Remaining": // kept one higher until all headers are read, so that 0 is not absent
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 && n <= mostTokens {
			w.Remaining = n + 1
		}
	case "Reset":
		if at, err := time.Parse(time.RFC3339, value); err == nil {
			w.Reset = at
		}
	}
}

// finish drops what is told in part.
func (w *Window) finish() {
	if w.Limit == 0 || w.Remaining == 0 {
		*w = Window{}
		return
	}
	w.Remaining--
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// CountsCacheReads reports whether a model's limit on input counts what is
// read from the cache. Of all models it is Claude 3.5 Haiku's (“Rate limits”,
// platform.claude.com, 2026-08-22).
func CountsCacheReads(model string) bool { return strings.HasPrefix(model, "claude-3-5-haiku") }
