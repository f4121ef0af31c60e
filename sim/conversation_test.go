package sim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// threadCall is a request of a message thread; with previous it continues one.
func threadCall(previous, more, content string) call {
	link := `{"type":"create"}`
	if previous != "" {
		link = fmt.Sprintf(`{"type":"continue","previous_message_id":%q}`, previous)
	}
	return call{
		path: "/v1/messages?beta=true", header: map[string]string{"anthropic-beta": "message-threads-2026-08-12"},
		body: fmt.Sprintf(`{"model":"claude-opus-4-5","max_tokens":100,"thread":%s%s,"messages":[{"role":"user","content":%s}]}`, link, more, content),
	}
}

// threaded is what a test looks at in an answer.
type threaded struct {
	ID      string
	Content []struct{ ID, Type, Text string }
	Usage   struct {
		Input int `json:"input_tokens"`
	}
	Error struct {
		Type    string
		Details struct {
			Code string `json:"error_code"`
		}
	}
	status int
}

func (c call) threaded(t *testing.T, api *sim.API) (out threaded) {
	t.Helper()
	resp, err := api.RoundTrip(c.request(t, "https://api.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	out.status = resp.StatusCode
	return out
}

const threadTools = `,"tools":[{"name":"lookup","input_schema":{"type":"object"}}]`

// A thread knows what went before: the tool a result belongs to, what it costs
// to read again, and the system and tools of its first request.
func TestThread_remembersTheConversation(t *testing.T) {
	api := sim.New(sim.Config{})
	asked := threadCall("", threadTools, `"`+strings.Repeat("What is it? ", 100)+`"`).threaded(t, api)
	if len(asked.Content) != 1 || asked.Content[0].Type != "tool_use" {
		t.Fatalf("got %+v, want a tool_use", asked)
	}
	result := fmt.Sprintf(`[{"type":"tool_result","tool_use_id":%q,"content":"record"}]`, asked.Content[0].ID)
	told := threadCall(asked.ID, "", result).threaded(t, api)
	if told.status != 200 || told.Content[0].Type != "text" {
		t.Fatalf("got %+v, want a text", told)
	}
	if told.Usage.Input <= asked.Usage.Input {
		t.Errorf("%d tokens of input after %d, want more: the whole conversation is read", told.Usage.Input, asked.Usage.Input)
	}
	again := threadCall(told.ID, "", `"And once more?"`).threaded(t, api)
	if again.status != 200 || again.Content[0].Type != "tool_use" {
		t.Errorf("got %+v, want the tool of the first request used", again)
	}
}

// What a thread answers does not differ from what the whole conversation would
// have been answered.
func TestThread_answersAsTheWholeConversation(t *testing.T) {
	api := sim.New(sim.Config{Seed: 7})
	first := threadCall("", "", `"Who is it?"`).threaded(t, api)
	second := threadCall(first.ID, "", `"And why?"`).threaded(t, api)
	whole := call{body: fmt.Sprintf(
		`{"model":"claude-opus-4-5","max_tokens":100,"messages":[{"role":"user","content":"Who is it?"},{"role":"assistant","content":%q},{"role":"user","content":"And why?"}]}`,
		first.Content[0].Text)}.threaded(t, api)
	if got, want := second.Content[0].Text, whole.Content[0].Text; got != want || got == "" {
		t.Errorf("the thread is answered %q, the conversation %q", got, want)
	}
}

func TestThread_refusals(t *testing.T) {
	api := sim.New(sim.Config{})
	first := threadCall("", "", `"Who is it?"`).threaded(t, api)
	if got := threadCall(first.ID, "", `"And why?"`).threaded(t, api); got.status != 200 {
		t.Fatalf("got %+v, want status 200", got)
	}
	other := threadCall(first.ID, "", `"And why?"`)
	other.header["x-api-key"] = "sk-ant-of-another-organisation"
	without := threadCall("", "", `"Who is it?"`)
	without.header = nil
	for _, c := range []struct {
		name   string
		call   call
		status int
		code   string
	}{
		{"continued twice", threadCall(first.ID, "", `"And why?"`), 400, "thread_already_continued"},
		{"no such message", threadCall("msg_nobody", "", `"And why?"`), 404, "thread_not_found"},
		{"somebody else's", other, 404, "thread_not_found"},
		{"without the beta", without, 400, ""},
	} {
		if got := c.call.threaded(t, api); got.status != c.status || got.Error.Details.Code != c.code {
			t.Errorf("%s: got status %d, code %q; want %d, %q", c.name, got.status, got.Error.Details.Code, c.status, c.code)
		}
	}
	api.Reset()
	if got := threadCall(first.ID, "", `"And why?"`).threaded(t, api); got.Error.Details.Code != "thread_not_found" {
		t.Errorf("after Reset: got %+v, want thread_not_found", got)
	}
}

// The oldest threads are forgotten; a client starts a new one then.
func TestThread_isForgottenInTime(t *testing.T) {
	api := sim.New(sim.Config{})
	first := threadCall("", "", `"Who is it?"`).threaded(t, api)
	var last threaded
	for range 1_000 {
		last = threadCall("", "", `"Who is it?"`).threaded(t, api)
	}
	if got := threadCall(first.ID, "", `"And why?"`).threaded(t, api); got.Error.Details.Code != "thread_not_found" {
		t.Errorf("the first of 1,001: got %+v, want thread_not_found", got)
	}
	if got := threadCall(last.ID, "", `"And why?"`).threaded(t, api); got.status != 200 {
		t.Errorf("the last: got %+v, want status 200", got)
	}
}
