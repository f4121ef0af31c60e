package wire

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
)

// run starts the binary and waits until a GET of ready answers 200.
func run(t *testing.T, ready string, args ...string) *binary.Process {
	t.Helper()
	cmd := exec.Command(binary.Path(t), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "EVENKEEL_DRAIN_DELAY=100ms"}
	return start(t, cmd, ready)
}

func start(t *testing.T, cmd *exec.Cmd, ready string) *binary.Process {
	t.Helper()
	p := binary.Start(t, cmd)
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if status(ready) == http.StatusOK {
			return p
		}
		select {
		case <-tick.C:
		case <-p.Ended:
			t.Fatalf("ended before it was ready:\n%s", p.Output())
		case <-deadline:
			t.Fatalf("not ready after 20s:\n%s", p.Output())
		}
	}
}

func status(url string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func runSim(t *testing.T, addr string) *binary.Process {
	t.Helper()
	return run(t, "http://"+addr+"/sim/faults", "sim", "serve", "--listen", addr)
}

func runGateway(t *testing.T, upstream string, args ...string) (url, admin string, r *binary.Process) {
	t.Helper()
	addr, adm := address(t), address(t)
	r = run(t, "http://"+adm+"/readyz", append([]string{"serve", "--listen", addr, "--admin", adm, "--upstream", "http://" + upstream}, args...)...)
	return "http://" + addr, "http://" + adm, r
}

// post makes one call on a connection of its own.
func post(ctx context.Context, url, body string, header ...string) (int, http.Header, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	r.Header.Set("X-Api-Key", "sk-wire")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// TestKill_upstreamDiesUnderACall: the simulated API is killed while it holds
// a call, and comes back; the call is answered.
func TestKill_upstreamDiesUnderACall(t *testing.T) {
	t.Parallel()
	addr := address(t)
	first := runSim(t, addr)
	url, admin, _ := runGateway(t, addr)
	setFault(t, addr, `{"faults":[{"rate":1,"kind":"hang"}]}`)
	type answer struct {
		status int
		header http.Header
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		s, h, _, err := post(t.Context(), url, body)
		done <- answer{s, h, err}
	}()
	until(t, "the call is upstream", func() bool { return strings.Contains(state(admin), `"sent"`) })
	_ = first.Cmd.Process.Signal(syscall.SIGKILL)
	<-first.Ended
	runSim(t, addr) // knows of no fault
	select {
	case a := <-done:
		if a.err != nil || a.status != http.StatusOK {
			t.Errorf("got %d, %v; want the answer", a.status, a.err)
		}
		if got := a.header.Get("Evenkeel-Trail"); !strings.Contains(got, "connection_lost") {
			t.Errorf("trail %q does not tell of the lost connection", got)
		}
	case <-time.After(40 * time.Second):
		t.Error("no answer 40s after the upstream was killed")
	}
}

func setFault(t *testing.T, sim, rules string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+sim+"/sim/faults", "application/json", strings.NewReader(rules))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("setting faults: status %d", resp.StatusCode)
	}
}

func state(admin string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(admin + "/api/v1/state")
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after 15s it does not hold: %s", what)
		}
	}
}

// TestDrain_openStreamsFinishAndNewCallsAreRefused by SIGTERM.
func TestDrain_openStreamsFinishAndNewCallsAreRefused(t *testing.T) {
	t.Parallel()
	addr := address(t)
	run(t, "http://"+addr+"/sim/faults", "sim", "serve", "--listen", addr, "--token-time", "100ms")
	url, admin, gateway := runGateway(t, addr)
	type end struct {
		body string
		err  error
	}
	done := make(chan end, 1)
	long := strings.Replace(streaming, "64", "400", 1)
	go func() {
		_, _, b, err := post(t.Context(), url, long)
		done <- end{b, err}
	}()
	until(t, "the stream flows", func() bool { return strings.Contains(state(admin), `"streaming"`) })
	_ = gateway.Cmd.Process.Signal(syscall.SIGTERM)
	until(t, "it says that it is not ready", func() bool { return status(admin+"/readyz") == http.StatusServiceUnavailable })
	if got := status(admin + "/healthz"); got != http.StatusOK {
		t.Errorf("/healthz is %d while draining, want 200: a 503 would get it killed", got)
	}
	until(t, "new calls are refused", func() bool {
		return status(url+"/v1/models") == http.StatusServiceUnavailable
	})
	if len(done) != 0 {
		t.Error("the stream had ended before new calls were refused: this shows nothing")
	}
	if e := <-done; e.err != nil || !strings.Contains(e.body, "message_stop") {
		t.Errorf("the open stream ended with %v, %d bytes", e.err, len(e.body))
	}
	select {
	case <-gateway.Ended:
	case <-time.After(20 * time.Second):
		t.Fatal("still there 20s after its last call ended")
	}
	if code := gateway.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after a drain that ended on its own, want 0\n%s", code, gateway.Output())
	}
}

// TestLog_stoppedReaderSlowsNoCall: whoever reads the log is stopped with
// SIGSTOP until the pipe is full, and calls go on as before.
func TestLog_stoppedReaderSlowsNoCall(t *testing.T) {
	t.Parallel()
	addr := address(t)
	runSim(t, addr)
	front, adm := address(t), address(t)
	gateway := exec.Command(binary.Path(t), "serve", "--listen", front, "--admin", adm, "--upstream", "http://"+addr, "--log-format", "json", "--log-level", "debug")
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader := exec.Command("cat")
	reader.Stdin, reader.Stdout, gateway.Stderr = pr, io.Discard, pw
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Process.Kill(); _ = reader.Wait() })
	start(t, gateway, "http://"+adm+"/readyz")
	_, _ = pr.Close(), pw.Close() // only the two processes hold it now
	_ = reader.Process.Signal(syscall.SIGSTOP)
	var slowest time.Duration
	for i := range 3000 { // some 300 bytes of log each: far more than a pipe holds
		begin := time.Now()
		code, _, _, err := post(t.Context(), "http://"+front, body)
		if err != nil || code != http.StatusOK {
			t.Fatalf("call %d: %d, %v", i, code, err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	if slowest > 2*time.Second {
		t.Errorf("the slowest call took %v", slowest)
	}
	t.Logf("slowest of 3000 calls: %v", slowest)
}
