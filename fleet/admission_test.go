package fleet

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/call/calltest"
	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// newAdmission returns one of a process of its own.
func newAdmission(t *testing.T, url string, c calltest.Config) *Admission {
	t.Helper()
	s := newStore(t, Options{URL: url, Timeout: time.Second, Policy: Policy{ // what it answers is tested, and not when
		MinCalls: c.Breaker.MinCalls, ProbeEvery: c.Breaker.ProbeEvery, Probes: c.Breaker.Probes, Ramp: c.Breaker.Ramp,
		OpenFor: c.Breaker.OpenFor, Budget: c.Budget,
	}})
	a := NewAdmission(s, call.MemoryConfig{Breaker: c.Breaker, Limits: c.Limits, QueueDepth: c.Depth})
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestAdmission_conforms(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		calltest.Run(t, func(t *testing.T, c calltest.Config) call.Admission { return newAdmission(t, "redis://"+m.Addr(), c) })
	})
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			s := servertest.Single(t, kind)
			t.Log(s.Version())
			calltest.Run(t, func(t *testing.T, c calltest.Config) call.Admission { return newAdmission(t, "redis://"+s.Addr, c) })
		})
	}
	t.Run("cluster", func(t *testing.T) {
		n := servertest.Cluster(t, servertest.Redis)
		url := "redis://" + n[0].Addr + "?addr=" + n[1].Addr + "&addr=" + n[2].Addr
		calltest.Run(t, func(t *testing.T, c calltest.Config) call.Admission { return newAdmission(t, url, c) })
	})
	t.Run("sentinel", func(t *testing.T) {
		w := servertest.Sentinel(t, servertest.Redis)
		url := "redis://" + w.Sentinels[0].Addr + "?master_name=" + servertest.MasterName + "&addr=" + w.Sentinels[1].Addr
		calltest.Run(t, func(t *testing.T, c calltest.Config) call.Admission { return newAdmission(t, url, c) })
	})
}
