package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// askFlags are the flags of ask.
type askFlags struct {
	model, system string
	maxTokens     int
	stream, json  bool
	timeout       time.Duration
}

func askCommand() *cobra.Command {
	var f askFlags
	cmd := &cobra.Command{
		Use:   "ask [PROMPT]",
		Short: "Send one message and print the answer",
		Long: `Sends one message to Claude and prints the answer: text to stdout, everything
else to stderr. Without a PROMPT, or with -, the prompt is read from stdin.

The key is upstream.api_key, else ANTHROPIC_API_KEY, else ANTHROPIC_AUTH_TOKEN.
With another --upstream none is needed. An overloaded API costs a delay: see
--timeout. An answer that breaks off is an error, never half an answer with exit
code 0.`,
		Example: `  evenkeel ask "Why do ships have keels?"
  evenkeel ask --stream --system "Answer in one sentence." < question.txt
  evenkeel ask --upstream http://127.0.0.1:5290 hello`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error { return ask(cmd, args, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "claude-haiku-5-5", "model to ask")
	flags.StringVar(&f.system, "system", "", "system prompt")
	flags.IntVar(&f.maxTokens, "max-tokens", 1024, "longest answer")
	flags.BoolVar(&f.stream, "stream", false, "print the answer as it comes")
	flags.BoolVar(&f.json, "json", false, "print the API's answer; with --stream its events, one per line")
	flags.DurationVar(&f.timeout, "timeout", 0, "longest time for everything, retries included; 0 is timeouts.total until the first content")
	configFlag(flags, "upstream", "upstream.url", "the API that answers")
	return cmd
}

func ask(cmd *cobra.Command, args []string, f askFlags) error {
	switch {
	case f.maxTokens < 1:
		return ekerr.New(ekerr.Usage, "--max-tokens is %d, want 1 or more", f.maxTokens)
	case f.timeout < 0:
		return ekerr.New(ekerr.Usage, "--timeout is %v, want 0 or more", f.timeout)
	}
	resolved, err := loadCaller(cmd)
	if err != nil {
		return err
	}
	key, err := credentialOf(resolved.Config, os.Getenv)
	if err != nil {
		return err
	}
	prompt, err := promptOf(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	log := newLogger(cmd.ErrOrStderr(), quiet(resolved))
	defer log.close()
	log.notes(resolved.Notes)
	transport, err := evenkeel.New(transportConfig(resolved.Config, log.Logger))
	if err != nil {
		return configError(err)
	}
	defer transport.Close() // writes the last lines of the log

	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	req, err := f.request(ctx, resolved.Upstream.URL, key, prompt)
	if err != nil {
		return err
	}
	return explainCall(ctx, f.send(cmd, transport, req))
}

// quiet is the log of a command that has something else to say: calls that go
// well are left out unless a level was asked for, and it is for people unless
// a format was.
func quiet(r *config.Resolved) config.Log {
	c := r.Log
	if r.Origin("log.level") == config.DefaultOrigin {
		c.Level = "warn"
	}
	if c.Format == "auto" {
		c.Format = "text"
	}
	return c
}

// credential is a header field that proves who calls.
type credential struct{ name, value string }

// anyKey is sent where there is no key and the upstream is not the API itself:
// servers that need none, the simulated API among them, want some word in its
// place, as the SDKs send one.
const anyKey = "none"

// credentialOf finds the key.
func credentialOf(c config.Config, getenv func(string) string) (credential, error) {
	if key := cmp.Or(string(c.Upstream.APIKey), getenv("ANTHROPIC_API_KEY")); key != "" {
		return credential{"X-Api-Key", key}, nil
	}
	if token := getenv("ANTHROPIC_AUTH_TOKEN"); token != "" {
		return credential{"Authorization", "Bearer " + token}, nil
	}
	if c.Upstream.URL != config.DefaultUpstream {
		return credential{"X-Api-Key", anyKey}, nil
	}
	return credential{}, ekerr.New(ekerr.Credentials, "%s needs an API key, and there is none", c.Upstream.URL).
		Hint("export ANTHROPIC_API_KEY=…").
		Hint("or try the simulated API: evenkeel sim serve, then --upstream http://127.0.0.1:5290")
}

// maxPrompt is the API's limit on a request (“Errors”, platform.claude.com).
const maxPrompt = 32 << 20

func promptOf(args []string, stdin io.Reader) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	if len(args) == 0 && isTerminal(stdin) {
		return "", ekerr.New(ekerr.Usage, "there is no prompt").Hint(`evenkeel ask "…"`).Hint("evenkeel ask < file")
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxPrompt+1))
	switch {
	case err != nil:
		return "", ekerr.Wrap(ekerr.Failed, err, "cannot read the prompt from stdin")
	case len(text) > maxPrompt:
		return "", ekerr.New(ekerr.Usage, "the prompt is longer than the 32 MB that the API takes")
	case strings.TrimSpace(string(text)) == "":
		return "", ekerr.New(ekerr.Usage, "the prompt is empty").Hint(`evenkeel ask "…"`)
	}
	return string(text), nil
}

// message is the body of the request.
type message struct {
	Model     string `json:"model"`
	MaxTokens int    `json:"max_tokens"`
	System    string `json:"system,omitempty"`
	Stream    bool   `json:"stream,omitempty"`
	Messages  []turn `json:"messages"`
}

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (f askFlags) request(ctx context.Context, upstream string, key credential, prompt string) (*http.Request, error) {
	body, err := json.Marshal(message{
		Model: f.model, MaxTokens: f.maxTokens, System: f.system, Stream: f.stream,
		Messages: []turn{{Role: "user", Content: prompt}},
	})
	if err != nil {
		return nil, err
	}
	target := strings.TrimRight(upstream, "/") + "/v1/messages"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("User-Agent", "evenkeel/"+buildVersion().Version)
	req.Header.Set(key.name, key.value)
	if f.timeout > 0 {
		req.Header.Set(evenkeel.HeaderDeadline, f.timeout.String())
	}
	return req, nil
}

// send makes the call and prints its answer.
func (f askFlags) send(cmd *cobra.Command, transport *evenkeel.Transport, req *http.Request) error {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := &printer{out: cmd.OutOrStdout(), talk: cmd.ErrOrStderr(), json: f.json}
	switch {
	case resp.StatusCode != http.StatusOK:
		return refusedBy(resp)
	case f.stream:
		return out.events(resp.Body)
	default:
		return out.answer(resp.Body)
	}
}

// explainCall says in words of the command line why a call has failed.
func explainCall(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if sig := signalOf(ctx); sig != nil {
		return interrupted(sig)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ekerr.New(ekerr.Unavailable, "no complete answer within --timeout").Hint("give it more time")
	}
	if _, ok := errors.AsType[*ekerr.Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*evenkeel.Error](err); ok {
		out := ekerr.New(ekerr.Code(e.Code), "%s", strings.TrimSuffix(strings.TrimPrefix(e.Error(), "evenkeel: "), " ("+string(e.Code)+")"))
		out.Err = err
		if e.Trail != "" {
			out.Why = "attempts: " + e.Trail
		}
		if e.RequestID != "" {
			out = out.Hint("request id for support: %s", e.RequestID)
		}
		return out
	}
	return ekerr.Wrap(ekerr.StreamCut, err, "the answer broke off")
}
