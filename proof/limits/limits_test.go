// Package limits runs room limit against the simulated API, whose own books of
// limits share no code with it, on the clock of a synctest bubble: demand of
// twice the limit, one attempt in a hundred answered 529, answers of some
// fifteen seconds. What is used, and how many attempts are refused, is
// measured at the simulator.
//
//	go test -v ./limits
package limits

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const (
	model   = "claude-opus-5-5"
	answers = 300 // tokens, the median
	pace    = 50 * time.Millisecond
)

// demand is what is asked for, with limits of half of it.
type demand struct {
	name   string
	limit  sim.Limit // for each ten workers
	bytes  func(rng *rand.Rand) int
	cached bool // most of the prompt is read from the cache
}

// limitFor is the limit that so many workers want twice of.
func (d demand) limitFor(workers int) sim.Limit {
	l := d.limit
	for _, n := range []*int{&l.RPM, &l.ITPM, &l.OTPM} {
		*n = *n * workers / 10
	}
	return l
}

// Ten workers with answers of about 18 s ask for 33 requests a minute.
var demands = []demand{
	{name: "requests-bound", limit: sim.Limit{RPM: 16, ITPM: 10_000_000, OTPM: 1_000_000}, bytes: func(rng *rand.Rand) int { return 1000 + rng.IntN(1000) }},
	{name: "input-bound", limit: sim.Limit{RPM: 1000, ITPM: 26_000, OTPM: 1_000_000}, bytes: func(rng *rand.Rand) int { return 2000 + rng.IntN(4000) }},
	{name: "output-bound", limit: sim.Limit{RPM: 1000, ITPM: 10_000_000, OTPM: 5_500}, bytes: func(rng *rand.Rand) int { return 1000 + rng.IntN(1000) }},
	{name: "mixed", limit: sim.Limit{RPM: 30, ITPM: 26_000, OTPM: 6_000}, bytes: func(rng *rand.Rand) int { return 200 << rng.IntN(7) }},
	{name: "cache-heavy", limit: sim.Limit{RPM: 1000, ITPM: 20_000, OTPM: 1_000_000}, bytes: func(rng *rand.Rand) int { return 1000 + rng.IntN(2000) }, cached: true},
}

// run is one demand against one simulator.
type run struct {
	demand
	api    *sim.API
	start  time.Time
	stream bool

	mu        sync.Mutex // guards book and predictor, as their owner must
	book      *limit.Book
	predictor *limit.Predictor
	turn      chan struct{} // who waits to be let in, in the order in which they came
}

func newRun(d demand, stream, known bool, seed uint64) *run {
	d.limit = d.limitFor(workers)
	cfg := limit.Config{}
	if known {
		cfg.Models = map[string]limit.Rates{model: {RPM: int64(d.limit.RPM), ITPM: int64(d.limit.ITPM), OTPM: int64(d.limit.OTPM)}}
	}
	return &run{
		demand: d, stream: stream, start: time.Now(),
		api: sim.New(sim.Config{
			Seed: seed, Limits: []sim.Limit{d.limit}, FirstToken: time.Second, TokenTime: pace, OutputTokens: answers, OutputSpread: 0.5,
			Faults: []sim.Rule{{Name: "background", Rate: 0.01, Fault: sim.Fault{Kind: sim.Status, Status: 529}}},
		}),
		book: limit.NewBook(cfg), predictor: limit.NewPredictor(), turn: make(chan struct{}, 1),
	}
}

// all lets the workers ask until the time is over.
func (r *run) all(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for i := range workers {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := r.body(rng, fmt.Sprint(i, " ", n), r.stream)
				for !r.attempt(ctx, body) && ctx.Err() == nil {
				}
			}
		})
	}
	wg.Wait()
}

// body makes a request. In a conversation that is cached, one in twelve writes
// what the others read.
func (d demand) body(rng *rand.Rand, name string, stream bool) []byte {
	text := name + strings.Repeat(" word", d.bytes(rng)/5)
	in := map[string]any{"model": model, "max_tokens": 4096, "stream": stream, "messages": []any{map[string]any{"role": "user", "content": text}}}
	if d.cached {
		prefix := "shared"
		if rng.IntN(12) == 0 {
			prefix = name
		}
		in["system"] = []any{map[string]any{"type": "text", "text": prefix + strings.Repeat(" known", 2000), "cache_control": map[string]any{"type": "ephemeral"}}}
	}
	body, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	return body
}

// admit waits until an attempt may be sent.
func (r *run) admit(ctx context.Context, route limit.Route) (limit.ID, bool) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	for {
		r.mu.Lock()
		e := r.predictor.Expect(route)
		a := r.book.Acquire(time.Now(), limit.Need{
			Credential: "key", Own: true, Path: claude.Messages, Model: model,
			Input: e.Input, Reads: e.Reads, Output: e.Output, Pace: e.Pace,
		})
		r.mu.Unlock()
		if a.ID != 0 {
			return a.ID, true
		}
		// Something may be given back sooner: the queue is woken then, here we look.
		if !sleep(ctx, min(a.Wait, 20*time.Millisecond)) {
			return 0, false
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt sends one and reports whether it has been answered.
func (r *run) attempt(ctx context.Context, body []byte) bool {
	route := limit.Route{Model: model, MaxTokens: 4096, Input: len(body) * 2 / 7}
	id, ok := r.admit(ctx, route)
	if !ok {
		return false
	}
	sent := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.test/v1/messages", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("X-Api-Key", "key")
	req.Header.Set("Anthropic-Version", claude.Version20230601)
	resp, err := r.api.RoundTrip(req)
	if err != nil {
		r.settle(id, limit.End{Outcome: limit.Kept})
		return false
	}
	defer resp.Body.Close()
	r.mu.Lock()
	r.book.Observe(time.Now(), id, limit.Read(resp.StatusCode, resp.Header, time.Now()))
	r.mu.Unlock()
	if resp.StatusCode != http.StatusOK {
		return r.refused(ctx, id, resp)
	}
	usage, whole := r.read(id, resp.Body)
	if !whole {
		r.settle(id, limit.End{Outcome: limit.Broken, Usage: usage})
		return false
	}
	r.settle(id, limit.End{Outcome: limit.Settled, Usage: usage})
	r.mu.Lock()
	r.predictor.Learn(route, limit.Past{
		Input: usage.Input + usage.CacheWrite, Reads: usage.CacheRead, Output: usage.Output, Whole: true, Seconds: time.Since(sent).Seconds(),
	})
	r.mu.Unlock()
	return true
}

func (r *run) refused(ctx context.Context, id limit.ID, resp *http.Response) bool {
	end, wait := limit.End{Outcome: limit.Refunded}, time.Second
	if resp.StatusCode == http.StatusTooManyRequests {
		end.Outcome = limit.Refused
		end.RetryAfter, _ = claude.RetryAfter(resp.Header, time.Now())
		wait = end.RetryAfter
	}
	r.settle(id, end)
	sleep(ctx, wait)
	return false
}

func (r *run) settle(id limit.ID, e limit.End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.book.Settle(time.Now(), id, e)
}

// read reads an answer: its usage, which a stream tells at its begin and its end.
func (r *run) read(id limit.ID, body io.Reader) (u claude.Usage, whole bool) {
	if !r.stream {
		var in struct{ Usage json.RawMessage }
		if err := json.NewDecoder(body).Decode(&in); err != nil {
			return u, false
		}
		u.Merge(in.Usage)
		return u, true
	}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok || !bytes.Contains(data, []byte(`"usage"`)) {
			continue
		}
		var in struct {
			Type    string
			Message struct{ Usage json.RawMessage }
			Usage   json.RawMessage
		}
		if json.Unmarshal(data, &in) != nil {
			continue
		}
		if in.Type == "message_start" {
			u.Merge(in.Message.Usage)
			r.mu.Lock()
			r.book.Correct(time.Now(), id, u)
			r.mu.Unlock()
			continue
		}
		u.Merge(in.Usage)
		whole = true
	}
	return u, whole && lines.Err() == nil
}

// verdict is what the simulator has seen.
type verdict struct {
	used          float64 // share of what it allows of the scarcest kind, its burst included
	sent, refused int
	refusedAt     []time.Duration
}

func (r *run) verdict() (v verdict) {
	var total [3]float64
	for _, a := range r.api.Attempts() {
		v.sent++
		switch a.Status {
		case http.StatusTooManyRequests:
			v.refused++
			v.refusedAt = append(v.refusedAt, a.At.Sub(r.start))
		case http.StatusOK, 0:
			for k, n := range [3]float64{1, float64(a.InputTokens + a.CacheWriteTokens), float64(a.OutputTokens)} {
				total[k] += n
			}
		}
	}
	for k, perMinute := range [3]int{r.limit.RPM, r.limit.ITPM, r.limit.OTPM} {
		v.used = max(v.used, total[k]/(float64(perMinute)*(length.Minutes()+1)))
	}
	return v
}

// TestSimulator_theLimitIsUsed: see [enough] for what is asked.
func TestSimulator_theLimitIsUsed(t *testing.T) {
	for i, d := range demands {
		for _, stream := range []bool{true, false} {
			for _, known := range []bool{true, false} {
				if !everything && stream == known {
					continue
				}
				var v verdict
				synctest.Test(t, func(t *testing.T) {
					r := newRun(d, stream, known, uint64(i))
					r.all(t)
					v = r.verdict()
				})
				t.Logf("%-15s stream %-5v configured %-5v used %.2f %% of what is allowed, refused %d of %d",
					d.name, stream, known, 100*v.used, v.refused, v.sent)
				if v.used < enough || float64(v.refused) > tooMany*float64(v.sent) {
					t.Errorf("%s, stream %v, configured %v: used %.4f, refused %d of %d", d.name, stream, known, v.used, v.refused, v.sent)
				}
			}
		}
	}
}

// TestSimulator_othersAreMadeRoomFor: from the third minute to the sixth
// somebody else has 40 % of the limit.
func TestSimulator_othersAreMadeRoomFor(t *testing.T) {
	const from, until = 3 * time.Minute, 6 * time.Minute
	for i, d := range demands {
		var v verdict
		synctest.Test(t, func(t *testing.T) {
			r := newRun(d, true, false, uint64(i))
			if err := r.api.SetFault(sim.Rule{Name: "others", Rate: 1, From: from, Until: until, Fault: sim.Fault{Kind: sim.Others, Factor: 0.4}}); err != nil {
				t.Fatal(err)
			}
			r.all(t)
			v = r.verdict()
		})
		during, late := 0, 0
		for _, at := range v.refusedAt {
			if at >= from && at < until {
				during++
				if at >= from+10*time.Second {
					late++
				}
			}
		}
		sent := float64(v.sent) * (until - from).Minutes() / length.Minutes() * 0.6 // about
		t.Logf("%-15s refused %d of about %.0f while somebody else has 40 %%, %d after ten seconds", d.name, during, sent, late)
		if float64(during) > max(2, 0.02*sent) || late > lateOnes {
			t.Errorf("%s: refused %d of about %.0f, %d after ten seconds", d.name, during, sent, late)
		}
	}
}
