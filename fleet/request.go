package fleet

import "time"

// Kind is what a limit counts.
type Kind uint8

// The kinds, as the headers of the API spell them.
const (
	Requests Kind = iota + 1
	Input
	Output
	Tokens
)

// String returns the kind as the fields in Redis spell it.
func (k Kind) String() string {
	return [...]string{"", "requests", "input", "output", "tokens", ""}[min(k, Tokens+1)]
}

// Request asks to send one attempt. Its Groups are kept until that has been
// settled, and must not be changed meanwhile.
type Request struct {
	// Owner is the organisation whose limits count; until that is known the
	// hash of the credential, see [Store.Hash]. All that belongs to an owner
	// is in one slot of a Cluster.
	Owner string

	// Lane is where the attempt goes: upstream, path class and model. Breaker
	// and the upstream's part of the retry budget belong to it.
	Lane string

	// Groups are the sets of buckets that are charged together, or not at
	// all: of the organisation and class of models, the workspace, the client.
	// The first is also the scope of 429s: of their budget, and of the retry
	// now and then that everyone is owed. There must be one.
	Groups []Group

	// Class is whose turn it is where there is too little for all. A process
	// asks with one attempt of each class at a time then: see the package
	// comment.
	Class Class

	// Horizon is how far ahead the attempt may book: if the wait is no longer
	// it is granted, to be sent when Reply.Wait has passed. 1 s suits
	// interactive calls, and 0 batches, which would else stand before them.
	Horizon time.Duration

	// Follows says that this process has so far counted the same limits for
	// another owner, such as the hash of the credential. Groups that the store does
	// not know begin with this process's part of the level then, and not anew.
	Follows bool

	// What the breaker is to know; see [breaker.Breaker.Admit].
	NoProbe bool    // the attempt cannot tell whether the upstream is back
	Waited  bool    // was held while the breaker was open, and had no place in the ramp since
	Placed  bool    // its place in the ramp has come
	Random  float64 // a draw from [0, 1)

	// What the budget is to know.
	Price  int   // of this retry; 0 for a first attempt
	Purse  Purse // that pays
	Paid   bool  // Settle has charged Price already
	Repeat bool  // the caller is itself retrying: earns nothing
}

// Class is the priority of a request among those that wait for the same
// limits. The numbers are those of package call.
type Class uint8

// The classes. Normal is the default.
const (
	Normal Class = iota
	Interactive
	Batch
)

// String returns the class as the fields in Redis spell it.
func (c Class) String() string { return [...]string{"normal", "interactive", "batch"}[c.known()] }

// known takes what is no class for Normal.
func (c Class) known() Class {
	if c > Batch {
		return Normal
	}
	return c
}

// digit is how requests to scripts spell it.
func (c Class) digit() string { return string('0' + rune(c.known())) }

// weights are what share each class has of what there is, beside the others.
var weights = map[string]float64{"normal": 4, "interactive": 8, "batch": 1}

func (c Class) weight() float64 { return weights[c.String()] }

// flow names a class of a process: what is one party among those that wait.
func (c Class) flow(instance string) string { return c.String() + "|" + instance }

// Purse is the budget that a retry is paid from.
type Purse uint8

// The purses.
const (
	LanePurse  Purse = iota // of upstream and model
	ScopePurse              // of the first group: retries of 429s
)

// Group is a set of buckets that belong to one owner and class.
type Group struct {
	Name    string // unique for the owner, such as "claude-opus-5" or "wrkspc_1/claude-opus-5"
	Buckets []Bucket

	// Pace is how many tokens of output a second the attempt produces. The
	// output is charged as it comes then; with 0 at once and in full.
	Pace float64
}

// Bucket is what an attempt takes of one limit. A group is always asked for
// with the same kinds.
type Bucket struct {
	Kind Kind
	Cost float64
	Cap  float64 // configured limit per minute; 0 is none. The lower of it and the upstream's is in force
	Keep float64 // of the level, kept back for others

	// What this process knows of it, for a store that knows nothing: as in
	// [BucketState]. Limit 0 is nothing.
	Limit, Depth, Level float64
}

// Reason says what an attempt waits for.
type Reason uint8

// The reasons.
const (
	Granted   Reason = iota
	ByPause          // a 429 named a time
	ByBreaker        // the breaker is open
	ByRamp           // it has closed; ask again with Placed when Wait has passed
	ByBudget         // no retry can be paid for
	ByLimit          // a bucket has too little
	ByTurn           // others come first; there would be enough for it alone
)

var reasons = map[string]Reason{
	"granted": Granted, "again": Granted, "-": Granted, "missing": Granted,
	"pause": ByPause, "breaker": ByBreaker, "ramp": ByRamp, "budget": ByBudget, "limit": ByLimit, "turn": ByTurn,
}

// String returns the reason as logs spell it.
func (r Reason) String() string {
	return [...]string{"granted", "pause", "breaker", "ramp", "budget", "limit", "turn"}[min(r, ByTurn)]
}

// ID names a reservation, in all processes. "" is none.
type ID string

// Reply answers a [Request]: granted if ID is not "".
type Reply struct {
	ID     ID
	Reason Reason

	// Wait is how long the attempt has to wait before it is sent, if it was
	// granted; else when to ask again. For limits it is exact unless something
	// is given back sooner, and holds the place in the line: who comes later
	// than half a second after it may find others before it. Less than 0 is
	// for ever.
	Wait time.Duration

	Group int  // index of the group that takes longest, with ByLimit and ByPause
	Kind  Kind // and its bucket
	Probe bool // the attempt tests whether the upstream is back

	// From a settle:
	Known   bool // the reservation was open until now
	Paid    bool // the retry that was asked for is paid
	Counted bool // the call counts as failed now: it may only wait

	State
}

// BreakerState is what the breaker of a lane does.
type BreakerState uint8

// The states.
const (
	Closed BreakerState = iota
	Open
	HalfOpen
)

// String is "closed", "open" or "half-open".
func (s BreakerState) String() string {
	return [...]string{"closed", "open", "half-open"}[min(s, HalfOpen)]
}

// State is what rides on every reply: the lane and groups of the request, as
// the store has them after it.
type State struct {
	Breaker   BreakerState
	Epoch     uint64
	Moved     bool          // this very request has changed the breaker's state
	NextProbe time.Duration // until a probe may be sent; 0 while closed
	Ramp      time.Duration // until the ramp after closing is over
	Budget    float64       // tokens left for retries
	Live      int           // processes that use this owner, as far as is known
	Groups    []GroupState  // as in the request
	Local     bool          // the store did not answer: all this is this process's own share
}

// GroupState is the state of a group.
type GroupState struct {
	Paused  time.Duration // left
	Wary    time.Duration // left, of the time in which others are reckoned with
	Budget  float64       // tokens left for retries of 429s
	Buckets []BucketState

	born float64 // when the store made it; tells one life of a store from the next
}

// BucketState is the state of a bucket.
type BucketState struct {
	Kind  Kind
	Level float64 // below 0 is a debt, or booked ahead
	Limit float64 // of the upstream, per minute, as answers have shown; 0 is not known
	Cap   float64 // configured
	Depth float64 // seconds of rate that it holds
}

// Rate is what refills per second; 0 where no limit is known.
func (b BucketState) Rate() float64 { return (&bucket{limit: b.Limit, cap: b.Cap}).rate() }

// Size is what it holds when it is full; 0 where no limit is known.
func (b BucketState) Size() float64 {
	if b.Rate() == 0 {
		return 0
	}
	return max(1, b.Rate()*b.Depth)
}

// Charge says what a reservation is charged in the end.
type Charge uint8

// The charges.
const (
	Kept     Charge = iota // what was reserved: whether it counted is not known
	Settled                // Actual is all of it
	Broken                 // Actual is what had been told when it broke off: output at least as much as it had time for
	Refunded               // nothing: it never counted
)

// Outcome is how an attempt ended.
type Outcome struct {
	Charge Charge
	// Actual is what it has cost, for each group of the request; one for all
	// if there is only one. Less than 0 is not known: what is held stays.
	Actual []Amounts

	// After a 429: nobody of the first group is sent before Pause has passed,
	// and Empty is a kind that the answer showed at 0.
	Pause time.Duration
	Empty Kind

	Succeeded bool // the call did
	Failure   bool // the upstream is to blame
	Continues bool // another attempt may follow
	Counted   bool // the call has been counted as a failure already
	Lost      bool // the connection died: many attempts may have shared it

	Retry bool // pay for another attempt, now
	Price int
	Purse Purse
}

// Amounts are by kind: index Requests, Input, Output, Tokens.
type Amounts [Tokens + 1]float64

// Lesson is what an answer teaches, before it has ended.
type Lesson struct {
	Refused bool          // a 429: it never counted
	Age     time.Duration // since its headers came
	Views   [][]View      // for each group of the request, for each of its buckets
	Pause   time.Duration // of the first group, from now
}

// View is what an answer shows of one bucket. The zero View shows nothing.
type View struct {
	Limit, Remaining float64 // per minute; Limit 0 is not told

	// Low and High bound how many seconds of rate the bucket holds when full,
	// by when it says that it is. High 0 says nothing.
	Low, High float64

	// Early says that it speaks of when the attempt was let in, and Late that it
	// does of when the answer was sent. Without either it is not known.
	Early, Late bool

	// Actual is what the attempt costs of this kind, if Known: a stream tells
	// its input in its first event.
	Actual float64
	Known  bool
}

// Ending is how a call ends that holds no reservation: it was between two
// attempts, or waiting.
type Ending struct {
	Owner, Lane, Group string
	Last               bool // nothing of its class waits in this process any more: see Store.Quit
	Class              Class
	Price              int // of a retry that is paid for and was never sent: it is given back
	Purse              Purse
	GaveUp             bool // it counts as a failure
	Counted            bool // unless it was before
}
