package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG…]",
		Short: "Run a command behind a private gateway",
		Long: `Runs COMMAND with ANTHROPIC_BASE_URL set to a gateway of its own, on a free port
of this machine, and ends with its exit code. Credentials pass through. If
upstream.api_key is configured, COMMAND gets a one-time token as
ANTHROPIC_API_KEY instead, and only that token is let in.`,
		Example: `  evenkeel exec -- python job.py
  evenkeel exec -c evenkeel.yaml -- claude`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return ekerr.New(ekerr.Usage, "there is no command to run").Hint("evenkeel exec -- COMMAND")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return execChild(cmd, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows COMMAND is COMMAND's
	configFlag(cmd.Flags(), "upstream", "upstream.url", "the API that answers")
	return cmd
}

func execChild(cmd *cobra.Command, args []string) error {
	resolved, err := loadCaller(cmd)
	if err != nil {
		return err
	}
	env := os.Environ()
	c := private(resolved.Config)
	if c.Upstream.APIKey != "" {
		token := "ek-" + rand.Text() // 130 bits
		sum := sha256.Sum256([]byte(token))
		// Everything the key may do: COMMAND would have had the key itself.
		c.Clients = []config.Client{{Name: "exec", TokenSHA256: hex.EncodeToString(sum[:]), Priority: "normal", Paths: []string{"/*"}}}
		env = setenv(setenv(env, "ANTHROPIC_API_KEY", token), "ANTHROPIC_AUTH_TOKEN", "")
	}
	log := newLogger(cmd.ErrOrStderr(), quiet(resolved))
	defer log.close()
	log.notes(resolved.Notes)
	if u := os.Getenv("ANTHROPIC_BASE_URL"); u != "" && u != c.Upstream.URL {
		log.Warn("ANTHROPIC_BASE_URL is replaced for the command; its calls go to upstream.url", slog.String("upstream", c.Upstream.URL))
	}
	s, err := newService(c, log.Logger)
	if err != nil {
		return err
	}
	defer s.close()
	stop, url, err := s.background(cmd.Context(), c)
	if err != nil {
		return err
	}
	defer stop()
	env = bypassProxy(setenv(env, "ANTHROPIC_BASE_URL", url))
	child := exec.Command(args[0], args[1:]...)
	child.Env, child.Stdin, child.Stdout, child.Stderr = env, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	return runChild(child)
}

// private is c for a gateway that one child uses and that ends with it.
func private(c config.Config) config.Config {
	c.Listen, c.Clients, c.Hosts, c.Origins = "127.0.0.1:0", nil, nil, nil
	c.Drain = config.Drain{}
	return c
}

// background serves until stop is called, which waits for the end.
func (s *service) background(ctx context.Context, c config.Config) (stop func(), url string, err error) {
	l, err := listen("listen", c.Listen)
	if err != nil {
		return nil, "", err
	}
	if err := refuseLoop(c.Upstream.URL, l); err != nil {
		_ = l.Close() // the error is why
		return nil, "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.gateway.Serve(ctx, l) // what it had to cut off, nobody was waiting for
	}()
	return func() {
		cancel()
		<-done
	}, urlOf(l), nil
}

// runChild runs child to its end, hands it our signals, and returns its exit
// code as a Status.
func runChild(child *exec.Cmd) error {
	// Before the start, so that no signal can end us and leave a child behind.
	signals, stop := notify(passedOn)
	defer stop()
	if err := child.Start(); err != nil {
		return startError(child.Args[0], err)
	}
	shared := isTerminal(os.Stdin) // with its group, which gets what keys send
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	for {
		select {
		case sig := <-signals:
			if !shared || !fromTerminal(sig) {
				_ = child.Process.Signal(sig) // it may have just ended
			}
		case err := <-done:
			return childStatus(child.ProcessState, err)
		}
	}
}

func childStatus(state *os.ProcessState, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		return ekerr.Wrap(ekerr.Failed, err, "lost touch with the command")
	}
	if sig := killedBy(state); sig != nil {
		return ekerr.Status(exitOf(sig))
	}
	return ekerr.Status(state.ExitCode())
}

// startError follows the shells: 127 for a command that is not found, 126 for
// one that cannot be run.
func startError(name string, err error) error {
	e := ekerr.Wrap(ekerr.ExecStart, rootCause(err), "cannot start %q", name)
	if !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		e.Exit = 126
	}
	return e
}

// setenv returns env with name set to value, or without it if value is empty.
func setenv(env []string, name, value string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	if value == "" {
		return env
	}
	return append(env, name+"="+value)
}

// bypassProxy keeps a child with a proxy from sending its calls to our
// loopback port there: not every client makes an exception for 127.0.0.1.
func bypassProxy(env []string) []string {
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		list := ""
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				list = v
			}
		}
		if list != "" {
			list += ","
		}
		env = setenv(env, name, list+"127.0.0.1")
	}
	return env
}
