package sim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim/internal/quota"
)

// A Limit is what may be used per minute of the models it is about. A zero is
// no limit. Of the limits in Config.Limits the first that matches is enforced
// for an organisation, and the first with a Workspace that matches alongside.
// Models of one class that fall under one limit share what it allows.
type Limit struct {
	Models       string `json:"models,omitempty"`       // a glob as of [path.Match] on the id, or a class such as opus-4; empty is all
	Organization string `json:"organization,omitempty"` // a glob; empty is all
	Workspace    string `json:"workspace,omitempty"`    // a glob; empty makes it a limit of the organisation
	Fast         bool   `json:"fast,omitempty"`         // counts requests with speed "fast", and no others

	RPM  int `json:"rpm,omitempty"`  // requests
	ITPM int `json:"itpm,omitempty"` // input tokens; cache reads are free
	OTPM int `json:"otpm,omitempty"` // output tokens, counted as they are produced

	// CacheReads counts cache reads as input too, which a workspace's limit
	// may do.
	CacheReads bool `json:"cache_reads,omitempty"`

	// Burst is how much rate the buckets hold. 0 means a minute, which makes
	// remaining as large as limit; the API is documented to enforce shorter
	// intervals too. In JSON it is a string such as "10s".
	Burst time.Duration `json:"-"`
}

// Validate reports every mistake in the limit.
func (l Limit) Validate() error {
	var errs []error
	for _, glob := range []struct{ name, text string }{
		{"models", l.Models}, {"organization", l.Organization}, {"workspace", l.Workspace},
	} {
		if _, err := path.Match(glob.text, ""); err != nil {
			errs = append(errs, fmt.Errorf("%s is %q: %w", glob.name, glob.text, err))
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"rpm", l.RPM}, {"itpm", l.ITPM}, {"otpm", l.OTPM}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, want 0 or more", n.name, n.value))
		}
	}
	if l.Burst < 0 {
		errs = append(errs, fmt.Errorf("burst is %v, want 0s or more", l.Burst))
	}
	return errors.Join(errs...)
}

// plainLimit is a Limit without its methods, limitTimes its duration as it
// stands in JSON.
type (
	plainLimit Limit
	limitTimes struct {
		Burst string `json:"burst,omitempty"`
	}
)

// MarshalJSON implements [json.Marshaler].
func (l Limit) MarshalJSON() ([]byte, error) {
	var times limitTimes
	if l.Burst != 0 {
		times.Burst = l.Burst.String()
	}
	return json.Marshal(struct {
		plainLimit
		limitTimes
	}{plainLimit(l), times})
}

// UnmarshalJSON implements [json.Unmarshaler]. Unknown keys are refused.
func (l *Limit) UnmarshalJSON(data []byte) error {
	var in struct {
		plainLimit
		limitTimes
	}
	if err := unmarshalStrict(data, &in); err != nil {
		return err
	}
	*l = Limit(in.plainLimit)
	if in.limitTimes.Burst == "" {
		return nil
	}
	burst, err := time.ParseDuration(in.limitTimes.Burst)
	if err != nil {
		return fmt.Errorf("burst: %w", err)
	}
	l.Burst = burst
	return nil
}

// A Ramp bounds how fast the input of an organisation grows: in each minute of
// the clock, Step tokens more than it used in the one before, and Start in any
// case. The zero Ramp is none. The form is inferred from a message seen in the
// field; the API does not document it.
type Ramp struct {
	Start int `json:"start,omitempty"`
	Step  int `json:"step,omitempty"`
}

// SetLimits replaces Config.Limits. Buckets start full again; what calls in
// flight still produce counts against the old ones. Limits that are wrong are
// refused, all together, and change nothing.
func (a *API) SetLimits(limits ...Limit) error {
	var errs []error
	for i, l := range limits {
		if err := l.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("limits[%d]: %w", i, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = append([]Limit(nil), limits...)
	a.pools = map[poolKey]*quota.Pool{}
	return nil
}

// limitOf returns the limit that is in force, and its number; the zero Limit
// if there is none. a.mu is held.
func (a *API) limitOf(organization, workspace, model string, fast bool) (Limit, int) {
	for i, l := range a.limits {
		if l.Fast == fast && (l.Workspace == "") == (workspace == "") && covers(l.Models, model) &&
			covers(l.Organization, organization) && covers(l.Workspace, workspace) {
			return l, i
		}
	}
	return Limit{}, -1
}

// poolKey is whose calls are counted together.
type poolKey struct {
	organization, workspace, class string
	limit                          int    // models of a class that fall under different limits share none
	model                          string // of the class, by which conditions are looked up
}

// firstOf returns the first model of a class that is in the catalogue, so that
// all of a class share a pool; model itself if it is in none.
func firstOf(class, model string) string {
	for _, s := range catalog {
		if s.class == class {
			return s.id
		}
	}
	return model
}

// keepPools bounds the pools that are remembered. One that is forgotten is
// full again; keys without end are not what limits are tried with.
const keepPools = 100_000

// pool returns the pool of a limit; nil if nothing is limited. a.mu is held.
func (a *API) pool(now time.Time, organization, workspace, model string, fast bool) *quota.Pool {
	l, number := a.limitOf(organization, workspace, model, fast)
	if l.RPM == 0 && l.ITPM == 0 && l.OTPM == 0 {
		return nil
	}
	key := poolKey{organization, workspace, specOf(model).class, number, firstOf(specOf(model).class, model)}
	p := a.pools[key]
	if p == nil {
		if len(a.pools) >= keepPools {
			forgetOne(a.pools)
		}
		p = quota.NewPool(quota.Limit{
			Requests: l.RPM, Input: l.ITPM, Output: l.OTPM,
			CacheReads: l.CacheReads, Burst: cmp.Or(l.Burst, time.Minute),
		}, now)
		a.pools[key] = p
	}
	a.catchUp(p, now, model, organization)
	return p
}

// forgetOne makes room in a map of things that are remembered by key.
func forgetOne[K comparable, V any](m map[K]V) {
	for key := range m {
		delete(m, key)
		return
	}
}

// others is the share of its limits that other users of an organisation take.
// a.mu is held.
func (a *API) others(now time.Time, model, organization string) float64 {
	return a.condition(Others, now, claude.Messages, model, organization)
}

// catchUp refills a pool through the times at which the share of others has
// changed, so that who looks seldom sees what it took meanwhile. a.mu is held.
func (a *API) catchUp(p *quota.Pool, now time.Time, model, organization string) {
	since := p.Since()
	var cuts []time.Time
	for _, f := range a.rules {
		if f.Kind == Others {
			cuts = f.cuts(cuts, since, now)
		}
	}
	if len(cuts) == 0 {
		return
	}
	slices.SortFunc(cuts, time.Time.Compare)
	for _, cut := range cuts {
		p.Refill(cut, a.others(since, model, organization))
		since = cut
	}
}

// refill brings all pools up to now, because what others take is about to
// change. a.mu is held.
func (a *API) refill() {
	now := time.Now()
	for key, p := range a.pools {
		model := key.model
		a.catchUp(p, now, model, key.organization)
		p.Refill(now, a.others(now, model, key.organization))
	}
}

// cuts appends the times between since and now at which a rule begins or ends.
// Of one that comes again and again, the latest hour is looked at.
func (f *force) cuts(list []time.Time, since, now time.Time) []time.Time {
	add := func(at time.Time) {
		if at.After(since) && at.Before(now) {
			list = append(list, at)
		}
	}
	begin := f.set
	if f.Every > 0 {
		from := since
		if hourAgo := now.Add(-time.Hour); hourAgo.After(from) {
			from = hourAgo
		}
		begin = f.set.Add(max(0, from.Sub(f.set)).Truncate(f.Every))
	}
	for ; begin.Before(now); begin = begin.Add(f.Every) {
		add(begin)
		add(begin.Add(f.From))
		if f.Until > 0 {
			add(begin.Add(f.Until))
		}
		if f.Every <= 0 {
			break
		}
	}
	return list
}
