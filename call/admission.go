package call

import (
	"context"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/observe"
)

// Admission decides when an attempt may be sent, and learns from how it ended.
//
// Everything that can hold an attempt back stands behind it: the queue, the
// limits of the organisation and pauses after a 429, breaker, concurrency and
// retry budget. One implementation lives in memory ([Memory]); a fleet shares
// another.
//
// An Admission is safe for concurrent use. It never blocks on anything but
// its own store, starts no goroutine, and takes the time as an argument.
type Admission interface {
	// Admit asks to send one attempt now. The answer is a [Grant] or a [Hold].
	// A held call asks again when Hold.Until has come or Hold.Wake is closed,
	// and tells Leave if it never will.
	Admit(ctx context.Context, now time.Time, need Need) Decision

	// Answered tells what the headers of the attempt's answer say of limits, as
	// soon as they have come.
	Answered(ctx context.Context, now time.Time, t Ticket, r limit.Response)

	// Content tells that the attempt has brought its first content, or its
	// whole answer: a probe is good from here on. used is what has been told of
	// its cost by then; zero if nothing has.
	Content(ctx context.Context, now time.Time, t Ticket, used claude.Usage)

	// Settle reports the end of an attempt. It is idempotent by ticket.
	Settle(ctx context.Context, now time.Time, t Ticket, end End) Settled

	// Leave tells that a call without a ticket has ended: it was waiting, or
	// between two attempts. A retry paid for and not sent is given back.
	Leave(now time.Time, need Need, end CallEnd)
}

// Shower is an Admission that shows what it knows. Both of ours do.
type Shower interface {
	// Lanes returns breakers and budgets, the most recently used first.
	Lanes(now time.Time) []observe.Breaker
	// Limits returns what may still be used, the latest used first.
	Limits(now time.Time) []observe.Limit
	// TellLimits takes over an answer of the Rate Limits API about an
	// organization, and returns the page to ask for next, if there is one.
	TellLimits(now time.Time, organization string, answer []byte) (page string, err error)
}

// Storer is an Admission behind which there is a store that others share.
type Storer interface {
	Store() *observe.Store
}

// Hasher is an Admission for which credentials must be hidden in its own way:
// processes that share limits mean the same by a hash. It may ask the store,
// within ctx, and is safe for concurrent use.
type Hasher interface {
	Hash(ctx context.Context, credential string) string
}

// ID names a call within its process. It is never 0.
type ID uint64

// Key is what breaker, concurrency and the upstream's part of the budget
// belong to: where the call goes, which class of path, which model.
type Key struct {
	Upstream string // host[:port]
	Path     claude.Path
	Model    string // "" where the path names none
}

// Need describes the attempt that asks to be sent.
type Need struct {
	Call     ID
	Key      Key
	Scope    string // salted hash of the credential; "" if there is none
	Class    Class
	Arrived  time.Time // of the call: earlier calls go first
	Deadline time.Time // by which it must start: of the caller's deadline and of what it may wait; zero for none
	Attempt  int       // 1 is the first
	Price    int       // of this retry; 0 for a first attempt
	Purse    classify.Purse
	Paid     bool // Settle has already charged Price
	Counted  bool // Settle has already counted the call as a failure
	Caller   Caller
	Cost     Cost
	Repeat   bool // the caller itself is retrying: earns no budget
	Fast     bool // asks for fast mode, which has limits of its own
}

// Caller is who a call is made for: what is fair is so between callers.
type Caller struct {
	Name      string  // as configured, for limits of its own; "" if it has none
	Flow      string  // one party in what is fair: name, else credential, else address
	Weight    float64 // among the callers of its class; 0 means 1
	Workspace string  // that the request names; "" leaves it to what answers tell
	Own       bool    // the credential is our own
}

// Cost is what a call is expected to cost. Tokens are estimates; the zero Cost
// is that of a call of which nothing is known.
type Cost struct {
	Input     int       // tokens of all of the request
	Sure      int       // of these, there will be as many in any case
	Reads     int       // of these, are expected to come from the prompt cache; 0 if unknown
	MaxTokens int       // of the answer; 0 if it was not said
	Tag       string    // calls of one tag cost alike
	Bytes     int64     // memory that the call keeps while it waits
	Since     time.Time // when the conversation it goes on with was last served: before new work; zero if it is new
}

// Class is the priority of a call.
type Class uint8

// The classes. Normal is the default.
const (
	Normal Class = iota
	Interactive
	Batch
)

// Decision is the answer to Admit: granted if Ticket is not zero, else held.
type Decision struct {
	Ticket Ticket
	Hold   Hold
	State  State
}

// Ticket stands for one admitted attempt. The zero Ticket is none.
type Ticket struct {
	ID    uint64
	Call  ID
	Probe bool // the attempt tests whether the upstream has recovered
}

// Hold says why an attempt may not be sent yet.
type Hold struct {
	Reason HoldReason
	Until  time.Time       // ask again then; zero with Refuse
	Wake   <-chan struct{} // closed when asking earlier may help; may be nil
	// Refuse says that waiting cannot help or is not wanted: the call ends.
	Refuse bool
}

// HoldReason names what a call waits for.
type HoldReason uint8

// The reasons to wait.
const (
	HoldNone    HoldReason = iota
	HoldBackoff            // the wait before a retry: own draw, or retry-after
	HoldBreaker            // the breaker is open; Until is the next probe
	HoldRamp               // the breaker has closed; load returns step by step
	HoldPause              // a 429 named a time for everyone in this scope and class
	HoldBudget             // the retry budget is empty
	HoldQueue              // too many calls wait already
	HoldLimit              // a bucket of the organisation has too little
	HoldLearn              // nothing is known of the limits yet, and enough flies to learn them
	HoldSize               // it is larger than the limit itself and can never pass
	HoldSlot               // the upstream is overloaded, and as much is in flight as it takes
	HoldTurn               // others go first
)

// State rides on every reply, so that showing it costs no round trip.
type State struct {
	Breaker string // "closed", "open", "half-open"; "" if unknown
	Moved   bool   // this very request has changed the breaker's state
	Waiting int    // calls held, all keys
}

// CallEnd says whether, and how, the call as a whole has ended.
type CallEnd uint8

// The ends. A call is at most one failure, however many attempts failed.
const (
	Continues CallEnd = iota // more attempts may follow
	Succeeded
	GaveUp    // the last attempt failed and none will follow
	Uncounted // ended for a reason that says nothing about the upstream
)

// End reports one attempt, and the call where it ends with it.
type End struct {
	Verdict classify.Verdict
	Call    CallEnd
	// Retry asks the budget for a retry at Verdict.Price, before the wait.
	Retry bool
	// PauseUntil is when the pause that Verdict asks for ends; zero for none.
	PauseUntil time.Time
	Usage      claude.Usage // what the answer has cost, as far as it is known
	// Told is what those who keep the budget for a [Memory] with
	// [MemoryConfig].Shared have said of the retry; nil where that is not.
	Told *Settled
}

// Settled is the reply to Settle.
type Settled struct {
	Paid    bool // End.Retry was asked and the budget has charged it
	Counted bool // the breaker counts the call as a failure: it may only wait now
	State   State
}

// String returns the reason as logs and snapshots spell it.
func (r HoldReason) String() string {
	switch r {
	case HoldBackoff:
		return "backoff"
	case HoldBreaker:
		return "breaker"
	case HoldRamp:
		return "ramp"
	case HoldPause:
		return "pause"
	case HoldBudget:
		return "budget"
	case HoldQueue:
		return "queue"
	case HoldLimit:
		return "limit"
	case HoldLearn:
		return "unknown_limit"
	case HoldSize:
		return "larger_than_limit"
	case HoldSlot:
		return "concurrency"
	case HoldTurn:
		return "turn"
	default:
		return ""
	}
}
