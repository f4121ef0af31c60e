package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// short is a demo on ports of its own.
func short(talk *bytes.Buffer) Options {
	return Options{
		For: 4 * time.Second, Seed: 1, Rate: 20, Talk: talk,
		APIAddr: "127.0.0.1:0", GatewayAddr: "127.0.0.1:0",
	}
}

// addsUp reports what is wrong with a comparison, whatever was played.
func addsUp(c Comparison) error {
	var errs []error
	var calls [sides]int
	for _, r := range append(c.Phases, c.All) {
		for s := range sides {
			v := r.of(s)
			failed := 0
			for _, n := range v.Errors {
				failed += n
			}
			if v.Calls != v.OK+v.Failed+v.Waiting || v.Failed != failed || v.Waiting < 0 {
				errs = append(errs, fmt.Errorf("%s, side %d: %d calls are not %d ok, %d failed (%d by kind), %d waiting",
					r.Phase, s, v.Calls, v.OK, v.Failed, failed, v.Waiting))
			}
			if (v.P50 == nil) != (v.OK == 0) || v.P50 != nil && *v.P50 > *v.P95 {
				errs = append(errs, fmt.Errorf("%s, side %d: p50 %v and p95 %v of %d", r.Phase, s, v.P50, v.P95, v.OK))
			}
			if r.Phase != "all" {
				calls[s] += v.Calls
			}
		}
		if r.Direct.Calls != r.Evenkeel.Calls {
			errs = append(errs, fmt.Errorf("%s: %d calls directly, %d through evenkeel, want as many", r.Phase, r.Direct.Calls, r.Evenkeel.Calls))
		}
	}
	if calls[direct] != c.All.Direct.Calls || calls[viaEvenkeel] != c.All.Evenkeel.Calls {
		errs = append(errs, fmt.Errorf("phases have %v calls, all %d and %d", calls, c.All.Direct.Calls, c.All.Evenkeel.Calls))
	}
	return errors.Join(errs...)
}

func TestRun(t *testing.T) {
	before := runtime.NumGoroutine()
	var talk bytes.Buffer
	start := time.Now()
	c, err := Run(t.Context(), short(&talk))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > patient {
		t.Errorf("took %v, want about 4s", took)
	}
	if err := addsUp(c); err != nil {
		t.Error(err)
	}
	if c.Interrupted || c.Phases[0].Phase != "calm" {
		t.Errorf("interrupted %t, began with %s: want all, from calm on", c.Interrupted, c.Phases[0].Phase)
	}
	for s := range sides {
		all := c.All.of(s)
		if all.Calls < 20 || all.OK == 0 || all.Attempts < all.OK {
			t.Errorf("side %d: %d calls, %d ok, %d attempts: want calls that succeeded, with an attempt each", s, all.Calls, all.OK, all.Attempts)
		}
		if over := c.Phases[overload].of(s); over.Calls >= 10 && over.Attempts <= over.Calls {
			t.Errorf("overload, side %d: %d attempts for %d calls, want retries", s, over.Attempts, over.Calls)
		}
	}
	settle(t, before)
	plainTalk(t, talk.String())
}

// patient is longer than anything takes on a machine that is merely busy.
const patient = 30 * time.Second

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond) // closed connections end on their own
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

func plainTalk(t *testing.T, talk string) {
	t.Helper()
	if strings.ContainsAny(talk, "\x1b\r") {
		t.Errorf("escape codes in a pipe: %q", talk)
	}
	for _, want := range []string{
		"SIMULATED", "export ANTHROPIC_BASE_URL=http://127.0.0.1:", "0:00  calm ", "  overload ", "direct ", "evenkeel ", "breaker closed",
	} {
		if !strings.Contains(talk, want) {
			t.Errorf("%q is missing in\n%s", want, talk)
		}
	}
}

func TestRun_endsWhenInterrupted(t *testing.T) {
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	start := time.Now()
	opts := short(new(bytes.Buffer))
	opts.For = 2 * patient
	c, err := Run(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > patient {
		t.Errorf("took %v, want 1.5s and little more", took)
	}
	if !c.Interrupted || len(c.Phases) == 6 || c.All.Direct.Calls == 0 {
		t.Errorf("interrupted %t, %d phases, %d calls: want what was played by then", c.Interrupted, len(c.Phases), c.All.Direct.Calls)
	}
	if err := addsUp(c); err != nil {
		t.Error(err)
	}
	if got := c.Table(100); !strings.HasPrefix(got, "Stopped before its time") {
		t.Errorf("the table does not say that it is not whole:\n%s", got)
	}
	settle(t, before)
}

func TestRun_live(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	width := 120
	opts := short(nil)
	opts.For, opts.Rate, opts.Talk = Shortest, 10, nil
	opts.Live = &Terminal{Color: true, Out: writer(func(p []byte) { mu.Lock(); out.Write(p); mu.Unlock() }), Size: func() (int, int) {
		width = 15 + (width+37)%120 // resized with every frame
		return width, 24
	}}
	if _, err := Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if !strings.HasPrefix(text, openScreen) || !strings.HasSuffix(text, closeScreen) {
		t.Errorf("the screen is not opened and closed: %q … %q", text[:min(20, len(text))], text[max(0, len(text)-20):])
	}
	frames := strings.Split(text, home)
	if len(frames) < 4 {
		t.Errorf("%d frames in %v, want one every %v", len(frames)-1, Shortest, frameEvery)
	}
	for _, f := range frames {
		if n := strings.Count(f, "\n"); n > 23 {
			t.Errorf("a frame has %d lines, want at most 24", n+1)
		}
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestRun_tooShort(t *testing.T) {
	if _, err := Run(t.Context(), Options{For: time.Second}); err == nil {
		t.Error("a demo of 1s runs, want an error")
	}
}

func TestListen_takesAnotherPort(t *testing.T) {
	first, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := listen(first.Addr().String())
	if err != nil {
		t.Fatalf("a port that is taken ends the demo: %v", err)
	}
	for _, l := range []net.Listener{first, second} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPlan(t *testing.T) {
	for _, total := range []time.Duration{Shortest, 20 * time.Second, time.Minute, 10 * time.Minute} {
		phases, script := plan(total, 5)
		if load := sum(script); load > total*9/10 {
			t.Errorf("%v: calls begin for %v, want time for the last to end", total, load)
		}
		for _, p := range phases {
			for _, r := range p.faults {
				if err := r.Validate(); err != nil {
					t.Errorf("%s: %v", p.name, err)
				}
			}
		}
		if phases[limit].rpm < 1 {
			t.Errorf("%v: limit is %d requests a minute, want at least 1", total, phases[limit].rpm)
		}
	}
}

func TestPatienceFor(t *testing.T) {
	for _, tt := range []struct {
		total          time.Duration
		shorter        int
		sdk, firstByte time.Duration
	}{
		{20 * time.Second, 30, 20 * time.Second, 4 * time.Second},
		{time.Minute, 30, 20 * time.Second, 4 * time.Second},
		{3 * time.Minute, 10, time.Minute, 12 * time.Second},
		{time.Hour, 1, 10 * time.Minute, 2 * time.Minute},
	} {
		got := patienceFor(tt.total)
		if want := (patience{tt.shorter, tt.sdk, tt.firstByte}); got != want {
			t.Errorf("patienceFor(%v) = %+v, want %+v", tt.total, got, want)
		}
		if said := strings.Contains(got.String(), "Shortened"); said != (tt.shorter > 1) {
			t.Errorf("%v: shortened %d times, and says %q", tt.total, tt.shorter, got)
		}
		_, script := plan(tt.total, 5)
		hangs := sum(script[:6]) // when the last call can hang
		if tt.total >= time.Minute && hangs+got.sdk+2*time.Second > tt.total {
			t.Errorf("%v: hangs until %v, and an SDK that then waits %v does not come to its retry", tt.total, hangs, got.sdk)
		}
	}
}

func TestPhaseOf(t *testing.T) {
	for name, want := range map[string]int{callName(0, 1): 0, callName(5, 77): 5, "": -1, "x.1": -1, "6.1": -1, "-1.1": -1, "3": -1} {
		got, ok := phaseOf(name, 6)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("phaseOf(%q) = %d, %t, want %d", name, got, ok, want)
		}
	}
}

func TestSentence(t *testing.T) {
	now := time.Unix(1000, 0)
	mine := observe.Breaker{Model: model, State: "closed", Budget: retryBudget}
	open := observe.Breaker{Model: model, State: "open", Failures: 9, Calls: 30, NextProbe: now.Add(12 * time.Second), Budget: 40}
	other := observe.Breaker{Model: "other", State: "open"}
	wait := func(reason string) observe.Call { return observe.Call{Phase: "waiting", Reason: reason} }
	for _, tt := range []struct {
		name string
		s    observe.Snapshot
		want string
	}{
		{"nothing has happened yet", observe.Snapshot{}, "breaker closed"},
		{"calm", observe.Snapshot{Breakers: []observe.Breaker{other, mine}, InFlight: 2}, "breaker closed · 2 in flight"},
		{
			"open",
			observe.Snapshot{Time: now, Breakers: []observe.Breaker{open}, Calls: []observe.Call{wait("breaker"), wait("backoff"), wait("breaker"), {Phase: "sent"}}},
			"breaker open (9 of 30 calls failed), next probe in 12s · waiting: 1 backing off, 2 for the breaker's probe · retry budget 40 of 500",
		},
		{"a reason that is new", observe.Snapshot{Calls: []observe.Call{wait("tide")}}, "breaker closed · waiting: 1 tide"},
	} {
		if got := sentence(tt.s); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
