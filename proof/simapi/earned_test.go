package simapi

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// Errors that nobody scripted: the API finds them in the request.
func TestError_earned(t *testing.T) {
	prefill := ask(body{"messages": []any{
		body{"role": "user", "content": "Count to three."}, body{"role": "assistant", "content": "One, two"},
	}})
	cases := []struct {
		name   string
		do     verb
		params body
		key    string
		want   failure // Class as of the newest SDK; Message is what it must contain
	}{
		{"a key that nobody has", doMessage, ask(nil), "sk-ant-other", failure{Class: "AuthenticationError", Status: 401, Type: "authentication_error"}},
		{"a model that does not exist", doMessage, ask(body{"model": "claude-nobody-1"}), key, failure{Class: "NotFoundError", Status: 404, Type: "not_found_error", Message: "claude-nobody-1"}},
		{"no messages", doStream, ask(body{"messages": []any{}}), key, failure{Class: "BadRequestError", Status: 400, Type: "invalid_request_error", Message: "messages"}},
		{"prefill where the model takes none", doMessage, prefill, key, failure{Class: "BadRequestError", Status: 400, Type: "invalid_request_error", Message: "does not support assistant message prefill"}},
		{"tokens of a model that does not exist", doCount, body{"model": "claude-nobody-1", "messages": ask(nil)["messages"]}, key, failure{Class: "NotFoundError", Status: 404, Type: "not_found_error"}},
		{"a batch of nothing", doBatchCreate, body{"requests": []any{}}, key, failure{Class: "BadRequestError", Status: 400, Type: "invalid_request_error", Message: "requests"}},
	}
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{Keys: []string{key}})
		for _, e := range cases {
			t.Run(e.name, func(t *testing.T) {
				what := s.task(t, e.do, e.params)
				what.Key = e.key
				got := fails(t, d, what)
				want := status(e.want.Class, e.want.Class, e.want.Class).of(c.sdk)
				if got.Class != want || got.Status != e.want.Status || got.Type != e.want.Type || !strings.Contains(got.Message, e.want.Message) {
					t.Errorf("got %+v, want %s with %+v", got, want, e.want)
				}
			})
		}
	})
}

// A body over 32 MB is refused before the API sees it: there is a type, but no
// request id. One client is enough, since some take seconds to write so much.
func TestError_oversize(t *testing.T) {
	t.Parallel()
	s := newStage(t, sim.Config{})
	large := ask(body{"messages": []any{body{"role": "user", "content": strings.Repeat("x", 32<<20)}}})
	i := slices.IndexFunc(clients, func(c client) bool { return c.sdk == ts1 })
	got := fails(t, clients[i].start(t), s.task(t, doMessage, large))
	want := failure{
		Class: "ContentTooLargeError", Parents: "APIError AnthropicError", Status: 413,
		Type: "request_too_large", Message: got.Message, Text: got.Text,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Thinking that goes back edited is refused, in the words the documentation
// has for it.
func TestError_editedThinking(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{})
		for _, do := range []verb{doConverse, doConverseLive} {
			what := s.task(t, do, ask(body{"thinking": body{"type": "adaptive", "display": "summarized"}}))
			what.Then, what.Edit = "And Iquique?", true
			got := fails(t, d, what)
			want := status("BadRequestError", "BadRequestError", "BadRequestError").of(c.sdk)
			if got.Class != want || got.Status != 400 || got.Type != "invalid_request_error" || !strings.Contains(got.Message, "thinking") {
				t.Errorf("%s: got %+v, want %s with status 400 about the thinking", do, got, want)
			}
		}
	})
}

// Whatever is used up or overfull, the SDK raises the class of that answer with
// the code that tells the kind, and the text that says what.
func TestError_overTheLimit(t *testing.T) {
	for429 := status("RateLimitError", "RateLimitError", "RateLimitError")
	large := ask(body{"messages": []any{body{"role": "user", "content": strings.Repeat("word ", 4_000)}}})
	cases := []struct {
		name  string
		cfg   sim.Config
		first body // is served, and leaves nothing
		class classes
		want  failure
	}{
		{
			"requests",
			sim.Config{Limits: []sim.Limit{{RPM: 1}}},
			ask(nil), for429,
			failure{Status: 429, Type: "rate_limit_error", Message: "1 requests per minute"},
		},
		{
			"input",
			sim.Config{Limits: []sim.Limit{{ITPM: 8_200}}},
			large, for429,
			failure{Status: 429, Type: "rate_limit_error", Message: "input tokens per minute"},
		},
		{
			"output",
			sim.Config{Limits: []sim.Limit{{OTPM: 30}}, OutputTokens: 30},
			ask(nil), for429,
			failure{Status: 429, Type: "rate_limit_error", Message: "output tokens per minute"},
		},
		{
			"growth",
			sim.Config{Ramp: sim.Ramp{Start: 9_000}},
			large,
			status("RampLimitExceededError RateLimitError", "RateLimitError", "RateLimitError"),
			failure{Status: 429, Type: "rate_limit_error", Code: "ramp_limit_exceeded", Message: "acceleration limit"},
		},
		{
			"spending",
			sim.Config{SpendCap: 0.000_001},
			ask(nil),
			status("EnforcedSpendLimitReachedError RateLimitError", "RateLimitError", "RateLimitError"),
			failure{Status: 429, Type: "rate_limit_error", Code: "enforced_spend_limit_reached", Message: "You have reached your API usage limits"},
		},
	}
	forEach(t, func(t *testing.T, c client, d driver) {
		for _, e := range cases {
			t.Run(e.name, func(t *testing.T) {
				s := newStage(t, e.cfg)
				does(t, d, s.task(t, doMessage, e.first))
				got := fails(t, d, s.task(t, doStream, e.first))
				if got.Class != e.class.of(c.sdk) || got.Status != e.want.Status || got.Type != e.want.Type ||
					got.Code != e.want.Code || !strings.Contains(got.Message, e.want.Message) {
					t.Errorf("got %+v, want %s with %+v", got, e.class.of(c.sdk), e.want)
				}
			})
		}
	})
}

// More at once than there is room for is answered 529.
func TestError_overCapacity(t *testing.T) {
	forEach(t, func(t *testing.T, c client, d driver) {
		s := newStage(t, sim.Config{Capacity: []sim.Capacity{{Slots: 1, Refusal: time.Hour}}})
		release := s.hold(t)
		defer release()
		got := fails(t, d, s.task(t, doMessage, ask(nil)))
		want := status("OverloadedError", "InternalServerError", "OverloadedError").of(c.sdk)
		if got.Class != want || got.Status != 529 || got.Type != "overloaded_error" {
			t.Errorf("got %+v, want %s with status 529", got, want)
		}
	})
}

// A client that retries waits as long as a limit tells it, and gets through.
func TestError_waitsForTheLimit(t *testing.T) {
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{Limits: []sim.Limit{{RPM: 60, Burst: time.Second}}}) // one a second
		what := s.task(t, doMessage, ask(nil))
		what.Retries = 2
		does(t, d, what)
		does(t, d, what)
		sent := s.Attempts()
		if n := len(sent); n != 3 && n != 2 || sent[n-1].Status != 200 { // 2 where a second lay between the calls
			t.Errorf("%d attempts, want a refused one between two that are served", n)
		}
		for i, a := range sent[1:] {
			if before := sent[i]; before.Status == 429 && a.At.Sub(before.At) < before.RetryAfter {
				t.Errorf("waited %v, was told %v", a.At.Sub(before.At), before.RetryAfter)
			}
		}
	})
}
