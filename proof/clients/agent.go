// Package clients proves that clients of the Claude API work through evenkeel
// unchanged: the official SDKs for Go and TypeScript in two major versions
// each, two popular libraries on top of the API, a Python client that does on
// the wire what the official SDK does, and an [Agent] that keeps to the
// contract which Claude Code publishes for gateways.
//
// The tests run the real binary: evenkeel serve in front of evenkeel sim serve.
// What they need beyond Go is installed by make setup.
package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Agent is a coding agent as a gateway sees one: it probes the address, asks
// for the models, and then works in turns of streamed messages and tools. It
// retries on its own, and gives up on a stream that is silent.
//
// It follows “Gateway protocol reference” and “Error reference”,
// code.claude.com/docs, 2026-08-22. An Agent is not safe for concurrent use.
type Agent struct {
	BaseURL   string
	APIKey    string // sent as x-api-key
	AuthToken string // sent as Authorization: Bearer, along with the key
	Session   string // x-claude-code-session-id
	Model     string
	Header    http.Header // added to every messages request

	// Obedient lets x-should-retry: false end the retries of a server error.
	// The documentation promises ten retries of those and does not say what
	// the header does there; for every other status it is obeyed anyway.
	Obedient bool

	Tool func(input map[string]any) string // runs the one tool it has
	HTTP *http.Client

	// Silence is how long a stream may bring no byte; 0 means 300 s, which is
	// documented for a base URL that is not Anthropic's.
	Silence time.Duration

	Hello    int      // status of the probe; 0 if there was no answer
	Models   []string // what the gateway offers; nil if it did not say in time
	Requests int      // messages requests made so far, retries included
}

// A Turn is what came of one prompt.
type Turn struct {
	Text  string
	Input map[string]any // of the last tool use; nil if there was none
	Tools int            // tool uses

	// Incomplete tells that a stream broke after a block of it was complete.
	// The partial output is kept and not asked for again, because the same
	// tool calls could run twice.
	Incomplete bool
}

const (
	maxRetries = 10
	firstWait  = 500 * time.Millisecond
	longWait   = 32 * time.Second
)

// ErrTooLong is the upstream's way of saying that the conversation must be
// compacted. It is known by its wording alone.
var ErrTooLong = errors.New("prompt is too long")

// An AnswerError is an answer with an error, kept as it came.
type AnswerError struct {
	Status int
	Header http.Header
	Body   []byte
}

// Error shows the status and the body, byte for byte.
func (e *AnswerError) Error() string { return fmt.Sprintf("API Error: %d %s", e.Status, e.Body) }

// Is finds the errors that are told apart by their wording.
func (e *AnswerError) Is(target error) bool {
	return target == ErrTooLong && bytes.Contains(e.Body, []byte("prompt is too long"))
}

// Start does what precedes the first turn. It is best effort: what fails is
// left at its zero value.
func (a *Agent) Start(ctx context.Context) {
	if resp, err := a.ask(ctx, http.MethodHead, "/api/hello"); err == nil {
		a.Hello = resp.StatusCode
		_ = resp.Body.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, err := a.ask(ctx, http.MethodGet, "/v1/models?limit=1000")
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var list struct{ Data []struct{ ID string } }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&list) != nil {
		return // a redirect is a failure too: ask does not follow
	}
	for _, m := range list.Data {
		a.Models = append(a.Models, m.ID)
	}
}

func (a *Agent) ask(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.BaseURL+path, nil)
	if err != nil {
		return nil, err
	}
	a.sign(req)
	client := *a.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client.Do(req)
}

// sign sets the headers of every request.
func (a *Agent) sign(req *http.Request) {
	for name, value := range map[string]string{
		"User-Agent":               "claude-cli/2.1.300 (external, cli)",
		"X-App":                    "cli",
		"Anthropic-Version":        "2023-06-01",
		"X-Api-Key":                a.APIKey,
		"Authorization":            "Bearer " + a.AuthToken,
		"X-Claude-Code-Session-Id": a.Session,
	} {
		req.Header.Set(name, value)
	}
}

// Turn sends the prompt, runs the tool as often as the model wants, and
// returns the text that ends the turn.
func (a *Agent) Turn(ctx context.Context, prompt string) (Turn, error) {
	var turn Turn
	messages := []any{map[string]any{"role": "user", "content": prompt}}
	for {
		m, err := a.request(ctx, messages)
		if err != nil {
			return turn, err
		}
		turn.Text = m.text()
		turn.Incomplete = m.cut
		if m.StopReason != "tool_use" || m.cut {
			return turn, nil
		}
		var results []any
		for _, b := range m.Content {
			if b.Type != "tool_use" {
				continue
			}
			turn.Tools++
			turn.Input = b.input
			results = append(results, map[string]any{"type": "tool_result", "tool_use_id": b.ID, "content": a.Tool(b.input)})
		}
		messages = append(messages,
			map[string]any{"role": "assistant", "content": m.Content},
			map[string]any{"role": "user", "content": results})
	}
}

// request asks until there is an answer, it cannot succeed, or ten retries
// were in vain.
func (a *Agent) request(ctx context.Context, messages []any) (*message, error) {
	stalls := 0
	for n := 0; ; n++ {
		m, err := a.attempt(ctx, messages)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, errSilent) {
			stalls++ // such a stream is asked for once more, not ten times
		}
		if n == maxRetries || stalls > 1 || ctx.Err() != nil || !a.worthwhile(err) {
			return nil, fmt.Errorf("after %d retries: %w", n, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(waitFor(err, n)):
		}
	}
}

// worthwhile reports whether asking again may help.
func (a *Agent) worthwhile(err error) bool {
	answer, ok := errors.AsType[*AnswerError](err)
	if !ok {
		return true // no connection, or a stream that broke before a block was whole
	}
	server := answer.Status >= 500
	switch answer.Header.Get("X-Should-Retry") {
	case "true":
		return true
	case "false":
		return server && !a.Obedient
	}
	return server || answer.Status == http.StatusRequestTimeout ||
		answer.Status == http.StatusConflict || answer.Status == http.StatusTooManyRequests
}

// waitFor returns the wait before retry n, counted from 0: as told, or
// doubling from half a second to 32 s, and up to a quarter more.
func waitFor(err error, n int) time.Duration {
	if answer, ok := errors.AsType[*AnswerError](err); ok {
		if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
			return time.Duration(s) * time.Second
		}
	}
	d := min(firstWait<<n, longWait)
	return d + time.Duration(rand.Int64N(int64(d)/4))
}

// attempt makes one messages request and reads the stream that answers it.
func (a *Agent) attempt(ctx context.Context, messages []any) (*message, error) {
	a.Requests++
	body, err := json.Marshal(map[string]any{
		"model": a.Model, "max_tokens": 32000, "stream": true, "messages": messages,
		"system": []any{map[string]any{
			"type": "text", "text": "You are a coding agent.", "cache_control": map[string]any{"type": "ephemeral"},
		}},
		"tools": []any{map[string]any{
			"name": "lookup", "description": "Looks up the record of a city.",
			"input_schema": map[string]any{
				"type": "object", "required": []any{"city"},
				"properties": map[string]any{"city": map[string]any{"type": "string"}},
			},
		}},
		"metadata": map[string]any{"user_id": "user_proof_session_" + a.Session},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.BaseURL+"/v1/messages?beta=true", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	a.sign(req)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Anthropic-Beta", "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14")
	req.Header.Set("X-Stainless-Lang", "js")
	req.Header.Set("X-Stainless-Retry-Count", "0")
	req.Header.Set("X-Stainless-Timeout", "600")
	maps.Copy(req.Header, a.Header)
	resp, err := a.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		return nil, &AnswerError{resp.StatusCode, resp.Header, raw}
	}
	return readMessage(watch(resp.Body, a.Silence, cancel))
}
