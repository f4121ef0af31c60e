package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const message = `{"model":"claude-opus-5-5","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`

func TestGateway_savesWhatCanBeSaved(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies []sim.Reply
		body    string
		status  int
		calls   int
		trail   string // its beginning
		reason  string
		retry   string
	}{
		{"overloaded twice", []sim.Reply{{Status: 529}, {Status: 529}, {Status: 200}}, message, 200, 3, "529@", "", ""},
		{"overloaded twice, streaming", []sim.Reply{{Status: 529}, {Status: 529}, {Status: 200}}, strings.Replace(message, "{", `{"stream":true,`, 1), 200, 3, "529@", "", ""},
		{"overloaded for good: upstream's own answer, and no second round", []sim.Reply{
			{Status: 529}, {Status: 529}, {Status: 529}, {Status: 529}, {Status: 529}, {Status: 529, Body: "{ \"its\" : \"own words\" }\n"}, {Status: 200},
		}, message, 529, 6, "529@", string(evenkeel.CodeGaveUp), "false"},
		{"not the upstream's fault", []sim.Reply{{Status: 400, Body: "{ \"no\" }"}, {Status: 200}}, message, 400, 1, "", "", ""},
	} {
		api := sim.NewScript(c.replies...)
		g := start(t, upstream(t, api.ServeHTTP), nil)
		got := do(t, g.request(t, http.MethodPost, "/v1/messages?beta=true", c.body, "x-api-key", "sk-ant-1", "anthropic-version", "2026-10-21"))
		if got.StatusCode != c.status || len(api.Attempts()) != c.calls {
			t.Errorf("%s: got %d after %d attempts, want %d after %d: %s", c.name, got.StatusCode, len(api.Attempts()), c.status, c.calls, got.body)
		}
		h := got.Header
		if !strings.HasPrefix(h.Get(evenkeel.HeaderTrail), c.trail) || h.Get(evenkeel.HeaderReason) != c.reason || c.retry != "" && h.Get("X-Should-Retry") != c.retry {
			t.Errorf("%s: got %v", c.name, h)
		}
		if last := c.replies[c.calls-1]; last.Body != "" && string(got.body) != last.Body {
			t.Errorf("%s: got %q, want upstream's bytes %q", c.name, got.body, last.Body)
		}
	}
}
