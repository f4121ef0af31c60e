package sim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// bucketKey is whose requests are counted together.
type bucketKey struct{ organization, model string }

// bucket is a token bucket that refills continuously. Guarded by API.mu.
type bucket struct {
	level float64
	at    time.Time
}

// take removes one request at time now. If there is none, it returns how long
// until there is. rate is in requests per second, size the most it holds.
func (b *bucket) take(now time.Time, rate, size float64) time.Duration {
	if past := now.Sub(b.at); past > 0 {
		b.level = min(size, b.level+past.Seconds()*rate)
		b.at = now
	}
	const slack = 1e-9 // of rounding
	if b.level < 1-slack {
		return time.Duration((1 - b.level) / rate * float64(time.Second))
	}
	b.level--
	return 0
}

// limits is the state of an organisation's limits as an answer's headers show
// it.
type limits struct {
	rpm       int
	remaining int
	full      time.Duration // until the requests are fully replenished
}

// Limits that are shown but not enforced: the Scale row of “Rate limits”,
// platform.claude.com, 2026-08-22.
const (
	shownRPM  = 10_000
	shownITPM = 10_000_000
	shownOTPM = 2_000_000
)

// take counts one messages call against its bucket. A positive duration means
// that the call is over the limit, and for how long.
func (a *API) take(organization, model string, now time.Time) (limits, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rpm <= 0 {
		return limits{rpm: shownRPM, remaining: shownRPM}, 0
	}
	rate, size := float64(a.rpm)/60, math.Max(1, float64(a.rpm)/6)
	key := bucketKey{organization, model}
	b := a.buckets[key]
	if b == nil {
		b = &bucket{level: size, at: now}
		a.buckets[key] = b
	}
	over := b.take(now, rate, size)
	full := time.Duration((size - b.level) / rate * float64(time.Second))
	return limits{rpm: a.rpm, remaining: int(b.level), full: full}, over
}

// refusal is the message of the 429 that this limit causes.
func (l limits) refusal(organization string) string {
	return fmt.Sprintf("This request would exceed the rate limit for your organization (%s) of %d requests per minute", organization, l.rpm)
}

// write sets the anthropic-ratelimit headers. Token values are rounded to the
// nearest thousand, as documented; so are these. anthropic-ratelimit-tokens is
// input and output summed, as it is without workspace limits.
func (l limits) write(h http.Header, now time.Time) {
	reset := now.Add(l.full)
	if up := reset.Truncate(time.Second); up.Before(reset) {
		reset = up.Add(time.Second) // the header has whole seconds
	}
	for _, v := range []struct {
		name             string
		limit, remaining int
		reset            time.Time
	}{
		{"Requests", l.rpm, l.remaining, reset},
		{"Input-Tokens", shownITPM, shownITPM, now},
		{"Output-Tokens", shownOTPM, shownOTPM, now},
		{"Tokens", shownITPM + shownOTPM, shownITPM + shownOTPM, now},
	} {
		name := "Anthropic-Ratelimit-" + v.name
		h.Set(name+"-Limit", strconv.Itoa(v.limit))
		h.Set(name+"-Remaining", strconv.Itoa(v.remaining))
		h.Set(name+"-Reset", rfc3339(v.reset))
	}
}

// seconds returns d as a Retry-After: whole seconds, never too short.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
