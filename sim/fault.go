package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// Kind is a way to fail.
type Kind string

// The kinds. Those named …After, and ErrorEventAt, HalfEvent and Garbage,
// strike inside the body of an answer with status 200, once Fault.Events
// events have passed whole (pings not counted); an answer that has no more
// events than that is left whole. A plain answer has no events: it is struck half-way.
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

var kinds = []Kind{
	Status, Slow, Hang, Refuse, ResetBeforeHeaders, CloseBeforeHeaders, ResetAfter,
	CloseAfter, EndAfter, StallAfter, ErrorEventAt, HalfEvent, Garbage,
}

// A Fault is one failure. The zero Fault is none.
type Fault struct {
	// Kind is how it fails. Empty means Status if Status is set.
	Kind Kind `json:"kind,omitempty"`

	// After is the time until it strikes, or for kinds inside a body, until
	// the headers. In JSON it is a string such as "1.5s".
	After time.Duration `json:"-"`

	// Events is how many events pass before it strikes.
	Events int `json:"events,omitempty"`

	// Pings lets pings go on in a StallAfter.
	Pings bool `json:"pings,omitempty"`

	// Accept carries the request out before the failure: with Status 502, a
	// batch is created and its creator is told otherwise.
	Accept bool `json:"accept,omitempty"`

	// Status is the status of a Status fault; 0 means 529. Type, Code and
	// Message fill the error of that answer or of an error event: empty Type
	// means the one documented for the status (529 for an event), empty
	// Message a plain sentence, empty Code none. Header is added to the
	// answer. Body, if not empty, replaces Claude's envelope.
	Status  int               `json:"status,omitempty"`
	Type    claude.ErrorType  `json:"type,omitempty"`
	Code    claude.ErrorCode  `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	Header  map[string]string `json:"header,omitempty"`
	Body    string            `json:"body,omitempty"`
}

// String returns the kind and its number: "status 529", "reset_after 3".
func (f Fault) String() string {
	switch f = f.filled(); f.Kind {
	case "":
		return ""
	case Status:
		return fmt.Sprintf("%s %d", f.Kind, f.Status)
	case ResetAfter, CloseAfter, EndAfter, StallAfter, ErrorEventAt, HalfEvent, Garbage:
		return fmt.Sprintf("%s %d", f.Kind, f.Events)
	}
	return string(f.Kind)
}

// filled returns f with the defaults of Kind and Status in place.
func (f Fault) filled() Fault {
	if f.Kind == "" && f.Status != 0 {
		f.Kind = Status
	}
	if f.Kind == Status && f.Status == 0 {
		f.Status = 529
	}
	return f
}

// A Rule is a Fault and when it strikes. Rules are asked in order for each
// attempt; the first that strikes is used.
type Rule struct {
	Fault

	// Rate is the share of the matching attempts that fail, from 0 to 1.
	// Which ones is drawn from Config.Seed and the number of the attempt. A
	// rule without a rate never strikes; in JSON, a missing rate means 1.
	Rate float64 `json:"rate"`

	// Models is a glob as of [path.Match]; empty matches all, and requests
	// that name no model. A refused connection knows no model: for Refuse it
	// is not looked at.
	Models string `json:"models,omitempty"`

	// Path is the class it is limited to, as [claude.Path.String] prints it;
	// empty matches all.
	Path string `json:"path,omitempty"`

	// From and Until bound it in time, counted from when the rules were set;
	// an Until of 0 is no end. If Every is set, both count anew from each of
	// its multiples. In JSON they are strings such as "30s".
	From, Until, Every time.Duration `json:"-"`
}

// Validate reports every mistake in the rule.
func (r Rule) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	f := r.filled()
	if !slices.Contains(kinds, f.Kind) {
		bad("kind is %q, want one of %v", f.Kind, kinds)
	}
	if f.Kind == Status && (f.Status < 200 || f.Status > 999) {
		bad("status is %d, want 200 to 999", f.Status)
	}
	if !(r.Rate >= 0 && r.Rate <= 1) {
		bad("rate is %v, want 0 to 1", r.Rate)
	}
	if _, err := path.Match(r.Models, ""); err != nil {
		bad("models is %q: %w", r.Models, err)
	}
	if classes := []string{"", "messages", "count_tokens", "batches", "other"}; !slices.Contains(classes, r.Path) {
		bad("path is %q, want one of %q", r.Path, classes)
	}
	if f.Events < 0 || f.After < 0 || r.From < 0 || r.Every < 0 || r.Until < 0 || r.Until > 0 && r.Until <= r.From {
		bad("events and times must not be negative, and until must be later than from")
	}
	return errors.Join(errs...)
}

// covers reports whether the rule is about this attempt, rate aside.
func (r Rule) covers(since time.Duration, class claude.Path, model string) bool {
	if r.Every > 0 {
		since %= r.Every
	}
	if since < r.From || r.Until > 0 && since >= r.Until {
		return false
	}
	if r.Path != "" && r.Path != class.String() {
		return false
	}
	if r.Models == "" || r.Kind == Refuse {
		return true
	}
	ok, err := path.Match(r.Models, model)
	return ok && err == nil
}

// ruleTimes are the durations of a Rule as they stand in JSON.
type ruleTimes struct {
	After string `json:"after,omitempty"`
	From  string `json:"from,omitempty"`
	Until string `json:"until,omitempty"`
	Every string `json:"every,omitempty"`
}

// plainRule is a Rule without its methods.
type plainRule Rule

// MarshalJSON implements [json.Marshaler].
func (r Rule) MarshalJSON() ([]byte, error) {
	text := func(d time.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}
	return json.Marshal(struct {
		plainRule
		ruleTimes
	}{plainRule(r), ruleTimes{text(r.After), text(r.From), text(r.Until), text(r.Every)}})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Rule) UnmarshalJSON(data []byte) error {
	in := struct {
		plainRule
		ruleTimes
	}{plainRule: plainRule{Rate: 1}}
	if err := unmarshalStrict(data, &in); err != nil {
		return err
	}
	*r = Rule(in.plainRule)
	times := map[string]struct {
		text string
		d    *time.Duration
	}{
		"after": {in.ruleTimes.After, &r.After}, "from": {in.ruleTimes.From, &r.From},
		"until": {in.ruleTimes.Until, &r.Until}, "every": {in.ruleTimes.Every, &r.Every},
	}
	for _, name := range slices.Sorted(maps.Keys(times)) {
		t := times[name]
		if t.text == "" {
			continue
		}
		d, err := time.ParseDuration(t.text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*t.d = d
	}
	return nil
}
