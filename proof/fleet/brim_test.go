package fleet

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// answer is what the API takes for one call, some half a second.
var answer = sim.Config{TokenTime: 5 * time.Millisecond, OutputTokens: 100, OutputSpread: 0.5}

// TestBrim: eight gateways share a limit of which their callers want twice as
// much and more; none of them has been told of it, nor how many they are. Each
// has had one call when the others begin: who has had none asks slowly until he
// knows whose his credential is, and finds empty what those took who were faster.
func TestBrim(t *testing.T) {
	limit := sim.Limit{RPM: 1200, Burst: 10 * time.Second, ITPM: 10_000_000, OTPM: 10_000_000}
	cfg := answer
	cfg.Limits = []sim.Limit{limit}
	cfg.Faults = []sim.Rule{{Rate: 0.01, Fault: sim.Fault{Status: 529}}}
	s := newStage(t, 8, cfg)
	s.introduce(t)
	all := s.play(t, load{workers: 25, until: brimFor, body: plain(20)})
	m := s.measure(0, brimFor)
	shares := each(len(s.nodes), all, brimKnown, brimFor)
	t.Logf("%v; used %.1f %% of what is allowed, Jain %.4f of %v", m, 100*m.used(limit, brimFor), jain(shares), shares)
	t.Logf("in each second %v, refused at %v", m.perSecond(brimFor), m.refusedAt)
	if got := m.used(limit, brimFor); got < brimUsed {
		t.Errorf("used %.1f %% of what is allowed, want %.0f %%", 100*got, 100*brimUsed)
	}
	if got := m.refusedShare(); got > brimRefused {
		t.Errorf("%.2f %% of attempts were answered 429, want %.1f %% at most", 100*got, 100*brimRefused)
	}
	if got := jain(shares); got < brimJain {
		t.Errorf("Jain's index over gateways is %.4f of %v, want %.2f", got, shares, brimJain)
	}
	for i, n := range s.nodes {
		if got := n.state(t).Store.Processes; got != len(s.nodes) {
			t.Errorf("gateway %d knows of %d processes, want %d", i, got, len(s.nodes))
		}
	}
}
