package sim_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestCredentials(t *testing.T) {
	cfg := sim.Config{
		Keys: []string{"good", "bound"}, AdminKeys: []string{"admin"}, Forbidden: []string{"claude-mythos-*", "sonnet-4"},
		Workspace: func(key string) string { return map[string]string{"bound": "w1"}[key] },
	}
	const limits = "/v1/organizations/rate_limits"
	model := func(id string) string { return strings.Replace(plainCall, "claude-opus-4-5", id, 1) }
	for _, c := range []struct {
		name    string
		call    call
		header  string // "name: value, …" beside the key
		status  int
		typ     string
		account bool // the answer says whose key it was
	}{
		{"x-api-key", call{}, "x-api-key: good", 200, "", true},
		{"bearer", call{drop: "x-api-key"}, "authorization: Bearer good", 200, "", true},
		{"the newer version", call{}, "x-api-key: good, anthropic-version: 2026-10-21", 200, "", true},
		{"a version that never was", call{}, "x-api-key: good, anthropic-version: 2024-01-01", 400, "invalid_request_error", true},
		{"no version", call{drop: "anthropic-version"}, "x-api-key: good", 400, "invalid_request_error", true},
		{"no key", call{drop: "x-api-key"}, "", 401, "authentication_error", false},
		{"basic is no bearer", call{drop: "x-api-key"}, "authorization: Basic good", 401, "authentication_error", false},
		{"a key nobody gave out", call{}, "x-api-key: bad", 401, "authentication_error", false},
		{"its own workspace", call{}, "x-api-key: bound, anthropic-workspace-id: w1", 200, "", true},
		{"another workspace", call{}, "x-api-key: bound, anthropic-workspace-id: w2", 403, "permission_error", true},
		{"any workspace, for a key of none", call{}, "x-api-key: good, anthropic-workspace-id: w2", 200, "", true},
		{"a model that is not for everyone", call{body: model("claude-mythos-5")}, "x-api-key: good", 403, "permission_error", true},
		{"a class of models that is not", call{body: model("claude-sonnet-4-6")}, "x-api-key: good", 403, "permission_error", true},
		{"a model that does not exist", call{body: model("claude-7")}, "x-api-key: good", 404, "not_found_error", true},
		{"administration with a plain key", call{method: "GET", path: limits}, "x-api-key: good", 403, "permission_error", true},
		{"administration with an Admin key", call{method: "GET", path: limits}, "x-api-key: admin", 200, "", true},
		{"messages with an Admin key", call{}, "x-api-key: admin", 403, "permission_error", true},
		{"an unknown path", call{method: "GET", path: "/v1/nothing"}, "x-api-key: good", 404, "not_found_error", true},
		{"a path below a known one", call{method: "GET", path: "/v1/models/a/b"}, "x-api-key: good", 404, "not_found_error", true},
		{"a wrong method on a known path", call{method: "PATCH", path: "/v1/messages/batches/b"}, "x-api-key: good", 405, "invalid_request_error", true},
		{"hello needs no key", call{method: "HEAD", path: "/api/hello", drop: "x-api-key"}, "", 200, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBothFaces(t, cfg, func(t *testing.T, _ *sim.API, do func(call) result) {
				c.call.header = map[string]string{}
				for pair := range strings.SplitSeq(c.header, ", ") {
					if name, value, ok := strings.Cut(pair, ": "); ok {
						c.call.header[name] = value
					}
				}
				r := do(c.call)
				if r.status != c.status || c.typ != "" && !strings.Contains(r.body, `"type":"`+c.typ+`"`) {
					t.Errorf("got %d %s, want %d %s", r.status, r.body, c.status, c.typ)
				}
				id := r.header.Get("Request-Id")
				if id == "" || c.typ != "" && !strings.Contains(r.body, `"request_id":"`+id+`"`) {
					t.Errorf("request-id %q is not in %s", id, r.body)
				}
				if got := r.header.Get("Anthropic-Organization-Id") != ""; got != c.account {
					t.Errorf("organisation shown: %v, want %v", got, c.account)
				}
				if allow := r.header.Get("Allow"); r.status == 405 && allow != "DELETE, GET" {
					t.Errorf("allows %q, want DELETE, GET", allow)
				}
			})
		})
	}
}

func TestOtherLimits_areBucketsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := inBubble(t, sim.New(sim.Config{Other: sim.OtherLimits{CountTokensRPM: 3, BatchesRPM: 2, FilesRPM: 1}}))
		passed := func(c call) (n int, refused result) {
			for range 5 {
				if r := u.do(c); r.status == 200 {
					n++
				} else {
					refused = r
				}
			}
			return n, refused
		}
		for _, c := range []struct {
			call  call
			want  int
			after string // seconds until the next: a minute by the rate
		}{
			{call{path: "/v1/messages/count_tokens"}, 3, "20"},
			{call{method: "GET", path: "/v1/messages/batches"}, 2, "30"},
			{call{method: "GET", path: "/v1/files"}, 1, "60"},
			{call{method: "GET", path: "/v1/models"}, 5, ""},
			{call{}, 5, ""},
		} {
			got, refused := passed(c.call)
			if got != c.want || refused.header.Get("Retry-After") != c.after {
				t.Errorf("%s: %d passed, then %d after %q; want %d, after %q",
					c.call.path, got, refused.status, refused.header.Get("Retry-After"), c.want, c.after)
			}
		}
		time.Sleep(20 * time.Second)
		if got, _ := passed(call{path: "/v1/messages/count_tokens"}); got != 1 {
			t.Errorf("after 20s %d more counts passed, want 1", got)
		}
	})
}
