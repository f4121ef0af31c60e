package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

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
	opened    config.Config // as it was then
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
	return &store{s, fleet.NewAdmission(s, memoryConfig(tc)), c}, nil
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

// fixed names what of a configuration is not in force before the next start,
// because a store that is open does not take it over.
func (s *store) fixed(c config.Config) []string {
	if s == nil {
		if c.Store.Kind != "memory" {
			return []string{"store"}
		}
		return nil
	}
	var names []string
	for _, k := range []struct {
		name string
		same bool
	}{
		{"store", s.opened.Store == c.Store},
		{"breaker", s.opened.Breaker == c.Breaker},
		{"retry.budget", s.opened.Retry.Budget == c.Retry.Budget},
		{"limits.headroom", s.opened.Limits.Headroom == c.Limits.Headroom},
	} {
		if !k.same {
			names = append(names, k.name)
		}
	}
	return names
}

// silent has the client of the store say nothing: what is wrong is in our log.
type silent struct{}

// Printf implements the client's logger.
func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }
