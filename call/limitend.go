package call

import (
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// LimitEnd says in the words of package limit how an attempt has ended.
func LimitEnd(end End) limit.End {
	v := end.Verdict
	e := limit.End{Usage: end.Usage, RetryAfter: v.RetryAfter, Rejected: v.Known.Type == claude.Authentication}
	switch v.Settle {
	case classify.Refund:
		e.Outcome = limit.Refunded
	case classify.Empty, classify.Ramp:
		e.Outcome, e.Ramp = limit.Refused, v.Settle == classify.Ramp
	case classify.Settle:
		switch {
		case !end.Usage.Known():
			e.Outcome = limit.Kept
		case v.Health == classify.Good:
			e.Outcome = limit.Settled
		default:
			e.Outcome = limit.Broken
		}
	default:
		e.Outcome = limit.Kept
	}
	if v.Pause != classify.PauseNone && v.RetryAfter > 0 {
		e.Outcome, e.Credential = limit.Refused, v.Pause == classify.PauseCredential
	}
	return e
}
