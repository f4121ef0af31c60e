package classify

import (
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

const (
	// retryPrice is what a retry costs the budget. With 1 earned by each
	// first-try success it lets retries be at most a fifth of the traffic.
	retryPrice = 5

	// throttledRetries bounds the retries after a 429 that names neither a
	// time nor an empty bucket. Some of those pass within seconds and some are
	// caps that nobody has described yet; two retries tell them apart. A guess.
	throttledRetries = 2

	// patience is how long an upstream may be silent before a caller that
	// leaves says something about it. The median first byte of a stream takes
	// 4 s and the slowest in a hundred 85 s, as seen in the field; a person
	// who leaves after 3 s has changed their mind.
	patience = 20 * time.Second
)

// Effects reports whether a request may change something upstream, so that
// sending it twice may do it twice: every method that writes, on every path
// but messages and count_tokens. A message with mcp_servers has effects too:
// its tools run upstream, before the answer comes.
//
// There is no idempotency key to make it safe: the SDKs have none to send (SDK
// internal/requestconfig).
func Effects(method string, path claude.Path, mcp bool) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		return false
	}
	switch path {
	case claude.Messages:
		return mcp
	case claude.CountTokens:
		return false
	}
	return true
}

// Judge judges one attempt. It is total: every Outcome has a Verdict.
//
// What it promises of any Verdict: Price and MaxRetries are 0 unless Action is
// Again, and Price is not 0 if it is; there is no Pause without a RetryAfter;
// only Answer is Good.
func Judge(o Outcome) Verdict {
	v := judge(o)
	v.Known = o.Error
	if v.Known.RequestID == "" {
		v.Known.RequestID = requestID(o.Header)
	}
	if v.Action == Again {
		v.restrain(o)
	}
	if v.Action == Again {
		v.Price = retryPrice
	} else {
		v.MaxRetries = 0
	}
	return v
}

// judge is Judge without what restrains a retry.
func judge(o Outcome) Verdict {
	switch o.Fault {
	case FaultCaller:
		return left(o, CallerLeft)
	case FaultDeadline:
		return left(o, DeadlinePassed)
	case FaultConnect:
		return unanswered(o, NoConnection)
	case FaultReset:
		return unanswered(o, ConnectionLost)
	case FaultFirstByte:
		return unanswered(o, FirstByteTimeout)
	}
	switch {
	case o.Status >= 400:
		// A fault while its body was read changes nothing: it is an error already.
		return refused(o)
	case o.Status >= 300:
		return Verdict{Action: Final, Reason: Redirected, Settle: Refund}
	case o.Fault != NoFault, o.Status >= 200 && o.Error.Type != "":
		return broken(o)
	case o.Status >= 200:
		return Verdict{Action: Answer, Reason: OK, Health: Good, Settle: Settle}
	case o.Status > 0:
		return Verdict{Action: Final, Reason: Rejected, Settle: Refund} // 101: nobody asked for it
	}
	return unanswered(o, ConnectionLost)
}

// restrain turns a retry into the end of the call where a second attempt
// would be seen or felt. Health, limit and pause stay: they tell what happened
// upstream, not what is done about it.
func (v *Verdict) restrain(o Outcome) {
	switch {
	case o.Content:
		v.Action = Final
	case o.Effects && !surelyNotDone(o):
		v.Action, v.Reason = Final, EffectsUnknown
	}
}

// surelyNotDone tells that an attempt cannot have had effects: it never left,
// or was turned away at the door.
func surelyNotDone(o Outcome) bool {
	switch o.Fault {
	case FaultConnect:
		return !o.Sent
	case FaultReset, FaultFirstByte:
		return false
	}
	return o.Status == http.StatusTooManyRequests || o.Status == claude.StatusOverloaded
}

// left judges an attempt whose caller no longer waits for it.
func left(o Outcome, why Reason) Verdict {
	v := Verdict{Action: Stop, Reason: why, Settle: Settle}
	if o.SinceByte >= patience {
		v.Health = Failure
	}
	if !o.Sent {
		v.Settle = Refund
	}
	return v
}

// unanswered judges an attempt that ended before headers came.
func unanswered(o Outcome, why Reason) Verdict {
	v := Verdict{Action: Again, Reason: why, Health: Failure, Settle: Keep}
	if !o.Sent {
		v.Settle = Refund
	}
	return v
}

// broken judges an answer that began with 2xx and then failed.
func broken(o Outcome) Verdict {
	switch o.Fault {
	case FaultIdle:
		return Verdict{Action: Again, Reason: IdleTimeout, Health: Failure, Settle: Settle}
	case FaultCut:
		return Verdict{Action: Again, Reason: StreamCut, Health: Failure, Settle: Settle}
	}
	o.Header = nil // written before the failure: it says nothing about it
	v, ok := capped(o.Error)
	if ok {
		return v
	}
	switch {
	case o.Error.Type == claude.RateLimit:
		return limited(o)
	case callerSide(o.Error.Type):
		return Verdict{Action: Final, Reason: StreamError, Settle: Settle}
	}
	v, ok = byType(o.Error.Type)
	if !ok {
		v = Verdict{Action: Again, Reason: StreamError, Health: Failure} // a type nobody has seen yet
	}
	v.Settle = Settle
	return v
}

// refused judges an error answer.
func refused(o Outcome) Verdict {
	if v, ok := capped(o.Error); ok {
		return v // even if told to retry: no retry brings money
	}
	v := byStatus(o)
	if v.Action == Again {
		v.RetryAfter, _ = claude.RetryAfter(o.Header, o.Now)
	}
	switch should, told := claude.ShouldRetry(o.Header); {
	case told && should && v.Action == Final && o.Status != http.StatusPaymentRequired:
		v.Action, v.Reason = Again, ToldToRetry
		v.RetryAfter, _ = claude.RetryAfter(o.Header, o.Now)
	case told && !should && v.Action == Again:
		v.Action, v.Reason = Final, ShouldNotRetry
	}
	return v
}

// byStatus judges an error answer by type and status. The types that name a
// state of the service win over all statuses but 408, where it was the request
// that came too slowly. api_error is the type of all other faults of the
// service, and so adds nothing to a status that is more exact.
func byStatus(o Outcome) Verdict {
	if o.Status == http.StatusRequestTimeout {
		return Verdict{Action: Again, Reason: TimeoutReason, Settle: Refund}
	}
	if t := o.Error.Type; t == claude.Overloaded || t == claude.Timeout {
		v, _ := byType(t)
		return v
	}
	switch o.Status {
	case http.StatusTooManyRequests:
		return limited(o)
	case http.StatusConflict:
		if transientConflict(o.Error.Code) {
			return Verdict{Action: Again, Reason: ConflictReason, Settle: Refund}
		}
	case http.StatusPaymentRequired:
		return Verdict{Action: Final, Reason: SpendLimited, Settle: Refund}
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return Verdict{Action: Final, Reason: Rejected, Settle: Refund}
	case http.StatusGatewayTimeout:
		v, _ := byType(claude.Timeout)
		return v
	case claude.StatusOverloaded:
		v, _ := byType(claude.Overloaded)
		return v
	}
	if o.Status >= 500 || o.Error.Type == claude.API {
		v, _ := byType(claude.API)
		return v
	}
	return Verdict{Action: Final, Reason: Rejected, Settle: Refund}
}

// byType judges an error of the service by its type; ok is false for others.
func byType(t claude.ErrorType) (v Verdict, ok bool) {
	v = Verdict{Action: Again, Health: Failure}
	switch t {
	case claude.API:
		v.Reason, v.Settle = ServerError, Keep
	case claude.Timeout:
		v.Reason, v.Settle = TimeoutReason, Keep
	case claude.Overloaded:
		// “isn't your usage limit and doesn't count against your quota”
		// (“Error reference”, code.claude.com, 2026-08-22).
		v.Reason, v.Settle = OverloadedReason, Refund
	default:
		return Verdict{}, false
	}
	return v, true
}

// callerSide tells that a type blames the request.
func callerSide(t claude.ErrorType) bool {
	switch t {
	case claude.InvalidRequest, claude.Authentication, claude.Billing, claude.Permission,
		claude.NotFound, claude.Conflict, claude.RequestTooLarge:
		return true
	}
	return false
}

// transientConflict tells that a 409 passes on its own (SDK shared/shared.go).
// Others are conflicts of the caller with itself.
func transientConflict(c claude.ErrorCode) bool {
	switch c {
	case claude.ScanPending, claude.MembershipChange, claude.ExternalKeyChanged:
		return true
	}
	return false
}

func requestID(h http.Header) string {
	if id := h[claude.HeaderRequestID]; len(id) > 0 {
		return id[0]
	}
	return ""
}
