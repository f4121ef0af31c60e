package fleet

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// Lanes returns what is known of breakers and budgets, the most recently used
// first: those of the fleet, with what is counted and in flight here.
func (a *Admission) Lanes(now time.Time) []observe.Breaker {
	all := a.memory.Lanes(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	worst := map[string]*laneView{} // of all owners, by lane
	for name, l := range a.lanes {
		w := worst[name.lane]
		shut, was := l.state.Breaker != Closed, w != nil && w.state.Breaker != Closed
		if w == nil || shut && !was || shut == was && l.at.After(w.at) {
			worst[name.lane] = l
		}
	}
	for i := range all {
		b := &all[i]
		l := worst[laneNamed(b.Upstream, b.Path, b.Model)]
		if l == nil {
			continue
		}
		b.Budget = int(l.state.Budget)
		if l.state.Breaker != Closed {
			if b.State, b.NextProbe = l.state.Breaker.String(), (time.Time{}); l.state.NextProbe > 0 {
				b.NextProbe = l.at.Add(l.state.NextProbe)
			}
		}
	}
	return all
}

// Limits returns what may still be used by the fleet, the latest used first: as
// of the last word of the store about each.
func (a *Admission) Limits(now time.Time) []observe.Limit { return a.memory.Limits(now) }

// TellLimits takes over an answer of the Rate Limits API; see
// [call.Memory.TellLimits].
func (a *Admission) TellLimits(now time.Time, organization string, answer []byte) (page string, err error) {
	return a.memory.TellLimits(now, organization, answer)
}

// Store returns how it stands with the store.
func (a *Admission) Store() *observe.Store {
	h := a.store.Health()
	return &observe.Store{
		Kind: "redis", Local: h.Local, Cause: string(h.Cause), Since: h.Since, NextTry: h.NextTry, Processes: h.Live,
		Errors: h.Errors, Owners: h.Owners, Alone: h.Locals, Pending: h.Pending, Lost: h.Lost, Warnings: h.Warnings,
	}
}
