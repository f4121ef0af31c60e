package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/concurrency"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// Deadline is when content of an answer must have come for a caller that
// arrived and waits for timeout: 1 s earlier, at most 5 % of the timeout.
func Deadline(arrived time.Time, timeout time.Duration) time.Time {
	return retry.Deadline(arrived, timeout)
}

// Limits configures what is known of the limits before any answer has told, and
// [Rates] are limits per minute.
type (
	Limits = limit.Config
	Rates  = limit.Rates
)

// Concurrency bounds how many attempts are in flight to one upstream and model.
type Concurrency = concurrency.Config

// BreakerConfig configures the circuit breakers. Zero fields have the
// defaults named; where zero must mean “none”, a negative value does.
type BreakerConfig struct {
	Off        bool          // never opens
	ErrorRate  float64       // opens above this share of failed calls; 0 means 0.20
	Window     time.Duration // over which the share is taken; 0 means 1 min
	MinCalls   int           // in the window before it may open; 0 means 20
	OpenFor    time.Duration // at most; 0 means 5 min
	ProbeEvery time.Duration // while open, one call in so long tests the upstream; 0 means 30 s; negative: none before OpenFor has passed
	Probes     int           // at once while half-open, and successes to close; 0 means 3
	Ramp       time.Duration // after closing, load returns over so long; 0 means 30 s; negative: at once
	Refuse     bool          // refuse calls while open instead of letting them wait (breaker.when_open: refuse)
}
