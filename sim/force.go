package sim

import (
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// force is a rule in force.
type force struct {
	Rule
	set    time.Time // what its times count from
	struck int       // attempts, of Times; guarded by API.mu
}

// enforce returns rules as they come into force now.
func enforce(rules []Rule) []*force {
	now := time.Now()
	out := make([]*force, len(rules))
	for i, r := range rules {
		r.Fault = r.filled()
		out[i] = &force{Rule: r, set: now}
	}
	return out
}

// SetFaults replaces the rules in force. Their From and Until count from now.
// They are not checked: one that is wrong may never strike, see
// [Rule.Validate].
func (a *API) SetFaults(rules ...Rule) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refill()
	a.rules = enforce(rules)
}

// SetFault puts a rule in force behind the others; one of the same name is
// replaced, in its place. Its From and Until count from now, and Times from 0.
// A rule that is wrong is refused with the error of [Rule.Validate], and
// changes nothing.
func (a *API) SetFault(r Rule) error {
	if err := r.Validate(); err != nil {
		return err
	}
	next := enforce([]Rule{r})[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refill()
	at := slices.IndexFunc(a.rules, func(f *force) bool { return f.Name != "" && f.Name == r.Name })
	if at < 0 {
		a.rules = append(slices.Clip(a.rules), next)
		return nil
	}
	a.rules = slices.Clone(a.rules) // attempts in flight keep the old ones
	a.rules[at] = next
	a.rules = slices.DeleteFunc(a.rules, func(f *force) bool { return f != next && f.Name == r.Name })
	return nil
}

// ClearFault removes the rules of that name, and reports whether there were
// any. Those without a name stay.
func (a *API) ClearFault(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refill()
	rest := slices.DeleteFunc(slices.Clone(a.rules), func(f *force) bool { return name != "" && f.Name == name })
	found := len(rest) < len(a.rules)
	a.rules = rest
	return found
}

// ClearFaults removes all rules.
func (a *API) ClearFaults() { a.SetFaults() }

// Faults returns the rules in force, with the defaults of Kind and Status
// written out.
func (a *API) Faults() []Rule {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Rule, len(a.rules))
	for i, f := range a.rules {
		out[i] = f.Rule
	}
	return out
}

// condition returns how much of a condition holds now for a model and an
// organisation: the product of the factors of the rules of that kind; of
// Others the share that they take together. Without such rules it is 1, and 0
// for Others. a.mu is held.
func (a *API) condition(kind Kind, now time.Time, class claude.Path, model, organization string) float64 {
	left := 1.0
	for _, f := range a.rules {
		if f.Kind != kind || !f.covers(now.Sub(f.set), class, model, organization) {
			continue
		}
		if kind == Others {
			left *= 1 - f.Factor
		} else {
			left *= f.Factor
		}
	}
	if kind == Others {
		return 1 - left
	}
	return left
}

// strike decides on the fault of an attempt: that of the first rule that
// strikes, among those that refuse the connection or among all others.
func (t *attempt) strike(class claude.Path, model string, connecting bool) {
	for i, f := range t.rules {
		if f.Kind.isCondition() || connecting != (f.Kind == Refuse) {
			continue
		}
		if !f.covers(t.began.Sub(f.set), class, model, t.organization()) {
			continue
		}
		if unit(mix(t.api.cfg.Seed, t.n, uint64(i))) < f.Rate && t.take(f) {
			t.fault = f.Fault
			return
		}
	}
}

// take counts the attempt against the Times of a rule; false if they are used
// up.
func (t *attempt) take(f *force) bool {
	if f.Times == 0 {
		return true
	}
	t.api.mu.Lock()
	defer t.api.mu.Unlock()
	if f.struck >= f.Times {
		return false
	}
	f.struck++
	t.taken = f
	return true
}
