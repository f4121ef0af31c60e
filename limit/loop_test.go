package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
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
	refusedAfter  func(from, to time.Duration) (refused, sent int)
	sample        []string
	usedAt        map[int][3]float64
}

const (
	tickLength = 10 * time.Millisecond
	network    = 30 * time.Millisecond
	firstToken = time.Second
)

// run drives a book against an honest upstream.
func (d demand) run(tb testing.TB) outcome {
	tb.Helper()
	rng := rand.New(rand.NewPCG(d.seed, 7))
	u := newHonest(d.rpm, d.itpm, d.otpm, d.depth)
	book, predictor := limit.NewBook(d.config), limit.NewPredictor()
	begin := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	var queue, travel, back []*job
	var refusals, sends []time.Duration
	idle := d.workers
	out := outcome{usedAt: map[int][3]float64{}}
	for at := time.Duration(0); at < d.length; at += tickLength {
		now := begin.Add(at)
		if d.others != nil {
			u.others = d.others(at)
		}
		u.step(tickLength.Seconds())
		if at%time.Second == 0 {
			out.usedAt[int(at/time.Second)] = u.used
			if at%(10*time.Second) == 0 || at > 178*time.Second && at < 200*time.Second {
				line := fmt.Sprintf("%4.0fs upstream %.0f used %.0f running %d queue %d 429 %d", at.Seconds(), u.level, u.used, len(u.running), len(queue), len(refusals))
				for _, g := range book.Groups(now) {
					for _, b := range g.Buckets {
						line += fmt.Sprintf(" | %v %.0f/%.0f out %.0f", b.Kind, b.Level, b.Burst, b.Ledger.Outstanding)
					}
				}
				out.sample = append(out.sample, line)
			}
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
				book.Observe(now, j.id, r)
				after := time.Duration(math.Max(1, math.Ceil(wait))) * time.Second
				book.Settle(now, j.id, limit.End{Outcome: limit.Refused, RetryAfter: after, Empty: empty, IsEmpty: u.level[empty] < 0.5})
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
				book.Observe(now, j.id, r)
				book.Settle(now, j.id, limit.End{Outcome: limit.Refunded})
				j.asked = now.Add(time.Second)
				back = append(back, j)
			}
		}
		// What has answered.
		keep := u.running[:0]
		for _, j := range u.running {
			if !j.shown && !j.plain && !now.Before(j.first) {
				j.shown = true
				book.Observe(now, j.id, response(j))
				book.Correct(now, j.id, claude.Usage{Input: j.input, CacheRead: j.reads, Output: 1})
			}
			if j.made < float64(j.output)-1e-6 || now.Before(j.first) {
				keep = append(keep, j)
				continue
			}
			if j.plain {
				book.Observe(now, j.id, response(j))
			}
			book.Settle(now, j.id, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: j.input, CacheRead: j.reads, Output: j.output}})
			predictor.Learn(j.route, limit.Past{Input: j.input, Reads: j.reads, Output: j.output, Whole: true, Seconds: now.Sub(j.sent).Seconds()})
			idle++
		}
		u.running = keep
		// What wants to go.
		for len(back) > 0 && !back[0].asked.After(now) {
			queue = append([]*job{back[0]}, queue...)
			back = back[1:]
		}
		for ; idle > 0; idle-- {
			in, reads, output := d.call(rng)
			estimate := float64(in+reads) * math.Exp(rng.NormFloat64()*d.wrong) * d.bias
			queue = append(queue, &job{
				input: in, reads: reads, output: output, plain: d.plain, pace: d.pace * (0.9 + 0.2*rng.Float64()),
				route: limit.Route{Model: "claude-opus-5-5", MaxTokens: 4096, Input: int(estimate)},
			})
		}
		for len(queue) > 0 {
			j := queue[0]
			if now.Before(j.asked) {
				break
			}
			e := predictor.Expect(j.route)
			a := book.Acquire(now, limit.Need{
				Credential: "c", Path: claude.Messages, Model: "claude-opus-5-5", Own: true,
				Input: e.Input, Reads: e.Reads, Output: e.Output, Pace: e.Pace,
			})
			if a.ID == 0 {
				if a.Wait <= 0 {
					tb.Fatalf("held without a wait: %+v", a)
				}
				break // asked again at the next step: something may have been given back
			}
			queue = queue[1:]
			j.id, j.sent, j.due, j.shown = a.ID, now, now.Add(network), false
			travel = append(travel, j)
			sends = append(sends, at)
		}
	}
	for k := range u.used {
		out.used[k] = u.used[k] / (u.size[k] + u.rate[k]*d.length.Seconds())
	}
	out.refused, out.sent = len(refusals), len(sends)
	out.refusedAfter = func(from, to time.Duration) (refused, sent int) {
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

// mixed draws sizes from a wide range.
func mixed(rng *rand.Rand) (input, reads, output int) {
	return int(200 * math.Exp(rng.NormFloat64()*1.2+1.5)), 0, int(300 * math.Exp(rng.NormFloat64()*0.6))
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

func TestLoop_table(t *testing.T) {
	for name, d := range demands {
		for _, plain := range []bool{false, true} {
			for _, depth := range []float64{60, 10} {
				for _, known := range []bool{true, false} {
					o := d.with(func(d *demand) {
						d.plain, d.depth = plain, depth
						if known {
							d.config = d.configured()
						}
					}).run(t)
					late := d.with(func(d *demand) {
						d.plain, d.depth = plain, depth
						if known {
							d.config = d.configured()
						}
					})
					share := [3]float64{}
					for k, n := range [3]float64{late.rpm, late.itpm, late.otpm} {
						share[k] = (o.usedAt[599][k] - o.usedAt[60][k]) / (n / 60 * 539)
					}
					t.Logf("%-15s plain %-5v depth %v known %-5v: used %.4f refused %d of %d (%.2f%%), after a minute %.4f", name, plain, depth, known, o.used, o.refused, o.sent, 100*float64(o.refused)/float64(o.sent), share)
					if testing.Verbose() && os.Getenv("LINES") != "" && (known && o.scarcest() < 0.99 || max(share[0], share[1], share[2]) < 0.97) {
						for _, l := range o.sample[:20] {
							t.Log(l)
						}
					}
				}
			}
		}
	}
}

func TestLoop_odd(t *testing.T) {
	for _, v := range []struct {
		name string
		set  func(*demand)
	}{
		{"plain", func(d *demand) {}},
		{"early", func(d *demand) { d.early = true }},
		{"skew", func(d *demand) { d.skew = 7 * time.Minute }},
		{"noheaders", func(d *demand) { d.noHeaders = true }},
		{"bias1.3", func(d *demand) { d.bias = 1.3 }},
		{"bias0.7", func(d *demand) { d.bias = 0.7 }},
		{"wrong0.3", func(d *demand) { d.wrong = 0.3 }},
		{"failing", func(d *demand) { d.failing = 0.05 }},
		{"depth2", func(d *demand) { d.depth = 2 }},
		{"fast", func(d *demand) { d.pace = 600; d.otpm *= 20; d.rpm *= 20; d.itpm *= 20 }},
		{"slow", func(d *demand) { d.pace = 10; d.workers = 600 }},
		{"small", func(d *demand) { d.rpm /= 20; d.itpm /= 20; d.otpm /= 20; d.workers /= 20 }},
		{"foreign", func(d *demand) {
			d.others = func(at time.Duration) float64 {
				if at > 3*time.Minute && at < 6*time.Minute {
					return 0.4
				}
				return 0
			}
		}},
		{"halved", func(d *demand) {
			d.after = func(u *honest, at time.Duration) {
				if at == 5*time.Minute {
					for k := range u.rate {
						u.rate[k] /= 2
						u.size[k] /= 2
					}
				}
			}
		}},
	} {
		for name, d := range demands {
			d.seed = 5
			for _, plain := range []bool{false, true} {
				for _, known := range []bool{true, false} {
					e := d.with(func(d *demand) {
						d.plain = plain
						v.set(d)
						if known {
							d.config = d.configured()
						}
					})
					if v.name == "noheaders" && !known {
						continue
					}
					o := e.run(t)
					share := [3]float64{}
					for k, n := range [3]float64{e.rpm, e.itpm, e.otpm} {
						share[k] = (o.usedAt[599][k] - o.usedAt[60][k]) / (n / 60 * 539)
					}
					r1, s1 := o.refusedAfter(180*time.Second, 190*time.Second)
					r2, s2 := o.refusedAfter(190*time.Second, 360*time.Second)
					t.Logf("%-10s %-15s plain %-5v known %-5v: used %.4f refused %d of %d (%.2f%%), after a minute %.4f  3:00 %d/%d 3:10 %d/%d", v.name, name, plain, known, o.scarcest(), o.refused, o.sent, 100*float64(o.refused)/float64(o.sent), max(share[0], share[1], share[2]), r1, s1, r2, s2)
				}
			}
		}
	}
}
