package claude

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of answers, in the form in which [http.Header] keys them. All
// functions here look names up in that form without converting them: they are
// meant for headers that came through net/http or [http.Header.Set].
//
// Sources: “Rate limits” (platform.claude.com, 2026-08-22); “Gateway protocol
// reference” (code.claude.com, 2026-08-22); SDK internal/requestconfig.
const (
	HeaderRequestID      = "Request-Id" // on every answer
	HeaderRetryAfter     = "Retry-After"
	HeaderRetryAfterMs   = "Retry-After-Ms" // read by the SDKs before Retry-After
	HeaderShouldRetry    = "X-Should-Retry" // obeyed by the SDKs over the status
	HeaderOrganizationID = "Anthropic-Organization-Id"
	HeaderDate           = "Date"
)

// Headers of requests and answers. A caller names a workspace, an answer says
// which one it was.
const (
	HeaderWorkspaceID = "Anthropic-Workspace-Id"
)

// Prefixes of the limit headers of answers.
const (
	// PrefixRateLimit is followed by a bucket and -Limit, -Remaining or -Reset.
	// Reset is when the bucket is full again, not when one more request fits.
	PrefixRateLimit = "Anthropic-Ratelimit-"
	// PrefixUnified marks limits of a subscription login. It is not documented
	// (Yeachan-Heo/gajae-code#2444, griffinwork40/agent-afk#490).
	PrefixUnified = "Anthropic-Ratelimit-Unified-"
	// PrefixFast marks the limits of fast mode (“Fast mode”,
	// platform.claude.com, 2026-08-22).
	PrefixFast = "Anthropic-Fast-"
	// PrefixPriority marks the limits of Priority Tier (“Service tiers”).
	PrefixPriority = "Anthropic-Priority-"
)

// Headers of one bucket: a constant of this list is made of PrefixRateLimit,
// the bucket and what it tells of it. Tokens is the tightest limit in effect.
const (
	HeaderRequestsRemaining     = "Anthropic-Ratelimit-Requests-Remaining"
	HeaderTokensRemaining       = "Anthropic-Ratelimit-Tokens-Remaining"
	HeaderInputTokensRemaining  = "Anthropic-Ratelimit-Input-Tokens-Remaining"
	HeaderOutputTokensRemaining = "Anthropic-Ratelimit-Output-Tokens-Remaining"
)

// Headers of requests.
const (
	HeaderVersion       = "Anthropic-Version"
	HeaderBeta          = "Anthropic-Beta" // a list; its values are never judged
	HeaderAPIKey        = "X-Api-Key"
	HeaderAuthorization = "Authorization"

	// The SDKs' own retries count from 0 in it.
	HeaderStainlessRetryCount = "X-Stainless-Retry-Count"
	// Seconds that the SDKs give an attempt; see [CallerTimeout].
	HeaderStainlessTimeout     = "X-Stainless-Timeout"
	HeaderStainlessReadTimeout = "X-Stainless-Read-Timeout"
)

// The values of HeaderVersion that are in use. Error envelopes and answers are
// the same in both (SDK v1.84.0 against v2.0.0).
const (
	Version20230601 = "2023-06-01"
	Version20261021 = "2026-10-21"
)

// maxWait bounds every duration read from a header, against overflow only: it
// is longer than any limit of the API lasts (monthly spend caps) and whoever
// waits has a far lower bound.
const maxWait = 31 * 24 * time.Hour

// RetryAfter returns how long an answer asks to wait: retry-after-ms, else
// retry-after in seconds, whole or fractional, else retry-after as an HTTP
// date in any of its three formats (RFC 9110, 5.6.7). A value that is not
// above zero, or cannot be read, is as good as none; more than 31 days are 31
// days.
//
// A date is compared with the answer's own Date header where there is one, and
// with now otherwise. Both dates come from one clock, cut to whole seconds
// alike, so their difference is the wait that was meant; ours may be minutes
// off, and would lose the cut part of a second even if it were not.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if d, ok := decimal(first(h, HeaderRetryAfterMs), time.Millisecond); ok {
		return d, true
	}
	v := first(h, HeaderRetryAfter)
	if v == "" {
		return 0, false
	}
	if d, ok := decimal(v, time.Second); ok {
		return d, true
	}
	if v[0] >= '0' && v[0] <= '9' {
		return 0, false // a date begins with the name of a day
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	if sent, err := http.ParseTime(first(h, HeaderDate)); err == nil {
		now = sent
	}
	d := min(at.Sub(now), maxWait)
	return max(d, 0), d > 0
}

// ShouldRetry returns the answer's x-should-retry. Any value but true and
// false counts as absent, as in the SDKs.
func ShouldRetry(h http.Header) (value, present bool) {
	switch first(h, HeaderShouldRetry) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// CallerTimeout returns how long a caller is going to wait for an attempt of
// its own: x-stainless-timeout, else x-stainless-read-timeout. Both are
// seconds and may be fractional; anything else is ignored.
func CallerTimeout(h http.Header) (time.Duration, bool) {
	if d, ok := decimal(first(h, HeaderStainlessTimeout), time.Second); ok {
		return d, true
	}
	return decimal(first(h, HeaderStainlessReadTimeout), time.Second)
}

// IsRetry tells that the caller is itself trying again: an SDK counts its
// retries in x-stainless-retry-count.
func IsRetry(h http.Header) bool {
	n, err := strconv.Atoi(first(h, HeaderStainlessRetryCount))
	return err == nil && n > 0
}

// EmptyBucket returns the first limit that the answer shows at 0: requests,
// input-tokens, output-tokens, or tokens, which stands for several and comes
// last. Token levels are rounded to the nearest thousand upstream, so that an
// answer which did go through may show one too.
func EmptyBucket(h http.Header) (name string, ok bool) {
	for _, b := range [...]struct{ name, header string }{
		{"requests", HeaderRequestsRemaining},
		{"input-tokens", HeaderInputTokensRemaining},
		{"output-tokens", HeaderOutputTokensRemaining},
		{"tokens", HeaderTokensRemaining},
	} {
		v := first(h, b.header)
		if v == "" {
			continue
		}
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n == 0 {
			return b.name, true
		}
	}
	return "", false
}

// HasUnified tells that the answer speaks of the limits of a subscription
// login. Short throttles of such a login do not.
func HasUnified(h http.Header) bool { return hasPrefix(h, PrefixUnified) }

// HasFast tells that the answer speaks of the limits of fast mode.
func HasFast(h http.Header) bool { return hasPrefix(h, PrefixFast) }

// Credential returns what a request authenticates with: x-api-key, else the
// value of Authorization, without “Bearer”, since a key is the same key
// whichever of the two headers carries it (SDK v1 sends the one, v2 the
// other). "" if there is neither.
//
// It is a secret. It is for hashing only: never keep, log or compare it.
func Credential(h http.Header) string {
	if key := first(h, HeaderAPIKey); key != "" {
		return key
	}
	v := first(h, HeaderAuthorization)
	const scheme = "Bearer "
	if len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) {
		return strings.TrimSpace(v[len(scheme):])
	}
	return v
}

// decimal reads a plain decimal number of units that is above zero.
func decimal(text string, unit time.Duration) (time.Duration, bool) {
	if text == "" || len(text) > 64 {
		return 0, false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && c != '.' {
			return 0, false // also signs, exponents, hex, Inf and NaN
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	f = math.Round(f * float64(unit))
	if f >= float64(maxWait) {
		return maxWait, true
	}
	return time.Duration(f), f > 0
}

// first is the first value of a header, without the space around it.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

func hasPrefix(h http.Header, prefix string) bool {
	for name := range h {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
