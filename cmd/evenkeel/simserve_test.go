package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// served is a sim serve in a process of its own, under the name of its
// variable.
type served struct {
	cmd    *exec.Cmd
	stdout *os.File
	said   chan []byte // all of stderr, at its end
}

// servedKey is where a script keeps them.
type servedKey struct{}

var simURL = regexp.MustCompile(`^  (http://\S+)   `)

func simserve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: simserve VAR ARG…")
	}
	s := &served{said: make(chan []byte, 1)}
	s.cmd = exec.Command("evenkeel", append([]string{"sim", "serve", "--listen", "127.0.0.1:0"}, args[1:]...)...)
	s.cmd.Dir, s.cmd.Env = ts.MkAbs("."), append(cleanEnv(), "PATH="+ts.Getenv("PATH"), "GORACE=atexit_sleep_ms=0")
	var err error
	s.stdout, err = os.Create(ts.MkAbs(args[0] + ".stdout"))
	ts.Check(err)
	s.cmd.Stdout = s.stdout
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { _ = s.cmd.Process.Kill() }) // if the script has not stopped it
	found := make(chan string, 1)
	go s.read(stderr, found)
	url, ok := <-found
	if !ok {
		ts.Fatalf("sim serve has ended:\n%s", <-s.said)
	}
	ts.Setenv(args[0], url)
	simsOf(ts)[args[0]] = s
}

// read collects stderr and finds the URL in it.
func (s *served) read(stderr io.Reader, found chan<- string) {
	var all bytes.Buffer
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if m := simURL.FindStringSubmatch(lines.Text()); m != nil {
			found <- m[1]
		}
	}
	close(found)
	s.said <- all.Bytes()
}

func simstop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: simstop VAR CODE")
	}
	s := simsOf(ts)[args[0]]
	ts.Check(s.cmd.Process.Signal(os.Interrupt))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stderr"), <-s.said, 0o600))
	code := 0
	if err := s.cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("wait: %v", err)
		}
		code = exit.ExitCode()
	}
	ts.Check(s.stdout.Close())
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("exit code %d, want %s", code, args[1])
	}
}

func simsOf(ts *testscript.TestScript) map[string]*served {
	return ts.Value(servedKey{}).(map[string]*served)
}

// naive is the client that nobody should write.
func naive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: naive URL N MODEL")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for call := range n {
		for range 6 {
			req, err := http.NewRequest(http.MethodPost, args[0]+"/v1/messages", strings.NewReader(
				`{"model":"`+args[2]+`","max_tokens":16,"messages":[{"role":"user","content":"call `+strconv.Itoa(call)+`"}]}`))
			ts.Check(err)
			req.Header.Set("X-Api-Key", "sk-naive")
			req.Header.Set("Anthropic-Version", "2023-06-01")
			resp, err := client.Do(req)
			if err != nil {
				continue
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				break
			}
		}
	}
}
