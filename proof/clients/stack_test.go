package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// What must never be found in anything the binary prints.
const (
	secretKey    = "sk-ant-api03-proof-0123456789abcdef"
	secretToken  = "proof-auth-token-fedcba9876543210"
	secretPrompt = "What does the register say about Valparaíso, evenkeel-proof-prompt?"
)

// stack is evenkeel serve in front of evenkeel sim serve, each a process of
// its own with every default on, and a tap in front of both.
type stack struct {
	url string // what a client is given as its base URL
	tap *tap
	sim string // base URL of the simulated API's control
	api http.Client
}

// startStack runs until the test ends, and then looks for secrets in what the
// two processes printed.
func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{}
	s.api.Transport = &http.Transport{}
	t.Cleanup(s.api.CloseIdleConnections)
	s.sim = s.run(t, binary.SimSays, "sim", "serve", "--listen", "127.0.0.1:0", "--profile", "calm")[0]
	says := s.run(t, binary.GatewaySays, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", s.sim)
	if got := s.status(says[1] + "/readyz"); got != http.StatusOK {
		t.Fatalf("/readyz: status %d, want 200 from a gateway that listens", got)
	}
	s.tap = startTap(t, strings.TrimPrefix(says[0], "http://"))
	s.url = "http://" + s.tap.addr
	return s
}

// run starts the binary, waits until it says what is listened for, and returns
// the addresses in that.
func (s *stack) run(t *testing.T, says *regexp.Regexp, args ...string) []string {
	t.Helper()
	cmd := exec.Command(binary.Path(t), args...)
	cmd.Env, cmd.Dir = cleanEnv(), t.TempDir()
	p := binary.Start(t, cmd)
	t.Cleanup(func() { mustNotTell(t, p.End(), args[0]) })
	return p.Says(t, says)
}

func (s *stack) status(url string) int {
	resp, err := s.api.Get(url)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// attempts returns those of one call, which are known by their sim-call header.
func (s *stack) attempts(t *testing.T, call string) []sim.Attempt {
	t.Helper()
	resp, err := s.api.Get(s.sim + "/sim/attempts")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var of []sim.Attempt
	for lines := json.NewDecoder(resp.Body); ; {
		var a sim.Attempt
		switch err := lines.Decode(&a); {
		case errors.Is(err, io.EOF):
			return of
		case err != nil:
			t.Fatalf("/sim/attempts: %v", err)
		case a.Call == call:
			of = append(of, a)
		}
	}
}

// setFaults replaces the rules in force at the simulated API.
func (s *stack) setFaults(t *testing.T, rules ...sim.Rule) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"faults": rules})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.sim+"/sim/faults", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.api.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST /sim/faults: %s: %s", resp.Status, text)
	}
}

// cleanEnv is an environment with no configuration, no home to find one in, and
// no credentials.
func cleanEnv(extra ...string) []string {
	env := []string{"NO_PROXY=127.0.0.1", "GORACE=halt_on_error=0"}
	for _, name := range []string{"PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// mustNotTell fails the test if what was printed names a secret.
func mustNotTell(t *testing.T, text, name string) {
	t.Helper()
	for what, secret := range map[string]string{
		"the API key": secretKey, "the auth token": secretToken,
		"the prompt": "evenkeel-proof-prompt", "the tool's answer": "record of",
	} {
		if strings.Contains(text, secret) {
			t.Errorf("evenkeel %s printed %s", name, what)
		}
	}
}
