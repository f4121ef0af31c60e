package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// What every client asks for.
const (
	model           = "claude-sonnet-5-5"
	maxTokens       = 1024
	toolName        = "lookup"
	toolDescription = "Looks up the record of a city."
)

var toolProperties = map[string]any{
	"city": map[string]any{"type": "string", "description": "the name of the city"},
}

// record is the tool's answer. It is made from the input, so that a client
// which lost the input on the way shows it.
func record(input map[string]any) string { return fmt.Sprintf("record of %v", input["city"]) }

// mode is a way to ask.
type mode string

const (
	plain       mode = "plain"
	streaming   mode = "stream"
	tools       mode = "tools"        // a turn: request, tool use, tool result, text
	toolsStream mode = "tools-stream" // the same, both answers streamed
)

func (m mode) tools() bool   { return m == tools || m == toolsStream }
func (m mode) streams() bool { return m == streaming || m == toolsStream }

// calls is how often a client that does not retry asks the gateway.
func (m mode) calls() int {
	if m.tools() {
		return 2
	}
	return 1
}

// scenario is one task for a client.
type scenario struct {
	Mode    mode              `json:"mode"`
	Prompt  string            `json:"prompt"`
	Headers map[string]string `json:"headers"`
}

// result is what came of it.
type result struct {
	Text   string         `json:"text"`
	Input  map[string]any `json:"input"`
	Stop   string         `json:"stop"`
	Error  string         `json:"error"`
	Status int            `json:"status"`
}

// driver makes a client do one scenario after the other.
type driver interface {
	run(ctx context.Context, s scenario) (result, error)
}

// clients are the programs that must work unchanged.
var clients = []struct {
	name  string
	start func(t *testing.T, s *stack) driver
}{
	{"Go SDK v2", func(_ *testing.T, s *stack) driver { return newGoSDK2(s.url) }},
	{"Go SDK v1", func(_ *testing.T, s *stack) driver { return newGoSDK1(s.url) }},
	{"@anthropic-ai/sdk 1.x", node("sdk1.mjs", "")},
	{"@anthropic-ai/sdk 0.x", node("sdk0.mjs", "")},
	{"@ai-sdk/anthropic", node("aisdk.mjs", "/v1")}, // its base URL includes the version, by its documentation
	{"@langchain/anthropic", node("langchain.mjs", "")},
	{"Python on httpx", python},
}

func node(script, suffix string) func(t *testing.T, s *stack) driver {
	return func(t *testing.T, s *stack) driver {
		t.Helper()
		return startNode(t, s.url+suffix, script)
	}
}

func startNode(t *testing.T, baseURL, script string) *process {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is missing; run: make setup")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules")); err != nil {
		t.Fatal("proof/clients/node/node_modules is missing; run: make setup")
	}
	return startProcess(t, baseURL, "node", filepath.Join("node", script))
}

func python(t *testing.T, s *stack) driver {
	t.Helper()
	const interpreter = "/usr/bin/python3" // the system's: that is where its packages are
	if out, err := exec.CommandContext(t.Context(), interpreter, "-c", "import httpx").CombinedOutput(); err != nil {
		t.Fatalf("%s has no httpx: %v; run: make setup\n%s", interpreter, err, out)
	}
	return startProcess(t, s.url, interpreter, filepath.Join("python", "client.py"))
}

// troubles are what every call meets before it is answered.
var troubles = []struct {
	name   string
	script []string      // of one call
	gap    time.Duration // at least, between its attempts
}{
	{"calm", []string{"ok"}, 0},
	{"overloaded twice", []string{"529", "529", "ok"}, 0},
	{"told to wait a second", []string{"429:1", "ok"}, time.Second},
	{"connection reset before headers", []string{"reset_before_headers", "ok"}, 0},
}

// Every client sees success, in every mode and trouble, and has not had to
// retry for it: it asked the gateway once per call, and the gateway asked the
// API as often as the trouble needed.
func TestClients_seeOnlySuccess(t *testing.T) {
	t.Parallel()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startStack(t)
			d := c.start(t, s)
			for _, trouble := range troubles {
				for _, m := range []mode{plain, streaming, tools, toolsStream} {
					t.Run(string(m)+"/"+trouble.name, func(t *testing.T) {
						s.proves(t, d, m, trouble.script, trouble.gap)
					})
				}
			}
		})
	}
}

func (s *stack) proves(t *testing.T, d driver, m mode, script []string, gap time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := t.Name()
	before := s.tap.requests()
	got, err := d.run(ctx, scenario{Mode: m, Prompt: secretPrompt, Headers: map[string]string{
		"sim-call":   call,
		"sim-script": strings.Join(slices.Repeat(script, m.calls()), ","),
	}})
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, m, got)
	if got, want := s.tap.requests()-before, m.calls(); got != want {
		t.Errorf("client made %d requests, want %d: it must not need retries of its own", got, want)
	}
	checkAttempts(t, s.attempts(t, call), m, script, gap)
}

// checkAnswer looks at what the client made of the answer.
func checkAnswer(t *testing.T, m mode, got result) {
	t.Helper()
	const words = 24 // of an answer of the simulated API, see sim.Config.OutputTokens
	if n := len(strings.Fields(got.Text)); n != words {
		t.Errorf("text %q has %d words, want %d", got.Text, n, words)
	}
	if err := sim.CheckText(got.Text); err != nil {
		t.Errorf("text %q: %v", got.Text, err)
	}
	if got.Stop != "end_turn" && got.Stop != "stop" { // the latter is what the AI SDK calls it
		t.Errorf("stopped for %q, want end_turn", got.Stop)
	}
	if city, _ := got.Input["city"].(string); m.tools() && city == "" {
		t.Errorf("tool input is %v, want a city", got.Input)
	}
}

// checkAttempts looks at what arrived at the API.
func checkAttempts(t *testing.T, got []sim.Attempt, m mode, script []string, gap time.Duration) {
	t.Helper()
	if want := m.calls() * len(script); len(got) != want {
		t.Fatalf("API saw %d attempts, want %d: %+v", len(got), want, got)
	}
	for i, a := range got {
		if a.RetryCount != "" && a.RetryCount != "0" {
			t.Errorf("attempt %d is retry %s of the client", i+1, a.RetryCount)
		}
		if a.Stream != m.streams() || a.KeyTag == "" || a.KeyTag != got[0].KeyTag {
			t.Errorf("attempt %d: stream %v, key %q; want stream %v and key %q", i+1, a.Stream, a.KeyTag, m.streams(), got[0].KeyTag)
		}
		if i%len(script) == 0 {
			continue // the first of a call
		}
		if a.BodySHA256 != got[i-1].BodySHA256 {
			t.Errorf("attempt %d has another body than the one it repeats", i+1)
		}
		if waited := a.At.Sub(got[i-1].At); waited < gap {
			t.Errorf("attempt %d came after %v, want at least %v", i+1, waited, gap)
		}
	}
}
