package evenkeel_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// quick keeps examples short: real waits begin at a second.
var quick = backoff.Exponential{Base: time.Millisecond}

func message(to string) *http.Request {
	r, err := http.NewRequest("POST", to+"/v1/messages",
		strings.NewReader(`{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		panic(err)
	}
	r.Header.Set("X-Api-Key", "key")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	return r
}

// Where a model is limited for longer than the caller can wait, another answers.
func ExampleFallback() {
	api := sim.NewScript(sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "300"}}, sim.Reply{Status: 200})
	t, err := evenkeel.New(evenkeel.Config{
		Base:     api,
		Fallback: []evenkeel.Fallback{{From: "claude-haiku-*", To: "claude-sonnet-5-5"}},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = t.Close() }()
	resp, err := t.Client().Do(message("https://api.anthropic.com"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.StatusCode, "by", resp.Header.Get(evenkeel.HeaderModel))
	// Output: 200 by claude-sonnet-5-5
}

// A Transport turns two overloaded answers into one slow success.
func ExampleNew() {
	api := sim.NewScript(sim.Reply{Status: 529}, sim.Reply{Status: 529}, sim.Reply{Status: 200})
	t, err := evenkeel.New(evenkeel.Config{Base: api, Backoff: quick})
	if err != nil {
		panic(err)
	}
	defer func() { _ = t.Close() }()
	resp, err := t.Client().Do(message("https://api.anthropic.com"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.StatusCode, "after", resp.Header.Get(evenkeel.HeaderAttempts), "attempts")
	// Output: 200 after 3 attempts
}

// A call that gives up on an answer returns that answer, and tells the client
// not to start over.
func ExampleTransport_RoundTrip() {
	api := sim.NewScript(sim.Reply{Status: 529}) // for ever
	t, err := evenkeel.New(evenkeel.Config{Base: api, Backoff: quick})
	if err != nil {
		panic(err)
	}
	defer func() { _ = t.Close() }()
	resp, err := t.RoundTrip(message("https://api.anthropic.com"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.StatusCode, "x-should-retry:", resp.Header.Get("X-Should-Retry"))
	// Output: 529 x-should-retry: false
}

// An Error is returned only where there is no answer to return.
func ExampleError() {
	api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.Refuse}}) // nobody listens
	t, err := evenkeel.New(evenkeel.Config{Base: api, Backoff: quick})
	if err != nil {
		panic(err)
	}
	defer func() { _ = t.Close() }()
	_, err = t.Client().Do(message("https://api.anthropic.com"))
	if e, ok := errors.AsType[*evenkeel.Error](err); ok {
		fmt.Println(e.Code, "after", e.Attempts, "attempts")
	}
	// Output: EK-UPSTREAM-UNREACHABLE after 6 attempts
}

// The zero Config works; mistakes in another are all named at once.
func ExampleConfig() {
	_, err := evenkeel.New(evenkeel.Config{MaxAttempts: -1, LongestWait: -time.Second})
	fmt.Println(err)
	// Output:
	// evenkeel: Config.MaxAttempts is -1, want 0 or more
	// evenkeel: Config.LongestWait is -1s, want 0s or more
}

// Transports that are given the same Admission draw on the same limits, and
// share breakers, budgets and the queue.
func ExampleConfig_admission() {
	shared := call.NewMemory(call.MemoryConfig{
		Limits: evenkeel.Limits{Models: map[string]evenkeel.Rates{"claude-haiku-5-5": {RPM: 60}}},
	})
	api := sim.New(sim.Config{})
	for range 2 {
		t, err := evenkeel.New(evenkeel.Config{Base: api, Admission: shared})
		if err != nil {
			panic(err)
		}
		defer func() { _ = t.Close() }()
		resp, err := t.Client().Do(message("https://api.anthropic.com"))
		if err != nil {
			panic(err)
		}
		_ = resp.Body.Close()
	}
	now := time.Now()
	fmt.Println(len(shared.Limits(now)), "limit, and a breaker that has seen", shared.Lanes(now)[0].Calls, "calls")
	// Output: 1 limit, and a breaker that has seen 2 calls
}
