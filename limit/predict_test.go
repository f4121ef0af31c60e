package limit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/evenkeel-dev/evenkeel/limit"
)

// taught returns a predictor that has seen n calls.
func taught(n int, r limit.Route, past func(i int) limit.Past) *limit.Predictor {
	p := limit.NewPredictor()
	for i := range n {
		p.Learn(r, past(i))
	}
	return p
}

func TestPredictor(t *testing.T) {
	route := limit.Route{Model: model, Tag: "web", MaxTokens: 4096, Input: 1000}
	always := func(output int) func(int) limit.Past {
		return func(int) limit.Past { return limit.Past{Input: 1000, Output: output, Whole: true, Seconds: 10} }
	}
	for _, tt := range []struct {
		why    string
		p      *limit.Predictor
		ask    func(r *limit.Route)
		output int
		within float64 // share
	}{
		{"nothing is known: what the caller allows", limit.NewPredictor(), func(r *limit.Route) { r.MaxTokens = 500 }, 500, 0},
		{"or a guess, if that is a lot", limit.NewPredictor(), func(r *limit.Route) { r.MaxTokens = 64_000 }, 1024, 0},
		{"a few calls are no more than that guess", taught(5, route, always(100)), nil, 1024, 0},
		{"what nine of ten stay below", taught(500, route, func(i int) limit.Past { return limit.Past{Output: 100 + i*700%1000, Whole: true, Seconds: 10} }), nil, 1000, 0.15},
		{"never more than max_tokens", taught(50, route, always(4000)), func(r *limit.Route) { r.MaxTokens = 3000 }, 3000, 0},
		{"another tag: as the model's calls are", taught(50, route, always(300)), func(r *limit.Route) { r.Tag = "new" }, 300, 0.1},
		{"another size: as the model's calls are", taught(50, route, always(300)), func(r *limit.Route) { r.Input = 100_000 }, 300, 0.1},
		{"another model: nothing is known", taught(50, route, always(300)), func(r *limit.Route) { r.Model = "other" }, 1024, 0},
		{"what was cut short says nothing of length", taught(50, route, func(int) limit.Past { return limit.Past{Output: 3, Seconds: 1} }), nil, 1024, 0},
		{"the past fades", taught(1000, route, func(i int) limit.Past { return always(100 + 900*(i/500))(i) }), nil, 1000, 0.1},
	} {
		r := route
		if tt.ask != nil {
			tt.ask(&r)
		}
		if got := tt.p.Expect(r).Output; math.Abs(float64(got-tt.output)) > tt.within*float64(tt.output) {
			t.Errorf("%s: %d tokens are expected, want %d", tt.why, got, tt.output)
		}
	}
}

func TestPredictor_quantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	route := limit.Route{Model: model, MaxTokens: 100_000, Input: 1000}
	p := limit.NewPredictor()
	var seen []int
	for range 400 {
		n := int(300 * math.Exp(rng.NormFloat64()*0.7))
		seen = append(seen, n)
		p.Learn(route, limit.Past{Output: n, Whole: true, Seconds: 1})
	}
	slices.Sort(seen)
	got, want := float64(p.Expect(route).Output), float64(seen[len(seen)*9/10])
	if math.Abs(got-want) > 0.25*want {
		t.Errorf("nine of ten are at most %v, want about %v", got, want)
	}
}

func TestPredictor_inputAndPace(t *testing.T) {
	route := limit.Route{Model: model, MaxTokens: 1000, Input: 10_000}
	p := taught(100, route, func(int) limit.Past {
		return limit.Past{Input: 1000, Reads: 9000, Output: 300, Whole: true, Seconds: 10}
	})
	e := p.Expect(limit.Route{Model: model, MaxTokens: 1000, Input: 20_000})
	if e.Input < 1900 || e.Input > 2400 || e.Reads < 17_000 || e.Reads > 18_000 || math.Abs(e.Pace-30) > 0.1 {
		t.Errorf("%+v, want a tenth of 20,000 to count, the rest read, and 30 tokens a second", e)
	}
	// One in fifty writes what the others read: it must not be refused.
	for i := range 500 {
		was := limit.Past{Input: 1000, Reads: 9000, Output: 300, Whole: true, Seconds: 10}
		if i%50 == 0 {
			was = limit.Past{Input: 10_000, Output: 300, Whole: true, Seconds: 10}
		}
		p.Learn(route, was)
	}
	if e := p.Expect(route); e.Input < 8500 {
		t.Errorf("%+v, want nearly all of 10,000 reserved", e)
	}
}

func TestPredictor_remembersSoMuch(t *testing.T) {
	p := limit.NewPredictor()
	for i := range 20_000 {
		p.Learn(limit.Route{Model: model, Tag: fmt.Sprint(i), MaxTokens: 1000, Input: 10}, limit.Past{Output: 10, Whole: true, Seconds: 1})
	}
	if got := p.Len(); got > 4096 {
		t.Errorf("%d kinds of calls are remembered", got)
	}
}

func FuzzPredictor(f *testing.F) {
	f.Add(300, 1000, 0, 4096, 10.0)
	f.Add(-1, 1<<40, -5, 0, math.Inf(1))
	f.Fuzz(func(t *testing.T, output, input, reads, maxTokens int, seconds float64) {
		r := limit.Route{Model: model, MaxTokens: maxTokens, Input: input}
		p := taught(20, r, func(int) limit.Past {
			return limit.Past{Input: input, Reads: reads, Output: output, Whole: true, Seconds: seconds}
		})
		e := p.Expect(r)
		if e.Input < 0 || e.Reads < 0 || e.Output < 0 || !(e.Pace >= 0) || math.IsInf(e.Pace, 0) || maxTokens > 0 && e.Output > maxTokens {
			t.Errorf("%+v", e)
		}
	})
}
