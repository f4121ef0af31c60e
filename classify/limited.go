package classify

import (
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// limited judges a 429 that is not one of the caps: who waits, and for how
// long. All of them are the organisation's own doing: the breaker does not
// count them, and the organisation's part of the budget pays.
func limited(o Outcome) Verdict {
	after, told := claude.RetryAfter(o.Header, o.Now)
	_, empty := claude.EmptyBucket(o.Header)
	v := Verdict{Action: Again, Purse: ScopePurse, RetryAfter: after}
	switch {
	case o.Error.Code == claude.RampLimitExceeded:
		v.Reason, v.Settle, v.Pause = RampLimited, Ramp, PauseScope
	case claude.HasUnified(o.Header):
		v.Reason, v.Settle, v.Pause = PlanLimited, Refund, PauseCredential
	case claude.HasFast(o.Header):
		v.Reason, v.Settle, v.Pause = FastLimited, Refund, PauseSpeed
	case told || empty:
		v.Reason, v.Settle, v.Pause = RateLimited, Empty, PauseScope
	default:
		v.Reason, v.Settle, v.MaxRetries = Throttled, Refund, throttledRetries
	}
	if !told {
		v.Pause = PauseNone // an empty bucket holds others back by itself
	}
	return v
}

// capped judges errors that only money, a human or the calendar can end. They
// are told by their code and, since the API has not given all of them one, by
// how their message begins (“Rate limits”, platform.claude.com, 2026-08-22;
// “Error reference”, code.claude.com, 2026-08-22). They come as 429 and, the
// caller's own limits, as 400; an x-should-retry on them is that of any 429.
func capped(e claude.Error) (Verdict, bool) {
	v := Verdict{Action: Final, Settle: Refund}
	switch {
	case spendCode(e.Code), e.Type == claude.Billing, e.Code == "" && spendMessage(e.Message):
		v.Reason = SpendLimited
	case e.Code == "" && longContextMessage(e.Message):
		v.Reason = LongContext
	default:
		return Verdict{}, false
	}
	return v, true
}

func spendCode(c claude.ErrorCode) bool {
	switch c {
	case claude.EnforcedSpendLimit, claude.ContractSpendLimit, claude.LinkedSpendLimit, claude.LinkedBilling:
		return true
	}
	return false
}

// spendMessage tells the messages of spend caps: of the tier, of the
// organisation, of the workspace, and of prepaid credit that is used up.
func spendMessage(m string) bool {
	return hasAnyPrefix(m,
		"You have reached your API usage limits",
		"You have reached your specified API usage limits",
		"You have reached your specified workspace API usage limits",
		"Your credit balance is too low")
}

// longContextMessage tells the messages that refuse a long context to a login
// without extra usage: an entitlement, which no wait grants.
func longContextMessage(m string) bool {
	return hasAnyPrefix(m,
		"Extra usage is required for long context",
		"Usage credits required for 1M context")
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
