package sim_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// spent is something a limit counts, and when.
type spent struct {
	at     time.Time
	amount float64
}

// worst returns by how much the worst window exceeds burst + rate · window:
// the plain definition, every window tried.
func worst(uses []spent, burst, rate float64) float64 {
	slices.SortStableFunc(uses, func(a, b spent) int { return a.at.Compare(b.at) })
	over := math.Inf(-1)
	for i := range uses {
		sum := 0.0
		for _, u := range uses[i:] {
			sum += u.amount
			over = max(over, sum-burst-rate*u.at.Sub(uses[i].at).Seconds())
		}
	}
	return over
}

// level replays what was admitted into a bucket that was full at the start,
// and returns what is left at now.
func level(uses []spent, burst, rate float64, start, now time.Time) float64 {
	left, at := burst, start
	for _, u := range uses {
		if u.at.After(now) {
			break
		}
		left = min(burst, left+rate*u.at.Sub(at).Seconds()) - u.amount
		at = u.at
	}
	return min(burst, left+rate*now.Sub(at).Seconds())
}

// pooled is what went through one pool of limits.
type pooled struct{ requests, input, output []spent }

// seenReply is a reply, and when its call was made and it came.
type seenReply struct {
	pool     string
	at, came time.Time
	*http.Response
}

// TestLimits_hold: over random runs of streams and plain calls of several
// organisations and classes, no window exceeds burst + rate · window, and the
// headers of every reply agree with the buckets.
func TestLimits_hold(t *testing.T) {
	limit := sim.Limit{RPM: 120, ITPM: 6000, OTPM: 1200, Burst: 20 * time.Second}
	burst, perSecond := limit.Burst.Seconds(), 1.0/60
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(sim.Config{
				Seed: seed, Limits: []sim.Limit{limit}, TokenTime: 20 * time.Millisecond, OutputTokens: 30, OutputSpread: 0.5,
				Organization: func(key string) string { return key[:1] },
			})
			start := time.Now()
			var mu sync.Mutex
			pools := map[string]*pooled{}
			for _, key := range []string{"a", "b"} {
				for _, model := range []string{"claude-opus-4-8", "claude-haiku-5-5"} {
					pools[key+model] = &pooled{}
				}
			}
			var seen []seenReply
			one := func(key, model, prompt string, stream bool) {
				body := fmt.Sprintf(`{"model":%q,"max_tokens":200,"stream":%v,"messages":[{"role":"user","content":%q}]}`, model, stream, prompt)
				at := time.Now()
				resp, err := api.RoundTrip(call{body: body, header: map[string]string{"x-api-key": key}}.request(t, "https://api.test"))
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = resp.Body.Close() }()
				mu.Lock()
				seen = append(seen, seenReply{key[:1] + model, at, time.Now(), resp})
				mu.Unlock()
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					if strings.Contains(lines.Text(), `"text_delta"`) {
						mu.Lock()
						p := pools[key[:1]+model]
						p.output = append(p.output, spent{time.Now(), 1})
						mu.Unlock()
					}
				}
			}
			rng := rand.New(rand.NewPCG(seed, 2))
			var wg sync.WaitGroup
			for range 150 {
				time.Sleep(1 + time.Duration(rng.ExpFloat64()*float64(300*time.Millisecond)))
				key, model := []string{"a1", "a2", "b1"}[rng.IntN(3)], []string{"claude-opus-4-8", "claude-haiku-5-5"}[rng.IntN(2)]
				prompt, stream := strings.Repeat("x", 1+rng.IntN(800)), rng.IntN(4) > 0
				wg.Go(func() { one(key, model, prompt, stream) })
			}
			wg.Wait()
			byID := map[string]sim.Attempt{}
			for _, a := range api.Attempts() {
				byID[a.RequestID] = a
			}
			slices.SortFunc(seen, func(a, b seenReply) int { return a.at.Compare(b.at) })
			refused := 0
			for _, r := range seen {
				p := pools[r.pool]
				if a := byID[r.Header.Get("Request-Id")]; a.Status == http.StatusOK {
					p.requests = append(p.requests, spent{r.at, 1})
					p.input = append(p.input, spent{r.at, float64(a.InputTokens + a.CacheWriteTokens)})
				} else {
					refused++
				}
			}
			for _, r := range seen {
				p, rpm, itpm := pools[r.pool], float64(limit.RPM)*perSecond, float64(limit.ITPM)*perSecond
				left := level(p.requests, rpm*burst, rpm, start, r.came)
				wantRemaining(t, r.Header, "Requests", left, 1)
				wantReset(t, r.Header, "Requests", r.came.Add(time.Duration((rpm*burst-left)/rpm*float64(time.Second))))
				left = level(p.input, itpm*burst, itpm, start, r.came)
				wantRemaining(t, r.Header, "Input-Tokens", left, 1000)
				wantReset(t, r.Header, "Input-Tokens", r.came.Add(time.Duration((itpm*burst-left)/itpm*float64(time.Second))))
			}
			if refused == 0 || refused == len(seen) {
				t.Errorf("%d of %d were refused: the test asks for too little or too much", refused, len(seen))
			}
			for name, p := range pools {
				for what, x := range map[string]struct {
					uses []spent
					rate float64
				}{"requests": {p.requests, float64(limit.RPM)}, "input": {p.input, float64(limit.ITPM)}, "output": {p.output, float64(limit.OTPM)}} {
					if over := worst(x.uses, x.rate*perSecond*burst, x.rate*perSecond); over > 0.01 {
						t.Errorf("seed %d: %s of %s exceed burst + rate · window by %v", seed, what, name, over)
					}
				}
			}
		})
	}
}

// wantRemaining compares a header with what an independent bucket holds.
func wantRemaining(t *testing.T, h http.Header, what string, left, unit float64) {
	t.Helper()
	got, err := strconv.Atoi(h.Get("Anthropic-Ratelimit-" + what + "-Remaining"))
	want := math.Floor(left + 1e-3)
	if unit > 1 {
		want = math.Round(left/unit) * unit
	}
	near := math.Abs(math.Mod(left+unit/2, unit)) < 1e-3*unit // on the edge of rounding
	if (err != nil || got != int(max(0, want))) && !near {
		t.Errorf("%s remaining is %d (%v), want %v of a level of %v", what, got, err, want, left)
	}
}

// wantReset compares a header with when an independent bucket is full.
func wantReset(t *testing.T, h http.Header, what string, full time.Time) {
	t.Helper()
	got, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+what+"-Reset"))
	if early := full.Sub(got); err != nil || early > time.Millisecond || early < -time.Second-time.Millisecond {
		t.Errorf("%s are full at %v (%v), want %v rounded up to the second", what, got, err, full)
	}
}

// TestLimits_slowStreams: streams that are held back keep their turn while
// they ping and when others leave.
func TestLimits_slowStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, burst = 1.0, 5.0
		api := sim.New(sim.Config{Limits: []sim.Limit{{OTPM: 60, Burst: 5 * time.Second}}, FirstToken: time.Second, OutputTokens: 4})
		var mu sync.Mutex
		var tokens []spent
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				if i%5 == 4 { // gives up soon
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*1100*time.Millisecond)
				}
				defer cancel()
				resp, err := api.RoundTrip(call{body: streamCall, ctx: ctx}.request(t, "https://api.test"))
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = resp.Body.Close() }()
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					if strings.Contains(lines.Text(), `"text_delta"`) {
						mu.Lock()
						tokens = append(tokens, spent{time.Now(), 1})
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if len(tokens) < 32*4 {
			t.Errorf("%d tokens arrived, want those of all who waited", len(tokens))
		}
		if over := worst(tokens, burst, rate); over > 0.01 {
			t.Errorf("output exceeds burst + rate · window by %v tokens", over)
		}
	})
}

// TestLimits_ofOneClass: which limit counts does not depend on who comes first.
func TestLimits_ofOneClass(t *testing.T) {
	for _, first := range []string{"claude-opus-4-7", "claude-opus-4-8"} {
		synctest.Test(t, func(t *testing.T) {
			api := sim.New(sim.Config{Limits: []sim.Limit{{Models: "claude-opus-4-8", RPM: 1}, {Models: "claude-opus-4-7", RPM: 1000}}})
			ask := func(model string) int {
				return do(t, api, "https://api.test", call{body: strings.Replace(plainCall, "claude-opus-4-5", model, 1)}).status
			}
			_ = ask(first)
			_ = ask("claude-opus-4-8")
			if got := ask("claude-opus-4-8"); got != http.StatusTooManyRequests {
				t.Errorf("after %s: the second call of a minute got %d, want 429", first, got)
			}
			if got := ask("claude-opus-4-7"); got != http.StatusOK {
				t.Errorf("after %s: a model with room got %d, want 200", first, got)
			}
		})
	}
}

// TestLimits_refusals: each limit refuses in its own way, as documented.
func TestLimits_refusals(t *testing.T) {
	small := strings.Repeat("a", 250)   // about 100 tokens of input
	large := strings.Repeat("a", 25000) // about 10,000
	keys := func(key string) string { return strings.SplitN(key, "-", 2)[0] }
	inWorkspace := func(key string) string { _, w, _ := strings.Cut(key, "-"); return w }
	for _, tt := range []struct {
		name       string
		cfg        sim.Config
		key        string
		prompts    []string
		code       string
		says       string
		retryAfter string // "" for none
	}{
		{"requests", sim.Config{Limits: []sim.Limit{{RPM: 60, Burst: time.Second}}}, "a", []string{small, small}, "", "60 requests per minute", "1"},
		{"input", sim.Config{Limits: []sim.Limit{{ITPM: 12_000}}}, "a", []string{large, large}, "", "12000 input tokens per minute", ""},
		{"output", sim.Config{Limits: []sim.Limit{{OTPM: 24}}}, "a", []string{small, small}, "", "24 output tokens per minute", ""},
		{
			"a workspace beside its organisation",
			sim.Config{Limits: []sim.Limit{{RPM: 1000}, {Workspace: "w*", RPM: 1}}, Organization: keys, Workspace: inWorkspace},
			"a-w1",
			[]string{small, small},
			"", "workspace of 1 requests per minute", "60",
		},
		{"the ramp", sim.Config{Ramp: sim.Ramp{Start: 11_000, Step: 1000}}, "a", []string{large, large}, "ramp_limit_exceeded", "acceleration limit", "60"},
		{"the cap on spending", sim.Config{SpendCap: 0.01}, "a", []string{large, small}, "enforced_spend_limit_reached", "You will regain access on 2000-02-01 at 00:00 UTC", "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.New(tt.cfg)
				var last result
				for _, prompt := range tt.prompts {
					last = do(t, api, "https://api.test", call{
						body:   fmt.Sprintf(`{"model":"claude-opus-4-8","max_tokens":200,"messages":[{"role":"user","content":%q}]}`, prompt),
						header: map[string]string{"x-api-key": tt.key},
					})
				}
				if last.status != http.StatusTooManyRequests || !strings.Contains(last.body, "rate_limit_error") || !strings.Contains(last.body, tt.says) {
					t.Errorf("got %d %s, want a rate_limit_error that says %q", last.status, last.body, tt.says)
				}
				if tt.code != "" && !strings.Contains(last.body, `"error_code":"`+tt.code+`"`) || tt.code == "" && !strings.Contains(last.body, `"details":null`) {
					t.Errorf("got %s, want the code %q", last.body, tt.code)
				}
				got := last.header.Get("Retry-After")
				switch {
				case tt.retryAfter == "none" && got != "", tt.retryAfter == "" && got == "":
					t.Errorf("retry-after is %q, want %q", got, tt.retryAfter)
				case tt.retryAfter != "" && tt.retryAfter != "none" && got != tt.retryAfter:
					t.Errorf("retry-after is %q, want %q", got, tt.retryAfter)
				}
				// Whoever waits as told is let in, unless it is money that lacks.
				if wait, err := strconv.Atoi(got); err == nil {
					time.Sleep(time.Duration(wait) * time.Second)
					r := do(t, api, "https://api.test", call{
						body:   fmt.Sprintf(`{"model":"claude-opus-4-8","max_tokens":200,"messages":[{"role":"user","content":%q}]}`, tt.prompts[len(tt.prompts)-1]),
						header: map[string]string{"x-api-key": tt.key},
					})
					if r.status != http.StatusOK {
						t.Errorf("after retry-after got %d %s, want 200", r.status, r.body)
					}
				}
			})
		})
	}
}

// TestLimits_others: what other users of the organisation take shows as lower
// levels, and in what is let through.
func TestLimits_others(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 60, Burst: 10 * time.Second}}})
		if err := api.Tell("others 50% for 1h"); err != nil {
			t.Fatal(err)
		}
		r := do(t, api, "https://api.test", call{})
		if got := r.header.Get("Anthropic-Ratelimit-Requests-Remaining"); got != "4" {
			t.Errorf("%s remain, want 4 of the half of 10", got)
		}
		ok := 0
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if do(t, api, "https://api.test", call{}).status == http.StatusOK {
				ok++
			}
		}
		if ok != 34 { // the 4 that were left, and 30 of the minute
			t.Errorf("%d were let through in a minute, want 34", ok)
		}
	})
}

// TestLimits_othersUnseen: what others take is gone for who looks only later.
func TestLimits_othersUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{RPM: 60}}})
		if err := api.Tell("10s others 100% for 50s"); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			_ = do(t, api, "https://api.test", call{})
		}
		time.Sleep(65 * time.Second)
		// Ten seconds before, none while others took all, five after; one is this call's.
		if got := do(t, api, "https://api.test", call{}).header.Get("Anthropic-Ratelimit-Requests-Remaining"); got != "4" {
			t.Errorf("%s remain, want 4", got)
		}
	})
}

// TestLimits_plain: a plain answer is produced token by token too.
func TestLimits_plain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{OTPM: 60, Burst: 4 * time.Second}}, OutputTokens: 24})
		start := time.Now()
		if r := do(t, api, "https://api.test", call{}); r.status != http.StatusOK {
			t.Fatalf("got %d", r.status)
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("24 tokens took %v, want 20s: 4 at once and one a second", took)
		}
	})
}

// TestLimits_leavers: what a caller that leaves has not been given is not
// counted.
func TestLimits_leavers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Limits: []sim.Limit{{OTPM: 60, Burst: 2 * time.Second}}, OutputTokens: 24})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		resp, err := api.RoundTrip(call{body: streamCall, ctx: ctx}.request(t, "https://api.test"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if got := api.Attempts()[0].OutputTokens; got != 2 {
			t.Errorf("%d tokens were produced, want the 2 of the burst", got)
		}
		time.Sleep(1500 * time.Millisecond)
		r := do(t, api, "https://api.test", call{})
		if r.status != http.StatusOK {
			t.Errorf("2 s later got %d, want 200: nothing is owed", r.status)
		}
	})
}
