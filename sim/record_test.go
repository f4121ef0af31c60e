package sim_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestAttempts_holdWhatWasSentAndNoSecret(t *testing.T) {
	onBothFaces(t, sim.Config{}, func(t *testing.T, api *sim.API, do func(call) result) {
		const secret, prompt = "sk-ant-secret", "tell nobody"
		body := strings.Replace(streamCall, "hi", prompt, 1)
		r := do(call{path: "/v1/messages?beta=true", body: body, header: map[string]string{
			"x-api-key": secret, "authorization": "Bearer " + secret, "cookie": secret, "evenkeel-id": "call-7",
			"x-stainless-retry-count": "2", "anthropic-beta": "one-2026-01-01,two-2026-02-02",
		}})
		a := api.Attempts()[0]
		sum := sha256.Sum256([]byte(body))
		if a.Method != "POST" || a.Path != "/v1/messages" || a.Query != "beta=true" || a.Model != "claude-opus-4-5" || !a.Stream ||
			a.Call != "call-7" || a.RetryCount != "2" || a.Header.Get("anthropic-beta") != "one-2026-01-01,two-2026-02-02" ||
			a.BodyBytes != int64(len(body)) || a.BodySHA256 != hex.EncodeToString(sum[:]) ||
			a.Status != 200 || a.RequestID != r.header.Get("request-id") || !a.Done || a.Canceled || a.Events != countEvents(r.body) {
			t.Errorf("recorded %+v", a)
		}
		text := fmt.Sprintf("%+v", a)
		if strings.Contains(text, secret) || strings.Contains(text, prompt) || a.KeyTag == "" {
			t.Errorf("the record tells a secret: %s", text)
		}
	})
}

func TestAttempts_oldestAreForgotten(t *testing.T) {
	api := sim.New(sim.Config{KeepAttempts: 3})
	for i := range 5 {
		do(t, api, "https://api.test", call{header: map[string]string{"sim-call": fmt.Sprint(i)}})
	}
	var got []string
	for _, a := range api.Attempts() {
		got = append(got, a.Call)
	}
	if strings.Join(got, " ") != "2 3 4" || api.Calls() != 5 {
		t.Errorf("kept %v of %d calls, want the newest three of 5", got, api.Calls())
	}
	api.Reset()
	if len(api.Attempts()) != 0 || api.Calls() != 0 {
		t.Error("Reset forgot nothing")
	}
}

func TestConcurrentUse(t *testing.T) {
	api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 1000}}, KeepAttempts: 10})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				do(t, api, "https://api.test", call{body: streamCall, header: map[string]string{"sim-script": "529,ok", "sim-call": fmt.Sprint(i)}})
				api.SetFaults(sim.Rule{Fault: sim.Fault{Kind: sim.Refuse}, Rate: 0.5})
				api.Script(func(*http.Request) bool { return false }, sim.Reply{Status: 500})
				api.Attempts()
				if i == 0 {
					if err := api.SetLimits(sim.Limit{RPM: 100}); err != nil {
						t.Error(err)
					}
					api.Reset()
				}
			}
		})
	}
	wg.Wait()
}

func TestControl(t *testing.T) {
	api := sim.New(sim.Config{})
	srv := httptest.NewServer(api)
	defer srv.Close()
	ask := func(method, path, body string) (int, string) {
		r := do(t, http.DefaultTransport, srv.URL, call{method: method, path: path, body: body})
		return r.status, r.body
	}
	if status, body := ask("POST", "/sim/faults", `{"faults":[{"status":529,"models":"claude-*"}]}`); status != 200 || !strings.Contains(body, `"status":529`) {
		t.Errorf("setting faults got %d %s", status, body)
	}
	if status, _ := ask("POST", "/v1/messages", plainCall); status != 529 {
		t.Errorf("with the fault set got %d", status)
	}
	for _, bad := range []string{`{"faults":[{"kind":"explode"}]}`, `{"profile":"sunny"}`, `{"fault":[]}`, `[`, ``} {
		if status, body := ask("POST", "/sim/faults", bad+" "); status != 400 {
			t.Errorf("%s got %d %s, want 400", bad, status, body)
		}
	}
	if status, _ := ask("POST", "/sim/faults", `{"limits":[{"rpm":6,"burst":"10s"}]}`); status != 200 || len(api.Faults()) != 1 {
		t.Errorf("a limit alone got %d and left %d faults, want 1", status, len(api.Faults()))
	}
	if status, body := ask("DELETE", "/sim/faults", ""); status != 200 || strings.TrimSpace(body) != `{"faults":[]}` {
		t.Errorf("clearing got %d %s", status, body)
	}
	var got []int
	for range 2 {
		status, _ := ask("POST", "/v1/messages", plainCall)
		got = append(got, status)
	}
	if got[0] != 200 || got[1] != 429 {
		t.Errorf("at 6 requests per minute got %v, want one and no more", got)
	}
	if status, _ := ask("POST", "/sim/faults", `{"profile":"storm"}`); status != 200 || len(api.Faults()) < 3 {
		t.Errorf("a profile got %d and %d rules", status, len(api.Faults()))
	}
	_, lines := ask("GET", "/sim/attempts", "")
	n := 0
	for s := bufio.NewScanner(strings.NewReader(lines)); s.Scan(); n++ {
		var a sim.Attempt
		if err := json.Unmarshal(s.Bytes(), &a); err != nil || a.Path != "/v1/messages" {
			t.Errorf("line %s: %v", s.Text(), err)
		}
	}
	if n != 3 {
		t.Errorf("got %d records, want the 3 messages calls and none of the control", n)
	}
	if status, _ := ask("POST", "/sim/reset", " "); status != 204 || api.Calls() != 0 {
		t.Errorf("reset got %d, %d calls left", status, api.Calls())
	}
	if status, _ := ask("GET", "/sim/else", ""); status != 404 {
		t.Errorf("an unknown control path got %d", status)
	}
}

func TestServe_endsWhatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}})
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l) }()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(call{body: streamCall}.request(t, "http://"+l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := resp.Body.Read(make([]byte, 1<<20)); err == nil {
		_, err = resp.Body.Read(make([]byte, 1<<20)) // the first may bring the event
		if err == nil {
			t.Error("the stalled stream goes on")
		}
	}
	_ = resp.Body.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve returned %v, want nil", err)
	}
}

// TestRecord_holdsNoSecret, wherever a client may have put it.
func TestRecord_holdsNoSecret(t *testing.T) {
	api := sim.New(sim.Config{})
	do(t, api, "https://api.test", call{
		path:   "/v1/messages?beta=true&api_key=sk-hidden-1",
		header: map[string]string{"x-api-key": "sk-hidden-2", "x-goog-api-key": "sk-hidden-3", "x-session-token": "sk-hidden-4"},
	})
	line, err := json.Marshal(api.Attempts()[0])
	if err != nil || strings.Contains(string(line), "sk-hidden") || !strings.Contains(string(line), "beta=true") {
		t.Errorf("recorded %s (%v)", line, err)
	}
}
