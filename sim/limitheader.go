package sim

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim/internal/quota"
)

// What is shown of limits that are not enforced: the Scale row of “Rate
// limits”, platform.claude.com, 2026-08-22.
var shown = [...]int{quota.Requests: 10_000, quota.Input: 10_000_000, quota.Output: 2_000_000}

// write sets the headers that show the limits, as they are now.
func (k *ticket) write(h http.Header) {
	a := k.attempt.api
	a.mu.Lock()
	defer a.mu.Unlock()
	k.show(h, time.Now())
}

// show sets anthropic-ratelimit-* or, for a fast call, anthropic-fast-*, which
// has no requests. API.mu is held.
//
// anthropic-ratelimit-tokens-* is the most restrictive limit in effect: the
// workspace's if it has one, else input and output summed (“Rate limits”; the
// sum is as captured by users).
func (k *ticket) show(h http.Header, now time.Time) {
	others := k.attempt.api.others(now, k.spec.id, k.organization)
	state := func(p *quota.Pool, kind quota.Kind) quota.State {
		if s, ok := p.State(now, kind, others); ok {
			return s
		}
		return quota.State{Limit: shown[kind], Remaining: float64(shown[kind])}
	}
	requests, input, output := state(k.pools[0], quota.Requests), state(k.pools[0], quota.Input), state(k.pools[0], quota.Output)
	if k.fast {
		setLimit(h, fastInputHeaders, input, now, thousands)
		setLimit(h, fastOutputHeaders, output, now, thousands)
		return
	}
	setLimit(h, requestHeaders, requests, now, 1)
	setLimit(h, inputHeaders, input, now, thousands)
	setLimit(h, outputHeaders, output, now, thousands)
	tightest := sum(input, output)
	for _, p := range k.pools[1:] {
		for _, s := range tokensLeft(p, now, others) {
			if s.Remaining < tightest.Remaining {
				tightest = s
			}
		}
	}
	setLimit(h, tokenHeaders, tightest, now, thousands)
}

// limitHeaders are the names of the three headers of one limit, canonical, so
// that they can be set without asking how they are written.
type limitHeaders struct{ limit, remaining, reset string }

func headersOf(name string) limitHeaders {
	return limitHeaders{name + "-Limit", name + "-Remaining", name + "-Reset"}
}

var (
	requestHeaders    = headersOf("Anthropic-Ratelimit-Requests")
	inputHeaders      = headersOf("Anthropic-Ratelimit-Input-Tokens")
	outputHeaders     = headersOf("Anthropic-Ratelimit-Output-Tokens")
	tokenHeaders      = headersOf("Anthropic-Ratelimit-Tokens")
	fastInputHeaders  = headersOf("Anthropic-Fast-Input-Tokens")
	fastOutputHeaders = headersOf("Anthropic-Fast-Output-Tokens")
)

// tokensLeft returns what a workspace's limits on tokens leave: both summed, or
// the one there is.
func tokensLeft(p *quota.Pool, now time.Time, others float64) []quota.State {
	in, hasIn := p.State(now, quota.Input, others)
	out, hasOut := p.State(now, quota.Output, others)
	switch {
	case hasIn && hasOut:
		return []quota.State{sum(in, out)}
	case hasIn:
		return []quota.State{in}
	case hasOut:
		return []quota.State{out}
	}
	return nil
}

func sum(a, b quota.State) quota.State {
	return quota.State{Limit: a.Limit + b.Limit, Remaining: a.Remaining + b.Remaining, Full: max(a.Full, b.Full)}
}

// thousands is what remaining tokens are rounded to (“Rate limits”).
const thousands = 1000

// setLimit sets limit, remaining and reset: when it is fully replenished, in
// whole seconds and not too early. Requests are rounded down, tokens to the
// nearest unit.
func setLimit(h http.Header, names limitHeaders, s quota.State, now time.Time, unit float64) {
	remaining := math.Floor(s.Remaining + 1e-6)
	if unit > 1 {
		remaining = math.Round(s.Remaining/unit) * unit
	}
	reset := now.Add(s.Full)
	if up := reset.Truncate(time.Second); up.Before(reset) {
		reset = up.Add(time.Second)
	}
	values := [...]string{strconv.Itoa(s.Limit), strconv.Itoa(int(remaining)), rfc3339(reset)}
	h[names.limit], h[names.remaining], h[names.reset] = values[0:1:1], values[1:2:2], values[2:3:3]
}
