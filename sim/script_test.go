package sim_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestScript_lastReplyRepeats(t *testing.T) {
	onBothFaces(t, sim.Config{Script: []sim.Reply{{Status: 529}, {Status: 429, Header: map[string]string{"Retry-After": "7"}}, {Status: 200}}},
		func(t *testing.T, api *sim.API, do func(call) result) {
			var got []int
			for range 5 {
				got = append(got, do(call{}).status)
			}
			if want := []int{529, 429, 200, 200, 200}; !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := api.Calls(); got != 5 {
				t.Errorf("counted %d calls, want 5", got)
			}
		})
}

func TestScript_replies(t *testing.T) {
	bare := call{drop: "x-api-key", body: "{}"}
	for _, c := range []struct {
		name     string
		reply    sim.Reply
		call     call
		status   int
		contains string
		took     time.Duration
	}{
		{"200 asks for nothing", sim.Reply{Status: 200}, bare, 200, `"type":"message"`, 0},
		{"200 is a stream where one is asked for", sim.Reply{Status: 200}, call{body: `{"stream":true}`, drop: "anthropic-version"}, 200, "event: message_stop", 0},
		{"empty is as ever", sim.Reply{}, bare, 401, "authentication_error", 0},
		{"empty but for a wait", sim.Reply{After: time.Second}, call{}, 200, "", time.Second},
		{"200 later", sim.Reply{Status: 200, After: time.Second}, call{}, 200, "", time.Second},
		{"an error later", sim.Reply{Status: 529, After: time.Second}, call{}, 529, "", time.Second},
		{"its own words", sim.Reply{Status: 400, Message: "prompt is too long"}, call{}, 400, `"message":"prompt is too long"`, 0},
		{"its own type and code", sim.Reply{Status: 429, ErrorType: "odd_error", Code: "enforced_spend_limit_reached"}, call{}, 429, `{"type":"odd_error","message":"The request failed: odd_error","details":{"error_code":"enforced_spend_limit_reached"}}`, 0},
		{"its own body", sim.Reply{Status: 200, Body: "raw"}, call{}, 200, "raw", 0},
		{"a body alone is a 200", sim.Reply{Body: "raw"}, call{}, 200, "raw", 0},
		{"a fault in the stream", sim.Reply{Fault: sim.Fault{Kind: sim.ErrorEventAt}, ErrorType: "api_error"}, call{body: streamCall}, 200, `"type":"api_error"`, 0},
		{"longer", sim.Reply{Status: 200, Tokens: 30, TokenTime: time.Second}, call{}, 200, `"output_tokens":30`, 30 * time.Second},
		{"any path", sim.Reply{Status: 200}, call{path: "/v1/skills"}, 200, "{}", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := do(t, sim.NewScript(c.reply), "https://api.test", c.call)
				if r.status != c.status || !strings.Contains(r.body, c.contains) || r.took != c.took {
					t.Errorf("got %d after %v: %s\nwant %d after %v with %s", r.status, r.took, r.body, c.status, c.took, c.contains)
				}
			})
		})
	}
}

func TestScript_headersAreAdded(t *testing.T) {
	for _, status := range []int{200, 529} {
		api := sim.NewScript(sim.Reply{Status: status, Header: map[string]string{"x-should-retry": "false"}})
		if got := do(t, api, "https://api.test", call{}).header.Get("X-Should-Retry"); got != "false" {
			t.Errorf("%d: x-should-retry is %q", status, got)
		}
	}
}

func TestScript_byMatch(t *testing.T) {
	api := sim.New(sim.Config{Faults: []sim.Rule{{Fault: sim.Fault{Status: 500}, Rate: 1}}})
	api.Script(func(r *http.Request) bool { return r.Header.Get("who") == "b" }, sim.Reply{Status: 529}, sim.Reply{Status: 200})
	b := call{header: map[string]string{"who": "b"}}
	var got []int
	for _, c := range []call{{}, b, {}, b} {
		got = append(got, do(t, api, "https://api.test", c).status)
	}
	if want := []int{500, 529, 500, 200}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v: rules for others, the script for b", got, want)
	}
	api.Reset()
	if got := do(t, api, "https://api.test", b).status; got != 529 {
		t.Errorf("after Reset got %d, want the script from its start", got)
	}
}

func TestScript_byHeader(t *testing.T) {
	onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
		ask := func(id string) int {
			return do(call{header: map[string]string{"sim-script": "529, 503:4, ok", "sim-call": id}}).status
		}
		got := []int{ask("a"), ask("b"), ask("a"), ask("a"), ask("b"), ask("a")}
		if want := []int{529, 529, 503, 200, 503, 200}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v: each call has its own position", got, want)
		}
		if got := do(call{header: map[string]string{"sim-script": "529,whatever"}}).status; got != 400 {
			t.Errorf("a wrong script got %d, want 400", got)
		}
	})
}

func TestParseScript(t *testing.T) {
	got, err := sim.ParseScript("529, 429:7,accept+502,hang,reset_after:3,ok")
	want := []sim.Reply{
		{Status: 529},
		{Status: 429, Header: map[string]string{"retry-after": "7"}},
		{Status: 502, Fault: sim.Fault{Accept: true}},
		{Fault: sim.Fault{Kind: sim.Hang}},
		{Fault: sim.Fault{Kind: sim.ResetAfter, Events: 3}},
		{},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	got, err = sim.ParseScript("spend_cap,rate_limit:7,overload_in_stream,gzip,refusal:2")
	want = []sim.Reply{{Fault: preset(t, "spend_cap")}, {Fault: preset(t, "rate_limit")}, {Fault: preset(t, "overload_in_stream")}, {Fault: sim.Fault{Kind: sim.Gzip}}, {Fault: sim.Fault{Kind: sim.Refusal, Events: 2}}}
	want[1].Fault.Header["retry-after"] = "7"
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	for bad, why := range map[string]string{
		"":             `no failure is called ""`,
		"12":           "a status is 200 to 999",
		"bang":         "hang",
		"spendcap":     "spend_cap",
		"529,":         `no failure is called ""`,
		"529:x":        "whole number",
		"hang:-1":      "whole number",
		"hang:3":       "hang has no events",
		"slots":        "condition",
		"accept+gzip":  "gzip has no accept",
		"reset_after:": "whole number",
	} {
		if _, err := sim.ParseScript(bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want something about %q", bad, err, why)
		}
	}
}

func preset(t *testing.T, name string) sim.Fault {
	t.Helper()
	f, err := sim.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
