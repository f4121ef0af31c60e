package fleet

import (
	"math"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestClasses: three gateways, each with callers of another class. Where there
// is too little for all they share it 8 : 4 : 1, as if they were one.
func TestClasses(t *testing.T) {
	cfg := answer
	cfg.Limits = []sim.Limit{{RPM: 1200, Burst: 2 * time.Second, ITPM: 10_000_000, OTPM: 10_000_000}}
	s := newStage(t, 3, cfg)
	const from = 5 * time.Second // by then the limit is known
	var loads []load
	for i, class := range []string{"interactive", "normal", "batch"} {
		loads = append(loads, load{node: i + 1, class: class, workers: 40, until: from + classesFor, body: plain(20)})
	}
	got := each(3, s.play(t, loads...), from, from+classesFor)
	all := got[0] + got[1] + got[2]
	t.Logf("answered %v of %.0f: %.2f : %.2f : %.2f", got, all, 13*got[0]/all, 13*got[1]/all, 13*got[2]/all)
	for i, weight := range []float64{8, 4, 1} {
		if off := math.Abs(13*got[i]/all/weight - 1); off > classesOff {
			t.Errorf("class %d has %.2f thirteenths, want %.0f within %.0f %%", i, 13*got[i]/all, weight, 100*classesOff)
		}
	}
}

// TestNode_killed: a gateway dies with all that it had reserved. The others take
// what it leaves.
func TestNode_killed(t *testing.T) {
	limit := sim.Limit{RPM: 1200, Burst: 2 * time.Second, ITPM: 10_000_000, OTPM: 10_000_000}
	cfg := answer
	cfg.Limits = []sim.Limit{limit}
	s := newStage(t, 3, cfg)
	const dies, end = 6 * time.Second, 16 * time.Second
	time.AfterFunc(dies, func() { _ = s.nodes[0].cmd.Process.Kill() })
	s.play(t, load{workers: 20, until: end, body: plain(20)})
	m := s.measure(dies+time.Second, end)
	t.Logf("%v; in each second %v", m, s.measure(0, end).perSecond(end))
	if got := m.rate(end-dies-time.Second) / 20; got < 0.9 {
		t.Errorf("%.0f %% of the rate is used from a second after it died, want 90 %%", 100*got)
	}
	if m.refused > 2 {
		t.Errorf("%d attempts were answered 429", m.refused)
	}
}
