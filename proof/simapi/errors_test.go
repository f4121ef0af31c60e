package simapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// classes are what the documentation of each SDK names for one error: the
// class, and after a blank the class of its status, if the first is one for an
// error code alone. That of the Go SDKs is one type for all.
type classes [4]string

func (c classes) of(s sdk) string {
	class, _, _ := strings.Cut(c[s], " ")
	return class
}

// parent is what an error must be an instance of, too; "" if nothing.
func (c classes) parent(s sdk) string {
	_, parent, _ := strings.Cut(c[s], " ")
	return parent
}

// status is the class of an error answer; the Python column is of 0.121.
func status(newest, older, python string) classes {
	return classes{goSDK: "anthropic.Error", ts1: newest, ts0: older, py: python}
}

// refusals are the errors of “Claude API errors”, platform.claude.com,
// 2026-09-26, and the codes of the SDKs of 2026-11.
var refusals = []struct {
	name  string
	reply sim.Reply
	typ   string
	class classes
}{
	{"bad request", sim.Reply{Status: 400}, "invalid_request_error", status("BadRequestError", "BadRequestError", "BadRequestError")},
	{"a body that came too slowly", sim.Reply{Status: 400, Code: "request_body_timeout"}, "invalid_request_error", status("BetaRequestBodyTimeoutError BadRequestError", "BadRequestError", "BadRequestError")},
	{"wrong key", sim.Reply{Status: 401}, "authentication_error", status("AuthenticationError", "AuthenticationError", "AuthenticationError")},
	{"payment", sim.Reply{Status: 402}, "billing_error", status("PaymentRequiredError", "APIError", "APIStatusError")},
	{"payment of a linked organisation", sim.Reply{Status: 402, Code: "linked_organization_billing_unavailable"}, "billing_error", status("LinkedOrganizationBillingUnavailableError PaymentRequiredError", "APIError", "APIStatusError")},
	{"not allowed", sim.Reply{Status: 403}, "permission_error", status("PermissionDeniedError", "PermissionDeniedError", "PermissionDeniedError")},
	{"unknown model", sim.Reply{Status: 404}, "not_found_error", status("NotFoundError", "NotFoundError", "NotFoundError")},
	{"request timed out", sim.Reply{Status: 408}, "invalid_request_error", status("RequestTimeoutError", "APIError", "APIStatusError")},
	{"conflict", sim.Reply{Status: 409}, "conflict_error", status("ConflictError", "ConflictError", "ConflictError")},
	{"conflict that passes", sim.Reply{Status: 409, Code: "scan_pending"}, "conflict_error", status("BetaScanPendingError ConflictError", "ConflictError", "ConflictError")},
	{"precondition", sim.Reply{Status: 412}, "invalid_request_error", status("PreconditionFailedError", "APIError", "APIStatusError")},
	{"too large", sim.Reply{Status: 413}, "request_too_large", status("ContentTooLargeError", "APIError", "RequestTooLargeError")},
	{"too large once decoded", sim.Reply{Status: 413, Code: "request_body_too_large_after_decoding"}, "request_too_large", status("RequestBodyTooLargeAfterDecodingError ContentTooLargeError", "APIError", "RequestTooLargeError")},
	{"unprocessable", sim.Reply{Status: 422}, "invalid_request_error", status("UnprocessableEntityError", "UnprocessableEntityError", "UnprocessableEntityError")},
	{"rate limit", sim.Reply{Status: 429, Header: map[string]string{"retry-after": "7"}}, "rate_limit_error", status("RateLimitError", "RateLimitError", "RateLimitError")},
	{"ramp limit", sim.Reply{Status: 429, Code: "ramp_limit_exceeded", Header: map[string]string{"retry-after": "7"}}, "rate_limit_error", status("RampLimitExceededError RateLimitError", "RateLimitError", "RateLimitError")},
	{"monthly spend cap", sim.Reply{Status: 429, Code: "enforced_spend_limit_reached"}, "rate_limit_error", status("EnforcedSpendLimitReachedError RateLimitError", "RateLimitError", "RateLimitError")},
	{"spend limit of the contract", sim.Reply{Status: 429, Code: "contract_spend_limit_reached"}, "rate_limit_error", status("ContractSpendLimitReachedError RateLimitError", "RateLimitError", "RateLimitError")},
	{"internal", sim.Reply{Status: 500}, "api_error", status("InternalServerError", "InternalServerError", "InternalServerError")},
	{"not implemented", sim.Reply{Status: 501}, "api_error", status("NotImplementedError", "InternalServerError", "InternalServerError")},
	{"key service", sim.Reply{Status: 503, Code: "cmek_key_unreachable"}, "api_error", status("CMEKKeyUnreachableError ServiceUnavailableError", "InternalServerError", "InternalServerError")},
	{"timed out while processing", sim.Reply{Status: 504}, "timeout_error", status("GatewayTimeoutError", "InternalServerError", "InternalServerError")},
	{"overloaded", sim.Reply{Status: 529}, "overloaded_error", status("OverloadedError", "InternalServerError", "OverloadedError")},
	{"no room to compact", sim.Reply{Status: 529, Code: "compaction_unavailable"}, "overloaded_error", status("CompactionUnavailableError OverloadedError", "InternalServerError", "OverloadedError")},
}

// Every documented error raises the class that the SDK documents for it, and
// the client finds in it what the API said: status, type, code, request id and
// message.
func TestError_hasItsClass(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{})
		for _, r := range refusals {
			for _, do := range []verb{doMessage, doStream} {
				t.Run(r.name+"/"+string(do), func(t *testing.T) {
					call := t.Name()
					reply := r.reply
					reply.Message = "why: " + r.name
					s.Script(of(call), reply)
					what := s.task(t, do, ask(nil))
					what.Headers = map[string]string{"sim-call": call}
					got := fails(t, d, what)
					sent := s.attempts(call)
					if len(sent) != 1 {
						t.Fatalf("%d attempts, want 1 of a client without retries", len(sent))
					}
					want := failure{
						Class: r.class.of(c.sdk), Status: reply.Status, Type: r.typ, Code: string(reply.Code),
						RequestID: sent[0].RequestID, Message: reply.Message, Text: got.Text, Parents: got.Parents,
					}
					if got != want {
						t.Errorf("got  %+v\nwant %+v", got, want)
					}
					if parent := r.class.parent(c.sdk); parent != "" && !slices.Contains(strings.Fields(got.Parents), parent) {
						t.Errorf("%s is one of %q, want %s among them", got.Class, got.Parents, parent)
					}
				})
			}
		}
	})
}

// What comes without Claude's envelope still has the class of its status.
func TestError_foreignBody(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{})
		s.Script(of("proxy"), sim.Reply{Status: 502, Body: "<html>502 Bad Gateway</html>"})
		what := s.task(t, doMessage, ask(nil))
		what.Headers = map[string]string{"sim-call": "proxy"}
		got := fails(t, d, what)
		want := status("InternalServerError", "InternalServerError", "InternalServerError").of(c.sdk)
		if got.Class != want || got.Status != http.StatusBadGateway || got.Type != "" || !strings.Contains(got.Text, "502 Bad Gateway") {
			t.Errorf("got %+v, want %s with status 502, no type, and the text that came", got, want)
		}
	})
}

// connection is what each SDK documents for a call that got no answer.
var (
	connection = classes{goSDK: "url.Error", ts1: "APIConnectionError", ts0: "APIConnectionError", py: "APIConnectionError"}
	timeout    = classes{goSDK: "context.DeadlineExceeded", ts1: "APIConnectionTimeoutError", ts0: "APIConnectionTimeoutError", py: "APITimeoutError"}
)

func TestError_withoutAnAnswer(t *testing.T) {
	cases := []struct {
		name, script string
		class        classes
		timeout      int // ms
	}{
		{"nobody listens", "refuse", connection, 0},
		{"reset before the headers", "reset_before_headers", connection, 0},
		{"closed in the middle of the headers", "close_before_headers", connection, 0},
		{"silence", "hang", timeout, 200},
	}
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{})
		for _, e := range cases {
			t.Run(e.name, func(t *testing.T) {
				what := s.task(t, doMessage, ask(nil))
				what.Headers = map[string]string{"sim-script": e.script}
				what.Timeout = e.timeout
				if got := fails(t, d, what); got.Class != e.class.of(c.sdk) || got.Status != 0 {
					t.Errorf("got %+v, want %s without a status", got, e.class.of(c.sdk))
				}
			})
		}
	})
}

// An error event ends the stream with what it says: the status of the
// response was 200, or is not told at all, so the type is what counts.
func TestError_insideAStream(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, events := range []int{0, 1, 5} {
			for _, typ := range []string{"overloaded_error", "api_error"} {
				call := t.Name() + typ + string(rune('0'+events))
				s.Script(of(call), sim.Reply{Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: events, Type: claude.ErrorType(typ)}})
				what := s.task(t, doStream, ask(nil))
				what.Headers = map[string]string{"sim-call": call}
				got := fails(t, d, what)
				want := classes{goSDK: "anthropic.Error", ts1: "APIError", ts0: "APIError", py: "APIStatusError"}.of(c.sdk)
				if got.Class != want || got.Type != typ || got.RequestID != s.attempts(call)[0].RequestID {
					t.Errorf("after %d events: got %+v, want %s of type %s with the id of the request", events, got, want, typ)
				}
				if wantStatus := map[sdk]int{goSDK: 200, py: 200}[c.sdk]; got.Status != wantStatus {
					t.Errorf("after %d events: status %d, want %d", events, got.Status, wantStatus)
				}
			}
		}
	})
}

// A client that retries gets through an overload by its own rule.
func TestError_retriedByTheSDK(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, do := range []verb{doMessage, doStream} {
			what := s.task(t, do, ask(nil))
			what.Retries = 2
			what.Headers = map[string]string{"sim-call": string(do), "sim-script": "529,529,ok"}
			got := does(t, d, what)
			if n := len(strings.Fields(got.Messages[0].text())); n != words {
				t.Errorf("%s: %d words, want %d", do, n, words)
			}
			var counts []string
			for _, a := range s.attempts(string(do)) {
				counts = append(counts, a.RetryCount)
			}
			if got := strings.Join(counts, " "); got != "0 1 2" {
				t.Errorf("%s: x-stainless-retry-count was %q, want 0 1 2", do, got)
			}
		}
	})
}
