package evenkeel_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tidwall/gjson"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/assemble"
	"github.com/evenkeel-dev/evenkeel/sim"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// chats are conversations whose second answer breaks and is gone on with. The
// simulated API always checks whether thinking in the history is as it was, and
// for a bound model whether all that came before it is.
var chats = []struct {
	name    string
	model   string
	earlier string // how the first answer was asked for
	asks    string // how the one that breaks is, and the next turn
	binds   string // changed in the history, it makes the API refuse the next turn; "" if nothing would
}{
	{"prefilled", "claude-opus-4-5", "", "", ""},
	{"prefilled, the smallest", "claude-haiku-4-5", "", "", ""},
	{"asked by the user, as there is thinking", "claude-opus-4-5", "", `"thinking":{"type":"enabled","budget_tokens":1024},`, `"thinking":"`},
	{"asked by the user", "claude-opus-4-8", "", "", ""},
	{"asked by the user, after thinking", "claude-opus-4-8", "", `"thinking":{"type":"adaptive"},`, `"thinking":"`},
	{"bound, without thinking", "claude-sonnet-5-5", "", "", ""},
	{"bound, without thinking since the turn before", "claude-sonnet-5-5", `"thinking":{"type":"adaptive"},`, `"thinking":{"type":"disabled"},`, `"content":"`},
}

// TestResume_nextTurn: a caller who keeps a resumed message as it was delivered
// can go on with the conversation, whichever way the rest was asked for.
func TestResume_nextTurn(t *testing.T) {
	for _, chat := range chats {
		for _, fault := range midText() {
			t.Run(chat.model+"/"+chat.name+"/"+string(fault.Kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					body := func(fields, messages string) string {
						return `{"model":"` + chat.model + `","max_tokens":4096,` + fields + `"messages":[` + messages + `]}`
					}
					says := func(body string) answer {
						return mustSend(t, sim.New(sim.Config{}), newRequest(t, "POST", endpoint, body))
					}
					history := `{"role":"user","content":"hi"}`
					if chat.earlier != "" {
						first := says(body(chat.earlier, history))
						history += turns(first.body, "go on")
					}

					ask := body(chat.asks+`"stream":true,`, history)
					fault.Events = eventsUntil(t, says(ask).body, `"text_delta"`, 5)
					api := sim.NewScript(sim.Reply{Status: 200, Fault: fault}, sim.Reply{})
					tr := newTransport(t, evenkeel.Config{Base: api, Stream: evenkeel.Stream{Resume: true}})
					a := mustSend(t, tr, newRequest(t, "POST", endpoint, ask))
					checkAttempts(t, api, 2)
					if a.Trailer.Get(evenkeel.HeaderResumed) != "1" {
						t.Fatalf("it was not gone on with:\n%s", a.body)
					}

					message := assembled(t, a.body)
					if got, want := kinds(message), kinds(says(body(chat.asks, history)).body); got != want {
						t.Errorf("the message has blocks %s, want those of one that does not break: %s", got, want)
					}
					history += turns(message, "and then?")
					if next := says(body(chat.asks, history)); next.StatusCode != http.StatusOK {
						t.Errorf("the next turn is answered with %d: %s\n%s", next.StatusCode, next.body, history)
					}
					if chat.binds == "" {
						return
					}
					changed := body(chat.asks, strings.Replace(history, chat.binds, chat.binds+"x", 1))
					if next := says(changed); next.StatusCode != http.StatusBadRequest {
						t.Errorf("with another history the next turn is answered with %d: thinking is not checked\n%s", next.StatusCode, changed)
					}
				})
			})
		}
	}
}

// kinds are the types of a message's blocks.
func kinds(message string) string { return gjson.Get(message, "content.#.type").Raw }

// turns are what a caller appends after a message: its content as it came, and
// a new question.
func turns(message, question string) string {
	return `,{"role":"assistant","content":` + gjson.Get(message, "content").Raw + `},{"role":"user","content":"` + question + `"}`
}

// assembled returns the message that a delivered stream is, whole and in order.
func assembled(t *testing.T, body string) string {
	t.Helper()
	var m assemble.Message
	for event := range strings.SplitAfterSeq(body, "\n\n") {
		if _, data := stream.Fields([]byte(event)); len(data) > 0 {
			if err := m.Event(data); err != nil {
				t.Fatalf("%v: %s", err, event)
			}
		}
	}
	message, err := m.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(message)
}

// eventsUntil counts the events of a stream until the nth that holds a text,
// which is counted too; pings are not, as a fault does not count them.
func eventsUntil(t *testing.T, body, text string, nth int) (n int) {
	t.Helper()
	for event := range strings.SplitAfterSeq(body, "\n\n") {
		if !strings.HasPrefix(event, "event: ping") {
			n++
		}
		if strings.Contains(event, text) {
			if nth--; nth == 0 {
				return n
			}
		}
	}
	t.Fatalf("the stream has too few events with %s:\n%s", text, body)
	return 0
}
