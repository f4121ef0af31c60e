// Package classify turns the outcome of one attempt into a [Verdict]: whether
// it answers the call, may be tried again, or is final, and what breaker,
// retry budget and limiter are to learn from it.
//
// Outcomes are judged by range and error type. Names of codes and statuses
// are exceptions only, so that a status nobody has seen yet is still handled.
// The package holds no state and reads no clock.
package classify

import (
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Action is what an outcome means for the call.
type Action uint8

// The actions.
const (
	Answer Action = iota // the call succeeded: deliver
	Again                // may be tried again
	Final                // deliver as it is; no retry can change it
	Stop                 // the caller has left or its deadline has passed
)

// Health is what the end of a call with this outcome tells the breaker.
type Health uint8

// The three kinds. Ignored outcomes neither feed nor dilute the error rate.
const (
	Ignored Health = iota
	Good
	Failure
)

// Settlement is what happens to the reservation of the attempt.
type Settlement uint8

// The settlements.
const (
	Keep   Settlement = iota // unknown whether it counted upstream: stays charged
	Settle                   // replace the estimate by the usage that is known
	Refund                   // surely never counted
	Empty                    // upstream says the bucket is empty
	Ramp                     // as Empty, and lower the rate, then grow slowly
)

// Pause is who must wait until Verdict.RetryAfter has passed.
type Pause uint8

// The pauses.
const (
	PauseNone       Pause = iota
	PauseScope            // the organisation (until learned: the credential) and model class
	PauseCredential       // this credential only: anthropic-ratelimit-unified-*
	PauseSpeed            // calls of the same scope and speed: anthropic-fast-*
)

// Purse says which part of the retry budget pays for a retry.
type Purse uint8

// The purses (design: the 429 part belongs to the organisation, so that one
// tenant's limit does not spend what another needs in an overload).
const (
	UpstreamPurse Purse = iota
	ScopePurse
)

// Verdict is the judgement of one attempt.
type Verdict struct {
	Action     Action
	Reason     Reason
	Health     Health
	Price      int           // what a retry of this outcome costs the retry budget; 0 where there is none
	Purse      Purse         // who pays it
	RetryAfter time.Duration // lower bound of the wait; 0 means own backoff
	Pause      Pause         // who else waits RetryAfter out
	Settle     Settlement
	MaxRetries int // at most so many retries for this reason; 0 means no bound of its own
	Known      claude.Error
}

// Reason names an outcome in logs, metrics and messages: a closed set.
type Reason string

// The reasons.
const (
	OK                Reason = "ok"
	RateLimited       Reason = "rate_limited"
	RampLimited       Reason = "ramp_limited"
	PlanLimited       Reason = "plan_limited"     // anthropic-ratelimit-unified-*
	FastLimited       Reason = "fast_limited"     // anthropic-fast-*
	Throttled         Reason = "throttled"        // 429 with neither retry-after nor an empty bucket
	SpendLimited      Reason = "spend_limited"    // final until money or a human moves
	LongContext       Reason = "long_context"     // entitlement, not a quota
	OverloadedReason  Reason = "overloaded"       // 529 or overloaded_error
	ServerError       Reason = "server_error"     // other 5xx, api_error
	TimeoutReason     Reason = "upstream_timeout" // 504, timeout_error, 408
	ConflictReason    Reason = "conflict"         // 409 with a transient code
	NoConnection      Reason = "no_connection"
	ConnectionLost    Reason = "connection_lost" // reset before headers
	FirstByteTimeout  Reason = "first_byte_timeout"
	IdleTimeout       Reason = "idle_timeout"
	StreamError       Reason = "stream_error"     // error event inside a 200 stream
	StreamCut         Reason = "stream_cut"       // reset, truncation, end without message_stop
	Rejected          Reason = "rejected"         // a 4xx no retry can change, 501, 505
	Redirected        Reason = "redirected"       // 3xx, 304 included: delivered as it is
	ShouldNotRetry    Reason = "should_not_retry" // x-should-retry: false
	ToldToRetry       Reason = "told_to_retry"    // x-should-retry: true on what is else final
	CallerLeft        Reason = "caller_left"
	DeadlinePassed    Reason = "deadline"
	EffectsUnknown    Reason = "effects_unknown" // a POST with effects may have taken place
	BodyNotReplayable Reason = "body_not_replayable"
	NotAssembled      Reason = "not_assembled" // a stream that cannot be made a plain answer without loss: asked for plain
)

// Fault is a failure without a usable HTTP answer, or one inside a 200.
type Fault uint8

// The faults, in the order in which an attempt can meet them.
const (
	NoFault         Fault = iota
	FaultConnect          // no connection, DNS, TLS, refused: nothing was sent
	FaultReset            // the connection broke before headers came
	FaultFirstByte        // first-byte limit passed
	FaultErrorEvent       // 200, then an error event; Outcome.Error says which
	FaultCut              // 200, then cut, truncated, or ended without being whole
	FaultIdle             // 200, then silent past the idle limit
	FaultCaller           // the caller cancelled
	FaultDeadline         // the caller's deadline passed
)

// Outcome is what is known of one attempt when it is judged.
type Outcome struct {
	Path    claude.Path
	Effects bool // a POST that may have happened although no answer came; see [Effects]

	Status int         // 0 if there was no answer
	Header http.Header // of the answer; may be nil
	Error  claude.Error

	Fault     Fault
	Sent      bool          // a connection was made and at least part of the request may have left
	Content   bool          // content of the answer reached the caller: not to be retried unseen
	SinceByte time.Duration // with FaultCaller, FaultDeadline: silence before it
	Now       time.Time     // for Retry-After as a date
}
