package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// process is a client in another language: a program that reads scenarios from
// stdin and writes results to stdout, one JSON object per line.
type process struct {
	in   io.Writer
	out  *bufio.Reader
	err  *output
	kill context.CancelFunc
}

// startProcess runs a client with nothing but its own environment variables to
// tell it where the API is. It ends with its stdin, or is killed.
func startProcess(t *testing.T, baseURL, name string, args ...string) *process {
	t.Helper()
	ctx, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = cleanEnv("ANTHROPIC_BASE_URL="+baseURL, "ANTHROPIC_API_KEY="+secretKey)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{in: in, out: bufio.NewReader(out), err: &output{}, kill: kill}
	cmd.Stderr = p.err
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; run: make setup", err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(5*time.Second, kill)
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p.err)
		}
		late.Stop()
		kill()
	})
	return p
}

func (p *process) run(ctx context.Context, s scenario) (result, error) {
	var r result
	if err := p.ask(ctx, s, &r); err != nil {
		return result{}, err
	}
	if r.Error != "" {
		return r, fmt.Errorf("status %d: %s", r.Status, r.Error)
	}
	return r, nil
}

// ask sends the client a line, and reads the one that it answers.
func (p *process) ask(ctx context.Context, question, into any) error {
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("client is gone: %w\n%s", err, p.err)
	}
	// A client that does not answer in time is of no use to later scenarios
	// either: what it says then would be taken for the answer to another.
	stop := context.AfterFunc(ctx, p.kill)
	answer, err := p.out.ReadBytes('\n')
	if !stop() {
		return fmt.Errorf("no answer in time: %w\n%s", ctx.Err(), p.err)
	}
	if err != nil {
		return fmt.Errorf("client is gone: %w\n%s", err, p.err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%q: %w", answer, err)
	}
	return nil
}
