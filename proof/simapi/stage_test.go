package simapi

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

const key = "sk-ant-api03-simapi-0123456789"

// The models of the tests: one that thinks if asked to, whose thinking is
// bound; and one of a generation that checks nothing.
const (
	model = "claude-sonnet-5-5"
	older = "claude-haiku-4-5"
)

// stage is a simulated API on a socket.
type stage struct {
	*sim.API
	url string
}

func newStage(t *testing.T, cfg sim.Config) stage {
	t.Helper()
	api := sim.New(cfg)
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	return stage{api, srv.URL}
}

// body is the body of a request.
type body map[string]any

// ask is a messages request of one turn.
func ask(more body) body {
	b := body{
		"model": model, "max_tokens": 1024,
		"messages": []any{body{"role": "user", "content": "What does the register say about Valparaíso?"}},
	}
	maps.Copy(b, more)
	return b
}

var lookupTool = []any{body{"name": lookup, "description": "Looks up the record of a city.", "input_schema": json.RawMessage(lookupSchema)}}

// task is a task for a client of this stage.
func (s stage) task(t *testing.T, do verb, params body) task {
	t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	return task{URL: s.url, Key: key, Do: do, Params: raw}
}

// named is the same for a thing with an id.
func (s stage) named(do verb, id string) task { return task{URL: s.url, Key: key, Do: do, ID: id} }

// sees makes a client do a task, whatever comes of it.
func sees(t *testing.T, d driver, what task) seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := d.do(ctx, what)
	if err != nil {
		t.Fatalf("%s: %v", what.Do, err)
	}
	return got
}

// does makes a client do a task that must succeed.
func does(t *testing.T, d driver, what task) seen {
	t.Helper()
	got := sees(t, d, what)
	if got.Failure != nil {
		t.Fatalf("%s: %+v", what.Do, *got.Failure)
	}
	return got
}

// fails makes a client do a task that must fail.
func fails(t *testing.T, d driver, what task) failure {
	t.Helper()
	got := sees(t, d, what)
	if got.Failure == nil {
		t.Fatalf("%s: got %+v, want an error", what.Do, got)
	}
	return *got.Failure
}

// of matches the requests of one call, for [sim.API.Script].
func of(call string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get("Sim-Call") == call }
}

// attempts returns the records of one call.
func (s stage) attempts(call string) []sim.Attempt {
	var list []sim.Attempt
	for _, a := range s.Attempts() {
		if a.Call == call {
			list = append(list, a)
		}
	}
	return list
}

// hold makes a call that is being served until the function it returns is
// called. It returns when the call has its place.
func (s stage) hold(t *testing.T) (release func()) {
	t.Helper()
	raw, err := json.Marshal(ask(body{"stream": true}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/messages", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-Api-Key": {key}, "Anthropic-Version": {"2023-06-01"}, "Sim-Script": {"stall_after:1"}}
	transport := &http.Transport{}
	resp, err := (&http.Client{Transport: transport}).Do(req) // returns with the headers
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	}
}
