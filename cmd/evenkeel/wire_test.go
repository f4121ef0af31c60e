package main

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/gateway"
)

// wired is what a configuration comes to.
type wired struct {
	Transport evenkeel.Config
	Gateway   gateway.Config
}

func wire(t *testing.T, c config.Config) wired {
	t.Helper()
	transport := transportConfig(c, nil)
	tr, err := evenkeel.New(transport)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	gw, err := gatewayConfig(c, tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	gw.Transport, gw.State = nil, nil // never the same
	return wired{transport, gw}
}

// A key that is read and changes nothing is a promise that is not kept. Every
// key is used, or listed as one that is not yet.
func TestWire_everyKeyCounts(t *testing.T) {
	elsewhere := map[string]string{
		"concurrency.mode": "only with concurrency.max", "limits.admin_key": "askLimits",
		"version": "checked", "listen": "openPorts", "admin": "openPorts", "log.level": "newLogger", "log.format": "newLogger",
		"store.kind":        "newService",
		"telemetry.semconv": "later",
		"store.redis.url":   "openStore", "store.redis.on_failure": "one choice", "store.redis.expected_instances": "openStore",
	}
	values := map[string]string{
		"hosts": "a.internal", "origins": "https://a.example",
		"upstream.url": "https://b.example", "upstream.api_key": "sk-other",
		"timeouts.connect": "7s", "timeouts.first_byte": "7s", "timeouts.idle": "7s", "timeouts.total": "7s",
		"retry.max_attempts": "7", "retry.base": "7s", "retry.max": "7s", "retry.longest_wait": "7m", "retry.budget": "0",
		"breaker.error_rate": "7%", "breaker.window": "7s", "breaker.min_calls": "7", "breaker.open_for": "7m", "breaker.probe_every": "0",
		"breaker.probes": "7", "breaker.ramp": "0s", "breaker.when_open": "refuse",
		"limits.learn": "false", "limits.headroom": "7%", "limits.models": "{claude-opus-5-5: {rpm: 7}}",
		"limits.organizations": "{org: {claude-opus-5-5: {rpm: 7}}}", "concurrency.max": "7",
		"upstream.stream_plain": "true", "stream.resume": "continue",
		"fallback":    "[{from: claude-opus-*, to: claude-sonnet-5-5}]",
		"queue.depth": "7", "queue.max_wait": "7s", "memory.body": "7MB", "memory.bodies": "77MB",
		"clients":     "[{name: a, token_sha256: " + strings.Repeat("a", 64) + ", priority: batch, weight: 2, paths: [/v1/messages]}]",
		"drain.delay": "7s", "drain.grace": "0",
	}
	plain, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	before := wire(t, plain.Config)
	for path := range plain.AllOrigins() {
		value, ok := values[path]
		if !ok {
			if elsewhere[path] == "" {
				t.Errorf("%s is used nowhere", path)
			}
			continue
		}
		changed, err := config.Load(config.Sources{Env: []string{config.EnvName(path) + "=" + value}})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if reflect.DeepEqual(wire(t, changed.Config), before) {
			t.Errorf("%s: %s changes nothing", path, value)
		}
	}
}

// The binary without a file is the library without a Config.
func TestWire_defaultsAreTheLibrarys(t *testing.T) {
	c := transportConfig(config.Default(), nil)
	for name, got := range map[string][2]any{
		"MaxAttempts":        {c.MaxAttempts, 6},
		"LongestWait":        {c.LongestWait.String(), "1m0s"},
		"RetryBudget":        {c.RetryBudget, 500},
		"Timeouts.Connect":   {c.Timeouts.Connect.String(), "5s"},
		"Timeouts.FirstByte": {c.Timeouts.FirstByte.String(), "2m0s"},
		"Timeouts.Idle":      {c.Timeouts.Idle.String(), "3m0s"},
		"Timeouts.Total":     {c.Timeouts.Total.String(), "10m0s"},
		"Memory.Body":        {c.Memory.Body, int64(32 << 20)},
		"Memory.Bodies":      {c.Memory.Bodies, int64(512 << 20)},
		"Queue.Depth":        {c.Queue.Depth, 1000},
		"Queue.MaxWait":      {c.Queue.MaxWait.String(), "30s"},
		"Breaker.ErrorRate":  {c.Breaker.ErrorRate, 0.20},
		"Breaker.ProbeEvery": {c.Breaker.ProbeEvery.String(), "30s"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s = %v, want %v", name, got[0], got[1])
		}
	}
}

// Zero in the file is none, not the library's default.
func TestWire_zeroIsNone(t *testing.T) {
	r, err := config.Load(config.Sources{Env: []string{
		"EVENKEEL_BREAKER_PROBE_EVERY=0", "EVENKEEL_BREAKER_RAMP=0", "EVENKEEL_RETRY_BUDGET=0", "EVENKEEL_DRAIN_GRACE=0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := wire(t, r.Config)
	if w.Transport.Breaker.ProbeEvery >= 0 || w.Transport.Breaker.Ramp >= 0 || w.Transport.RetryBudget >= 0 || w.Gateway.Drain.Grace >= 0 {
		t.Errorf("got %+v, %d, %+v; want less than 0, which is none", w.Transport.Breaker, w.Transport.RetryBudget, w.Gateway.Drain)
	}
}

// A reload that the gateway refuses leaves the transport as it was.
func TestService_reconfiguresBothOrNeither(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	old := config.Default()
	s, err := newService(old, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.transport.Close()
	bad := old
	bad.Origins = []string{"not an origin"}
	if err := s.reconfigure(old, bad, log); err == nil {
		t.Error("an origin that is none was taken")
	}
	good := old
	good.Retry.MaxAttempts = 2
	if err := s.reconfigure(old, good, log); err != nil {
		t.Errorf("a good configuration was refused: %v", err)
	}
}
