package fleet

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// outage is what becomes of the store, and its undoing.
type outage struct {
	name         string
	begin, until func(s *stage)
}

var outages = []outage{
	{"killed", func(s *stage) { s.redis.Kill() }, func(s *stage) { s.redis.Start() }},
	{"frozen", func(s *stage) { s.redis.Freeze() }, func(s *stage) { s.redis.Thaw() }},
	{"slow", func(s *stage) { s.wire.delay(500 * time.Millisecond) }, func(s *stage) { s.wire.delay(0) }},
}

// TestStore_gone: the store goes, and comes back, while eight gateways want
// twice the limit. The API enforces nothing here, so that what is sent beyond
// the limit shows; the gateways are configured to keep it.
func TestStore_gone(t *testing.T) {
	const rpm, depth = 1200, 10 // a bucket of which nobody tells holds ten seconds of rate
	limit := sim.Limit{RPM: rpm, Burst: depth * time.Second}
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			s := newStage(t, 8, answer, "EVENKEEL_UPSTREAM_API_KEY=sk-fleet",
				"EVENKEEL_LIMITS_MODELS={claude-opus-4-8: {rpm: 1200}}", "EVENKEEL_LIMITS_LEARN=false", "EVENKEEL_STORE_REDIS_EXPECTED_INSTANCES=8")
			end := settled + goneFor + backFor
			time.AfterFunc(settled, func() { o.begin(s) })
			took := s.glance(t, end)
			returned := make(chan struct{})
			time.AfterFunc(settled+goneFor, func() { o.until(s); close(returned) })
			all := s.play(t, load{workers: 25, until: end, body: plain(20)})
			<-returned
			m := s.measure(0, end)
			gone := s.measure(settled, settled+goneFor)
			back := s.measure(settled+goneFor+backIn, end)
			inFlight := float64(25) // what one gateway had
			free := <-took
			at := free[int(float64(len(free)-1)*notBlocked)]
			t.Logf("of %d calls that nothing limits %.2f %% took %v at most, and the longest %v", len(free), 100*notBlocked, at, free[len(free)-1])
			if at > 100*time.Millisecond {
				t.Errorf("the store has blocked calls that nothing limits for %v, want 100 ms at most", at)
			}
			t.Logf("in each second %v; while it was gone by gateway %v", m.perSecond(end), each(8, all, settled, settled+goneFor))
			t.Logf("%.1f beyond the fullest window, %.0f %% of the rate while it was gone, %.0f %% from %v after its return",
				m.beyond(limit), 100*gone.rate(goneFor)/(rpm/60), 100*back.rate(backFor-backIn)/(rpm/60), backIn)
			if got := m.beyond(limit); got > inFlight {
				t.Errorf("the fullest window has %.1f more than burst and rate, want %.0f at most", got, inFlight)
			}
			if got := gone.rate(goneFor) / (rpm / 60); got < goneRate {
				t.Errorf("%.0f %% of the rate was used while the store was gone, want %.0f %%", 100*got, 100*goneRate)
			}
			if got := back.rate(backFor-backIn) / (rpm / 60); got < backRate {
				t.Errorf("%.0f %% of the rate is used from %v after its return, want %.0f %%", 100*got, backIn, 100*backRate)
			}
			for _, c := range all {
				if c.status != 200 {
					t.Errorf("a call at %v ended with %d %s", c.began, c.status, c.reason)
				}
			}
			for i, n := range s.nodes {
				if st := n.state(t).Store; st.Local || st.Alone == 0 {
					t.Errorf("gateway %d says %+v; want to have decided alone, and not any more", i, st)
				}
			}
		})
	}
}

// glance asks every gateway, twenty times a second, for what the API answers at
// once and nothing limits, and tells how long that took each time, shortest
// first.
func (s *stage) glance(t *testing.T, until time.Duration) <-chan []time.Duration {
	t.Helper()
	told := make(chan []time.Duration, 1)
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for _, n := range s.nodes {
		client := &http.Client{Transport: &http.Transport{}}
		t.Cleanup(client.CloseIdleConnections)
		wg.Go(func() {
			for time.Since(s.start) < until {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/v1/models", http.NoBody)
				if err != nil {
					panic(err)
				}
				r.Header.Set("X-Api-Key", "sk-fleet")
				r.Header.Set("Anthropic-Version", "2023-06-01")
				began := time.Now()
				resp, err := client.Do(r)
				if err != nil {
					return // the test has ended
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				took := time.Since(began)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
				time.Sleep(50*time.Millisecond - took)
			}
		})
	}
	go func() {
		wg.Wait()
		slices.Sort(all)
		told <- all
	}()
	return told
}
