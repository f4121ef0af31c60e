//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// running is a serve in a process of its own.
type running struct {
	t          *testing.T
	cmd        *exec.Cmd
	url, admin string

	mu  sync.Mutex // guards err
	err bytes.Buffer
	eof chan struct{} // closed when stderr is
}

var addresses = regexp.MustCompile(`"gateway":"([^"]*)","admin":"([^"]*)"`)

// start runs serve on free ports and waits until it says where.
func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)
	r := &running{t: t, cmd: exec.Command("evenkeel", args...), eof: make(chan struct{})}
	r.cmd.Env = append(append(cleanEnv(), "GORACE=atexit_sleep_ms=0"), env...)
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() }) // if the test has not ended it
	found := make(chan []string, 1)
	go r.read(stderr, found)
	select {
	case m := <-found:
		r.url, r.admin = m[1], m[2]
	case <-r.eof:
		t.Fatalf("serve has ended:\n%s", r.log())
	}
	return r
}

func (r *running) read(stderr io.Reader, found chan<- []string) {
	defer close(r.eof)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		r.mu.Lock()
		r.err.WriteString(lines.Text() + "\n")
		r.mu.Unlock()
		if m := addresses.FindStringSubmatch(lines.Text()); m != nil {
			found <- m
		}
	}
}

func (r *running) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err.String()
}

// logged waits until the log has text.
func (r *running) logged(text string) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(r.log(), text); {
		if time.Now().After(end) {
			r.t.Fatalf("the log has no %q:\n%s", text, r.log())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// wait returns the exit code, as a shell would see it.
func (r *running) wait() int {
	r.t.Helper()
	<-r.eof
	err := r.cmd.Wait()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		r.t.Fatal(err)
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// post sends a message and returns the answer with its body still open.
func post(t *testing.T, url string, stream bool) *http.Response {
	t.Helper()
	body := `{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"a secret prompt"}]`
	if stream {
		body += `,"stream":true`
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/messages", strings.NewReader(body+"}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "sk-ant-api03-verysecret")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// upstream serves a simulated API.
func upstream(t *testing.T, cfg sim.Config) (*sim.API, string) {
	t.Helper()
	api := sim.New(cfg)
	srv := httptest.NewServer(api)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return api, srv.URL
}

func TestServe_answersAndStops(t *testing.T) {
	api, url := upstream(t, sim.Config{Script: []sim.Reply{{Status: 529}, {}}})
	r := start(t, []string{"EVENKEEL_RETRY_BASE=1ms", "EVENKEEL_DRAIN_DELAY=0s"}, "--upstream", url, "--log-level", "debug")
	resp := post(t, r.url, false)
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Evenkeel-Attempts") != "2" || api.Calls() != 2 {
		t.Errorf("got %d after %s attempts (%d arrived): %s", resp.StatusCode, resp.Header.Get("Evenkeel-Attempts"), api.Calls(), body)
	}
	if said, err := readyz(t.Context(), strings.TrimPrefix(r.admin, "http://"), 5*time.Second); err != nil {
		t.Errorf("healthcheck: %s, %v", said, err)
	}
	r.signal(syscall.SIGTERM)
	if got := r.wait(); got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
	log := r.log()
	for _, want := range []string{`export ANTHROPIC_BASE_URL=` + r.url, `"msg":"waiting"`, `"msg":"draining"`, `"msg":"stopped"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "verysecret") || strings.Contains(log, "secret prompt") {
		t.Errorf("the log has a key or a prompt:\n%s", log)
	}
}

func TestServe_drainsOpenStreams(t *testing.T) {
	_, url := upstream(t, sim.Config{OutputTokens: 20, TokenTime: 20 * time.Millisecond})
	r := start(t, []string{"EVENKEEL_DRAIN_DELAY=0s"}, "--upstream", url)
	resp := post(t, r.url, true)
	defer resp.Body.Close()
	r.signal(syscall.SIGTERM)
	r.logged(`"msg":"draining"`)
	if _, err := readyz(t.Context(), strings.TrimPrefix(r.admin, "http://"), 5*time.Second); err == nil {
		t.Error("ready while draining")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "message_stop") {
		t.Errorf("the stream was cut: %v\n%s", err, body)
	}
	if got := r.wait(); got != 0 {
		t.Errorf("exit code %d, want 0\n%s", got, r.log())
	}
}

func TestServe_saysWhatItCut(t *testing.T) {
	_, url := upstream(t, sim.Config{OutputTokens: 64, TokenTime: time.Minute})
	r := start(t, []string{"EVENKEEL_DRAIN_DELAY=0s", "EVENKEEL_DRAIN_GRACE=50ms"}, "--upstream", url)
	resp := post(t, r.url, true)
	defer resp.Body.Close()
	r.signal(syscall.SIGTERM)
	if got := r.wait(); got != 1 || !strings.Contains(r.log(), "EK-DRAIN-CUT") {
		t.Errorf("exit code %d, want 1 and EK-DRAIN-CUT\n%s", got, r.log())
	}
}

func TestServe_secondSignalEndsAtOnce(t *testing.T) {
	_, url := upstream(t, sim.Config{OutputTokens: 64, TokenTime: time.Minute})
	r := start(t, []string{"EVENKEEL_DRAIN_DELAY=0s"}, "--upstream", url)
	resp := post(t, r.url, true)
	defer resp.Body.Close()
	r.signal(syscall.SIGTERM)
	r.logged(`"msg":"draining"`)
	r.signal(syscall.SIGTERM)
	if got := r.wait(); got != 143 {
		t.Errorf("exit code %d, want 143\n%s", got, r.log())
	}
}

func TestServe_reload(t *testing.T) {
	api, url := upstream(t, sim.Config{Script: []sim.Reply{{Status: 500}}})
	file := filepath.Join(t.TempDir(), "evenkeel.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("retry: {max_attempts: 2, base: 1ms}\ndrain: {delay: 0s}\n")
	r := start(t, nil, "--upstream", url, "-c", file)
	attempts := func() int {
		t.Helper()
		before := api.Calls()
		resp := post(t, r.url, false)
		resp.Body.Close()
		return api.Calls() - before
	}
	if got := attempts(); got != 2 {
		t.Errorf("%d attempts, want 2", got)
	}

	write("retry: {max_attempts: 3, base: 1ms}\ndrain: {delay: 0s}\nlisten: 127.0.0.1:1\n")
	r.signal(syscall.SIGHUP)
	r.logged("configuration reloaded")
	if got := attempts(); got != 3 {
		t.Errorf("%d attempts after a reload, want 3", got)
	}

	// A broken file is told and changes nothing.
	write("retry: {max_attempts: 4, bass: 1ms}\n")
	r.signal(syscall.SIGHUP)
	r.logged(`"do":"did you mean \"base\"?`)
	if log := r.log(); !strings.Contains(log, "EK-CONFIG-KEY") || strings.Contains(log, `"why":""`) {
		t.Errorf("the log is\n%s\nwant the code, and no why where there is none", log)
	}
	if got := attempts(); got != 3 {
		t.Errorf("%d attempts after a broken reload, want 3", got)
	}

	// So is one that a room refuses.
	write("origins: [https://app.example/]\n")
	r.signal(syscall.SIGHUP)
	r.logged("not an origin")
	if got := attempts(); got != 3 {
		t.Errorf("%d attempts after a refused reload, want 3", got)
	}
	r.signal(syscall.SIGTERM)
	if got := r.wait(); got != 0 {
		t.Errorf("exit code %d, want 0\n%s", got, r.log())
	}
}

// A reader of stderr that has stopped keeps nobody from being served, and the
// process from ending.
func TestServe_stoppedLogReader(t *testing.T) {
	_, url := upstream(t, sim.Config{Script: []sim.Reply{{Status: 400}}})
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	cmd := exec.Command("evenkeel", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", url, "--log-level", "debug")
	cmd.Env, cmd.Stderr = append(cleanEnv(), "EVENKEEL_DRAIN_DELAY=0s", "GORACE=atexit_sleep_ms=0"), pw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // if it has not ended
	pw.Close()
	first, err := bufio.NewReaderSize(pr, 1<<10).ReadString('\n') // and nothing more is read
	if err != nil {
		t.Fatal(err)
	}
	m := addresses.FindStringSubmatch(first)
	if m == nil {
		t.Fatalf("first line: %s", first)
	}
	for range 400 { // of about 300 bytes a line: a pipe holds 64 kB
		resp := post(t, m[1], false)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("status %d, want 400", resp.StatusCode)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ended with %v, want 0", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it has not ended")
	}
}

func TestExec_forwardsSignals(t *testing.T) {
	_, url := upstream(t, sim.Config{})
	cmd := exec.Command("evenkeel", "exec", "--upstream", url, "--", "sh", "-c",
		`trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.02; done`)
	cmd.Env = append(cleanEnv(), "GORACE=atexit_sleep_ms=0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // if it has not ended
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 9 || string(rest) != "got it\n" {
		t.Errorf("got %q, %v; want the command's last words and its 9", rest, err)
	}
}

func TestAsk_interrupted(t *testing.T) {
	arrived := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "evenkeel", "ask", "--upstream", srv.URL, "hello")
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = append(cleanEnv(), "GORACE=atexit_sleep_ms=0"), &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.ExitCode() != 130 || !strings.Contains(stderr.String(), "EK-INTERRUPTED") {
		t.Errorf("got %v, %s; want 130 and EK-INTERRUPTED", exit, stderr.String())
	}
}
