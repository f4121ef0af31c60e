package classify

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// spendCaps are the codes that only money ends.
var spendCaps = []claude.ErrorCode{
	claude.EnforcedSpendLimit, claude.ContractSpendLimit, claude.LinkedSpendLimit, claude.LinkedBilling,
}

// outcomes yields every mix of what an outcome is made of: more than a
// million, most of which nobody will ever meet.
func outcomes() iter.Seq[Outcome] {
	statuses := []int{0, 101, 200, 204, 304, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 499, 500, 501, 502, 503, 504, 505, 529, 599, 999}
	errors := []claude.Error{{}, {Message: "You have reached your API usage limits"}, {Message: "Extra usage is required for long context requests."}}
	for _, t := range []claude.ErrorType{
		claude.InvalidRequest, claude.Authentication, claude.Billing, claude.Permission, claude.NotFound, claude.Conflict,
		claude.RequestTooLarge, claude.RateLimit, claude.API, claude.Timeout, claude.Overloaded, "novel_error",
	} {
		errors = append(errors, claude.Error{Type: t})
	}
	for _, c := range append(spendCaps, claude.RampLimitExceeded, claude.ScanPending, claude.RequestBodyTimeout, "novel_code") {
		errors = append(errors, claude.Error{Type: claude.RateLimit, Code: c})
	}
	var headers []http.Header
	for _, limits := range [][]string{
		{}, {"anthropic-ratelimit-requests-remaining", "0"}, {"anthropic-ratelimit-unified-status", "x"}, {"anthropic-fast-input-tokens-remaining", "0"},
	} {
		for _, after := range []string{"", "7", "soon"} {
			for _, should := range []string{"", "true", "false"} {
				headers = append(headers, header(append(limits, "retry-after", after, "x-should-retry", should)...))
			}
		}
	}
	headers = append(headers, nil)
	return func(yield func(Outcome) bool) {
		for _, st := range statuses {
			for f := NoFault; f <= FaultDeadline; f++ {
				for _, e := range errors {
					for _, h := range headers {
						for flags := range 8 {
							o := Outcome{
								Path: claude.Messages, Status: st, Fault: f, Error: e, Header: h, Now: now,
								Sent: flags&1 != 0, Content: flags&2 != 0, Effects: flags&4 != 0,
								SinceByte: time.Duration(flags) * 5 * sec,
							}
							if !yield(o) {
								return
							}
						}
					}
				}
			}
		}
	}
}

// rules are what holds for every outcome, however odd. A rule returns what is
// wrong with a verdict, or "".
var rules = []struct {
	name   string
	broken func(Outcome, Verdict) string
}{
	{"a verdict has a reason", func(_ Outcome, v Verdict) string {
		return unless(v.Reason != "", "no reason")
	}},
	{"only a retry has a price, and every retry has it", func(_ Outcome, v Verdict) string {
		if v.Action == Again {
			return unless(v.Price == 5, "a retry for %d", v.Price)
		}
		return unless(v.Price == 0 && v.MaxRetries == 0, "price %d, %d retries", v.Price, v.MaxRetries)
	}},
	{"only an answer is good, and every answer is", func(o Outcome, v Verdict) string {
		if v.Action == Answer && (o.Status/100 != 2 || o.Fault != NoFault) {
			return "an answer that is none"
		}
		return unless((v.Action == Answer) == (v.Health == Good), "health %d", v.Health)
	}},
	{"spend caps are final whatever headers say", func(o Outcome, v Verdict) string {
		unanswered := o.Fault >= FaultConnect && o.Fault <= FaultFirstByte
		spoken := o.Fault == FaultErrorEvent && o.Status/100 != 3 || o.Status >= 400 && !unanswered
		if spoken && slices.Contains(spendCaps, o.Error.Code) && v.Action == Again {
			return "tried again"
		}
		return unless(v.Reason != SpendLimited || v.Action == Final && v.Health == Ignored, "%+v", v)
	}},
	{"effects are repeated only after 429, 529 or no connection", func(o Outcome, v Verdict) string {
		if !o.Effects || v.Action != Again {
			return ""
		}
		return unless(o.Status == 429 || o.Status == 529 || o.Fault == FaultConnect && !o.Sent, "tried again")
	}},
	{"nothing is repeated after content", func(o Outcome, v Verdict) string {
		return unless(!o.Content || v.Action != Again, "tried again")
	}},
	{"a caller that left is not answered", func(o Outcome, v Verdict) string {
		gone := o.Fault == FaultCaller || o.Fault == FaultDeadline
		return unless((v.Action == Stop) == gone, "action %d", v.Action)
	}},
	{"told not to retry: not retried", func(o Outcome, v Verdict) string {
		answered := o.Status >= 400 && (o.Fault == NoFault || o.Fault > FaultFirstByte)
		return unless(!answered || o.Header.Get("x-should-retry") != "false" || v.Action != Again, "tried again")
	}},
	{"a 4xx says nothing about upstream's health, unless its type does", func(o Outcome, v Verdict) string {
		if o.Status/100 != 4 || o.Fault != NoFault {
			return ""
		}
		switch o.Error.Type {
		case claude.API, claude.Overloaded, claude.Timeout:
			return ""
		}
		return unless(v.Health == Ignored, "health %d", v.Health)
	}},
	{"a pause has an end, and is for a limit", func(_ Outcome, v Verdict) string {
		return unless(v.Pause == PauseNone || v.RetryAfter > 0 && v.Purse == ScopePurse, "pause %d, after %v", v.Pause, v.RetryAfter)
	}},
	{"a wait is never shorter than told", func(o Outcome, v Verdict) string {
		if v.Action != Again || o.Status < 400 || o.Fault >= FaultConnect && o.Fault <= FaultFirstByte || o.Header.Get("retry-after") != "7" {
			return ""
		}
		return unless(v.RetryAfter == 7*sec, "waits %v", v.RetryAfter)
	}},
	{"what was never sent is refunded", func(o Outcome, v Verdict) string {
		noAnswer := o.Fault >= FaultConnect && o.Fault <= FaultFirstByte
		return unless(!noAnswer || o.Sent || v.Settle == Refund, "settlement %d", v.Settle)
	}},
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func TestJudge_invariants(t *testing.T) {
	const enough = 3 // examples of each
	broken := map[string][]string{}
	for o := range outcomes() {
		v := Judge(o)
		for _, r := range rules {
			if what := r.broken(o, v); what != "" && len(broken[r.name]) < enough {
				broken[r.name] = append(broken[r.name], fmt.Sprintf("%s:\n%+v\n%+v", what, o, v))
			}
		}
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, what := range broken[r.name] {
				t.Error(what)
			}
		})
	}
}
