package limits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/gateway"
	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestMain(m *testing.M) {
	code := m.Run()
	binary.Remove()
	os.Exit(code)
}

// stage is evenkeel sim serve and, in front of it, evenkeel serve: two
// processes with every default on, that speak TCP. Keys of the simulated API
// all belong to one organisation.
type stage struct {
	api, url, admin string
	wire            *http.Transport
	start           time.Time          // when the workers began
	ctx             context.Context    // of all requests, which end with it
	end             context.CancelFunc // of the run: who still waits leaves
}

// scene is what the simulated API is told, beyond what is the same in all
// runs.
type scene struct {
	first, token time.Duration // to the first token, and to the next
	tokens       int           // of an answer, the median
	spread       float64
	limit        sim.Limit
	burst        time.Duration // that the limit's buckets hold
	slots        int
	story        []string
}

// newStage starts both. config is the gateway's, beyond its upstream.
func newStage(t *testing.T, s scene, config string) *stage {
	t.Helper()
	dir := t.TempDir()
	scenario, settings := filepath.Join(dir, "scenario.yaml"), filepath.Join(dir, "evenkeel.yaml")
	for file, text := range map[string]string{scenario: s.String(), settings: "version: 1\n" + config} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st := &stage{wire: &http.Transport{MaxIdleConnsPerHost: 1000}}
	t.Cleanup(st.wire.CloseIdleConnections)
	st.api = serve(t, "sim", "serve", "--listen", "127.0.0.1:0", "--scenario", scenario).Says(t, binary.SimSays)[0]
	says := serve(t, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", st.api, "--config", settings).Says(t, binary.GatewaySays)
	st.url, st.admin = says[0], says[1]
	st.ctx, st.end = context.WithCancel(t.Context())
	return st
}

func serve(t *testing.T, args ...string) *binary.Process {
	t.Helper()
	cmd := exec.Command(binary.Path(t), args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	return binary.Start(t, cmd)
}

// String is the scenario file.
func (s scene) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nanswers: {first_token: %v, token_time: %v, tokens: %d, spread: %v}\n", s.first, s.token, s.tokens, s.spread)
	b.WriteString("keys:\n")
	for _, key := range []string{"a", "b", "theirs"} {
		fmt.Fprintf(&b, "  - {key: sk-%s, organization: acme}\n", key)
	}
	if l := s.limit; l != (sim.Limit{}) {
		fmt.Fprintf(&b, "limits:\n  - {rpm: %d, itpm: %d, otpm: %d, burst: %v}\n", l.RPM, l.ITPM, l.OTPM, s.burst)
	}
	if s.slots > 0 {
		fmt.Fprintf(&b, "capacity:\n  - {slots: %d}\n", s.slots)
	}
	for i, line := range s.story {
		if i == 0 {
			b.WriteString("timeline:\n")
		}
		fmt.Fprintf(&b, "  - at: %s\n", line)
	}
	return b.String()
}

// always is the story of an API at its best: one attempt in a hundred fails,
// whatever we do.
var always = []string{"0s overload 1%"}

// RoundTrip sends a request to the gateway, whatever its host.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) { return s.send(s.url, r) }

// direct is who sends to the simulated API, past the gateway.
type direct struct{ *stage }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) { return d.send(d.api, r) }

func (s *stage) send(base string, r *http.Request) (*http.Response, error) {
	r = r.Clone(s.ctx)
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(base, "http://")
	r.Host = ""
	return s.wire.RoundTrip(r)
}

// play lets workers call for so long. What is under way then is called off.
func (s *stage) play(seed uint64, length time.Duration, loads ...load) []outcome {
	s.start = time.Now()
	for i := range loads {
		loads[i].until = length
	}
	defer time.AfterFunc(length, s.end).Stop()
	return play(s, seed, loads...)
}

// tell sets a fault while the API runs.
func (s *stage) tell(name, line string) error {
	r, err := http.NewRequest(http.MethodPut, s.api+"/sim/faults/"+name, strings.NewReader(line)) //nolint:noctx // loopback
	if err != nil {
		return err
	}
	resp, err := s.wire.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%q: %d %s", line, resp.StatusCode, said)
	}
	return nil
}

// attempts are what the simulated API has seen, with times since the workers
// began. It waits until all have ended: those that were called off count what
// was produced of them.
func (s *stage) attempts(t *testing.T) (all []sim.Attempt) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		all = nil
		open := 0
		s.read(t, s.api+"/sim/attempts", func(from *json.Decoder) error {
			var a sim.Attempt
			err := from.Decode(&a)
			if err == nil {
				a.Since = a.At.Sub(s.start)
				all = append(all, a)
				if !a.Done {
					open++
				}
			}
			return err
		})
		if open == 0 {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts are still in flight 10 s after their callers left", open)
		}
	}
}

// state is what the gateway knows.
func (s *stage) state(t *testing.T) (st gateway.State) {
	t.Helper()
	s.read(t, s.admin+"/api/v1/state", func(from *json.Decoder) error {
		if err := from.Decode(&st); err != nil {
			return err
		}
		return io.EOF
	})
	return st
}

// read hands what a GET brings to next until that says io.EOF.
func (s *stage) read(t *testing.T, url string, next func(*json.Decoder) error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.wire.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for from := json.NewDecoder(resp.Body); ; {
		switch err := next(from); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatalf("%s: %v", url, err)
		}
	}
}
