package call

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// TestMemory_costs: 10,000 calls that wait take at most 1 KB each. Where no two are
// of one caller it is some more: what is fair is kept by caller.
func TestMemory_costs(t *testing.T) {
	const n = 10_000
	for _, tt := range []struct{ callers, credentials, most int }{
		{1, 1, 1024},
		{100, 1, 1024},
		{100, 100, 1024},
		{n, 1, 1200},
	} {
		t.Run(fmt.Sprintf("callers=%d/credentials=%d", tt.callers, tt.credentials), func(t *testing.T) {
			m := NewMemory(MemoryConfig{QueueDepth: n + 1, Limits: Limits{Fixed: true, Organizations: map[string]map[string]Rates{"org": {"*": {RPM: 1}}}}})
			flows, scopes := make([]string, tt.callers), make([]string, tt.credentials)
			for i := range flows {
				flows[i] = "caller-" + strconv.Itoa(i)
			}
			for i := range scopes {
				scopes[i] = strings.Repeat("hash", 8) + strconv.Itoa(i)
				m.Belongs(start, scopes[i], "org", "", false)
			}
			need := func(i int) Need {
				return Need{
					Call: ID(i + 1), Key: Key{Upstream: "up", Path: claude.Messages, Model: "claude-opus-5-5"},
					Scope: scopes[i%tt.credentials], Arrived: start, Deadline: start.Add(time.Hour), Attempt: 1,
					Caller: Caller{Flow: flows[i%tt.callers]}, Cost: Cost{Input: 100, MaxTokens: 100},
				}
			}
			if d := m.Admit(ctx, start, need(n)); d.Ticket.ID == 0 {
				t.Fatalf("the first call is held: %+v", d.Hold)
			}
			before := inUse()
			for i := range n {
				if d := m.Admit(ctx, start, need(i)); d.Hold.Wake == nil {
					t.Fatalf("call %d does not wait: %+v", i, d)
				}
			}
			each := int(inUse()-before) / n
			t.Logf("%d bytes per waiting call", each)
			if each > tt.most {
				t.Errorf("a waiting call takes %d bytes, want at most %d", each, tt.most)
			}
			runtime.KeepAlive(m)
			runtime.KeepAlive(flows)
		})
	}
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
