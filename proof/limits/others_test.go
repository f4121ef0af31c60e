package limits

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// strangers call for so long, one every so often on average, whatever is
// answered.
func strangers(rt http.RoundTripper, l load, every, long time.Duration) {
	r := rand.New(rand.NewPCG(7, 7))
	var wg sync.WaitGroup
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Duration(r.ExpFloat64() * float64(every))) {
		body := l.body(r, 0)
		wg.Go(func() { ask(rt, l, body, time.Now()) })
	}
	wg.Wait()
}

// TestOthers: for two minutes somebody else takes 40 % of the organisation's
// limit. At most 2 % of our attempts are answered 429 while that begins, and
// none from ten seconds after it.
func TestOthers(t *testing.T) {
	limit := sim.Limit{RPM: 3000, ITPM: 50_000_000, OTPM: 10_000_000}
	inBubble(t, func(t *testing.T) {
		api := sim.New(sim.Config{
			Limits: []sim.Limit{limit}, TokenTime: 50 * time.Millisecond, OutputTokens: 400, OutputSpread: 0.5,
			Organization: func(string) string { return "acme" }, Faults: []sim.Rule{background(0.01)},
		})
		ours := newTransport(t, evenkeel.Config{Base: api})
		const from, until, end = 3 * time.Minute, 5 * time.Minute, 7 * time.Minute
		body := func(*rand.Rand, int) string { return prompt(20, 1024, false) }
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(from)
			strangers(api, load{key: "theirs", body: body}, 50*time.Millisecond, until-from)
		}()
		play(ours, 2, load{workers: 1500, key: "ours", body: body, until: end})
		<-done
		all := api.Attempts()
		tag := all[0].KeyTag
		mine := func(a sim.Attempt) bool { return a.KeyTag == tag }
		change := observe(all, limit, from, from+10*time.Second, 0, mine)
		after := observe(all, limit, from+10*time.Second, until, 0, mine)
		back := observe(all, limit, until+10*time.Second, end, 0, mine)
		t.Logf("while it begins: %v", change)
		t.Logf("while it lasts:  %v", after)
		t.Logf("when it is over: %v", back)
		if got := change.refusedShare(); got > 0.02 {
			t.Errorf("%.1f %% answered 429 while it begins, want 2 %% at most", 100*got)
		}
		if after.refused > 0 {
			t.Errorf("%d attempts were answered 429 from ten seconds on, want none", after.refused)
		}
		if got := after.used[0]; got < 0.5 {
			t.Errorf("used %.1f %% beside others who take 40 %%, want what they leave", 100*got)
		}
		if got := back.used[0]; got < 0.97 {
			t.Errorf("used %.1f %% when they had gone, want 97 %%", 100*got)
		}
	})
}
