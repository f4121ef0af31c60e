package gateway

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestGateway_endsWhatCannotBegin: a caller whose stream never begins is told
// why, within its deadline, with a status or, behind headers that are out, in
// one error event.
func TestGateway_endsWhatCannotBegin(t *testing.T) {
	tests := []struct {
		name   string
		fault  sim.Fault
		status int
		code   evenkeel.Code
	}{
		{"silent from the first byte", sim.Fault{Kind: sim.StallAfter}, 200, evenkeel.CodeTimeout},
		{"silent after an event", sim.Fault{Kind: sim.StallAfter, Events: 1}, 200, evenkeel.CodeTimeout},
		{"cut within an event", sim.Fault{Kind: sim.HalfEvent, Events: 1}, 502, evenkeel.CodeStreamCut},
		{"no stream at all", sim.Fault{Kind: sim.Garbage}, 502, evenkeel.CodeStreamCut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(sim.Reply{Status: 200, Fault: tt.fault})
				tr, err := evenkeel.New(evenkeel.Config{Base: api, Timeouts: evenkeel.Timeouts{Idle: 2 * time.Second}})
				if err != nil {
					t.Fatal(err)
				}
				g := startPiped(t, tr, Drain{})
				r := g.request(t.Context(), "POST", "/v1/messages", strings.Replace(message, "{", `{"stream":true,`, 1))
				r.Header.Set("X-Api-Key", "sk-test")
				r.Header.Set("Anthropic-Version", "2023-06-01")
				r.Header.Set(evenkeel.HeaderDeadline, "5s")
				start := time.Now()
				resp, err := g.caller.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if took := time.Since(start); err != nil || took > 5*time.Second {
					t.Errorf("it ended with %v after %v, want within 5s", err, took)
				}
				events := 0
				if tt.status == 200 {
					events = 1
				}
				if resp.StatusCode != tt.status || strings.Count(string(b), "event: ") != events || !strings.Contains(string(b), `"error_code":"`+string(tt.code)+`"`) {
					t.Errorf("got %d %q, want %d, %d events and %s", resp.StatusCode, b, tt.status, events, tt.code)
				}
				g.stop()
				if err := <-g.done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
