package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/fleet"
)

// store is a Redis or Valkey that several gateways share, and the way to it.
type store struct {
	store     *fleet.Store
	admission *fleet.Admission
}

// openStore looks for the store in the background: one that is not there yet is
// one that has gone.
func openStore(c config.Config, tc evenkeel.Config, log *slog.Logger) (*store, error) {
	b := tc.Breaker
	s, err := fleet.New(fleet.Options{
		URL: string(c.Store.Redis.URL), ExpectedInstances: c.Store.Redis.ExpectedInstances, Log: log,
		Policy: fleet.Policy{
			BreakerOff: b.Off, ErrorRate: b.ErrorRate, Window: b.Window, MinCalls: b.MinCalls, OpenFor: b.OpenFor,
			ProbeEvery: b.ProbeEvery, Probes: b.Probes, Ramp: b.Ramp, Budget: tc.RetryBudget, Headroom: tc.Limits.Headroom,
		},
	})
	if err != nil {
		return nil, ekerr.Wrap(ekerr.ConfigValue, err, "store.redis.url cannot be used")
	}
	return &store{s, fleet.NewAdmission(s, memoryConfig(tc))}, nil
}

// memoryConfig is what is decided in this process.
func memoryConfig(c evenkeel.Config) call.MemoryConfig {
	return call.MemoryConfig{Breaker: c.Breaker, QueueDepth: c.Queue.Depth, Limits: c.Limits, Concurrency: c.Concurrency}
}

// shared completes a configuration for a transport that shares its limits, and
// applies what of it is decided in this process.
func (s *service) shared(c evenkeel.Config) evenkeel.Config {
	if s.store != nil {
		s.store.admission.Configure(memoryConfig(c))
		c.Admission = s.store.admission
	}
	return c
}

// ready waits for a store that is there to be found, and not for one that is not.
func (s *store) ready(ctx context.Context) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s.store.Ready(ctx)
}

func (s *store) close() {
	if s != nil {
		_ = s.admission.Close()
		_ = s.store.Close() // what it could say, nobody waits for
	}
}

// fixed names what of a new configuration a store that is open does not take
// over.
func (s *store) fixed(old, fresh config.Config) []string {
	var names []string
	if old.Store != fresh.Store {
		names = append(names, "store")
	}
	if s != nil && old.Breaker != fresh.Breaker {
		names = append(names, "breaker")
	}
	if s != nil && old.Retry.Budget != fresh.Retry.Budget {
		names = append(names, "retry.budget")
	}
	if s != nil && old.Limits.Headroom != fresh.Limits.Headroom {
		names = append(names, "limits.headroom")
	}
	return names
}
