package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// preset is one failure as it is documented, or was seen, under a name.
type preset struct {
	name, about string
	fault       Fault
}

// presets are the failures with names. Statuses, types, codes and which of them
// carry a Retry-After: “Claude API errors”, “Rate limits” and “Fast mode”,
// platform.claude.com, 2026-08 to 2026-09, Claude Code's “Error reference”, and
// the SDK's shared/shared.go; what is not documented is marked. Numbers in them
// are guesses.
var presets = []preset{
	{"overload", "529: too much load across all users", Fault{Status: claude.StatusOverloaded}},
	{"overload_in_stream", "200, and an overloaded error as the first event", Fault{Kind: ErrorEventAt, Type: claude.Overloaded}},
	{"server_error", "500: something broke", Fault{Status: http.StatusInternalServerError}},
	{"timeout", "504: it took too long", Fault{Status: http.StatusGatewayTimeout}},
	{"rate_limit", "429: requests per minute used up, with retry-after", limited("",
		"This request would exceed the rate limit for your organization of 1,000 requests per minute",
		"retry-after", "5", "anthropic-ratelimit-requests-limit", "1000", "anthropic-ratelimit-requests-remaining", "0")},
	{"ramp", "429: usage grew too fast, with retry-after", limited(claude.RampLimitExceeded,
		"This request would exceed your organization's maximum usage increase rate for input tokens per minute", "retry-after", "10")},
	{"spend_cap", "429 without retry-after: the tier's monthly spend is reached", limited(claude.EnforcedSpendLimit,
		"You have reached your API usage limits. You will regain access on 2100-01-01 at 00:00 UTC.")},
	{"contract_cap", "429: the contract's spend is reached", limited(claude.ContractSpendLimit,
		"You have reached the spend limit of your contract.")}, // wording not documented
	{"own_spend_limit", "400: a spend limit set by the organisation itself", Fault{
		Status: http.StatusBadRequest, Message: "You have reached your specified API usage limits. You will regain access on 2100-01-01 at 00:00 UTC.",
	}},
	{"credit_too_low", "400: prepaid credit is used up, as seen in the field", Fault{
		Status: http.StatusBadRequest, Message: "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
	}},
	{"billing", "402: a payment problem, as documented", Fault{Status: http.StatusPaymentRequired}},
	{"long_context", "429: no entitlement to long context", limited("", "Extra usage is required for long context requests.")},
	{"plan_window", "429 for hours: the window of a subscription plan is used up", limited("", // headers not documented
		"This request would exceed your account's rate limit. Please try again later.", "retry-after", "13262",
		"anthropic-ratelimit-unified-status", "rejected", "anthropic-ratelimit-unified-5h-status", "rejected",
		"anthropic-ratelimit-unified-5h-utilization", "1.0")},
	{"throttle", "429 without a header: a short throttle of the server", limited("", "")},
	{"fast_limit", "429: the limit of fast mode, with retry-after", limited("",
		"This request would exceed the rate limit of fast mode for your organization", "retry-after", "5",
		"anthropic-fast-input-tokens-limit", "1000000", "anthropic-fast-input-tokens-remaining", "0")},
	{"too_large", "413 from the edge: neither the envelope nor a request id", Fault{
		Status: http.StatusRequestEntityTooLarge,
		Body:   `{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`,
		Header: map[string]string{"request-id": "", "anthropic-organization-id": ""},
	}},
	{"authentication", "401: the key is no good", Fault{Status: http.StatusUnauthorized}},
	{"permission", "403: the key may not", Fault{Status: http.StatusForbidden}},
	{"html_error", "502 from a proxy in the way: HTML", Fault{
		Status: http.StatusBadGateway, Body: garbage,
		Header: map[string]string{"content-type": "text/html", "request-id": "", "anthropic-organization-id": ""},
	}},
}

// limited is a 429.
func limited(code claude.ErrorCode, message string, headers ...string) Fault {
	f := Fault{Status: http.StatusTooManyRequests, Code: code, Message: message}
	for i := 0; i < len(headers); i += 2 {
		if f.Header == nil {
			f.Header = map[string]string{}
		}
		f.Header[headers[i]] = headers[i+1]
	}
	return f
}

// Presets returns the names of the failures that are known in full, each as it
// is documented; see [Preset] and [About].
func Presets() []string {
	out := make([]string, len(presets))
	for i, p := range presets {
		out[i] = p.name
	}
	return out
}

// Preset returns the failure of that name, with its Kind written out. The error
// is a [*StoryError] without a place. The Fault is the caller's.
func Preset(name string) (Fault, error) {
	for _, p := range presets {
		if p.name == name {
			f := p.fault.filled()
			f.Header = maps.Clone(f.Header)
			return f, nil
		}
	}
	return Fault{}, &StoryError{Problem: fmt.Sprintf("no failure is called %q", name), Suggestion: nearest(name, failures())}
}

// About returns a line on a [Kind] or a preset, by its name; "" if there is
// none of that name.
func About(name string) string {
	for _, p := range presets {
		if p.name == name {
			return p.about
		}
	}
	for _, row := range kindTable {
		if string(row.kind) == name {
			return row.about
		}
	}
	return ""
}

// presetOf returns the name of the preset that a fault is, or "".
func presetOf(f Fault) string {
	for _, p := range presets {
		if reflect.DeepEqual(p.fault.filled(), f) {
			return p.name
		}
	}
	return ""
}

// failures are all the names of failures.
func failures() []string { return append(Presets(), kindNames()...) }

// named returns the failure with the name of a preset, of a kind, or of a bare
// status.
func named(name string) (Fault, error) {
	if f, err := Preset(name); err == nil {
		return f, nil
	}
	if kind := Kind(name); kind.isKnown() {
		return Fault{Kind: kind}.filled(), nil
	}
	status, ok := whole64(name)
	if !ok {
		_, err := Preset(name)
		return Fault{}, err
	}
	if status < 200 || status > 999 {
		return Fault{}, errors.New("a status is 200 to 999")
	}
	return Fault{Kind: Status, Status: int(status)}, nil
}
