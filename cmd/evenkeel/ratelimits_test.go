package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestAskLimits: with an Admin key the limits are known when the first call
// comes; with another key the error says what is wrong, and not the key.
func TestAskLimits(t *testing.T) {
	api := sim.NewServer(sim.Config{
		Limits:       []sim.Limit{{RPM: 120, ITPM: 50_000, OTPM: 10_000}},
		Organization: func(string) string { return "acme" },
	})
	t.Cleanup(api.Close)
	for key, good := range map[string]bool{"sk-ant-admin-1": true, "sk-ant-api-1": false} {
		c := config.Default()
		c.Upstream.URL, c.Limits.AdminKey = api.URL, config.Secret(key)
		var out bytes.Buffer
		log := newLogger(&out, config.Log{Level: "info", Format: "json"})
		s, err := newService(c, log.Logger)
		if err != nil {
			t.Fatal(err)
		}
		p := &process{service: s, log: log, resolved: &config.Resolved{Config: c}}
		if _, err = p.limitsNow(t.Context(), c); (err == nil) != good {
			t.Errorf("%s: %v, want it to be accepted: %v", key, err, good)
		}
		if err != nil && (strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "limits.admin_key")) {
			t.Errorf("the error is %q, want one that names the setting and not the key", err)
		}
		if good {
			callOnce(t, s, api.URL)
			l := s.transport.Snapshot().Limits
			if len(l) == 0 || len(l[0].Buckets) == 0 || l[0].Owner != "acme" {
				t.Errorf("limits %+v, want those of acme", l)
			}
		}
		_ = s.transport.Close()
		log.close()
	}
}

// call makes one call.
func callOnce(t *testing.T, s *service, upstream string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, upstream+"/v1/messages",
		strings.NewReader(`{"model":"claude-haiku-5-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "k")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	resp, err := s.transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
