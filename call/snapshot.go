package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/limit"
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
			Budget: l.budget.Level(), InFlight: l.inFlight, Most: l.slots.State(now).Limit,
		}
		if b.State != "closed" {
			b.NextProbe = l.breaker.NextProbe(now)
		}
		all = append(all, b)
	}
	return all
}

// maxTold bounds the limits that a snapshot tells of: a person looks at it.
const maxTold = 100

// Limits returns what may still be used, the latest used first.
func (m *Memory) Limits(now time.Time) []observe.Limit {
	m.mu.Lock()
	defer m.mu.Unlock()
	groups := m.book.Groups(now)
	groups = groups[:min(len(groups), maxTold)]
	all := make([]observe.Limit, 0, len(groups))
	for _, g := range groups {
		l := observe.Limit{
			Of: g.Of, Owner: g.Owner, Workspace: g.Workspace, Class: g.Class, Fast: g.Fast,
			InFlight: g.InFlight, Learning: g.Open, Paused: g.Paused,
		}
		for _, b := range g.Buckets {
			l.Buckets = append(l.Buckets, observe.Bucket{
				Kind: b.Kind.String(), PerMinute: b.Limit, Burst: b.Burst, Level: b.Level,
				Reserved: b.Ledger.Outstanding, From: b.From.String(),
			})
		}
		all = append(all, l)
	}
	return all
}

// TellLimits takes over an answer of the Rate Limits API about an organisation,
// and returns the page to ask for next; "" if that was all. What answers to
// calls show goes before it.
func (m *Memory) TellLimits(now time.Time, organization string, answer []byte) (page string, err error) {
	told, page, err := limit.ParseTold(answer)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.book.Tell(now, organization, told)
	return page, nil
}
