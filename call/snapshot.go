package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// Lanes returns the breakers and budgets of the keys seen, the most recently
// used first.
func (m *Memory) Lanes(now time.Time) []observe.Breaker {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ripen(now)
	var all []observe.Breaker
	for k, l := range m.lanes.all {
		failures, calls := l.breaker.Rate(now)
		b := observe.Breaker{
			Upstream: k.Upstream, Path: k.Path.String(), Model: k.Model,
			State: l.breaker.State(now).String(), Failures: failures, Calls: calls,
			Budget: l.budget.Level(),
		}
		if b.State != "closed" {
			b.NextProbe = l.breaker.NextProbe(now)
		}
		all = append(all, b)
	}
	return all
}
