package sim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// fate is how an attempt ended for the client.
type fate uint8

const (
	fateServed fate = iota // a whole answer that is no error
	fateFinal              // an error that must not be retried
	fateFailed             // an error that may be, or no answer
	fateCut                // an answer that began with success and was truncated
	fateLeft               // the client left first
	fateOpen               // in flight
)

func fateOf(a *Attempt) fate {
	switch {
	case a.Status >= 400 && isFinal(a):
		return fateFinal
	case a.Status >= 400:
		return fateFailed
	case !a.Done:
		return fateOpen
	}
	switch end := endOf(a); {
	case a.Status == 0 && end == EndCanceled && a.Fault != string(Hang):
		return fateLeft
	case a.Status == 0:
		return fateFailed
	case end == EndWhole:
		return fateServed
	case end == EndCanceled && !strings.HasPrefix(a.Fault, string(StallAfter)):
		return fateLeft
	}
	return fateCut
}

// endOf returns how an answer ended, also where the record does not say.
func endOf(a *Attempt) End {
	switch {
	case a.End != "":
		return a.End
	case a.Canceled:
		return EndCanceled
	case a.Status == 0:
		return EndNone
	}
	return EndWhole
}

// passing are codes of errors that pass, whatever their status; capped are
// those that last until the month ends or a contract changes (“Claude API
// errors”, 2026-09-26; shared/shared.go of the Go SDK v2.13.0).
var (
	passing = []claude.ErrorCode{
		"scan_pending", "concurrent_membership_change", "external_key_changed",
		"external_key_validation_timed_out", "request_body_timeout", "thread_continue_in_flight",
	}
	capped = []claude.ErrorCode{
		"enforced_spend_limit_reached", "contract_spend_limit_reached",
		"linked_organization_spend_limit_reached", "linked_organization_billing_unavailable",
	}
)

// isFinal reports whether an error answer rules out the same request again. A
// 409 without a code is not held against anyone: the API says it does not
// help, the official SDKs retry it.
func isFinal(a *Attempt) bool {
	switch {
	case slices.Contains(capped, a.ErrorCode):
		return true
	case a.ShouldRetry == "true":
		return false
	case a.ShouldRetry == "false":
		return true
	case slices.Contains(passing, a.ErrorCode):
		return false
	}
	switch a.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	}
	return a.Status < 500
}

// ruling returns why an answer is final.
func (t *try) ruling() string {
	switch {
	case slices.Contains(capped, t.ErrorCode):
		return "spend cap"
	case t.ShouldRetry == "false":
		return "x-should-retry: false"
	}
	return strconv.Itoa(t.Status)
}

// reason returns what an attempt met that was not served.
func (t *try) reason() string {
	switch {
	case t.Status >= 400:
		parts := []string{strconv.Itoa(t.Status), string(t.ErrorType), string(t.ErrorCode)}
		return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
	case t.fate == fateFailed && t.Fault == string(Refuse):
		return "no connection"
	case t.fate == fateFailed:
		return "no answer"
	}
	switch endOf(t.Attempt) {
	case EndError:
		return "error event"
	case EndClean:
		return "ended early as if whole"
	case EndCanceled:
		return "stalled"
	}
	return "cut"
}

// isSameAs reports whether two attempts ask the same in the same name.
func (t *try) isSameAs(u *try) bool {
	return t.KeyTag == u.KeyTag && t.Method == u.Method && t.Path == u.Path && t.Query == u.Query &&
		t.BodySHA256 == u.BodySHA256 && t.BodyBytes == u.BodyBytes
}

// hasEffect reports whether an attempt asks for something that doing twice
// makes twice. Messages with mcp_servers do too, but look like others here.
func (t *try) hasEffect() bool {
	if t.Method != http.MethodPost {
		return false
	}
	path := claude.PathOf(t.Method, t.Path)
	return path != claude.Messages && path != claude.CountTokens
}

// mayHaveTakenEffect reports whether the client cannot know that an attempt
// which was not served had no effect.
func (t *try) mayHaveTakenEffect() bool {
	switch {
	case t.fate == fateServed, t.Status >= 400 && t.Status < 500, t.Status == 529:
		return false
	}
	return t.Fault != string(Refuse)
}

// retriedOf counts what was sent again and should not have been.
func retriedOf(calls []*judged) Retried {
	var r Retried
	reasons := tally{}
	for _, c := range calls {
		effect := c.tries[0].Effect
		for i, t := range c.tries[1:] {
			before := c.tries[i]
			if same := t.isSameAs(before) && !t.At.Before(before.over); same && before.fate == fateFinal && t.Method == http.MethodPost {
				r.Final++
				reasons[before.ruling()]++
			}
			switch {
			case !t.hasEffect():
			case effect:
				r.Repeated++
			case t.isSameAs(before) && before.mayHaveTakenEffect():
				r.Risked++
			}
			effect = effect || t.Effect
		}
	}
	r.ByReason = reasons.list()
	return r
}
