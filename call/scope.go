package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/retry"
)

// scopeOf names who shares the limit behind a pause of the given width.
func scopeOf(n Need, width classify.Pause) scopeKey {
	k := scopeKey{credential: n.Scope}
	switch width {
	case classify.PauseScope:
		k.class = laneClass(n)
	case classify.PauseSpeed:
		k.class, k.fast = laneClass(n), true
	}
	return k
}

// laneClass is the model class for messages. The other paths have request
// limits of their own and share nothing with any model.
func laneClass(n Need) string {
	if n.Key.Path == claude.Messages {
		return claude.ModelClass(n.Key.Model)
	}
	return "/" + n.Key.Path.String()
}

// pausedUntil is when the last pause that concerns an attempt ends.
func (m *Memory) pausedUntil(n Need) (until time.Time, told time.Duration) {
	if m.scopes.len() == 0 {
		return time.Time{}, 0
	}
	for _, width := range [...]classify.Pause{classify.PauseScope, classify.PauseCredential, classify.PauseSpeed} {
		if width == classify.PauseSpeed && !n.Fast {
			continue
		}
		if s, ok := m.scopes.get(scopeOf(n, width)); ok && s.paused.After(until) {
			until, told = s.paused, s.told
		}
	}
	return until, told
}

// longestPause bounds what one answer can ask of all others: a plan's window
// may be hours away, and once in an hour somebody may look whether it has moved.
const longestPause = time.Hour

func (m *Memory) pause(now time.Time, n Need, end End) {
	s := m.scope(scopeOf(n, end.Verdict.Pause))
	if most := now.Add(longestPause); end.PauseUntil.After(most) {
		end.PauseUntil = most
	}
	if end.PauseUntil.After(s.paused) {
		s.paused, s.told = end.PauseUntil, end.Verdict.RetryAfter
	}
}

func (m *Memory) scope(k scopeKey) *scope {
	if s, ok := m.scopes.get(k); ok {
		return s
	}
	s := &scope{budget: retry.New(retry.Config{Tokens: m.cfg.RetryBudget})}
	m.scopes.put(k, s)
	return s
}

// purse is the budget that a retry of this need is paid from, and that its
// success pays into.
func (m *Memory) purse(n Need, l *lane) *retry.Budget {
	if n.Price > 0 && n.Purse == classify.ScopePurse {
		return m.scope(scopeOf(n, classify.PauseScope)).budget
	}
	return l.budget
}

func (m *Memory) waitersFor(n Need, l *lane) *[]*holding {
	if n.Price > 0 && n.Purse == classify.ScopePurse {
		return &m.scope(scopeOf(n, classify.PauseScope)).forMoney
	}
	return &l.forMoney
}

func (m *Memory) floor(n Need) *retry.Floor {
	return &m.scope(scopeOf(n, classify.PauseScope)).floor
}
