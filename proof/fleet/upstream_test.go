package fleet

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestUpstream_down: the API goes down under the callers of one gateway. All
// gateways stop within a second, probes reach the API one at a time and one per
// period for the whole fleet, and when it is back all of them serve again.
//
// A gateway that the store does not answer while it finds out, because this
// machine has much else to do, has nobody to tell: then it is tried again.
func TestUpstream_down(t *testing.T) {
	for range 3 {
		said := false
		t.Run("try", func(t *testing.T) { said = upstreamDown(t) })
		if said {
			return
		}
	}
	t.Error("three times the store did not answer the gateway that found the API down")
}

// upstreamDown is false if the first gateway was alone when it found out.
func upstreamDown(t *testing.T) (said bool) {
	s := newStage(t, 4, answer, "EVENKEEL_BREAKER_PROBE_EVERY="+probeEvery.String(), "EVENKEEL_BREAKER_RAMP=2s",
		"EVENKEEL_RETRY_BASE=50ms", "EVENKEEL_RETRY_MAX_ATTEMPTS=2", "EVENKEEL_BREAKER_PROBES=1")
	first, others := s.nodes[0], s.nodes[1:]
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, n := range s.nodes { // each has been at the store
		if o := s.call(t.Context(), client, n, load{}, plain(20)(0, 0)); o.status != http.StatusOK {
			t.Fatalf("before the outage: %d %s", o.status, o.reason)
		}
	}
	before := first.state(t).Store.Alone
	s.api.SetFaults(sim.Rule{Rate: 1, Fault: sim.Fault{Status: 529}})

	done := make(chan []outcome, 1)
	whole := *s
	whole.nodes = []*node{first}
	go func() {
		done <- whole.play(t, load{workers: 30, until: time.Since(s.start) + 20*time.Second + downFor, body: plain(20)})
	}()
	opened := s.await(t, "the breaker of the first opens", 20*time.Second, func() bool { return first.open(t) })

	alone := s.alone(t)
	if n := first.state(t).Store.Alone - before; n > 10 { // of 30 calls fewer than the 20 that it takes were told of
		t.Logf("open after %v; the store did not answer %d questions until then", opened, n)
		<-done
		return false
	}

	// From a second later on nobody sends anything but probes, but for those who the
	// store did not answer in time.
	rest := *s
	rest.nodes = others
	over := make(chan []outcome, 1)
	time.Sleep(time.Second)
	go func() {
		over <- rest.play(t, load{workers: 10, until: opened + downFor + 4*probeEvery + 20*time.Second, body: plain(20)})
	}()
	time.Sleep(opened + downFor - time.Since(s.start))
	s.api.SetFaults()
	up := time.Since(s.start)
	probes := s.measure(opened+time.Second, up)
	most := int((up-opened-time.Second)/probeEvery) + 1 + s.alone(t) - alone
	t.Logf("open after %v; %d attempts in the %v after a second, want %d at most", opened, probes.attempts, up-opened-time.Second, most)
	if probes.attempts > most {
		t.Errorf("%d attempts reached the API while it was down, want a probe per %v: %d at most", probes.attempts, probeEvery, most)
	}
	for i, n := range others {
		if !n.open(t) {
			t.Errorf("gateway %d does not know that the breaker is open", i+1)
		}
	}
	closed := s.await(t, "all are closed", 4*probeEvery+10*time.Second, func() bool {
		for _, n := range s.nodes {
			if n.open(t) {
				return false
			}
		}
		return true
	})
	t.Logf("closed %v after the API was back", closed-up)
	served := each(len(others), <-over, closed, closed+10*time.Second)
	<-done
	t.Logf("served in the ten seconds after: %v", served)
	for i, n := range served {
		if n == 0 {
			t.Errorf("gateway %d has served nobody in the ten seconds after the breaker closed", i+1)
		}
	}
	return true
}

// alone counts what gateways have decided without the store.
func (s *stage) alone(t *testing.T) (n int) {
	t.Helper()
	for _, g := range s.nodes {
		n += g.state(t).Store.Alone
	}
	return n
}

// open says whether a gateway knows of a breaker that is not closed.
func (n *node) open(t *testing.T) bool {
	t.Helper()
	for _, b := range n.state(t).Breakers {
		if strings.HasPrefix(b.Path, "messages") && b.State != "closed" {
			return true
		}
	}
	return false
}

// await waits until something holds, and says when that was.
func (s *stage) await(t *testing.T, what string, within time.Duration, holds func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); time.Since(began) < within; time.Sleep(10 * time.Millisecond) {
		if holds() {
			return time.Since(s.start)
		}
	}
	t.Fatalf("not within %v: %s", within, what)
	return 0
}
