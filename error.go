package evenkeel

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Code is the stable name of a decision of ours, as told in evenkeel-reason.
type Code string

// The codes of calls that end without an answer from upstream.
const (
	CodeUnreachable Code = "EK-UPSTREAM-UNREACHABLE" // no connection, or it broke before an answer began
	CodeTimeout     Code = "EK-UPSTREAM-TIMEOUT"     // no first byte in time
	CodeBreaker     Code = "EK-BREAKER-OPEN"         // the upstream is failing; waiting would not fit
	CodeQueueFull   Code = "EK-QUEUE-FULL"           // too many calls wait already
	CodeMaxWait     Code = "EK-MAX-WAIT"             // the wait is longer than the caller or its class allows
	CodeDeadline    Code = "EK-DEADLINE"             // the caller's deadline cannot be met
	CodeLimit       Code = "EK-LIMIT"                // a limit of the organisation, known before sending, is used up for longer than the call may wait
	CodeLimitSize   Code = "EK-LIMIT-SIZE"           // the call is larger than the limit itself: no wait helps
	CodeCrowded     Code = "EK-UPSTREAM-CROWDED"     // the upstream is overloaded, and as many calls are in flight as it takes
	CodePaused      Code = "EK-LIMIT-PAUSE"          // a 429 named a time for everyone in this scope
	CodeDraining    Code = "EK-DRAINING"             // a gateway is going away; the Transport itself never says so
	CodeBadHeader   Code = "EK-HEADER"               // an evenkeel- header that cannot be read
	CodeBody        Code = "EK-BODY"                 // the caller's request body could not be read
)

// Error reports a call that ended without a usable response: the network
// failed for good, the breaker was open, or no wait could fit. A 429 that
// arrives is not an Error: [http.RoundTripper] returns responses, whatever
// their status, and so a call that gave up on a 529 returns that 529.
type Error struct {
	Code       Code
	Kind       claude.ErrorType // what a gateway answers: the API's own words
	Status     int              // and its status
	RetryAfter time.Duration    // how long until it is worth asking again; 0 if that is unknown
	Call       string           // evenkeel-id
	RequestID  string           // the last request-id upstream named, for Anthropic support; or ""
	Attempts   int              // made; 0 if none was allowed
	Waited     time.Duration    // before and between attempts, summed
	Trail      string           // the attempts, as in evenkeel-trail
	Err        error            // last cause; never nil
}

// Error says what happened, why, and the numbers.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("evenkeel: ")
	switch {
	case e.Attempts == 0 && e.Waited == 0:
		b.WriteString("not sent")
	case e.Attempts == 0:
		fmt.Fprintf(&b, "not sent after waiting %v", e.Waited.Round(time.Millisecond))
	case e.Attempts == 1:
		b.WriteString("gave up after 1 attempt")
	default:
		fmt.Fprintf(&b, "gave up after %d attempts and %v of waiting", e.Attempts, e.Waited.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, ": %v (%s)", e.Err, e.Code)
	return b.String()
}

// Unwrap lets [errors.Is] see the cause: context.Canceled, ErrBreakerOpen and so on.
func (e *Error) Unwrap() error { return e.Err }

// Timeout tells that time ran out, as [net.Error] does.
func (e *Error) Timeout() bool { return e.Code == CodeTimeout || e.Code == CodeDeadline }

// Temporary tells that the same call may succeed later, as [net.Error] does.
func (e *Error) Temporary() bool { return e.Code != CodeBody && e.Code != CodeBadHeader }

// Causes that callers compare with [errors.Is].
var (
	ErrBreakerOpen = errors.New("circuit breaker is open")
	ErrQueueFull   = errors.New("queue is full")
	ErrMaxWait     = errors.New("wait is longer than allowed")
	ErrDeadline    = errors.New("deadline cannot be met") // no attempt would fit before it
	ErrPaused      = errors.New("paused by a rate limit")
	ErrLimit       = errors.New("rate limit is used up")
	ErrLimitSize   = errors.New("larger than the rate limit itself")
	ErrCrowded     = errors.New("upstream takes no more calls at once")
	ErrFirstByte   = errors.New("no first byte in time")
	ErrIdle        = errors.New("no byte of the answer in time")
	ErrContent     = errors.New("no content of the answer in time") // an attempt was under way when the deadline or Timeouts.Total came
	ErrTruncated   = errors.New("stream ended before message_stop")
)
