package simapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// process is a client in another language: a program that reads tasks from
// stdin and writes what it saw to stdout, one JSON object per line. One serves
// all tests, because an interpreter takes longer to start than to do the tasks.
type process struct {
	mu   sync.Mutex // one task at a time
	in   io.WriteCloser
	out  *bufio.Reader
	said *output
	kill context.CancelFunc
	end  func() error
}

// running are the processes that TestMain ends.
var running struct {
	sync.Mutex
	list []*process
}

// interpreted is a client that is a script; it starts with the first test that
// wants it.
func interpreted(interpreter, script string) func(t *testing.T) driver {
	start := sync.OnceValues(func() (*process, error) { return startProcess(interpreter, script) })
	return func(t *testing.T) driver {
		t.Helper()
		p, err := start()
		if err != nil {
			t.Fatalf("%v; run: make setup", err)
		}
		return p
	}
}

// node is a script beside the packages that make setup installs.
func node(script string) func(t *testing.T) driver {
	return interpreted("node", filepath.Join("..", "clients", "node", script))
}

// python is a script for the system's interpreter: that is where the packages
// are that make setup installs.
func python(script string) func(t *testing.T) driver {
	return interpreted("/usr/bin/python3", filepath.Join("..", "clients", "python", script))
}

func startProcess(name string, args ...string) (*process, error) {
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = []string{"NO_PROXY=127.0.0.1", "PYTHONDONTWRITEBYTECODE=1", "PATH=" + os.Getenv("PATH")} // nothing that configures an SDK
	p := &process{said: &output{}, kill: kill, end: cmd.Wait}
	cmd.Stderr = p.said
	in, err := cmd.StdinPipe()
	if err != nil {
		kill()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		kill()
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		kill()
		return nil, err
	}
	running.Lock()
	defer running.Unlock()
	running.list = append(running.list, p)
	return p, nil
}

// endProcesses ends what the tests have started. They end with their stdin, or
// are killed.
func endProcesses() {
	running.Lock()
	defer running.Unlock()
	for _, p := range running.list {
		late := time.AfterFunc(5*time.Second, p.kill)
		_ = p.in.Close()
		if err := p.end(); err != nil {
			fmt.Fprintf(os.Stderr, "client: %v\n%s", err, p.said)
		}
		late.Stop()
		p.kill()
	}
}

func (p *process) do(ctx context.Context, t task) (seen, error) {
	line, err := json.Marshal(t)
	if err != nil {
		return seen{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return seen{}, fmt.Errorf("client is gone: %w\n%s", err, p.said)
	}
	// A client that does not answer in time is of no use to later tasks either:
	// what it says then would be taken for the answer to another.
	stop := context.AfterFunc(ctx, p.kill)
	answer, err := p.out.ReadBytes('\n')
	if !stop() {
		return seen{}, fmt.Errorf("no answer in time: %w\n%s", ctx.Err(), p.said)
	}
	if err != nil {
		return seen{}, fmt.Errorf("client is gone: %w\n%s", err, p.said)
	}
	var s seen
	if err := json.Unmarshal(answer, &s); err != nil {
		return s, fmt.Errorf("%.500q: %w", answer, err)
	}
	return s, nil
}

// output collects what a process prints beside its answers.
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
