package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/refit"
	"github.com/evenkeel-dev/evenkeel/sim"
	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// The texts of these tests, and the table that one upstream counts by.
const (
	testTexts = "../../tokens/testdata/corpus/corpus.jsonl.gz"
	testTable = "../../tokens/fit/testdata/claude3.u8.gz"
)

// tapped is an upstream in front of which requests are counted, and stopped.
type tapped struct {
	*httptest.Server
	stopped chan struct{} // gets one for each request that is not answered

	mu    sync.Mutex // guards what follows
	calls int
	stop  int // from this call on none is answered; 0 for never
}

func newTapped(t *testing.T, api http.Handler) *tapped {
	c := &tapped{stopped: make(chan struct{}, 1000)}
	gone := make(chan struct{})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.calls++
		stop := c.stop > 0 && c.calls >= c.stop
		c.mu.Unlock()
		if stop {
			c.stopped <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-gone:
			}
			return
		}
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		close(gone)
		c.CloseClientConnections()
		c.Close()
	})
	return c
}

// reset begins to count anew, and returns what has been counted.
func (c *tapped) reset(stop int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls, c.stop = 0, stop
	return calls
}

// refitCommandLine is a run of tokens refit in a process of its own.
func refitCommandLine(url, out string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	args = append([]string{"tokens", "refit", "--json", "--upstream", url, "--model", "claude-opus-5-5", "--rpm", "0", "--out", out, "--texts", testTexts}, args...)
	cmd = exec.Command("evenkeel", args...)
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(cleanEnv(), "GORACE=atexit_sleep_ms=0")
	return cmd, stdout, stderr
}

func runRefit(t *testing.T, url, out string, args ...string) refitResult {
	t.Helper()
	cmd, stdout, stderr := refitCommandLine(url, out, args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var result refitResult
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	return result
}

// The whole way: pieces of the texts go out, counts come back with a frame, and
// the table that is fitted is close to that by which the upstream counts.
func TestRefit_findsTheTableBehindTheCounts(t *testing.T) {
	const frame = 11
	truth := readGzipped(t, testTable)
	upstream := newTapped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model    string
			Messages []turn
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/messages/count_tokens" || len(body.Messages) != 1 {
			http.Error(w, "want one message to count", http.StatusNotFound)
			return
		}
		n := frame + int(math.Round(truth.Tokens(body.Messages[0].Content)))
		_, _ = io.WriteString(w, `{"input_tokens":`+strconv.Itoa(n)+`}`) // a client that is gone does not read it
	}))
	out := filepath.Join(t.TempDir(), "t.u8")
	result := runRefit(t, upstream.URL, out, "--budget", "3000")
	if got := upstream.reset(0); got != 3000 || result.Probes.Asked != 3000 {
		t.Errorf("%d calls and %d probes, want 3,000 of both", got, result.Probes.Asked)
	}
	if got := result.Probes.Frame; got != frame {
		t.Errorf("a frame of %d tokens was found, want %d", got, frame)
	}
	if got := result.After.Long; got.Relative.Median > 0.04 || got.Texts < 20 { // too few for a p95 that says something
		t.Errorf("errors %+v on texts that were held out, want 20 texts and a median of 0.04 or less", got)
	}
	if got := math.Abs(result.After.Bias); got > 0.02 {
		t.Errorf("all estimates together are off by %v, want 0.02 or less", got)
	}
	if before, after := result.Before.Long.Relative.Median, result.After.Long.Relative.Median; after > before/3 {
		t.Errorf("the median error went from %v to %v, want a third or less", before, after)
	}
	table, err := refit.ReadTable(out)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("Ships have keels so that the wind does not push them over. ", 10)
	if got, want := table.Tokens(text), truth.Tokens(text); math.Abs(got/want-1) > 0.05 {
		t.Errorf("the new table gives %v tokens, and the upstream %v", got, want)
	}
}

// Killed without warning, it has lost nothing that was answered, and the table
// is that of a run that nobody has disturbed.
func TestRefit_goesOnAfterKill(t *testing.T) {
	const budget, answered, atOnce = 600, 250, 8
	upstream := newTapped(t, sim.New(sim.Config{Seed: 1}))
	dir := t.TempDir()
	out, ledger := filepath.Join(dir, "t.u8"), filepath.Join(dir, "t.u8.ledger")
	upstream.reset(answered + 1)
	cmd, _, stderr := refitCommandLine(upstream.URL, out, "--budget", strconv.Itoa(budget))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range atOnce { // all that may be under way hang
		<-upstream.stopped
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatalf("it has ended well:\n%s", stderr)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("there is a table, of half of the probes")
	}
	if got := linesOf(t, ledger); got != 1+answered {
		t.Errorf("the ledger has %d lines, want one for each of %d answers and its first", got, answered)
	}
	tear(t, ledger)

	upstream.reset(0)
	result := runRefit(t, upstream.URL, out, "--budget", strconv.Itoa(budget))
	want := budget - answered + 1 // the one whose line was torn
	if got := upstream.reset(0); got != want || result.Probes.Asked != want || result.Probes.FromLedger != budget-want {
		t.Errorf("%d calls (%+v), want %d: only the rest", got, *result.Probes, want)
	}
	alone := runRefit(t, upstream.URL, filepath.Join(dir, "other.u8"), "--budget", strconv.Itoa(budget))
	if alone.Probes.Asked != budget || *alone.After != *result.After || !bytes.Equal(readFile(t, out), readFile(t, filepath.Join(dir, "other.u8"))) {
		t.Error("the table differs from that of a run that was not killed")
	}

	upstream.reset(0)
	more := runRefit(t, upstream.URL, out, "--force", "--budget", strconv.Itoa(budget+100))
	if got := upstream.reset(0); got != 100 || more.Probes.Asked != 100 {
		t.Errorf("a budget of 100 more made %d calls, want 100", got)
	}
}

func TestRefit_interrupted(t *testing.T) {
	upstream := newTapped(t, sim.New(sim.Config{Seed: 1}))
	upstream.reset(101)
	out := filepath.Join(t.TempDir(), "t.u8")
	cmd, stdout, stderr := refitCommandLine(upstream.URL, out, "--concurrency", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-upstream.stopped
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.ExitCode() != 130 {
		t.Errorf("ended with %v, want exit code 130", exit)
	}
	for _, want := range []string{"EK-INTERRUPTED", "94 of 4994 pieces are in " + out + ".ledger"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout has %q, want nothing", stdout)
	}
	if got := linesOf(t, out+".ledger"); got != 101 {
		t.Errorf("the ledger has %d lines, want 101", got)
	}
}

// Two runs with one ledger would ask everything twice.
func TestRefit_ledgerInUse(t *testing.T) {
	upstream := newTapped(t, sim.New(sim.Config{Seed: 1}))
	name := filepath.Join(t.TempDir(), "ledger")
	ledger, err := refit.OpenLedger(name, upstream.URL, "claude-opus-5-5")
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	cmd, _, stderr := refitCommandLine(upstream.URL, name+".u8", "--ledger", name)
	exit, ok := errors.AsType[*exec.ExitError](cmd.Run())
	if !ok || exit.ExitCode() != 11 || !strings.Contains(stderr.String(), "EK-LEDGER-IN-USE") {
		t.Errorf("ended with %v and\n%s\nwant exit code 11", exit, stderr)
	}
	if got := upstream.reset(0); got != 0 {
		t.Errorf("%d calls, want none", got)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func linesOf(t *testing.T, name string) int {
	t.Helper()
	return bytes.Count(readFile(t, name), []byte("\n"))
}

// tear takes the end of the last line away, as a kill inside of a write would.
func tear(t *testing.T, name string) {
	t.Helper()
	if err := os.Truncate(name, int64(len(readFile(t, name))-9)); err != nil {
		t.Fatal(err)
	}
}

func readGzipped(t *testing.T, name string) *fit.Table {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	table, err := fit.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// An upstream that allows a tenth of what is asked for makes it slow, and
// nothing else.
func TestRefit_upstreamWithALowLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Seed: 1, Other: sim.OtherLimits{CountTokensRPM: 100}})
		transport, err := evenkeel.New(evenkeel.Config{Base: api})
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close()
		ledger, err := refit.OpenLedger(filepath.Join(t.TempDir(), "ledger"), "https://api.test", "claude-opus-5-5")
		if err != nil {
			t.Fatal(err)
		}
		defer ledger.Close()
		a := asker{transport: transport, target: "https://api.test/v1/messages/count_tokens", key: credential{"X-Api-Key", "k"}, model: "claude-opus-5-5"}
		p := &refit.Prober{Count: a.count, Ledger: ledger, Concurrency: defaultConcurrency, RPM: defaultRPM}
		var texts []string
		for i := range 600 {
			texts = append(texts, "probe number "+strconv.Itoa(i))
		}
		start := time.Now()
		counts, err := p.Ask(t.Context(), texts)
		if err != nil || counts.Asked != len(texts) {
			t.Fatalf("%d of %d probes were answered: %v", counts.Asked, len(texts), err)
		}
		if took := time.Since(start); took < 5*time.Minute || took > 8*time.Minute {
			t.Errorf("it took %v, want not much more than the five minutes that 500 take after a burst of 100", took)
		}
		if got := len(api.Attempts()); got > 800 {
			t.Errorf("%d attempts for 600 probes, want 800 or less", got)
		}
	})
}
