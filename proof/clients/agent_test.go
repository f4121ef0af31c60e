package clients

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// newAgent returns an agent that talks through s, and the call its attempts
// are recorded under.
func newAgent(t *testing.T, s *stack) (*Agent, string) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &Agent{
		BaseURL: s.url, APIKey: secretKey, AuthToken: secretToken,
		Session: "7d9c1c1e-0f53-4b0a-9f37-1f2a3b4c5d6e", Model: "claude-opus-5-5",
		Header: http.Header{"Sim-Call": {t.Name()}},
		Tool:   record,
		HTTP:   &http.Client{Transport: transport},
	}, t.Name()
}

// checkTurn looks at a turn with one use of the tool that has ended well.
func checkTurn(t *testing.T, got Turn, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.Incomplete || got.Tools != 1 {
		t.Errorf("turn is incomplete (%v) or used the tool %d times, want 1", got.Incomplete, got.Tools)
	}
	checkAnswer(t, toolsStream, result{Text: got.Text, Input: got.Input, Stop: "end_turn"})
}

func TestAgent_inCalm(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a, call := newAgent(t, s)
	a.Start(t.Context())
	if a.Hello != http.StatusOK {
		t.Errorf("HEAD /api/hello: status %d, want 200", a.Hello)
	}
	if !slices.Contains(a.Models, a.Model) {
		t.Errorf("models are %q, want %q among them", a.Models, a.Model)
	}
	turn, err := a.Turn(t.Context(), secretPrompt)
	checkTurn(t, turn, err)
	attempts := s.attempts(t, call)
	if got, want := len(attempts), 2; got != want || a.Requests != want {
		t.Fatalf("agent made %d requests and the API saw %d, want %d of each", a.Requests, got, want)
	}
	for _, at := range attempts {
		if at.Query != "beta=true" {
			t.Errorf("query is %q, want beta=true", at.Query)
		}
		for name, want := range map[string]string{
			"X-Claude-Code-Session-Id": a.Session, "User-Agent": "claude-cli/2.1.300 (external, cli)", "Anthropic-Version": "2023-06-01",
		} {
			if got := at.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if got := at.Header.Get("Anthropic-Beta"); !strings.HasPrefix(got, "claude-code-20250219,interleaved") {
			t.Errorf("Anthropic-Beta is %q, want the list as it was sent", got)
		}
	}
}

// Nothing is answered but 529 for half a minute. The agent has ten retries,
// each of which costs it up to 16 s of evenkeel's patience, and needs few.
func TestAgent_throughHalfAMinuteOfOverload(t *testing.T) {
	t.Parallel()
	const overload = 30 * time.Second
	s := startStack(t)
	a, call := newAgent(t, s)
	a.Start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s.setFaults(t, sim.Rule{Fault: sim.Fault{Status: 529}, Rate: 1, Path: "messages", Until: overload})
	start := time.Now()
	turn, err := a.Turn(ctx, secretPrompt)
	took := time.Since(start)
	checkTurn(t, turn, err)
	attempts := s.attempts(t, call)
	t.Logf("finished after %v: %d requests of the agent, %d attempts", took.Round(time.Second), a.Requests, len(attempts))
	if took < overload || took > 2*overload {
		t.Errorf("finished after %v, want between %v and %v", took, overload, 2*overload)
	}
	if got, most := len(attempts), 6*a.Requests; got > most {
		t.Errorf("%d attempts for %d requests, want at most %d", got, a.Requests, most)
	}
}

// An agent that obeys x-should-retry in all cases asks once, and has the
// upstream's own answer when six attempts are spent.
func TestAgent_thatObeysIsToldOnce(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a, call := newAgent(t, s)
	a.Obedient = true
	s.setFaults(t, sim.Rule{Fault: sim.Fault{Status: 529, Message: "Overloaded, says the upstream"}, Rate: 1, Path: "messages"})
	_, err := a.Turn(t.Context(), secretPrompt)
	answer, ok := errors.AsType[*AnswerError](err)
	if !ok || answer.Status != 529 || !strings.Contains(err.Error(), `"message":"Overloaded, says the upstream"`) {
		t.Errorf("got %v, want the upstream's 529", err)
	}
	if got, want := len(s.attempts(t, call)), 6; got != want || a.Requests != 1 {
		t.Errorf("%d requests and %d attempts, want 1 and %d", a.Requests, got, want)
	}
}

func TestAgent_whenAStreamIsCutBeforeContent(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	for _, c := range []struct{ name, script string }{
		{"reset after message_start", "reset_after:1,ok"},
		{"clean end after message_start", "end_after:1,ok"},
		{"overloaded in the first frame", "error_event_at:0,ok"},
		{"half of message_start", "half_event:0,ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, call := newAgent(t, s)
			a.Header.Set("Sim-Script", c.script)
			turn, err := a.Turn(t.Context(), secretPrompt)
			checkTurn(t, turn, err)
			if got, want := len(s.attempts(t, call)), 3; got != want {
				t.Errorf("API saw %d attempts, want %d: one is cut", got, want)
			}
		})
	}
}

// A stream that breaks after a block is whole must not be asked for again: the
// same tool could run twice.
func TestAgent_keepsWhatIsWhole(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	calm, call := newAgent(t, s)
	_, err := calm.Turn(t.Context(), secretPrompt)
	if err != nil {
		t.Fatal(err)
	}
	// The same answer again, without its last two events: message_delta and
	// message_stop. The tool use in it is whole.
	cut := s.attempts(t, call)[0].Events - 2
	a, _ := newAgent(t, s)
	call += "/cut"
	a.Header = http.Header{"Sim-Call": {call}, "Sim-Script": {fmt.Sprintf("reset_after:%d,ok", cut)}}
	turn, err := a.Turn(t.Context(), secretPrompt)
	if err != nil {
		t.Fatal(err)
	}
	if !turn.Incomplete {
		t.Error("turn is complete, want it to say that it was cut")
	}
	if got, want := len(s.attempts(t, call)), 1; got != want {
		t.Errorf("API saw %d attempts, want %d", got, want)
	}
}

// The wording of errors is the upstream's: an agent compacts when it reads it.
func TestAgent_readsTheUpstreamsWords(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	a, call := newAgent(t, s)
	const body = `{"type":"error", "error":{"type":"invalid_request_error","message":"prompt is too long: 1000001 tokens > 1000000 maximum"},"x":1}`
	s.setFaults(t, sim.Rule{Fault: sim.Fault{Status: http.StatusBadRequest, Body: body}, Rate: 1, Path: "messages"})
	_, err := a.Turn(t.Context(), secretPrompt)
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("got %v, want the words of the upstream", err)
	}
	if answer, ok := errors.AsType[*AnswerError](err); ok && string(answer.Body) != body {
		t.Errorf("body is %q, want %q", answer.Body, body)
	}
	if got, want := len(s.attempts(t, call)), 1; got != want {
		t.Errorf("API saw %d attempts, want %d: no retry shortens a prompt", got, want)
	}
}
