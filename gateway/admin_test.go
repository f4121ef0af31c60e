package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// ask asks an admin handler; headers are name, value, name, value.
func ask(h http.Handler, method, path string, headers ...string) reply {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost:4291"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reply{w.Result(), w.Body.Bytes()}
}

func TestAdmin_answers(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	g, err := New(Config{Transport: http.DefaultTransport, Upstream: upstream(t, nil), State: func() observe.Snapshot {
		return observe.Snapshot{
			Time: at, InFlight: 1, Waiting: 2, Bodies: 3, Dropped: 4,
			Breakers: []observe.Breaker{{Upstream: "api.anthropic.com", Path: "messages", Model: "m", State: "open", NextProbe: at}},
			Calls:    []observe.Call{{ID: "ek_1", Model: "m", Phase: "waiting", Reason: "breaker", Arrived: at, Attempt: 2}},
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := g.Admin()
	for _, c := range []struct {
		name, method, path string
		headers            []string
		status             int
		want               string
	}{
		{"alive", "GET", "/healthz", nil, 200, "ok"},
		{"alive, asked by a balancer", "HEAD", "/healthz", nil, 200, ""},
		{"ready", "GET", "/readyz", nil, 200, "ok"},
		{"state", "GET", "/api/v1/state", nil, 200, `"next_probe":"2026-11-23T12:00:00Z"`},
		{"profiles", "GET", "/debug/pprof/", nil, 200, "goroutine"},
		{"one profile", "GET", "/debug/pprof/goroutine?debug=1", nil, 200, "goroutine"},
		{"no command line: it may hold a key", "GET", "/debug/pprof/cmdline", nil, 404, ""},
		{"a link cannot drain", "GET", "/-/drain", nil, 405, ""},
		{"unknown", "GET", "/v1/messages", nil, 404, ""},
		{"rebound name", "GET", "/api/v1/state", []string{"Host", "evil.example"}, 403, "EK-HOST"},
		{"foreign page", "POST", "/-/drain", []string{"Origin", "https://evil.example"}, 403, "EK-ORIGIN"},
		{"image in a foreign page", "GET", "/healthz", []string{"Sec-Fetch-Site", "cross-site"}, 403, "EK-ORIGIN"},
	} {
		got := ask(h, c.method, c.path, c.headers...)
		if got.StatusCode != c.status || !strings.Contains(string(got.body), c.want) {
			t.Errorf("%s: got %d %.200s, want %d with %q", c.name, got.StatusCode, got.body, c.status, c.want)
		}
	}
	var v State
	if err := json.Unmarshal(ask(h, "GET", "/api/v1/state").body, &v); err != nil {
		t.Fatal(err)
	}
	if v.InFlight != 1 || v.Waiting != 2 || v.Bodies != 3 || v.Dropped != 4 || v.Draining ||
		len(v.Breakers) != 1 || v.Breakers[0].State != "open" || len(v.Live) != 1 || v.Live[0].ID != "ek_1" || v.Live[0].Attempt != 2 {
		t.Errorf("got %+v", v)
	}
}

func TestAdmin_listsAreNeverNull(t *testing.T) {
	g, err := New(Config{Transport: http.DefaultTransport, Upstream: upstream(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(g.Admin(), "GET", "/api/v1/state"); strings.Contains(string(got.body), "null") {
		t.Errorf("got %s", got.body)
	}
}

func TestRefusals_oneLinePerReasonAndSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var l refusals
		for range 1000 {
			l.add(t.Context(), log, refuseHost, "")
			synctest.Wait()
		}
		l.add(t.Context(), log, refuseClient, "")
		synctest.Wait()
		time.Sleep(time.Second)
		l.add(t.Context(), log, refuseHost, "")
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "reason=EK-HOST status=403 count=1 ") || !strings.Contains(lines[2], "count=1000 ") {
			t.Errorf("got %d lines, want three, the last for 1000 calls:\n%s", len(lines), out.String())
		}
	})
}

func TestRefusals_areCountedWhileTheReaderIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		release := make(chan struct{})
		log := slog.New(slog.NewTextHandler(io.MultiWriter(&out, stuck{release}), nil))
		var l refusals
		for i := range 5 {
			if i == 4 {
				close(release)
			}
			synctest.Wait()
			l.add(t.Context(), log, refuseHost, "")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], "count=4 ") {
			t.Errorf("got %d lines, want two, the second for the four calls after the first:\n%s", len(lines), out.String())
		}
	})
}

// stuck is a log reader that has stopped.
type stuck struct{ until <-chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.until; return len(p), nil }

func TestRefusals_aStuckReaderDelaysNobody(t *testing.T) {
	release := make(chan struct{})
	log := slog.New(slog.NewTextHandler(stuck{release}, nil))
	toUpstream, _ := counter(t)
	g := start(t, nil, func(c *Config) { toUpstream(c); c.Log = log })
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, headers := range [][]string{{"Host", "evil.example"}, {"Origin", "https://evil.example"}, {"Upgrade", "websocket"}} {
		wg.Go(func() {
			for range 3 {
				req := g.request(t, "GET", "/", "", headers...)
				if resp, err := caller.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	soon(t, "refused calls end", done)
	if got := do(t, g.request(t, "GET", "/", "")); got.StatusCode != 200 {
		t.Errorf("got %d, want 200", got.StatusCode)
	}
	close(release)
}
