package limits

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// The runs named Real are those of the virtual clock once more, with real
// processes, connections and time. make prove runs them for minutes and holds
// them to what is promised; make test for five seconds, on a machine that has
// other things to do, and holds them to what five seconds can show.

// tempo is how a run differs from what demands are written for: answers of some
// 18 s and 300 tokens, and buckets that hold a minute. In one that is faster,
// answers take less time and limits allow more, by one factor. Streams have
// fewer tokens, as slow ones, and of those the limit allows less: each is an
// event, and a machine makes so many. Where output is scarce they have more of
// them, because headers round it to the nearest thousand; 0 is no stream there.
type tempo struct {
	faster, shorter, scarce float64
	burst                   time.Duration // what buckets hold
}

// scene is where so many workers want twice what they may have; as streams, if
// that can be.
func (p tempo) scene(d demand, workers int, asked bool) (s scene, stream bool) {
	shorter := p.shorter
	if d.limit.OTPM < 100_000 {
		shorter = p.scarce
	}
	if stream = asked && shorter > 0; !stream {
		shorter = 1 // has no events
	}
	of := func(d time.Duration, by float64) time.Duration {
		return time.Duration(float64(d) * by).Round(time.Microsecond)
	}
	l := d.limitFor(workers)
	const most = 1e9 // that a scenario takes
	return scene{
		first: of(time.Second, 1/p.faster), token: of(pace, shorter/p.faster), tokens: int(answers / shorter), spread: 0.5,
		limit: sim.Limit{
			RPM:  int(float64(l.RPM) * p.faster),
			ITPM: int(min(most, float64(l.ITPM)*p.faster)),
			OTPM: int(min(most, float64(l.OTPM)*p.faster/shorter)),
		},
		burst: p.burst, story: always,
	}, stream
}

// load is a demand as workers that call.
func (d demand) load(workers int, stream bool) load {
	return load{workers: workers, key: "a", body: func(r *rand.Rand, n int) string {
		return string(d.body(r, fmt.Sprint(r.Uint64(), " ", n), stream))
	}}
}

// together runs all of f at the same time. They must not end the test.
func together(f ...func()) {
	var wg sync.WaitGroup
	for _, f := range f {
		wg.Go(f)
	}
	wg.Wait()
}

// overdrawn is by how much more was let in than a limit's buckets hold and
// refill, in the window in which that is most; as a share of the bucket.
func overdrawn(all []sim.Attempt, s scene) (most float64) {
	var level [2]float64
	var at time.Duration
	rate := [2]float64{float64(s.limit.RPM) / 60, float64(s.limit.ITPM) / 60}
	for _, a := range all {
		if a.Status != 200 && a.Status != 0 {
			continue
		}
		for k, n := range [2]float64{1, float64(a.InputTokens + a.CacheWriteTokens)} {
			level[k] = max(0, level[k]-rate[k]*(a.Since-at).Seconds()) + n
			most = max(most, level[k]/(rate[k]*s.burst.Seconds())-1)
		}
		at = a.Since
	}
	return most
}

// Measured against rate · time + burst, what is lost when a run begins (nothing
// is produced before the first token) and left when it ends counts in full; of
// output it is two to five seconds of rate: for waves of answers that begin and
// end together, and for headroom, since output that comes faster than expected
// looks like others who take some.

// TestReal_configuredLimitsAreUsed: with limits that are configured, demand of
// twice as much uses 99 % of what the API allows, and one attempt in two
// hundred at most is answered 429.
func TestReal_configuredLimitsAreUsed(t *testing.T) {
	t.Parallel()
	for i, r := range realRuns(t, true) {
		all := r.attempts(t)
		m := observe(all, r.limit, 0, usedFor, r.burst, nil)
		used := max(m.used[0], m.used[1], m.used[2])
		t.Logf("%-15s %v", demands[i].name, m)
		if used < realUsed {
			t.Errorf("%s: used %.2f %% of what is allowed, want %.1f %%", demands[i].name, 100*used, 100*realUsed)
		}
		r.check(t, demands[i].name, m, all)
	}
}

// TestReal_limitsAreLearned: with nothing configured, 97 % of what the API
// allows is used from a minute after the start, and it is known what that is.
func TestReal_limitsAreLearned(t *testing.T) {
	t.Parallel()
	for i, r := range realRuns(t, false) {
		all := r.attempts(t)
		whole, late := observe(all, r.limit, 0, usedFor, r.burst, nil), observe(all, r.limit, learnedBy, usedFor, 0, nil)
		used := max(late.used[0], late.used[1], late.used[2])
		t.Logf("%-15s %v", demands[i].name, whole)
		t.Logf("%-15s %v", "  learned", late)
		if used < realLearned {
			t.Errorf("%s: used %.2f %% of what is allowed when it was learned, want %.1f %%", demands[i].name, 100*used, 100*realLearned)
		}
		r.check(t, demands[i].name, whole, all)
	}
}

// realRun is a demand that was played.
type realRun struct {
	*stage
	scene
}

// realRuns plays all demands, each on a stage of its own; every other one as
// streams.
func realRuns(t *testing.T, configured bool) (runs []realRun) {
	t.Helper()
	var plays []func()
	for i, d := range demands {
		s, stream := usedTempo.scene(d, realWorkers, (i%2 == 0) == configured)
		config := ""
		if configured {
			config = fmt.Sprintf("upstream: {api_key: sk-a}\nlimits: {models: {%s: {rpm: %d, itpm: %d, otpm: %d}}}\n", model, s.limit.RPM, s.limit.ITPM, s.limit.OTPM)
		}
		r := realRun{newStage(t, s, config), s}
		runs = append(runs, r)
		plays = append(plays, func() { r.play(uint64(i), usedFor, d.load(realWorkers, stream)) })
	}
	together(plays...)
	return runs
}

// check holds a run to what is true of every one: few 429s, no window that
// holds more than the limit, and limits that are known.
func (r *realRun) check(t *testing.T, name string, m measure, all []sim.Attempt) {
	t.Helper()
	if got := m.refusedShare(); got > realRefused && m.refused > realFew {
		t.Errorf("%s: %d of %d attempts were answered 429, want %.1f %% at most", name, m.refused, m.attempts, 100*realRefused)
	}
	if got := overdrawn(all, r.scene); got > 0.05 { // what arrives is counted when it has been read
		t.Errorf("%s: a window holds %.1f %% of the bucket more than burst and rate", name, 100*got)
	}
	for _, l := range r.state(t).Limits {
		if l.Class != claude.ModelClass(model) {
			continue
		}
		for k, want := range []int{r.limit.RPM, r.limit.ITPM, r.limit.OTPM} {
			if got := l.Buckets[k].PerMinute; got != int64(want) {
				t.Errorf("%s: of %s %d a minute are taken for the limit, want %d", name, l.Buckets[k].Kind, got, want)
			}
		}
		return
	}
	t.Errorf("%s: nothing is known of the limits of %s", name, model)
}
