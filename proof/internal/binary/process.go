package binary

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Process is a process that a test has started.
type Process struct {
	Cmd   *exec.Cmd
	Ended chan struct{} // closed when it has ended

	mu  sync.Mutex // guards out
	out bytes.Buffer
}

// shown is how much of what a process has printed is told when a test fails.
const shown = 4 << 10

// Start starts cmd and collects what it prints, where cmd names no other place
// for that. It is killed when the test ends: how it takes SIGTERM is for the
// test to ask. A panic fails the test, and so does a data race that a binary
// built with the race detector has found.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p
	}
	if cmd.Stderr == nil {
		cmd.Stderr = p
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	go func() {
		defer close(p.Ended)
		_ = cmd.Wait() // that it was killed is no news
	}()
	t.Cleanup(func() {
		text := p.End()
		if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic: ") {
			t.Errorf("evenkeel %s has a data race or panicked", p)
		}
		if t.Failed() {
			t.Logf("evenkeel %s printed:\n%s", p, text[max(0, len(text)-shown):])
		}
	})
	return p
}

// End kills the process, if it is still there, and returns all it has printed.
func (p *Process) End() string {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
	return p.Output()
}

// String is the command as it was typed.
func (p *Process) String() string { return strings.Join(p.Cmd.Args[1:], " ") }

// Write implements [io.Writer] for what the process prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output returns what it has printed.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// What sim serve and serve print once they listen: the addresses, since they
// were asked to take any free port. One chosen by a test could be taken by the
// time it is used, by another test's outgoing connection.
var (
	SimSays     = regexp.MustCompile(`ANTHROPIC_BASE_URL=(http://\S+)`)
	GatewaySays = regexp.MustCompile(`"gateway":"(http://[^"]+)","admin":"(http://[^"]+)"`)
)

// Says waits until what the process prints matches, and returns the parts in
// parentheses.
func (p *Process) Says(t testing.TB, what *regexp.Regexp) []string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if said := what.FindStringSubmatch(p.Output()); said != nil {
			return said[1:]
		}
		select {
		case <-tick.C:
		case <-p.Ended:
			t.Fatalf("evenkeel %s ended before it listened:\n%s", p, p.Output())
		case <-deadline:
			t.Fatalf("evenkeel %s: not listening after 30s:\n%s", p, p.Output())
		}
	}
}
