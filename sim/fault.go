package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Kind is a way to fail.
type Kind string

// The kinds. Those named …After, and ErrorEventAt, HalfEvent and Garbage,
// strike inside the body of an answer with status 200, once Fault.Events
// events have passed whole (pings not counted), or Fault.Bytes bytes; an answer
// that has no more than that is left whole. A plain answer has no events: it is
// struck half-way.
const (
	Status             Kind = "status"               // an answer with Fault.Status and its error
	Slow               Kind = "slow"                 // the proper answer, Fault.After later
	Hang               Kind = "hang"                 // nothing, until the caller leaves
	Refuse             Kind = "refuse"               // no connection
	ResetBeforeHeaders Kind = "reset_before_headers" // request read, connection reset
	CloseBeforeHeaders Kind = "close_before_headers" // request read, unexpected end of file
	ResetAfter         Kind = "reset_after"          // connection reset
	CloseAfter         Kind = "close_after"          // connection closed: unexpected end of file
	EndAfter           Kind = "end_after"            // the body ends as if it were whole
	StallAfter         Kind = "stall_after"          // nothing more, or pings only
	ErrorEventAt       Kind = "error_event_at"       // an error event ends the stream; 0 makes it the first frame
	HalfEvent          Kind = "half_event"           // half an event, then as CloseAfter
	Garbage            Kind = "garbage"              // bytes that are no event, then the body ends
)

// Kinds that make a whole answer arrive in an odd way. The first four strike
// answers of any status, and with a Fault.Status other than 200 that error in
// place of the proper answer.
const (
	ResetInHeaders Kind = "reset_in_headers" // connection reset half-way through the headers
	SlowBytes      Kind = "slow_bytes"       // the body byte by byte, Fault.Pace apart
	Gzip           Kind = "gzip"             // compressed, whatever was asked for
	OddDate        Kind = "odd_date"         // Date, and Retry-After if there is one, are HTTP dates of the obsolete forms, a day off
	HugeEvent      Kind = "huge_event"       // the event after Fault.Events is padded to Fault.Size bytes
	DuplicateEvent Kind = "duplicate_event"  // the event after Fault.Events comes twice
)

// Kinds that are answers with another end.
const (
	Refusal         Kind = "refusal"          // stop reason refusal, after Fault.Events deltas
	PauseTurn       Kind = "pause_turn"       // stop reason pause_turn
	ContextExceeded Kind = "context_exceeded" // stop reason model_context_window_exceeded
)

// Kinds that are conditions: they strike no single attempt, but hold for all
// that match while they last, and Fault.Factor says how much. Rule.Rate is not
// looked at.
const (
	Slots    Kind = "slots"    // the share of Capacity.Slots that is left
	Slowdown Kind = "slowdown" // the multiple of the times to the first and the next token
	Others   Kind = "others"   // the share of every limit that other users of the organisation take
)

// trait is a set of fields of a Fault.
type trait uint16

// The fields, by the word for them in mistakes; see traitNames.
const (
	hasAfter trait = 1 << iota
	hasEvents
	hasBytes
	hasSize
	hasPace
	hasFactor
	hasPings
	hasAccept
	hasStatus
	hasError // Type, Code, Message
	hasHeader
	hasBody
	traitEnd

	hasPlace  = hasEvents | hasBytes
	hasAnswer = hasAfter | hasHeader
	hasOdd    = hasAnswer | hasStatus | hasError | hasBody
)

var traitNames = map[trait]string{
	hasAfter: "after", hasEvents: "events", hasBytes: "bytes", hasSize: "size", hasPace: "pace", hasFactor: "factor",
	hasPings: "pings", hasAccept: "accept", hasStatus: "status", hasError: "type, code or message", hasHeader: "header", hasBody: "body",
}

// kindTable tells of each kind which fields it looks at, and what it is.
var kindTable = []struct {
	kind   Kind
	traits trait
	about  string
}{
	{Status, hasOdd | hasAccept, "an answer with an error status"},
	{Slow, hasAnswer, "the proper answer, later"},
	{Hang, hasAfter | hasAccept, "no answer, until the caller leaves"},
	{Refuse, hasAfter, "no connection"},
	{ResetBeforeHeaders, hasAfter | hasAccept, "connection reset before the headers"},
	{CloseBeforeHeaders, hasAfter | hasAccept, "connection closed before the headers"},
	{ResetInHeaders, hasOdd, "connection reset half-way through the headers"},
	{ResetAfter, hasAnswer | hasPlace, "connection reset inside the body"},
	{CloseAfter, hasAnswer | hasPlace, "connection closed inside the body"},
	{EndAfter, hasAnswer | hasPlace, "the body ends early, as if it were whole"},
	{StallAfter, hasAnswer | hasPlace | hasPings, "the body stops, and the connection stays open"},
	{ErrorEventAt, hasAnswer | hasEvents | hasError, "an error event ends the stream"},
	{HalfEvent, hasAnswer | hasEvents, "connection closed inside an event"},
	{Garbage, hasAnswer | hasPlace, "the body goes on as something that is no event, and ends"},
	{SlowBytes, hasOdd | hasPace, "the body byte by byte"},
	{Gzip, hasOdd, "the body compressed, though nobody asked"},
	{OddDate, hasOdd, "dates of obsolete forms, a day off"},
	{HugeEvent, hasAnswer | hasEvents | hasSize, "an event of megabytes"},
	{DuplicateEvent, hasAnswer | hasEvents, "an event that comes twice"},
	{Refusal, hasAnswer | hasEvents, "the answer stops with a refusal"},
	{PauseTurn, hasAnswer | hasEvents, "the answer stops with pause_turn"},
	{ContextExceeded, hasAnswer | hasEvents, "the answer stops at the end of the context window"},
	{Slots, hasFactor, "condition: the share of the capacity that is left"},
	{Slowdown, hasFactor, "condition: how many times as long every token takes"},
	{Others, hasFactor, "condition: the share of every limit that others take"},
	{Expire, 0, "a request in a batch comes back expired"},
}

// Kinds returns all kinds.
func Kinds() []Kind {
	out := make([]Kind, len(kindTable))
	for i, row := range kindTable {
		out[i] = row.kind
	}
	return out
}

// isKnown reports whether there is such a kind.
func (k Kind) isKnown() bool { return slices.Contains(Kinds(), k) }

// traits returns the fields that the kind looks at.
func (k Kind) traits() trait {
	for _, row := range kindTable {
		if row.kind == k {
			return row.traits
		}
	}
	return 0
}

// isCondition reports whether the kind holds for all instead of striking some.
func (k Kind) isCondition() bool { return k == Slots || k == Slowdown || k == Others }

// isOdd reports whether the kind strikes answers of any status.
func (k Kind) isOdd() bool {
	return k == ResetInHeaders || k == SlowBytes || k == Gzip || k == OddDate
}

// isOtherEnd reports whether the kind is for the one who words the answer.
func (k Kind) isOtherEnd() bool { return k == Refusal || k == PauseTurn || k == ContextExceeded }

// A Fault is one failure. The zero Fault is none.
type Fault struct {
	// Kind is how it fails. Empty means Status if Status is set.
	Kind Kind `json:"kind,omitempty"`

	// After is the time until it strikes, or for kinds inside a body, until
	// the headers. In JSON it is a string such as "1.5s".
	After time.Duration `json:"-"`

	// Events is how many events pass before it strikes.
	Events int `json:"events,omitempty"`

	// Bytes, if not 0, is how many bytes of the body pass before it strikes,
	// instead of Events.
	Bytes int64 `json:"bytes,omitempty"`

	// Size is the size of a HugeEvent in bytes; 0 means 2 MiB. The event is
	// padded with a field that no client knows, its text unharmed.
	Size int `json:"size,omitempty"`

	// Pace is the time between the bytes of SlowBytes; 0 means 1 ms. In JSON
	// it is a string such as "10ms".
	Pace time.Duration `json:"-"`

	// Factor is how much of a condition there is: 0 to 1 for Slots and
	// Others, more than 0 for Slowdown.
	Factor float64 `json:"factor,omitempty"`

	// Pings lets pings go on in a StallAfter.
	Pings bool `json:"pings,omitempty"`

	// Accept carries the request out before the failure: with Status 502, a
	// batch is created and its creator is told otherwise. A message is
	// charged and takes its time, as far as it would have before its headers.
	Accept bool `json:"accept,omitempty"`

	// Status is the status of a Status fault; 0 means 529. Type, Code and
	// Message fill the error of that answer or of an error event: empty Type
	// means the one documented for the status (529 for an event), empty
	// Message a plain sentence, empty Code none. Header is added to the
	// answer; a name with an empty value is removed from it. Body, if not
	// empty, replaces Claude's envelope.
	Status  int               `json:"status,omitempty"`
	Type    claude.ErrorType  `json:"type,omitempty"`
	Code    claude.ErrorCode  `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	Header  map[string]string `json:"header,omitempty"`
	Body    string            `json:"body,omitempty"`
}

// Defaults of a Fault.
const (
	defaultSize = 2 << 20 // guess: above the 64 KiB to 1 MiB that line readers often stop at
	defaultPace = time.Millisecond
)

// String returns the kind and its number: "status 529", "reset_after 3",
// "reset_after 200 bytes".
func (f Fault) String() string {
	f = f.filled()
	switch {
	case f.Kind == Status:
		return string(f.Kind) + " " + strconv.Itoa(f.Status)
	case f.Bytes > 0:
		return fmt.Sprintf("%s %d bytes", f.Kind, f.Bytes)
	case f.Kind.traits()&hasEvents != 0 && !f.Kind.isOtherEnd():
		return string(f.Kind) + " " + strconv.Itoa(f.Events)
	}
	return string(f.Kind)
}

// filled returns f with the defaults of Kind and Status in place.
func (f Fault) filled() Fault {
	if f.Kind == "" && f.Status != 0 {
		f.Kind = Status
	}
	if f.Kind == Status && f.Status == 0 {
		f.Status = claude.StatusOverloaded
	}
	return f
}

// isError reports whether the fault names an error as its answer.
func (f Fault) isError() bool {
	return f.Kind == Status || f.Kind.isOdd() && f.Status != 0 && f.Status != 200
}

// given returns the fields that are set.
func (f Fault) given() trait {
	var t trait
	for _, field := range []struct {
		set  bool
		name trait
	}{
		{f.After != 0, hasAfter},
		{f.Events != 0, hasEvents},
		{f.Bytes != 0, hasBytes},
		{f.Size != 0, hasSize},
		{f.Pace != 0, hasPace},
		{f.Factor != 0, hasFactor},
		{f.Pings, hasPings},
		{f.Accept, hasAccept},
		{f.Status != 0, hasStatus},
		{f.Type != "" || f.Code != "" || f.Message != "", hasError},
		{len(f.Header) > 0, hasHeader},
		{f.Body != "", hasBody},
	} {
		if field.set {
			t |= field.name
		}
	}
	return t
}

// names returns the words for a set of fields.
func (t trait) names() []string {
	var out []string
	for one := trait(1); one < traitEnd; one <<= 1 {
		if t&one != 0 {
			out = append(out, traitNames[one])
		}
	}
	return slices.Clip(out)
}
