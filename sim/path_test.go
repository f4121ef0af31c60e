package sim_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

const batchCall = `{"requests":[{"custom_id":"a","params":{"model":"claude-opus-5-5"}},{"custom_id":"b","params":{}}]}`

func TestBatches_acceptedThenLost(t *testing.T) {
	cfg := sim.Config{BatchTime: time.Hour, Script: []sim.Reply{{Status: 502, Fault: sim.Fault{Accept: true}}, {}}}
	onBothFaces(t, cfg,
		func(t *testing.T, api *sim.API, do func(call) result) {
			if got := do(call{path: "/v1/messages/batches", body: batchCall}).status; got != 502 {
				t.Errorf("got %d, want 502", got)
			}
			if got := api.Batches(); got != 1 {
				t.Errorf("%d batches exist, want the 1 that was accepted", got)
			}
			var list struct {
				Data []struct {
					ID     string
					Counts map[string]int `json:"request_counts"`
				}
				LastID string `json:"last_id"`
			}
			mine := do(call{method: "GET", path: "/v1/messages/batches"})
			if err := json.Unmarshal([]byte(mine.body), &list); err != nil || len(list.Data) != 1 || list.Data[0].Counts["processing"] != 2 {
				t.Fatalf("listed %s (%v), want one batch of two", mine.body, err)
			}
			one := call{method: "GET", path: "/v1/messages/batches/" + list.LastID}
			if got := do(one); got.status != 200 || !strings.Contains(got.body, list.LastID) {
				t.Errorf("retrieved %d %s", got.status, got.body)
			}
			one.header = map[string]string{"x-api-key": "somebody else"}
			if got := do(one).status; got != 404 {
				t.Errorf("another key got %d, want 404: batches are scoped", got)
			}
		})
}

func TestPages(t *testing.T) {
	api := sim.New(sim.Config{Models: []string{"a", "b", "c", "d"}})
	for _, c := range []struct {
		query string
		want  string
		more  bool
	}{
		{"", "a b c d", false},
		{"?limit=3", "a b c", true},
		{"?limit=3&after_id=c", "d", false},
		{"?limit=2&before_id=d", "b c", true},
		{"?after_id=d", "", false},
	} {
		var page struct {
			Data []struct{ ID string }
			More bool `json:"has_more"`
		}
		r := do(t, api, "https://api.test", call{method: "GET", path: "/v1/models" + c.query})
		if err := json.Unmarshal([]byte(r.body), &page); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range page.Data {
			ids = append(ids, m.ID)
		}
		if got := strings.Join(ids, " "); got != c.want || page.More != c.more {
			t.Errorf("%q: got %q, more %v, want %q, %v", c.query, got, page.More, c.want, c.more)
		}
	}
}

func TestUpload_countsBytes(t *testing.T) {
	onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		_ = form.WriteField("purpose", "x")
		part, err := form.CreateFormFile("file", "big.bin")
		if err != nil {
			t.Fatal(err)
		}
		const size = 33 << 20 // more than any JSON body may have
		if _, err := io.CopyN(part, zeros{}, size); err != nil {
			t.Fatal(err)
		}
		_ = form.Close()
		r := do(call{path: "/v1/files", body: body.String(), header: map[string]string{"content-type": form.FormDataContentType()}})
		if want := fmt.Sprintf(`"size_bytes":%d`, size); r.status != 200 || !strings.Contains(r.body, want) {
			t.Errorf("got %d %s, want %s", r.status, r.body, want)
		}
		if got := api.Attempts()[0].BodyBytes; got != int64(body.Len()) {
			t.Errorf("recorded %d bytes, sent %d", got, body.Len())
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestGzipRequest_isDecoded(t *testing.T) {
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, _ = z.Write([]byte(plainCall))
	_ = z.Close()
	onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{body: body.String(), header: map[string]string{"content-encoding": "gzip"}})
		if r.status != 200 {
			t.Errorf("got %d %s", r.status, r.body)
		}
		if a := api.Attempts()[0]; a.BodyBytes != int64(body.Len()) || a.Model != "claude-opus-4-5" {
			t.Errorf("recorded %d bytes of %q, want %d as sent", a.BodyBytes, a.Model, body.Len())
		}
	})
}

func TestAgentEvents_flowOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{PingEvery: time.Hour})
		r := do(t, api, "https://api.test", call{method: "GET", path: "/v1/agents/agent_1/events?n=5&every=1m"})
		if got := countEvents(r.body); got != 5 || r.took != 5*time.Minute {
			t.Errorf("got %d events in %v, want 5 in 5m", got, r.took)
		}
	})
}

func TestLegacyStream(t *testing.T) {
	onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
		r := do(call{path: "/v1/complete", body: `{"model":"claude-opus-5-5","max_tokens_to_sample":3,"stream":true,"prompt":"p"}`})
		if got := strings.Count(r.body, "event: completion\n"); got != 4 || !strings.Contains(r.body, `"stop_reason":"max_tokens"`) {
			t.Errorf("got %d events, want 3 words and the stop:\n%s", got, r.body)
		}
	})
}

func TestLimit_isEnforcedPerOrganisationAndModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 60, Burst: 10 * time.Second}}, Organization: func(key string) string { return key[:1] }})
		key := func(k string) call { return call{header: map[string]string{"x-api-key": k}} }
		ok := 0
		for range 15 {
			if do(t, api, "https://api.test", key("a1")).status == 200 {
				ok++
			}
		}
		if ok != 10 {
			t.Errorf("a burst let %d through, want 10", ok)
		}
		r := do(t, api, "https://api.test", key("a2"))
		if r.status != 429 || r.header.Get("Retry-After") != "1" || r.header.Get("Anthropic-Ratelimit-Requests-Remaining") != "0" || !strings.Contains(r.body, "rate_limit_error") {
			t.Errorf("another key of the organisation got %d %v %s, want 429 with retry-after", r.status, r.header, r.body)
		}
		if got := do(t, api, "https://api.test", key("b1")).status; got != 200 {
			t.Errorf("another organisation got %d, want 200", got)
		}
		haiku := key("a1")
		haiku.body = strings.Replace(plainCall, "opus", "haiku", 1)
		if got := do(t, api, "https://api.test", haiku).status; got != 200 {
			t.Errorf("another model got %d, want 200", got)
		}
		time.Sleep(time.Second)
		if got := do(t, api, "https://api.test", key("a1")).status; got != 200 {
			t.Errorf("after retry-after got %d, want 200", got)
		}
		ok = 0
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if do(t, api, "https://api.test", key("a1")).status == 200 {
				ok++
			}
		}
		if ok != 60 {
			t.Errorf("a minute of demand let %d through, want 60", ok)
		}
	})
}

func TestLimitHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 600}}})
		for _, body := range []string{plainCall, streamCall} {
			h := do(t, api, "https://api.test", call{body: body}).header
			for _, name := range []string{"Requests", "Input-Tokens", "Output-Tokens", "Tokens"} {
				for _, part := range []string{"-Limit", "-Remaining", "-Reset"} {
					if h.Get("Anthropic-Ratelimit-"+name+part) == "" {
						t.Errorf("no anthropic-ratelimit-%s%s in %v", name, part, h)
					}
				}
			}
			if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-Requests-Reset")); err != nil || at.Before(time.Now()) {
				t.Errorf("reset is %v (%v), want a time ahead", at, err)
			}
			if !strings.HasPrefix(h.Get("Anthropic-Organization-Id"), "org-") {
				t.Errorf("organisation is %q", h.Get("Anthropic-Organization-Id"))
			}
		}
		if got := do(t, api, "https://api.test", call{method: "GET", path: "/v1/models"}).header.Get("Anthropic-Ratelimit-Requests-Limit"); got != "" {
			t.Errorf("models show a limit of %s, want none", got)
		}
	})
}

func TestKeys(t *testing.T) {
	api := sim.New(sim.Config{Keys: []string{"good"}})
	var got []int
	for _, key := range []string{"good", "bad"} {
		got = append(got, do(t, api, "https://api.test", call{header: map[string]string{"x-api-key": key}}).status)
	}
	if want := []int{200, 401}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
