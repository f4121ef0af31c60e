package fleet

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestBrim: eight gateways share a limit of which their callers want twice as
// much and more.
func TestBrim(t *testing.T) {
	limit := sim.Limit{RPM: 1200, Burst: 10 * time.Second, ITPM: 10_000_000, OTPM: 10_000_000}
	s := newStage(t, 8, sim.Config{Limits: []sim.Limit{limit}, TokenTime: 5 * time.Millisecond, OutputTokens: 200, OutputSpread: 0.5})
	all := s.play(t, load{workers: 25, until: brimFor, body: plain(20)})
	m := s.measure(0, brimFor)
	shares := each(len(s.nodes), all, 0, brimFor)
	t.Log(m.refusedAt)
	perSecond := make([]int, int(brimFor.Seconds())+1)
	for _, at := range m.counted {
		perSecond[int(at.Seconds())]++
	}
	t.Log(perSecond)
	t.Logf("%v; used %.1f %%, %.1f beyond a window, Jain %.4f of %v", m, 100*m.used(limit, brimFor), m.beyond(limit), jain(shares), shares)
	for i, n := range s.nodes {
		if i < 2 {
			t.Logf("%+v", n.state(t))
		}
	}
	statuses := map[int]int{}
	for _, o := range all {
		statuses[o.status]++
	}
	t.Log(statuses, s.nodes[0].said())
}
