package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// limitView is an entry of either list of rate limits.
type limitView struct {
	ID, Type    string
	RateLimitID string `json:"rate_limit_id"`
	Workspace   string `json:"workspace_id"`
	Group       struct {
		Type, ID string
		Name     string `json:"display_name"`
	}
	Models []string
	Limits []struct {
		Type   string
		Value  int
		Org    *int `json:"org_limit"`
		Source struct{ Type string }
	}
}

// limitText returns the entries in words: group, then each limit, what the
// organisation has, and whose it is.
func limitText(list []limitView) string {
	var out []string
	for _, e := range list {
		text := e.Group.Type
		if e.Group.Name != "" {
			text = e.Group.Name
		}
		for _, l := range e.Limits {
			text += fmt.Sprintf(", %s %d", l.Type, l.Value)
			if l.Org != nil {
				text += fmt.Sprintf(" of %d", *l.Org)
			}
			if l.Source.Type != "" {
				text += " " + l.Source.Type
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestRateLimits(t *testing.T) {
	u := inBubble(t, sim.New(sim.Config{
		Models: []string{"claude-opus-4-8", "claude-opus-4-5-20251101", "claude-opus-4-5", "claude-haiku-5-5", "claude-sonnet-5"},
		Limits: []sim.Limit{
			{Models: "opus-4", Workspace: "w*", ITPM: 5, CacheReads: true},
			{Models: "opus-4", Organization: "somebody else", RPM: 1},
			{Models: "opus-4", RPM: 10, ITPM: 20, OTPM: 30},
			{Models: "opus-4", Fast: true, ITPM: 7, OTPM: 8},
			{Models: "claude-haiku-*", RPM: 99},
		},
		Other: sim.OtherLimits{BatchQueue: 1000, BatchesRPM: 500, CountTokensRPM: 60},
	}))
	type page struct {
		Data []limitView
		Next *string `json:"next_page"`
	}
	get := func(path string) (p page) {
		t.Helper()
		u.read(call{method: "GET", path: "/v1/organizations" + path, header: map[string]string{"x-api-key": "sk-ant-admin01-a"}}, &p)
		return p
	}
	const (
		opus  = "Claude Opus 4.x, requests_per_minute 10, input_tokens_per_minute_cache_aware 20, output_tokens_per_minute 30, fast_itpmca 7, fast_otpm 8"
		haiku = "Claude Haiku 5.5, requests_per_minute 99"
		batch = "batch, requests_per_minute 500, enqueued_batch_requests 1000"
		count = "token_count, requests_per_minute 60"
	)
	for _, c := range []struct{ path, want string }{
		{"/rate_limits", strings.Join([]string{opus, haiku, batch, count}, "; ")},
		{"/rate_limits?group_type=model_group", opus + "; " + haiku},
		{"/rate_limits?group_type=batch", batch},
		{"/rate_limits?group_type=web_search", ""},
		{"/rate_limits?model=claude-opus-4-5", opus},
		{"/workspaces/w1/rate_limits", "Claude Opus 4.x, input_tokens_per_minute 5 workspace"},
		{"/workspaces/other/rate_limits", ""},
		{"/workspaces/w1/rate_limits?group_type=token_count&include_inherited=true", "token_count, requests_per_minute 60 of 60 organization"},
	} {
		if got := limitText(get(c.path).Data); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.path, got, c.want)
		}
	}

	first := get("/rate_limits?limit=3")
	rest := get("/rate_limits?limit=3&page=" + *first.Next)
	if len(first.Data) != 3 || limitText(rest.Data) != count || rest.Next != nil {
		t.Errorf("pages of 3 are %s | %s", limitText(first.Data), limitText(rest.Data))
	}
	if e := first.Data[0]; e.Type != "rate_limit" || strings.Join(e.Models, " ") != "claude-opus-4-8 claude-opus-4-5-20251101 claude-opus-4-5" {
		t.Errorf("the first is %+v, want all names of the class", e)
	}
	if w := get("/workspaces/w1/rate_limits").Data[0]; w.RateLimitID != first.Data[0].ID || w.Workspace != "w1" || w.Type != "workspace_rate_limit" {
		t.Errorf("the workspace's is %+v, want it to name the organisation's", w)
	}
	for path, want := range map[string]int{"?model=claude-7": 404, "?model=claude-sonnet-5": 404, "?group_type=x": 400} {
		r := u.do(call{method: "GET", path: "/v1/organizations/rate_limits" + path, header: map[string]string{"x-api-key": "sk-ant-admin01-a"}})
		if r.status != want {
			t.Errorf("%s: got %d, want %d", path, r.status, want)
		}
	}
}
