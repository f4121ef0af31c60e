package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// exactCounter is the [tokens.Counter] that asks count_tokens.
type exactCounter struct {
	transport *evenkeel.Transport
	log       *logger
	upstream  string
	key       credential
	frames    map[string]int // what a message costs around its text, by model
}

var _ tokens.Counter = (*exactCounter)(nil)

// newExactCounter takes upstream and key from where ask takes them.
func newExactCounter(cmd *cobra.Command) (*exactCounter, error) {
	resolved, err := loadCaller(cmd)
	if err != nil {
		return nil, err
	}
	key, err := credentialOf(resolved.Config, os.Getenv)
	if err != nil {
		return nil, err
	}
	log := newLogger(cmd.ErrOrStderr(), quiet(resolved))
	log.notes(resolved.Notes)
	transport, err := evenkeel.New(transportConfig(resolved.Config, log.Logger))
	if err != nil {
		log.close()
		return nil, configError(err)
	}
	return &exactCounter{transport, log, resolved.Upstream.URL, key, map[string]int{}}, nil
}

func (c *exactCounter) close() {
	c.transport.Close() // writes the last lines of the log
	c.log.close()
}

// counts are the fields of a request that count_tokens takes (“Count tokens in
// a Message”, platform.claude.com, 2026-09); it refuses all others.
var counts = []string{
	"messages", "system", "tools", "tool_choice", "thinking", "mcp_servers", "output_config", "output_format",
	"context_management", "cache_control",
}

// Count implements [tokens.Counter].
func (c *exactCounter) Count(ctx context.Context, _ time.Time, model string, body []byte) (tokens.Estimate, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return tokens.Estimate{}, ekerr.Wrap(ekerr.Input, err, "the request is no JSON object")
	}
	ask := map[string]any{"model": model}
	for _, key := range counts {
		if v, ok := all[key]; ok {
			ask[key] = v
		}
	}
	n, err := c.ask(ctx, ask)
	if err != nil {
		return tokens.Estimate{}, explainCall(ctx, err)
	}
	return tokens.Estimate{Input: n, Counted: n, Low: n, High: n, How: tokens.Counted}, nil
}

// ask sends one request.
func (c *exactCounter) ask(ctx context.Context, ask map[string]any) (int, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return 0, err
	}
	target := strings.TrimRight(c.upstream, "/") + "/v1/messages/count_tokens"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("User-Agent", "evenkeel/"+buildVersion().Version)
	req.Header.Set(c.key.name, c.key.value)
	return c.send(req) //nolint:contextcheck // the request carries ctx
}

// send reads the count from the answer.
func (c *exactCounter) send(req *http.Request) (int, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, refusedBy(resp)
	}
	var answer struct {
		InputTokens *int `json:"input_tokens"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.InputTokens == nil {
		return 0, ekerr.New(ekerr.StreamCut, "the answer is no count of the API")
	}
	return *answer.InputTokens, nil
}

// frame returns what a message costs around its text: that of a full stop,
// which is one token.
func (c *exactCounter) frame(ctx context.Context, model string) (int, error) {
	if n, ok := c.frames[model]; ok {
		return n, nil
	}
	n, err := c.ask(ctx, message1(model, "."))
	if err != nil {
		return 0, err
	}
	c.frames[model] = n - 1
	return n - 1, nil
}

// message1 is a request of one message.
func message1(model, text string) map[string]any {
	return map[string]any{"model": model, "messages": []turn{{Role: "user", Content: text}}}
}

// exactly counts by asking. A text alone is what it costs as a message, less
// the message.
func exactly(c *exactCounter) counter {
	return func(ctx context.Context, model string, in input) (tokens.Estimate, error) {
		if !in.text {
			return c.Count(ctx, time.Now(), model, in.body)
		}
		if len(bytes.TrimSpace(in.body)) == 0 {
			return tokens.Estimate{How: tokens.Counted}, nil // the API counts no message without a text
		}
		frame, err := c.frame(ctx, model)
		if err != nil {
			return tokens.Estimate{}, explainCall(ctx, err)
		}
		n, err := c.ask(ctx, message1(model, string(in.body)))
		if err != nil {
			return tokens.Estimate{}, explainCall(ctx, err)
		}
		n = max(0, n-frame)
		return tokens.Estimate{Input: n, Counted: n, Low: n, High: n, How: tokens.Counted}, nil
	}
}
