package main

import (
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestMain puts this binary on the PATH as evenkeel, so that tests run the
// real command line in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"evenkeel": main})
}

// TestScripts runs testdata/script. Besides the usual commands there are
//
//	exits CODE evenkeel ARG…   runs it and compares the exit code; stdout and stderr follow
//	sim VAR [REPLY…]           serves a simulated API and sets VAR to its URL, VAR_ADDR to its
//	                           address. A reply is a status, ok, or a kind of fault; the last repeats
//	simserve VAR ARG…          runs evenkeel sim serve on a free port and sets VAR to its URL
//	simstop VAR CODE           ends it as Ctrl-C does and compares its exit code; what it said is in
//	                           the files VAR.stdout and VAR.stderr
//	naive URL N MODEL          makes N calls, each of up to six attempts, at once and whatever the answer
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every process sleeps a second at its end
			env.Values[servedKey{}] = map[string]*served{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"sim":   simulate,

			"simserve": simserve,
			"simstop":  simstop,
			"naive":    naive,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG…")
	}
	got, want := 0, args[0]
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run: %v", err)
		}
		got = exit.ExitCode()
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

func simulate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: sim VAR [REPLY…]")
	}
	var replies []sim.Reply
	for _, arg := range args[1:] {
		replies = append(replies, reply(arg))
	}
	srv := httptest.NewServer(sim.New(sim.Config{Seed: 1, Script: replies}))
	ts.Defer(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	ts.Setenv(args[0], srv.URL)
	ts.Setenv(args[0]+"_ADDR", srv.Listener.Addr().String())
}

// reply reads 529, or ok, or a kind with the events before it: end_after:3.
func reply(text string) sim.Reply {
	if status, err := strconv.Atoi(text); err == nil {
		return sim.Reply{Status: status}
	}
	if text == "ok" {
		return sim.Reply{}
	}
	kind, events, _ := strings.Cut(text, ":")
	n, _ := strconv.Atoi(events)
	return sim.Reply{Fault: sim.Fault{Kind: sim.Kind(kind), Events: n}}
}

// Keys of whoever runs the tests are not for the tests.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ANTHROPIC_") && !strings.HasPrefix(kv, "EVENKEEL_") {
			env = append(env, kv)
		}
	}
	return env
}
