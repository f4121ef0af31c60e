package limit_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// honest is an upstream that keeps token buckets as they are documented. It
// shares no code with what it tests. Answers that would overdraw the output
// slow down.
type honest struct {
	rate, size, level [3]float64 // requests, input, output
	used              [3]float64
	others            float64 // share of every rate that a foreign client takes, as long as it gets it
	running           []*job
}

// job is one attempt.
type job struct {
	input, reads, output int // what it costs
	plain                bool
	pace                 float64
	made                 float64 // tokens produced
	first, sent, due     time.Time
	of                   int // the process that sends it
	id                   limit.ID
	route                limit.Route
	shown                bool
	levels               claude.RateLimits // when it was let in
	asked                time.Time         // not to be asked again before
}

func newHonest(rpm, itpm, otpm, depth float64) *honest {
	u := &honest{}
	for k, n := range [3]float64{rpm, itpm, otpm} {
		u.rate[k] = n / 60
		u.size[k] = n / 60 * depth
		u.level[k] = u.size[k]
	}
	return u
}

// step lets time pass: buckets refill, a foreign client takes its part, and
// answers go on.
func (u *honest) step(dt float64) {
	for k := range u.rate {
		u.level[k] = min(u.size[k], u.level[k]+u.rate[k]*dt)
		if take := u.others * u.rate[k] * dt; u.others > 0 && u.level[k] > take {
			u.level[k] -= take
		}
	}
	want := 0.0
	for _, j := range u.running {
		want += min(j.pace*dt, float64(j.output)-j.made)
	}
	part := 1.0
	if want > 0 && want > u.level[2] {
		part = max(0, u.level[2]) / want
	}
	for _, j := range u.running {
		n := min(j.pace*dt, float64(j.output)-j.made) * part
		j.made += n
		u.used[2] += n
		u.level[2] -= n
	}
}

func (u *honest) admit(j *job) (wait float64, empty limit.Kind) {
	for k, need := range [3]float64{1, float64(j.input), 1} {
		if lack := (need - u.level[k]) / u.rate[k]; lack > wait+1e-9 {
			wait, empty = lack, limit.Kind(k)
		}
	}
	if wait > 0 {
		return wait, empty
	}
	u.level[0]--
	u.level[1] -= float64(j.input)
	u.used[0]++
	u.used[1] += float64(j.input)
	u.running = append(u.running, j)
	return 0, 0
}

// headers are what an answer shows, rounded as documented.
func (u *honest) headers(now time.Time) claude.RateLimits {
	window := func(k int, unit float64) claude.Window {
		full := now.Add(time.Duration((u.size[k] - u.level[k]) / u.rate[k] * float64(time.Second)))
		if up := full.Truncate(time.Second); up.Before(full) {
			full = up.Add(time.Second)
		}
		left := math.Round(max(0, u.level[k])/unit) * unit
		if unit == 1 {
			left = math.Floor(max(0, u.level[k]))
		}
		return claude.Window{Limit: int64(u.rate[k]*60 + 0.5), Remaining: int64(left), Reset: full}
	}
	return claude.RateLimits{Requests: window(0, 1), Input: window(1, 1000), Output: window(2, 1000)}
}

// demand is a closed loop of workers, each with one call at a time.
type demand struct {
	rpm, itpm, otpm, depth float64
	config                 limit.Config
	workers                int
	length                 time.Duration
	plain                  bool
	call                   func(rng *rand.Rand) (input, reads, output int)
	pace                   float64
	wrong                  float64 // deviation of the estimate of input
	others                 func(at time.Duration) float64
	noHeaders              bool
	books                  int           // processes that share the limit and do not know of each other; 0 is 1
	atOnce                 bool          // output is charged when an answer begins
	early                  bool          // headers show the level at which the attempt was let in
	skew                   time.Duration // of the upstream's clock
	bias                   float64       // factor of the estimate of input
	failing                float64       // share of attempts that are answered 529
	after                  func(u *honest, at time.Duration)
	seed                   uint64
}

// outcome is what came of it.
type outcome struct {
	used          [3]float64 // share of what the upstream allows, of each kind
	refused, sent int
	between       func(from, to time.Duration) (refused, sent int)
	firstMinute   [3]float64
	total         [3]float64
}

const (
	tickLength = 40 * time.Millisecond
	network    = 80 * time.Millisecond
	firstToken = time.Second
)

// run drives a book against an honest upstream.
func (d demand) run(tb testing.TB) outcome {
	tb.Helper()
	rng := rand.New(rand.NewPCG(d.seed, 7))
	u := newHonest(d.rpm, d.itpm, d.otpm, d.depth)
	n := max(1, d.books)
	books, predictors := make([]*limit.Book, n), make([]*limit.Predictor, n)
	queues, idle := make([][]*job, n), make([]int, n)
	for i := range n {
		books[i], predictors[i], idle[i] = limit.NewBook(d.config), limit.NewPredictor(), d.workers/n
	}
	begin := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	var travel, back []*job
	var refusals, sends []time.Duration
	var out outcome
	for at := time.Duration(0); at < d.length; at += tickLength {
		now := begin.Add(at)
		if d.others != nil {
			u.others = d.others(at)
		}
		u.step(tickLength.Seconds())
		if at == time.Minute {
			out.firstMinute = u.used
		}
		if d.after != nil {
			d.after(u, at)
		}
		response := func(j *job) limit.Response {
			r := limit.Response{Status: 200, At: now, Date: now.Add(d.skew).Truncate(time.Second), Organization: "org"}
			switch {
			case d.early && j != nil:
				r.Limits = j.levels
			case !d.noHeaders:
				r.Limits = u.headers(now.Add(d.skew))
			}
			return r
		}
		// What has arrived.
		for ; len(travel) > 0 && !travel[0].due.After(now); travel = travel[1:] {
			j := travel[0]
			if wait, empty := u.admit(j); wait > 0 {
				refusals = append(refusals, at)
				r := response(nil)
				r.Status = http.StatusTooManyRequests
				books[j.of].Observe(now, j.id, r)
				after := time.Duration(math.Max(1, math.Ceil(wait))) * time.Second
				books[j.of].Settle(now, j.id, limit.End{Outcome: limit.Refused, RetryAfter: after, Empty: empty, IsEmpty: u.level[empty] < 0.5})
				j.asked = now.Add(after)
				back = append(back, j)
				continue
			}
			j.first, j.levels = now.Add(firstToken), u.headers(now.Add(d.skew))
			if rng.Float64() < d.failing {
				u.running = u.running[:len(u.running)-1]
				u.level[0]++
				u.level[1] += float64(j.input)
				u.used[0]--
				u.used[1] -= float64(j.input)
				r := response(nil)
				r.Status = 529
				books[j.of].Observe(now, j.id, r)
				books[j.of].Settle(now, j.id, limit.End{Outcome: limit.Refunded})
				j.asked = now.Add(time.Second)
				back = append(back, j)
			}
		}
		// What has answered.
		keep := u.running[:0]
		for _, j := range u.running {
			if !j.shown && !j.plain && !now.Before(j.first) {
				j.shown = true
				books[j.of].Observe(now, j.id, response(j))
				books[j.of].Correct(now, j.id, claude.Usage{Input: j.input, CacheRead: j.reads, Output: 1})
			}
			if j.made < float64(j.output)-1e-6 || now.Before(j.first) {
				keep = append(keep, j)
				continue
			}
			if j.plain {
				books[j.of].Observe(now, j.id, response(j))
			}
			books[j.of].Settle(now, j.id, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: j.input, CacheRead: j.reads, Output: j.output}})
			predictors[j.of].Learn(j.route, limit.Past{Input: j.input, Reads: j.reads, Output: j.output, Whole: true, Seconds: now.Sub(j.sent).Seconds()})
			idle[j.of]++
		}
		u.running = keep
		// What wants to go.
		for len(back) > 0 && !back[0].asked.After(now) {
			queues[back[0].of] = append([]*job{back[0]}, queues[back[0].of]...)
			back = back[1:]
		}
		for i, book := range books {
			for ; idle[i] > 0; idle[i]-- {
				in, reads, output := d.call(rng)
				estimate := float64(in+reads) * math.Exp(rng.NormFloat64()*d.wrong) * d.bias
				queues[i] = append(queues[i], &job{
					of: i, input: in, reads: reads, output: output, plain: d.plain, pace: d.pace * (0.9 + 0.2*rng.Float64()),
					route: limit.Route{Model: model, MaxTokens: 4096, Input: int(estimate)},
				})
			}
			for len(queues[i]) > 0 && !now.Before(queues[i][0].asked) {
				j := queues[i][0]
				e := predictors[i].Expect(j.route)
				if d.atOnce {
					e.Pace = 0
				}
				a := book.Acquire(now, limit.Need{
					Credential: "c", Path: claude.Messages, Model: model, Own: true,
					Input: e.Input, Reads: e.Reads, Output: e.Output, Pace: e.Pace,
				})
				if a.ID == 0 {
					if a.Wait <= 0 {
						tb.Fatalf("held without a wait: %+v", a)
					}
					break // asked again at the next step: something may have been given back
				}
				queues[i] = queues[i][1:]
				j.id, j.sent, j.due, j.shown = a.ID, now, now.Add(network), false
				travel = append(travel, j)
				sends = append(sends, at)
			}
		}
	}
	for k := range u.used {
		out.used[k] = u.used[k] / (u.size[k] + u.rate[k]*d.length.Seconds())
	}
	out.refused, out.sent = len(refusals), len(sends)
	out.total = u.used
	out.between = func(from, to time.Duration) (refused, sent int) {
		for _, at := range refusals {
			if at >= from && at < to {
				refused++
			}
		}
		for _, at := range sends {
			if at >= from && at < to {
				sent++
			}
		}
		return refused, sent
	}
	return out
}

// scarcest is the kind that is used most.
func (o outcome) scarcest() (share float64) { return max(o.used[0], o.used[1], o.used[2]) }

// afterAMinute is the share of the rate that is used then.
func (o outcome) afterAMinute(d demand) (share float64) {
	for k, perMinute := range [3]float64{d.rpm, d.itpm, d.otpm} {
		share = max(share, (o.total[k]-o.firstMinute[k])/(perMinute*(d.length-time.Minute).Minutes()))
	}
	return share
}

// mixed draws sizes from a wide range.
func mixed(rng *rand.Rand) (input, reads, output int) {
	return min(60_000, int(200*math.Exp(rng.NormFloat64()*1.2+1.5))), 0, int(300 * math.Exp(rng.NormFloat64()*0.6))
}

// Answers take 300 tokens / 30 per second = 10 s and more, and 200 workers ask
// for twice what each limit allows.
var demands = map[string]demand{
	"requests-bound": {rpm: 500, itpm: 10e6, otpm: 10e6, call: func(rng *rand.Rand) (int, int, int) { return 800 + rng.IntN(400), 0, 200 + rng.IntN(200) }},
	"input-bound":    {rpm: 10000, itpm: 2e6, otpm: 10e6, call: func(rng *rand.Rand) (int, int, int) { return 3000 + rng.IntN(2000), 0, 200 + rng.IntN(200) }},
	"output-bound":   {rpm: 10000, itpm: 10e6, otpm: 180e3, call: func(rng *rand.Rand) (int, int, int) { return 1000, 0, int(300 * math.Exp(rng.NormFloat64()*0.7)) }},
	"mixed":          {rpm: 2000, itpm: 900e3, otpm: 200e3, call: mixed},
	"cache-heavy": {rpm: 10000, itpm: 1.5e6, otpm: 10e6, call: func(rng *rand.Rand) (int, int, int) {
		if rng.IntN(12) == 0 { // a conversation's first turn writes what the others read
			return 20_000, 0, 300
		}
		return 1500 + rng.IntN(1000), 18_000, 200 + rng.IntN(200)
	}},
}

func (d demand) with(f func(*demand)) demand {
	d.workers, d.length, d.pace, d.depth, d.wrong, d.bias, d.seed = 200, 10*time.Minute, 30, 60, 0.1, 1, d.seed+1
	f(&d)
	return d
}

// configured is what the table runs with where the limits are known before.
func (d demand) configured() limit.Config {
	return limit.Config{Models: map[string]limit.Rates{limit.ClassAny: {RPM: int64(d.rpm), ITPM: int64(d.itpm), OTPM: int64(d.otpm)}}}
}

// TestLoop_usesTheLimit: of what the upstream allows in ten minutes, its burst
// included, 99 % goes through, and one attempt in 200 at most is refused. Where
// nothing is configured, 97 % of the rate after the first minute is what is
// asked; it is the same as where it is.
//
// go test -run TestLoop -v ./limit prints the table of the decision record.
func TestLoop_usesTheLimit(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(demands)) {
		for _, plain := range []bool{false, true} {
			for _, known := range []bool{true, false} {
				d := demands[name].with(func(d *demand) { d.plain = plain })
				if known {
					d.config = d.configured()
				}
				o := d.run(t)
				t.Logf("%-15s plain %-5v configured %-5v used %.2f %%, %.2f %% after a minute; refused %d of %d",
					name, plain, known, 100*o.scarcest(), 100*o.afterAMinute(d), o.refused, o.sent)
				enough := 0.99
				if name == "cache-heavy" && plain {
					enough = 0.985 // what the first answers have read is told when they end
				}
				if got := o.scarcest(); got < enough {
					t.Errorf("%s, plain %v, configured %v: used %.4f", name, plain, known, got)
				}
				if got := o.afterAMinute(d); got < 0.985 {
					t.Errorf("%s, plain %v, configured %v: used %.4f after a minute", name, plain, known, got)
				}
				if got := float64(o.refused) / float64(o.sent); got > 0.005 {
					t.Errorf("%s, plain %v, configured %v: refused %.4f of %d", name, plain, known, got, o.sent)
				}
			}
		}
	}
}

// foreign is a client that takes 40 % of the limit from the third minute to
// the sixth.
func foreign(at time.Duration) float64 {
	if at > 3*time.Minute && at < 6*time.Minute {
		return 0.4
	}
	return 0
}

// TestLoop_othersAreMadeRoomFor: 2 % of attempts at most are refused while
// another client takes 40 % of the limit, and none once ten seconds have
// passed.
func TestLoop_othersAreMadeRoomFor(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(demands)) {
		o := demands[name].with(func(d *demand) { d.others = foreign }).run(t)
		change, sent := o.between(3*time.Minute, 6*time.Minute)
		late, _ := o.between(3*time.Minute+10*time.Second, 6*time.Minute)
		t.Logf("%-15s refused %d of %d while others take 40 %%, %d of them after 10 s; used with them %.2f %% of all", name, change, sent, late, 100*o.scarcest())
		if float64(change) > 0.02*float64(sent) || late > 0 {
			t.Errorf("%s: %d of %d refused, %d after ten seconds", name, change, sent, late)
		}
		if got := o.scarcest(); got < 0.87 { // all but 0.4 of three minutes of eleven
			t.Errorf("%s: used %.4f", name, got)
		}
	}
}

// TestLoop_outputCountsAsItComes: charged when answers begin, as much output as
// is in flight would never be used; the longer the answers, the more.
func TestLoop_outputCountsAsItComes(t *testing.T) {
	for _, pace := range []float64{30, 15} {
		run := func(atOnce bool) float64 {
			return demands["output-bound"].with(func(d *demand) {
				d.config, d.atOnce, d.pace, d.workers = d.configured(), atOnce, pace, int(200*30/pace)
			}).run(t).scarcest()
		}
		comes, atOnce := run(false), run(true)
		t.Logf("at %v tokens a second %.2f %% are used; charged at once %.2f %%", pace, 100*comes, 100*atOnce)
		if comes < 0.985 || comes < atOnce+0.01 {
			t.Errorf("at %v tokens a second %.4f are used, charged at once %.4f", pace, comes, atOnce)
		}
	}
}

// TestLoop_processesThatDoNotKnowOfEachOther share a limit: each sees the
// others in its levels.
func TestLoop_processesThatDoNotKnowOfEachOther(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(demands)) {
		for _, books := range []int{2, 5} {
			o := demands[name].with(func(d *demand) { d.books = books }).run(t)
			t.Logf("%-15s %d processes: used %.2f %%, refused %d of %d", name, books, 100*o.scarcest(), o.refused, o.sent)
			tooMany := 0.005
			if books > 2 {
				tooMany = 0.05 // each sees a fifth of the answers; a shared store sees all
			}
			if o.scarcest() < 0.97 || float64(o.refused) > tooMany*float64(o.sent) {
				t.Errorf("%s, %d processes: used %.4f, refused %d of %d", name, books, o.scarcest(), o.refused, o.sent)
			}
		}
	}
}

// TestLoop_oddUpstreams: what is not documented, or goes wrong, costs little.
func TestLoop_oddUpstreams(t *testing.T) {
	for _, tt := range []struct {
		why     string
		set     func(*demand)
		used    float64
		refused float64
		unknown bool // nothing is configured
	}{
		{why: "headers that show the level at which an attempt was let in", set: func(d *demand) { d.early = true }, used: 0.98, refused: 0.002, unknown: true},
		{why: "the same, plain", set: func(d *demand) { d.early, d.plain = true, true }, used: 0.98, refused: 0.01, unknown: true},
		{why: "a clock that is seven minutes off", set: func(d *demand) { d.skew = 7 * time.Minute }, used: 0.99, refused: 0.005, unknown: true},
		{why: "a bucket of ten seconds", set: func(d *demand) { d.depth = 10 }, used: 0.98, refused: 0.005, unknown: true},
		{why: "no headers: of a minute's burst ten seconds are known", set: func(d *demand) { d.noHeaders = true }, used: 0.90, refused: 0},
		{why: "estimates 30 % too low", set: func(d *demand) { d.bias = 0.7 }, used: 0.98, refused: 0.005, unknown: true},
		{why: "estimates 30 % too high", set: func(d *demand) { d.bias = 1.3 }, used: 0.98, refused: 0.005, unknown: true},
		{why: "estimates off by a third", set: func(d *demand) { d.wrong = 0.3 }, used: 0.98, refused: 0.005, unknown: true},
		{why: "5 % of attempts are answered 529", set: func(d *demand) { d.failing = 0.05 }, used: 0.99, refused: 0.005, unknown: true},
		{why: "a limit that is halved after five minutes", set: func(d *demand) {
			d.after = func(u *honest, at time.Duration) {
				if at == 5*time.Minute {
					for k := range u.rate {
						u.rate[k] /= 2
						u.size[k] /= 2
					}
				}
			}
		}, used: 0.99, refused: 0.005, unknown: true},
	} {
		for _, name := range []string{"input-bound", "output-bound", "cache-heavy"} {
			d := demands[name].with(tt.set)
			if !tt.unknown {
				d.config = d.configured()
			}
			o := d.run(t)
			if o.scarcest() < tt.used || float64(o.refused) > tt.refused*float64(o.sent) {
				t.Errorf("%s: %s: used %.4f, refused %d of %d", tt.why, name, o.scarcest(), o.refused, o.sent)
			}
		}
	}
}
