package sim_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// Each preset as a client that reads headers and envelope sees it.
func TestPresets(t *testing.T) {
	type facts struct {
		status     int
		typ        claude.ErrorType
		code       claude.ErrorCode
		retryAfter string
		empty      string // the bucket at 0
		text       string // the message begins with it
	}
	want := map[string]facts{
		"overload":           {529, claude.Overloaded, "", "", "", "Overloaded"},
		"overload_in_stream": {200, claude.Overloaded, "", "", "", "Overloaded"},
		"server_error":       {500, claude.API, "", "", "", ""},
		"timeout":            {504, claude.Timeout, "", "", "", ""},
		"rate_limit":         {429, claude.RateLimit, "", "5", "requests", "This request would exceed the rate limit for your organization"},
		"ramp":               {429, claude.RateLimit, claude.RampLimitExceeded, "10", "", ""},
		"spend_cap":          {429, claude.RateLimit, claude.EnforcedSpendLimit, "", "", "You have reached your API usage limits"},
		"contract_cap":       {429, claude.RateLimit, claude.ContractSpendLimit, "", "", ""},
		"own_spend_limit":    {400, claude.InvalidRequest, "", "", "", "You have reached your specified API usage limits"},
		"credit_too_low":     {400, claude.InvalidRequest, "", "", "", "Your credit balance is too low to access the Anthropic API"},
		"billing":            {402, claude.Billing, "", "", "", ""},
		"long_context":       {429, claude.RateLimit, "", "", "", "Extra usage is required for long context requests."},
		"plan_window":        {429, claude.RateLimit, "", "13262", "", ""},
		"throttle":           {429, claude.RateLimit, "", "", "", ""},
		"fast_limit":         {429, claude.RateLimit, "", "5", "", ""},
		"too_large":          {413, claude.RequestTooLarge, "", "", "", "Request exceeds the maximum size"},
		"authentication":     {401, claude.Authentication, "", "", "", ""},
		"permission":         {403, claude.Permission, "", "", "", ""},
		"html_error":         {502, "", "", "", "", "<html>"},
	}
	for _, name := range sim.Presets() {
		t.Run(name, func(t *testing.T) {
			fault, err := sim.Preset(name)
			if err != nil || sim.About(name) == "" || (sim.Rule{Fault: fault, Rate: 1}).Validate() != nil {
				t.Fatalf("got %+v (%v), about %q", fault, err, sim.About(name))
			}
			onBothFaces(t, struckBy(fault), func(t *testing.T, api *sim.API, do func(call) result) {
				r := do(call{body: streamCall})
				body := r.body
				if _, data, ok := strings.Cut(r.body, "data: "); ok {
					body = data
				}
				e := claude.ParseError([]byte(body))
				empty, _ := claude.EmptyBucket(r.header)
				got := facts{r.status, e.Type, e.Code, r.header.Get("Retry-After"), empty, want[name].text}
				if got != want[name] || !strings.HasPrefix(e.Message, want[name].text) {
					t.Errorf("got %+v and %q, want %+v", got, e.Message, want[name])
				}
				fromAPI := r.header.Get("Request-Id") != "" && r.header.Get("Anthropic-Organization-Id") != ""
				if edge := name == "too_large" || name == "html_error"; fromAPI == edge {
					t.Errorf("headers are %v", r.header)
				}
				if claude.HasUnified(r.header) != (name == "plan_window") || claude.HasFast(r.header) != (name == "fast_limit") {
					t.Errorf("limits shown are %v", r.header)
				}
			})
		})
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestPreset_isTheCallers(t *testing.T) {
	f, err := sim.Preset("rate_limit")
	if err != nil {
		t.Fatal(err)
	}
	f.Header["retry-after"] = "99"
	if again, _ := sim.Preset("rate_limit"); again.Header["retry-after"] != "5" {
		t.Error("what one caller changed, another got")
	}
	_, err = sim.Preset("spendcap")
	if e, ok := errors.AsType[*sim.StoryError](err); !ok || e.Suggestion != "spend_cap" {
		t.Errorf("got %v, want a suggestion", err)
	}
}

func TestAbout(t *testing.T) {
	for _, kind := range sim.Kinds() {
		if sim.About(string(kind)) == "" {
			t.Errorf("nothing is said about %s", kind)
		}
	}
	if got := sim.About("nothing"); got != "" {
		t.Errorf("about nothing it says %q", got)
	}
}
