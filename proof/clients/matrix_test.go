package clients

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/gateway"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// The requests that are made. The models are those whose messages may be
// gone on with: one that is given its own text to go on with, and, in
// byUserTurn, one that the user asks for the rest. That others never are is
// shown in the root package.
const (
	askText     = `{"model":"claude-opus-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"What keeps a ship upright?"}]}`
	askThinking = `{"model":"claude-opus-4-5","max_tokens":4096,"stream":true,"thinking":{"type":"enabled","budget_tokens":2048},"messages":[{"role":"user","content":"What keeps a ship upright?"}]}`
	askTool     = `{"model":"claude-opus-4-5","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"What keeps a ship upright?"}],"tool_choice":{"type":"any"},` +
		`"tools":[{"name":"lookup","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]}`
)

// byUserTurn makes a request one to a model that takes no prefill.
var byUserTurn = strings.NewReplacer("claude-opus-4-5", "claude-opus-4-8", `{"type":"enabled","budget_tokens":2048}`, `{"type":"adaptive"}`)

// matrixPlaces say where a stream is struck: in the answer to which request,
// and just after the nth event of a kind. No kind is before the first event.
var matrixPlaces = map[string]struct {
	ask   string
	after string // part of the event's data
	nth   int
}{
	"before headers":          {askText, "", -1},
	"first frame":             {askText, "", 0},
	"after message_start":     {askText, `"message_start"`, 1},
	"in text, after 1 delta":  {askText, `"text_delta"`, 1},
	"in text, after 9 deltas": {askText, `"text_delta"`, 9},
	"between blocks":          {askThinking, `"content_block_stop"`, 1},
	"in thinking":             {askThinking, `"thinking_delta"`, 2},
	"in text after thinking":  {askThinking, `"text_delta"`, 5},
	"in tool input":           {askTool, `"input_json_delta"`, 2},
	"after the stop reason":   {askText, `"message_delta"`, 1},
}

// matrixFaults are the ways to break, before the headers and after n events.
var matrixFaults = map[string]struct {
	before sim.Reply
	after  sim.Kind
}{
	"error event": {sim.Reply{Status: 529}, sim.ErrorEventAt},
	"reset":       {sim.Reply{Fault: sim.Fault{Kind: sim.ResetBeforeHeaders}}, sim.ResetAfter},
	"stall":       {sim.Reply{Fault: sim.Fault{Kind: sim.Hang}}, sim.StallAfter},
	"clean end":   {sim.Reply{Fault: sim.Fault{Kind: sim.CloseBeforeHeaders}}, sim.EndAfter},
	"half event":  {sim.Reply{Fault: sim.Fault{Kind: sim.ResetInHeaders}}, sim.HalfEvent},
	"garbage":     {sim.Reply{Body: "<html>at sea</html>", Header: map[string]string{"Content-Type": "text/html"}}, sim.Garbage},
}

// read is what a client made of an answer.
type read struct {
	Bytes string `json:"-"` // raw client only
	Text  string `json:"text"`
	Stop  string `json:"stop"`
	Error string `json:"error"` // as it is printed
	Type  string `json:"type"`  // of the error
	ID    string `json:"id"`    // request id of the error
}

// asker asks the gateway at url and reads the answer to its end.
type asker func(t *testing.T, url, ask string) read

// TestMatrix runs every cell of the table with every client, through a gateway
// and real connections. Breaker, budget and retries have their defaults; only
// times are shorter: no byte for 400 ms is a stall, and backoff is short.
func TestMatrix(t *testing.T) {
	t.Parallel()
	all, err := cells(matrix)
	if err != nil {
		t.Fatal(err)
	}
	askers := map[string]asker{"raw": rawMatrix, "Go SDK": goMatrix, "TS SDK": nodeMatrix(t)}
	for _, c := range all {
		for name, client := range askers {
			t.Run(c.key()+"/"+name, func(t *testing.T) {
				t.Parallel()
				playCell(t, c, matrixPlaces[c.place].ask, name, client)
			})
			if c.resume != "continue" {
				continue // the model matters to nothing else
			}
			t.Run(c.key()+"/by user turn/"+name, func(t *testing.T) {
				t.Parallel()
				playCell(t, c, byUserTurn.Replace(matrixPlaces[c.place].ask), name, client)
			})
		}
	}
}

func playCell(t *testing.T, c cell, ask, name string, client asker) {
	place, fault := matrixPlaces[c.place], matrixFaults[c.fault]
	whole := sameID(baseline(t, ask))
	reply, passes := fault.before, 0
	if place.nth >= 0 {
		var counted int
		passes, counted = eventsUntil(t, whole, place.after, place.nth)
		reply = sim.Reply{Status: 200, Fault: sim.Fault{Kind: fault.after, Events: counted}}
	}
	api := sim.NewServer(sim.Config{})
	t.Cleanup(api.Close)
	api.Script(nil, reply, sim.Reply{})
	got := client(t, matrixGateway(t, api.URL, c.resume), ask)

	calls := slices.DeleteFunc(api.Attempts(), func(a sim.Attempt) bool { return !a.Stream }) // without the next turn
	if len(calls) != c.attempts {
		t.Errorf("%d attempts reached the API, want %d", len(calls), c.attempts)
	}
	if c.ends == "whole" {
		if err := sim.CheckWhole(got.Text); got.Error != "" || err != nil || got.Stop != "end_turn" {
			t.Errorf("ended with %q (%s), stop reason %q, text %v; want a whole message", got.Error, got.Type, got.Stop, err)
		}
	} else {
		if got.Type != c.ends || got.ID == "" {
			t.Errorf("ended with %q of type %q, request id %q; want a %s with an id", got.Error, got.Type, got.ID, c.ends)
		}
		if c.ends == "api_error" && !strings.Contains(got.Error, "not the whole answer") {
			t.Errorf("the error says %q, want that the answer is not whole", got.Error)
		}
		if err := sim.CheckText(got.Text); err != nil {
			t.Errorf("the text before the break: %v", err)
		}
	}
	if name == "raw" {
		checkRead(t, c, sameID(got.Bytes), whole, passes)
	}
}

// sameID gives every message the same id: it depends on the number of the attempt.
func sameID(stream string) string {
	return regexp.MustCompile(`"id":"msg_[a-z0-9]+"`).ReplaceAllString(stream, `"id":"msg_1"`)
}

// checkRead compares bytes.
func checkRead(t *testing.T, c cell, got, whole string, passes int) {
	t.Helper()
	events := strings.SplitAfter(whole, "\n\n")
	switch c.reads {
	case "all":
		if got != whole {
			t.Errorf("read\n%s\nwant\n%s", got, whole)
		}
	case "cut":
		rest, ok := strings.CutPrefix(got, strings.Join(events[:passes], ""))
		if !ok || strings.Count(rest, "\n\n") != 1 || !strings.HasPrefix(rest, "event: error\ndata: {") || !strings.HasSuffix(rest, "}\n\n") {
			t.Errorf("read\n%s\nwant the first %d events, and one error event", got, passes)
		}
	case "spliced":
		if !strings.HasPrefix(got, strings.Join(events[:passes], "")) || strings.Contains(got, "event: error") {
			t.Errorf("read\n%s\nwant the first %d events, and the rest without an error", got, passes)
		}
	default:
		t.Errorf("the table says %q", c.reads)
	}
}

// matrixGateway starts one in front of the API, and returns its address.
func matrixGateway(t *testing.T, api, resume string) string {
	t.Helper()
	base := &stepwise{http.Transport{DisableCompression: true}}
	tr, err := evenkeel.New(evenkeel.Config{
		Base:     base,
		Backoff:  backoff.Exponential{Base: 5 * time.Millisecond, Max: 20 * time.Millisecond},
		Timeouts: evenkeel.Timeouts{FirstByte: 2 * time.Second, Idle: 400 * time.Millisecond},
		Stream:   evenkeel.Stream{Resume: resume == "continue"},
	})
	if err != nil {
		t.Fatal(err)
	}
	up, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Transport: tr, State: tr.Snapshot, Upstream: up})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(g)
	t.Cleanup(func() {
		s.Close()
		if left := tr.Snapshot(); len(left.Calls) != 0 || left.Bodies != 0 {
			t.Errorf("%d calls and %d bytes of bodies are left", len(left.Calls), left.Bodies)
		}
		_ = tr.Close()
	})
	return s.URL
}

// stepwise is a network that brings one event at a time. What comes together
// with the break is else not delivered yet when it is seen, and so tried again
// unseen: better, but up to timing.
type stepwise struct{ http.Transport }

func (s *stepwise) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = &steps{bufio.NewReader(resp.Body), resp.Body, nil}
	}
	return resp, err
}

type steps struct {
	in *bufio.Reader
	io.Closer
	rest []byte
}

func (s *steps) Read(p []byte) (int, error) {
	var err error
	if len(s.rest) == 0 {
		s.rest, err = s.in.ReadBytes('\n')
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if len(s.rest) > 0 {
		err = nil
	}
	return n, err
}

// baseline is the stream that answers a request when nothing breaks.
func baseline(t *testing.T, ask string) string {
	t.Helper()
	req := rawRequest(t, "https://api.example", ask)
	resp, err := sim.New(sim.Config{}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, b)
	}
	return string(b)
}

// eventsUntil counts the events of a stream until the nth that holds a text,
// which is counted too: all of them, and without pings, which a fault does not count.
func eventsUntil(t *testing.T, stream, text string, nth int) (events, counted int) {
	t.Helper()
	if nth == 0 {
		return 0, 0
	}
	for i, event := range strings.SplitAfter(stream, "\n\n") {
		if !strings.HasPrefix(event, "event: ping") {
			counted++
		}
		if strings.Contains(event, text) {
			if nth--; nth == 0 {
				return i + 1, counted
			}
		}
	}
	t.Fatalf("the stream has too few events with %s:\n%s", text, stream)
	return 0, 0
}

func rawRequest(t *testing.T, base, ask string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v1/messages", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", secretKey)
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("Content-Type", "application/json")
	return req
}

// rawMatrix reads bytes, and what the last error event says.
func rawMatrix(t *testing.T, url, ask string) (got read) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(rawRequest(t, url, ask))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the connection broke: %v", err)
	}
	got.Bytes = string(b)
	for event := range strings.SplitSeq(got.Bytes, "\n\n") {
		_, data, _ := strings.Cut(event, "data: ")
		var e struct {
			Delta struct {
				Text       string `json:"text"`
				StopReason string `json:"stop_reason"`
			} `json:"delta"`
			Error struct {
				Type    string `json:"type"`
				Message string `json:"message"`
			} `json:"error"`
			ID string `json:"request_id"`
		}
		if data != "" && json.Unmarshal([]byte(data), &e) != nil {
			t.Errorf("read an event that is no JSON: %q", event)
		}
		got.Text += e.Delta.Text
		got.Stop = cmp.Or(got.Stop, e.Delta.StopReason)
		if e.Error.Type != "" {
			got.Error, got.Type = e.Error.Message, e.Error.Type
			got.ID = cmp.Or(e.ID, resp.Header.Get("Request-Id"))
		}
	}
	return got
}

// goMatrix is the official Go SDK. After a whole answer it takes the next turn,
// as the other SDK does, which the API must accept: it checks whether thinking
// still is as it was.
func goMatrix(t *testing.T, url, ask string) (got read) {
	t.Helper()
	client := anthropic.NewClient(option.WithBaseURL(url), option.WithAPIKey(secretKey), option.WithMaxRetries(0))
	var params anthropic.MessageNewParams
	if err := json.Unmarshal([]byte(ask), &params); err != nil {
		t.Fatal(err)
	}
	stream := client.Messages.NewStreaming(t.Context(), params)
	var message anthropic.Message
	for stream.Next() {
		if err := message.Accumulate(stream.Current()); err != nil {
			t.Errorf("accumulate: %v", err)
		}
	}
	_ = stream.Close()
	got.Text, got.Stop = textOf2(message), string(message.StopReason)
	if err := stream.Err(); err != nil {
		got.Error = err.Error()
		if e, ok := errors.AsType[*anthropic.Error](err); ok {
			got.Type, got.ID = string(e.Type()), e.RequestID
		}
		return got
	}
	params.Messages = append(params.Messages, message.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock("And then?")))
	if _, err := client.Messages.New(t.Context(), params); err != nil {
		t.Errorf("the next turn: %v", err)
	}
	return got
}

// nodeMatrix is the official TypeScript SDK, in one process for all cells.
func nodeMatrix(t *testing.T) asker {
	t.Helper()
	p := startNode(t, "", "matrix.mjs")
	var mu sync.Mutex // one question at a time
	return func(t *testing.T, url, ask string) (got read) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.ask(ctx, map[string]string{"url": url, "ask": ask}, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
}
