// Package observe carries what happens on the path to whoever reads it.
//
// Events are facts that have happened: an attempt ended, a call waits, a call
// finished or was refused. They are enqueued and never block: when a reader is
// stuck, events are dropped and counted ([Queue.Dropped]). Current state is
// not summed up from events; it is asked for, as a [Snapshot].
//
// Nothing in here holds a prompt, a completion or a credential.
package observe

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Kind says which step an [Event] reports.
type Kind uint8

// The steps.
const (
	AttemptDone  Kind = iota + 1 // one request sent upstream has ended, or its headers came
	Waiting                      // a call waits before its next attempt
	CallDone                     // a call has ended
	Refused                      // a call ended without an attempt, or by a decision of ours
	BreakerMoved                 // a breaker changed its state
	Resumed                      // a stream has broken after content, and an attempt is to go on with it
	FellBack                     // a call goes to another model, or may not: State says why
	PassedOn                     // plain calls of a model are sent plain from now on: their streams cannot be assembled
)

// String returns the kind as logs spell it.
func (k Kind) String() string {
	switch k {
	case AttemptDone:
		return "attempt"
	case Waiting:
		return "waiting"
	case CallDone:
		return "call"
	case Refused:
		return "refused"
	case BreakerMoved:
		return "breaker"
	case Resumed:
		return "resumed"
	case FellBack:
		return "fell_back"
	case PassedOn:
		return "passed_on"
	default:
		return "unknown"
	}
}

// Event is one step of one call. It is a plain value: sending it allocates
// nothing. Fields that do not apply to its Kind are zero.
type Event struct {
	Kind        Kind
	Time        time.Time
	Call        string // evenkeel-id
	Upstream    string // host[:port]
	Path        string // class of path: messages, count_tokens, batches, other
	Model       string // as the caller wrote it; "" where the path names none
	Fallback    string // the model that attempts go to in place of Model, or that has answered; FellBack: that it is about; "" if it is Model
	Tag         string // evenkeel-tag
	Stream      bool
	Attempt     int           // 1 is the first
	MaxAttempts int           // of the call's policy
	Status      int           // of the answer; 0 if there was none
	Reason      string        // classify.Reason, a hold reason, or an EK- code: closed sets
	Wait        time.Duration // Waiting: how long at most
	Took        time.Duration // AttemptDone: until its headers or failure; CallDone: in all
	FirstByte   time.Duration // CallDone: arrival to first byte of the answer
	Waited      time.Duration // CallDone: between attempts and before the first, summed
	Usage       claude.Usage  // CallDone: tokens of the answer that was delivered, as far as it told; Resumed: of its part that broke
	Resume      string        // CallDone: "resumed" if the stream was gone on with, or why it was not: a closed set; "" if it did not break
	RequestID   string        // upstream's request-id
	State       string        // BreakerMoved: the new state; PassedOn: the delta that has no known place; FellBack: why the request may not go there, a closed set, "" if it does
	Probe       bool          // the attempt tested whether the upstream has recovered
}

// Observer receives events. Observe must return at once and is called from
// many goroutines; wrap a slow one in a [Queue].
type Observer interface{ Observe(Event) }

// Snapshot is the state of the path at one moment.
type Snapshot struct {
	Time     time.Time
	InFlight int // attempts being served
	Waiting  int // calls that wait
	Breakers []Breaker
	Limits   []Limit  // the latest used first, a hundred at most
	Calls    []Call   // a call each, oldest first
	Bodies   int64    // bytes kept for retries
	Dropped  uint64   // events dropped because a reader was stuck
	Store    *Store   // that a fleet shares; nil if there is none
	PassedOn []string // models whose plain calls are sent plain although streams were asked for, sorted
}

// Breaker is one circuit breaker in a Snapshot.
type Breaker struct {
	Upstream, Path, Model string
	State                 string
	Failures, Calls       int       // within the window
	NextProbe             time.Time // zero while closed
	Budget                int       // retry budget left, in tokens
	InFlight              int       // attempts being served
	Most                  int       // that may be at once, while the upstream is overloaded; 0 is no bound
}

// Limit is what one organisation (or workspace, or client, or credential whose
// organisation is not known yet) may still use of one class of models.
type Limit struct {
	Of, Owner, Workspace, Class string
	Fast                        bool
	InFlight                    int
	Learning                    int       // at most so many fly while nothing is known; 0 if something is
	Paused                      time.Time // until; zero if it is not
	Buckets                     []Bucket
}

// Bucket is one bucket of a Limit.
type Bucket struct {
	Kind      string // requests, input-tokens, output-tokens, tokens
	PerMinute int64
	Burst     float64 // what it holds when full
	Level     float64 // what is left; below 0 is a debt
	Reserved  float64 // by attempts that have not ended
	From      string  // who told the limit: headers, api, config
}

// Store is how it stands with the store that a fleet shares.
type Store struct {
	Kind      string    // "redis"
	Local     bool      // it does not answer: this process goes on with its own share
	Cause     string    // of the last error, while there is one: timeout, unreachable, auth, …
	Since     time.Time // Local; zero if it is not
	NextTry   time.Time // when somebody looks whether it is back
	Processes int       // that share the limits, as far as is known
	Errors    int       // ever
	Owners    int       // organisations that this process decides alone for, though the store answers: in a Cluster, or for somebody else's key
	Alone     int       // questions that were answered here instead, ever
	Pending   int       // ends that it has yet to hear of
	Lost      int       // ends that it will never hear of, ever
	Warnings  []string  // about how the server is set up
}

// Call is one live call in a Snapshot.
type Call struct {
	ID       string
	Model    string // as the caller wrote it
	Fallback string // the model that attempts go to in its place; "" if they go to Model
	Tag      string
	Phase    string // "queued", "sent", "streaming", "waiting"
	Reason   string // why it waits
	Arrived  time.Time
	Until    time.Time // of the wait
	Attempt  int
}
