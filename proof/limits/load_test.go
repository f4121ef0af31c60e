package limits

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// A load is what workers ask for, each one call after the other.
type load struct {
	workers int
	key     string
	class   string                           // evenkeel-priority
	body    func(r *rand.Rand, n int) string // of the nth call of a worker
	until   time.Duration
	from    time.Duration
	timeout time.Duration // evenkeel-deadline; 0 for none
	wait    time.Duration // between two calls of a worker
}

// outcome is one call, as its worker saw it.
type outcome struct {
	began, took time.Duration
	queued      time.Duration
	status      int // 0 without an answer
	class       string
}

// play runs loads through one Transport, or through what base makes of it,
// and returns what the workers saw.
func play(rt http.RoundTripper, seed uint64, loads ...load) []outcome {
	start := time.Now()
	var mu sync.Mutex
	var all []outcome
	var wg sync.WaitGroup
	for i, l := range loads {
		for w := range l.workers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i*10_000+w)))
				time.Sleep(l.from + time.Duration(r.Int64N(int64(time.Second))))
				for n := 0; time.Since(start) < l.until; n++ {
					o := ask(rt, l, l.body(r, n), start)
					mu.Lock()
					all = append(all, o)
					mu.Unlock()
					if o.status == 0 {
						time.Sleep(time.Second) // refused: nobody asks again at once
					}
					time.Sleep(l.wait)
				}
			})
		}
	}
	wg.Wait()
	return all
}

func ask(rt http.RoundTripper, l load, body string, start time.Time) outcome {
	req, err := http.NewRequest(http.MethodPost, "https://api.example/v1/messages", strings.NewReader(body)) //nolint:noctx // ends with its bubble
	if err != nil {
		panic(err)
	}
	req.Header.Set("X-Api-Key", "sk-"+l.key)
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("Content-Type", "application/json")
	if l.class != "" {
		req.Header.Set(evenkeel.HeaderPriority, l.class)
	}
	if l.timeout > 0 {
		req.Header.Set(evenkeel.HeaderDeadline, l.timeout.String())
	}
	o := outcome{began: time.Since(start), class: l.class}
	began := time.Now()
	resp, err := rt.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		o.status = resp.StatusCode
		if ms := resp.Header.Get(evenkeel.HeaderQueued); ms != "" {
			d, _ := time.ParseDuration(ms + "ms")
			o.queued = d
		}
	}
	if err != nil {
		o.status = 0
	}
	o.took = time.Since(began)
	return o
}

// words are about so many tokens of a prompt.
func words(n int) string { return strings.Repeat("harbor ", n) }

// prompt asks for an answer to so many tokens, of at most so many.
func prompt(input, output int, stream bool) string {
	return fmt.Sprintf(`{"model":"claude-opus-4-8","max_tokens":%d,"stream":%v,"messages":[{"role":"user","content":%q}]}`, output, stream, words(input))
}

// measure is what a run came to, as the upstream saw it.
type measure struct {
	used     [3]float64 // of what the limit allowed: requests, input, output
	attempts int
	refused  int // with 429
	overload int // with 529
	served   int
}

func (m measure) String() string {
	return fmt.Sprintf("used %.1f %% of requests, %.1f %% of input, %.1f %% of output; %d attempts, %d served, %.2f %% 429, %.2f %% 529",
		100*m.used[0], 100*m.used[1], 100*m.used[2], m.attempts, m.served,
		100*float64(m.refused)/float64(max(m.attempts, 1)), 100*float64(m.overload)/float64(max(m.attempts, 1)))
}

func (m measure) refusedShare() float64 { return float64(m.refused) / float64(max(m.attempts, 1)) }

// observe counts the attempts that began within [from, to) since the start,
// and the output that was produced then, against a limit whose bucket held so
// much at from.
func observe(attempts []sim.Attempt, l sim.Limit, from, to, held time.Duration, of func(sim.Attempt) bool) (m measure) {
	var requests, input, output float64
	for _, a := range attempts {
		if of != nil && !of(a) {
			continue
		}
		output += float64(a.OutputTokens) * within(a, from, to)
		if a.Since < from || a.Since >= to {
			continue
		}
		m.attempts++
		switch a.Status {
		case 429:
			m.refused++
			continue
		case 529:
			m.overload++
			continue
		case 200:
			m.served++
		}
		requests++
		input += float64(a.InputTokens + a.CacheWriteTokens)
		if l.CacheReads {
			input += float64(a.CacheReadTokens)
		}
	}
	allowed := func(perMinute int) float64 { return float64(perMinute) / 60 * (held + to - from).Seconds() }
	for k, pair := range [...][2]float64{{requests, allowed(l.RPM)}, {input, allowed(l.ITPM)}, {output, allowed(l.OTPM)}} {
		if pair[1] > 0 {
			m.used[k] = pair[0] / pair[1]
		}
	}
	return m
}

// within is the share of an answer that was produced within [from, to), if it
// came evenly.
func within(a sim.Attempt, from, to time.Duration) float64 {
	begin, end := a.Since, a.Since+a.Duration
	if a.Stream {
		begin += a.Headers
	}
	if end <= begin { // at once
		end = begin + 1
	}
	return max(0, (min(end, to)-max(begin, from)).Seconds()) / (end - begin).Seconds()
}

// inBubble runs f on a virtual clock.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func newTransport(t *testing.T, cfg evenkeel.Config) *evenkeel.Transport {
	t.Helper()
	tr, err := evenkeel.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// background is what always fails, whatever we do.
func background(share float64) sim.Rule { return sim.Rule{Rate: share, Fault: sim.Fault{Status: 529}} }
