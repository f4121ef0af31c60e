package classify

import (
	"net/http"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// header sets names and values in turn, as net/http would.
func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

// status is an error answer with headers.
func status(code int, t claude.ErrorType, kv ...string) Outcome {
	return Outcome{Path: claude.Messages, Status: code, Header: header(kv...), Error: claude.Error{Type: t}, Sent: true, Now: now}
}

// coded is an error answer with a code.
func coded(code int, c claude.ErrorCode, kv ...string) Outcome {
	o := status(code, "", kv...)
	o.Error.Code = c
	return o
}

// said is an error answer without a code, told by its text.
func said(code int, message string, kv ...string) Outcome {
	o := status(code, "", kv...)
	o.Error.Message = message
	return o
}

// fault is an attempt that broke after its request had left.
func fault(f Fault) Outcome { return Outcome{Path: claude.Messages, Fault: f, Sent: true, Now: now} }

// unsent is an attempt that broke before its request had left.
func unsent(f Fault) Outcome { return Outcome{Path: claude.Messages, Fault: f, Now: now} }

// inside is a 200 that failed later.
func inside(f Fault, t claude.ErrorType) Outcome {
	o := fault(f)
	o.Status, o.Error.Type = http.StatusOK, t
	return o
}

func (o Outcome) afterContent() Outcome { o.Content = true; return o }
func (o Outcome) withEffects() Outcome  { o.Effects = true; return o }
func (o Outcome) silentFor(d time.Duration) Outcome {
	o.SinceByte = d
	return o
}

// again, final and stop are verdicts as the table writes them.
func again(r Reason, h Health, s Settlement) Verdict {
	return Verdict{Action: Again, Reason: r, Health: h, Settle: s, Price: 5}
}

func final(r Reason, h Health, s Settlement) Verdict {
	return Verdict{Action: Final, Reason: r, Health: h, Settle: s}
}

func stop(r Reason, h Health, s Settlement) Verdict {
	return Verdict{Action: Stop, Reason: r, Health: h, Settle: s}
}

func limit(r Reason, s Settlement, p Pause, after time.Duration) Verdict {
	return Verdict{Action: Again, Reason: r, Settle: s, Price: 5, Purse: ScopePurse, Pause: p, RetryAfter: after}
}
func (v Verdict) in(d time.Duration) Verdict { v.RetryAfter = d; return v }
func (v Verdict) atMost(n int) Verdict       { v.MaxRetries = n; return v }

const sec = time.Second

var table = []struct {
	name string
	o    Outcome
	want Verdict
}{
	// 2xx, message whole
	{"answered", status(200, ""), Verdict{Action: Answer, Reason: OK, Health: Good, Settle: Settle}},
	{"answered, nothing to say", status(204, ""), Verdict{Action: Answer, Reason: OK, Health: Good, Settle: Settle}},
	{
		"a bucket at 0 after an answer is for the limiter", status(200, "", "anthropic-ratelimit-requests-remaining", "0", "retry-after", "7"),
		Verdict{Action: Answer, Reason: OK, Health: Good, Settle: Settle},
	},

	// 3xx
	{"a redirect is the caller's to follow", status(302, ""), final(Redirected, Ignored, Refund)},
	{"not modified is an answer, but none of the model", status(304, "", "x-should-retry", "true"), final(Redirected, Ignored, Refund)},

	// 429
	{"limited, told when to come back", status(429, claude.RateLimit, "retry-after", "7"), limit(RateLimited, Empty, PauseScope, 7*sec)},
	{"limited, told in milliseconds", status(429, claude.RateLimit, "retry-after-ms", "1500"), limit(RateLimited, Empty, PauseScope, 1500*time.Millisecond)},
	{"limited, told by a date", status(429, claude.RateLimit, "retry-after", now.Add(7*sec).Format(http.TimeFormat)), limit(RateLimited, Empty, PauseScope, 7*sec)},
	{"limited for hours: as long as it says", status(429, claude.RateLimit, "retry-after", "13262"), limit(RateLimited, Empty, PauseScope, 13262*sec)},
	{"a bucket is empty and no time is named: own backoff", status(429, claude.RateLimit, "anthropic-ratelimit-input-tokens-remaining", "0"), limit(RateLimited, Empty, PauseNone, 0)},
	{"grown too fast", coded(429, claude.RampLimitExceeded, "retry-after", "7"), limit(RampLimited, Ramp, PauseScope, 7*sec)},
	{"grown too fast, no time named", coded(429, claude.RampLimitExceeded), limit(RampLimited, Ramp, PauseNone, 0)},
	{"a subscription's window is one login's own", status(429, claude.RateLimit, "anthropic-ratelimit-unified-status", "rejected", "retry-after", "7"), limit(PlanLimited, Refund, PauseCredential, 7*sec)},
	{"fast mode has limits of its own", status(429, claude.RateLimit, "anthropic-fast-input-tokens-remaining", "0", "retry-after", "7"), limit(FastLimited, Refund, PauseSpeed, 7*sec)},
	{"neither a time nor an empty bucket", status(429, claude.RateLimit), limit(Throttled, Refund, PauseNone, 0).atMost(2)},
	{"neither, though told to retry: still at most two", status(429, claude.RateLimit, "x-should-retry", "true"), limit(Throttled, Refund, PauseNone, 0).atMost(2)},
	{"at once is no time", status(429, claude.RateLimit, "retry-after", "0"), limit(Throttled, Refund, PauseNone, 0).atMost(2)},
	{"an unknown code means no more than the bare type", coded(429, "novel_limit", "retry-after", "7"), limit(RateLimited, Empty, PauseScope, 7*sec)},
	{"429 from a proxy without our words", said(429, "<html>", "retry-after", "7"), limit(RateLimited, Empty, PauseScope, 7*sec)},
	{"429 says more than api_error", status(429, claude.API, "retry-after", "7"), limit(RateLimited, Empty, PauseScope, 7*sec)},

	// caps and their 400 look-alikes
	{"the tier's monthly cap", coded(429, claude.EnforcedSpendLimit), final(SpendLimited, Ignored, Refund)},
	{"the contract's cap", coded(429, claude.ContractSpendLimit, "retry-after", "7"), final(SpendLimited, Ignored, Refund)},
	{"a cap, even if told to retry", coded(429, claude.EnforcedSpendLimit, "x-should-retry", "true"), final(SpendLimited, Ignored, Refund)},
	{"the tier's cap before it had a code", said(429, "You have reached your API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."), final(SpendLimited, Ignored, Refund)},
	{"the organisation's own cap", said(400, "You have reached your specified API usage limits. …", "x-should-retry", "true"), final(SpendLimited, Ignored, Refund)},
	{"the workspace's own cap", said(400, "You have reached your specified workspace API usage limits. …"), final(SpendLimited, Ignored, Refund)},
	{"credit used up", said(400, "Your credit balance is too low to access the Anthropic API. …"), final(SpendLimited, Ignored, Refund)},
	{"payment", status(402, claude.Billing), final(SpendLimited, Ignored, Refund)},
	{"payment, in nobody's words, told to retry", said(402, "", "x-should-retry", "true"), final(SpendLimited, Ignored, Refund)},
	{"payment of a linked organisation", coded(402, claude.LinkedSpendLimit), final(SpendLimited, Ignored, Refund)},
	{"long context is an entitlement", said(429, "Extra usage is required for long context requests.", "retry-after", "7", "x-should-retry", "true"), final(LongContext, Ignored, Refund)},
	{"long context, newer words", said(429, "Usage credits required for 1M context"), final(LongContext, Ignored, Refund)},
	{"a code outranks the words", func() Outcome {
		o := said(429, "You have reached your API usage limits", "retry-after", "7")
		o.Error.Code = claude.RampLimitExceeded
		return o
	}(), limit(RampLimited, Ramp, PauseScope, 7*sec)},
	{"the words elsewhere in a message are a quotation", said(429, `messages.0: "You have reached your API usage limits"`, "retry-after", "7"), limit(RateLimited, Empty, PauseScope, 7*sec)},

	// ≥ 500 and the types of the service
	{"overloaded", status(529, claude.Overloaded), again(OverloadedReason, Failure, Refund)},
	{"overloaded, told when to come back", status(529, claude.Overloaded, "retry-after", "7"), again(OverloadedReason, Failure, Refund).in(7 * sec)},
	{"overloaded, no envelope", status(529, ""), again(OverloadedReason, Failure, Refund)},
	{"internal", status(500, claude.API), again(ServerError, Failure, Keep)},
	{"bad gateway", said(502, "<html>"), again(ServerError, Failure, Keep)},
	{"unavailable, told when to come back", status(503, claude.API, "retry-after", "7"), again(ServerError, Failure, Keep).in(7 * sec)},
	{"timed out upstream", status(504, claude.Timeout), again(TimeoutReason, Failure, Keep)},
	{"timed out upstream, no envelope", status(504, ""), again(TimeoutReason, Failure, Keep)},
	{"a status nobody has seen", status(599, ""), again(ServerError, Failure, Keep)},
	{"a status of an edge", status(520, ""), again(ServerError, Failure, Keep)},
	{"overloaded_error whatever the status", status(400, claude.Overloaded), again(OverloadedReason, Failure, Refund)},
	{"api_error whatever the status", status(403, claude.API), again(ServerError, Failure, Keep)},
	{"timeout_error whatever the status", status(424, claude.Timeout), again(TimeoutReason, Failure, Keep)},
	{"not implemented", status(501, ""), final(Rejected, Ignored, Refund)},
	{"not implemented, whose type is that of all server errors", status(501, claude.API), final(Rejected, Ignored, Refund)},
	{"HTTP version", status(505, ""), final(Rejected, Ignored, Refund)},
	{"an error cut while its body was read is that error", Outcome{Status: 529, Fault: FaultCut, Sent: true}, again(OverloadedReason, Failure, Refund)},

	// no answer
	{"no connection", unsent(FaultConnect), again(NoConnection, Failure, Refund)},
	{"reset before headers", fault(FaultReset), again(ConnectionLost, Failure, Keep)},
	{"reset before anything was sent", unsent(FaultReset), again(ConnectionLost, Failure, Refund)},
	{"first byte never came", fault(FaultFirstByte), again(FirstByteTimeout, Failure, Keep)},
	{"an outcome that says nothing", Outcome{Sent: true}, again(ConnectionLost, Failure, Keep)},

	// 408, 409
	{"request timeout", status(408, ""), again(TimeoutReason, Ignored, Refund)},
	{"request timeout, whatever its type", status(408, claude.Timeout), again(TimeoutReason, Ignored, Refund)},
	{"conflict: a scan is pending", coded(409, claude.ScanPending), again(ConflictReason, Ignored, Refund)},
	{"conflict: members are changing", coded(409, claude.MembershipChange), again(ConflictReason, Ignored, Refund)},
	{"conflict: a key has changed", coded(409, claude.ExternalKeyChanged), again(ConflictReason, Ignored, Refund)},
	{"conflict: of the caller with itself", status(409, claude.Conflict), final(Rejected, Ignored, Refund)},

	// 200, then failed, no content delivered
	{"stream: overloaded", inside(FaultErrorEvent, claude.Overloaded), again(OverloadedReason, Failure, Settle)},
	{"stream: internal", inside(FaultErrorEvent, claude.API), again(ServerError, Failure, Settle)},
	{"stream: timed out", inside(FaultErrorEvent, claude.Timeout), again(TimeoutReason, Failure, Settle)},
	{"stream: limited, as a 429 without headers", inside(FaultErrorEvent, claude.RateLimit), limit(Throttled, Refund, PauseNone, 0).atMost(2)},
	{"stream: the request is to blame", inside(FaultErrorEvent, claude.InvalidRequest), final(StreamError, Ignored, Settle)},
	{"stream: an unknown type", inside(FaultErrorEvent, "tired_error"), again(StreamError, Failure, Settle)},
	{"stream: cut", inside(FaultCut, ""), again(StreamCut, Failure, Settle)},
	{"stream: silent", inside(FaultIdle, ""), again(IdleTimeout, Failure, Settle)},
	{"an error envelope in a plain 200", inside(NoFault, claude.Overloaded), again(OverloadedReason, Failure, Settle)},
	{"headers of a 200 say nothing about its failure", func() Outcome {
		o := inside(FaultErrorEvent, claude.Overloaded)
		o.Header = header("x-should-retry", "false", "retry-after", "7")
		return o
	}(), again(OverloadedReason, Failure, Settle)},
	{"headers of a 200 name no time for a limit met later", func() Outcome {
		o := inside(FaultErrorEvent, claude.RateLimit)
		o.Header = header("anthropic-ratelimit-requests-remaining", "0", "retry-after", "7")
		return o
	}(), limit(Throttled, Refund, PauseNone, 0).atMost(2)},

	// the same after content
	{"after content: overloaded", inside(FaultErrorEvent, claude.Overloaded).afterContent(), final(OverloadedReason, Failure, Settle)},
	{"after content: cut", inside(FaultCut, "").afterContent(), final(StreamCut, Failure, Settle)},
	{"after content: silent", inside(FaultIdle, "").afterContent(), final(IdleTimeout, Failure, Settle)},

	// every other 4xx
	{"bad request", status(400, claude.InvalidRequest), final(Rejected, Ignored, Refund)},
	{"credentials", status(401, claude.Authentication), final(Rejected, Ignored, Refund)},
	{"permission", status(403, claude.Permission), final(Rejected, Ignored, Refund)},
	{"not found", status(404, claude.NotFound), final(Rejected, Ignored, Refund)},
	{"too large", status(413, claude.RequestTooLarge), final(Rejected, Ignored, Refund)},
	{"a 4xx nobody has seen", status(499, ""), final(Rejected, Ignored, Refund)},
	{"a 400 that may pass is final all the same", coded(400, claude.KeyValidationTimeout), final(Rejected, Ignored, Refund)},

	// x-should-retry
	{"told not to: overloaded", status(529, claude.Overloaded, "x-should-retry", "false"), final(ShouldNotRetry, Failure, Refund)},
	{
		"told not to: limited; others pause all the same", status(429, claude.RateLimit, "x-should-retry", "false", "retry-after", "7"),
		Verdict{Action: Final, Reason: ShouldNotRetry, Purse: ScopePurse, Settle: Empty, Pause: PauseScope, RetryAfter: 7 * sec},
	},
	{"told not to: it would have been final", status(400, claude.InvalidRequest, "x-should-retry", "false"), final(Rejected, Ignored, Refund)},
	{"told to: bad request", status(400, claude.InvalidRequest, "x-should-retry", "true"), again(ToldToRetry, Ignored, Refund)},
	{"told to: with a time", coded(400, claude.RequestBodyTimeout, "x-should-retry", "true", "retry-after", "7"), again(ToldToRetry, Ignored, Refund).in(7 * sec)},
	{"told to: not implemented", status(501, "", "x-should-retry", "true"), again(ToldToRetry, Ignored, Refund)},
	{"told to: conflict", status(409, claude.Conflict, "x-should-retry", "true"), again(ToldToRetry, Ignored, Refund)},

	// the caller
	{"left soon: changed its mind", fault(FaultCaller).silentFor(19 * sec), stop(CallerLeft, Ignored, Settle)},
	{"left after 20 s of silence: gave up on upstream", fault(FaultCaller).silentFor(20 * sec), stop(CallerLeft, Failure, Settle)},
	{"left before anything was sent", unsent(FaultCaller), stop(CallerLeft, Ignored, Refund)},
	{"left after content", fault(FaultCaller).afterContent(), stop(CallerLeft, Ignored, Settle)},
	{"deadline passed soon: it was short", fault(FaultDeadline).silentFor(5 * sec), stop(DeadlinePassed, Ignored, Settle)},
	{"deadline passed in silence", fault(FaultDeadline).silentFor(30 * sec), stop(DeadlinePassed, Failure, Settle)},

	// POSTs with effects
	{"effects: limited, so not done", status(429, claude.RateLimit, "retry-after", "7").withEffects(), limit(RateLimited, Empty, PauseScope, 7*sec)},
	{"effects: overloaded, so not done", status(529, claude.Overloaded).withEffects(), again(OverloadedReason, Failure, Refund)},
	{"effects: no connection, so not done", unsent(FaultConnect).withEffects(), again(NoConnection, Failure, Refund)},
	{"effects: bad gateway may be done", status(502, "").withEffects(), final(EffectsUnknown, Failure, Keep)},
	{"effects: overloaded_error by another status may be done", status(500, claude.Overloaded).withEffects(), final(EffectsUnknown, Failure, Refund)},
	{"effects: reset may be done", fault(FaultReset).withEffects(), final(EffectsUnknown, Failure, Keep)},
	{"effects: no first byte may be done", fault(FaultFirstByte).withEffects(), final(EffectsUnknown, Failure, Keep)},
	{"effects: request timeout may be done", status(408, "").withEffects(), final(EffectsUnknown, Ignored, Refund)},
	{"effects: overloaded inside a 200: tools may have run", inside(FaultErrorEvent, claude.Overloaded).withEffects(), final(EffectsUnknown, Failure, Settle)},
	{"effects: told to retry, but it may be done", status(500, claude.API, "x-should-retry", "true").withEffects(), final(EffectsUnknown, Failure, Keep)},
	{"effects: what is final stays what it is", status(400, claude.InvalidRequest).withEffects(), final(Rejected, Ignored, Refund)},
}

// TestJudge is the table of docs/design.md, “Verdicts”, row by row.
func TestJudge(t *testing.T) {
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Known = tt.o.Error
			if got := Judge(tt.o); got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestJudge_knowsTheRequestID(t *testing.T) {
	o := status(529, claude.Overloaded, "request-id", "req_header")
	if got := Judge(o).Known.RequestID; got != "req_header" {
		t.Errorf("got %q, want the header's", got)
	}
	o.Error.RequestID = "req_body"
	if got := Judge(o).Known.RequestID; got != "req_body" {
		t.Errorf("got %q, want the envelope's", got)
	}
}

func TestEffects(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		path         claude.Path
		mcp          bool
		want         bool
	}{
		{"a message", http.MethodPost, claude.Messages, false, false},
		{"a message whose tools run upstream", http.MethodPost, claude.Messages, true, true},
		{"a count", http.MethodPost, claude.CountTokens, false, false},
		{"a count runs no tools", http.MethodPost, claude.CountTokens, true, false},
		{"a batch would exist twice", http.MethodPost, claude.Batches, false, true},
		{"an upload", http.MethodPost, claude.Other, false, true},
		{"a change", http.MethodPut, claude.Other, false, true},
		{"a change", http.MethodPatch, claude.Other, false, true},
		{"a method nobody has seen", "BREW", claude.Other, false, true},
		{"reading", http.MethodGet, claude.Other, false, false},
		{"asking", http.MethodHead, claude.Other, false, false},
		{"deleting twice deletes once", http.MethodDelete, claude.Other, false, false},
		{"options", http.MethodOptions, claude.Other, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Effects(tt.method, tt.path, tt.mcp); got != tt.want {
				t.Errorf("Effects(%s, %v, %v) = %v, want %v", tt.method, tt.path, tt.mcp, got, tt.want)
			}
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	h := header("Content-Type", "text/event-stream", "Request-Id", "req_1", "Anthropic-Ratelimit-Requests-Remaining", "999",
		"Anthropic-Organization-Id", "o", "Date", "Mon, 23 Nov 2026 12:00:00 GMT")
	for _, bm := range []struct {
		name string
		o    Outcome
	}{
		{"status=200", Outcome{Path: claude.Messages, Status: 200, Header: h, Sent: true, Content: true, Now: now}},
		{"status=529", status(529, claude.Overloaded, "request-id", "req_1", "x-should-retry", "true")},
		{"status=429", status(429, claude.RateLimit, "request-id", "req_1", "retry-after", "7", "x-should-retry", "true")},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := Judge(bm.o); v.Reason == "" {
					b.Fatal("no verdict")
				}
			}
		})
	}
}

func TestJudge_allocatesNothing(t *testing.T) {
	for _, tt := range table {
		if tt.o.Header.Get("retry-after") != "" {
			continue // dates are parsed
		}
		if n := testing.AllocsPerRun(10, func() { Judge(tt.o) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", tt.name, n)
		}
	}
}
