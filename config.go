package evenkeel

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// Config configures a [Transport]. The zero value is a working configuration:
// every number below then has the default it names.
//
// A Config is copied by [New] and [Transport.Reconfigure]; changing it
// afterwards changes nothing.
type Config struct {
	// Base makes the attempts. nil means a transport of our own: proxy from
	// the environment, connect within Timeouts.Connect, HTTP/2 pings after
	// 15 s of silence, no transparent compression. A Base of one's own must
	// not retry and should not decompress.
	Base http.RoundTripper

	// Backoff draws the waits that the API does not name. nil means
	// backoff.Exponential{}: full jitter, 1 s doubling to 60 s.
	Backoff backoff.Policy

	// MaxAttempts counts every attempt of a call, the first included.
	// 0 means 6; 1 turns retries off.
	MaxAttempts int

	// LongestWait bounds one silent wait before a retry. When backoff,
	// Retry-After or an empty budget asks for more, the call ends at once
	// with the upstream's last answer. 0 means 60 s.
	LongestWait time.Duration

	// RetryBudget is the size of the retry budget of each upstream and model
	// in tokens, of which a retry costs 5. 0 means 500.
	RetryBudget int

	Timeouts Timeouts
	Breaker  Breaker
	Limits   Limits
	Queue    Queue
	Stream   Stream
	Memory   Memory

	// Concurrency bounds how many attempts are in flight to one upstream and
	// model. The zero value bounds nothing until the upstream is overloaded by
	// us, and then finds out how many it takes.
	Concurrency Concurrency

	// Fallback names models that answer for others: where the breaker of a call's
	// model is open, or what it would have to wait for is later than its deadline
	// or max-wait allow, its request goes to the first of them that covers the
	// model, once, if nothing in it but the model must be changed for that
	// (package fallback). Such an answer carries the header evenkeel-model. If
	// the other model brings none, the call ends as it would have without. nil
	// means none: another model has other prices, and other answers.
	Fallback []Fallback

	// Counter counts the input tokens of messages before they are sent. nil
	// means estimates of our own (package tokens), which take microseconds
	// and learn from answers. One that asks the network is waited for, two
	// seconds at most.
	Counter tokens.Counter

	// Log receives one WARN before each wait (at most one per model and
	// second), one line per finished call, and refusals with a count. It is
	// written by a goroutine of its own: a stuck handler slows no call. nil
	// discards.
	Log *slog.Logger

	// Observer receives every event, on the calling goroutine. nil for none.
	Observer observe.Observer

	// Admission decides when attempts may be sent. nil means one in memory, for
	// this Transport alone, made of RetryBudget, Breaker, Limits, Concurrency
	// and Queue. One given here brings its own of these, is kept across
	// Reconfigure, and may be given to several Transports: they then share
	// limits, breakers and budgets.
	Admission call.Admission
}

// Timeouts bounds the phases of a call. Zero fields have the defaults named.
type Timeouts struct {
	Connect   time.Duration // dial and TLS, each; 0 means 5 s
	FirstByte time.Duration // until headers of a stream, per attempt; a plain call gets max_tokens · 28 ms more; 0 means 120 s
	Idle      time.Duration // of an answer that flows, without any byte; pings count; 0 means 180 s
	Total     time.Duration // of a call until its first content; 0 means 10 min
}

// Breaker configures the circuit breakers, one per upstream, path class and model.
type Breaker = call.BreakerConfig

// Limits says what is known of the limits per minute before any answer has
// told. The zero value learns them all: nothing need be configured.
type Limits = call.Limits

// Rates are limits per minute of requests, input and output tokens.
type Rates = call.Rates

// Concurrency bounds the attempts in flight.
type Concurrency = call.Concurrency

// Queue bounds the calls that are held: by a limit, an open breaker, an upstream
// that takes no more, an empty budget or a pause after a 429. Calls in their
// backoff are bounded by the budget.
type Queue struct {
	Depth   int           // 0 means 1,000
	MaxWait time.Duration // of interactive calls; 0 means 30 s; the others wait as long as their deadline allows
}

// Stream says what becomes of streams that break. The zero value changes
// nothing of what the caller and the API say to each other.
type Stream struct {
	// Resume goes on with a stream that breaks after content, once, where
	// package resume finds it safe: in text, and never where history must not
	// be edited. The continuation is billed as a request of its own, input
	// included, and the seam may show. The caller sees one message, whose usage
	// is that of both, and the trailer evenkeel-resumed: 1. False ends such a
	// stream in an error event.
	Resume bool

	// Plain sends plain messages calls upstream as streams and assembles the
	// answer: a hang then shows after Timeouts.FirstByte and Timeouts.Idle
	// instead of when all of the answer is due, and no intermediary drops a
	// connection that is silent for minutes. It needs a body that can be sent
	// again and MaxAttempts of 2 or more. A model whose streams hold something
	// that has no known place in a plain answer is sent plain calls from then on.
	Plain bool
}

// Memory bounds the request bodies that are kept so that they can be sent
// again. A body beyond a bound is passed through once, unbuffered.
type Memory struct {
	Body   int64 // bytes of one body; 0 means 32 MB
	Bodies int64 // bytes of all bodies; 0 means 512 MB
}
