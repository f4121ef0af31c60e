package main

import (
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/gateway"
)

// transportConfig says in the library's words what the file says.
func transportConfig(c config.Config, log *slog.Logger) evenkeel.Config {
	return evenkeel.Config{
		Backoff:     backoff.Exponential{Base: time.Duration(c.Retry.Base), Max: time.Duration(c.Retry.Max)},
		MaxAttempts: c.Retry.MaxAttempts,
		LongestWait: time.Duration(c.Retry.LongestWait),
		RetryBudget: noneIfZero(c.Retry.Budget),
		Timeouts: evenkeel.Timeouts{
			Connect:   time.Duration(c.Timeouts.Connect),
			FirstByte: time.Duration(c.Timeouts.FirstByte),
			Idle:      time.Duration(c.Timeouts.Idle),
			Total:     time.Duration(c.Timeouts.Total),
		},
		Breaker: evenkeel.Breaker{
			ErrorRate:  float64(c.Breaker.ErrorRate),
			Window:     time.Duration(c.Breaker.Window),
			MinCalls:   c.Breaker.MinCalls,
			OpenFor:    time.Duration(c.Breaker.OpenFor),
			ProbeEvery: noneIfZero(time.Duration(c.Breaker.ProbeEvery)),
			Probes:     c.Breaker.Probes,
			Ramp:       noneIfZero(time.Duration(c.Breaker.Ramp)),
			Refuse:     c.Breaker.WhenOpen == "refuse",
		},
		Fallback:    fallbackConfig(c),
		Stream:      evenkeel.Stream{Resume: c.Stream.Resume == "continue", Plain: c.Upstream.StreamPlain},
		Limits:      limitsConfig(c),
		Concurrency: evenkeel.Concurrency{Max: c.Concurrency.Max, Fixed: c.Concurrency.Mode == "fixed"},
		Queue:       evenkeel.Queue{Depth: c.Queue.Depth, MaxWait: time.Duration(c.Queue.MaxWait)},
		Memory:      evenkeel.Memory{Body: int64(c.Memory.Body), Bodies: int64(c.Memory.Bodies)},
		Log:         log,
	}
}

// fallbackConfig says in the library's words what the file says of fallback.
func fallbackConfig(c config.Config) []evenkeel.Fallback {
	var all []evenkeel.Fallback
	for _, f := range c.Fallback {
		all = append(all, evenkeel.Fallback{From: f.From, To: f.To})
	}
	return all
}

// limitsConfig says in the library's words what the file says of limits.
func limitsConfig(c config.Config) evenkeel.Limits {
	l := evenkeel.Limits{
		Fixed: !c.Limits.Learn, Headroom: float64(c.Limits.Headroom),
		Models: ratesOf(c.Limits.Models), Organizations: make(map[string]map[string]evenkeel.Rates), Clients: make(map[string]map[string]evenkeel.Rates),
	}
	if l.Headroom == 0 {
		l.Headroom = -1 // none, not the default
	}
	for id, models := range c.Limits.Organizations {
		l.Organizations[id] = ratesOf(models)
	}
	for _, client := range c.Clients {
		if len(client.Limits) > 0 {
			l.Clients[client.Name] = ratesOf(client.Limits)
		}
	}
	return l
}

func ratesOf(models map[string]config.Limit) map[string]evenkeel.Rates {
	rates := make(map[string]evenkeel.Rates, len(models))
	for model, l := range models {
		rates[model] = evenkeel.Rates{RPM: int64(l.RPM), ITPM: int64(l.ITPM), OTPM: int64(l.OTPM)}
	}
	return rates
}

// noneIfZero spells none: 0 in the file, where a number is what it says; less
// than 0 in the library, where 0 is the default.
func noneIfZero[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// gatewayConfig says in the gateway's words what the file says. The URL has
// been checked when it was read.
func gatewayConfig(c config.Config, t *evenkeel.Transport, log *slog.Logger) (gateway.Config, error) {
	upstream, err := upstreamURL(c)
	if err != nil {
		return gateway.Config{}, err
	}
	g := gateway.Config{
		Transport: t,
		State:     t.Snapshot,
		Upstream:  upstream,
		APIKey:    gateway.Secret(c.Upstream.APIKey),
		Hosts:     c.Hosts,
		Origins:   c.Origins,
		MaxWait:   time.Duration(c.Queue.MaxWait),
		Drain:     gateway.Drain{Delay: time.Duration(c.Drain.Delay), Grace: noneIfZero(time.Duration(c.Drain.Grace))},
		Log:       log,
	}
	for _, cl := range c.Clients {
		g.Clients = append(g.Clients, gateway.Client{
			Name: cl.Name, TokenSHA256: cl.TokenSHA256, Priority: cl.Priority, Weight: cl.Weight, Paths: cl.Paths,
		})
	}
	return g, nil
}

func upstreamURL(c config.Config) (*url.URL, error) {
	u, err := config.ParseUpstream(c.Upstream.URL)
	if err != nil {
		return nil, ekerr.New(ekerr.ConfigValue, "upstream.url %v", err)
	}
	return u, nil
}

// service is a gateway and the transport behind it.
type service struct {
	transport *evenkeel.Transport
	gateway   *gateway.Gateway
	store     *store // nil unless limits are shared
}

// newService makes what serve, exec and `config check` make of a configuration,
// so that all three accept the same ones. It opens no port; a store that is
// shared is looked for in the background. Close it.
func newService(c config.Config, log *slog.Logger) (*service, error) {
	s := &service{}
	tc := transportConfig(c, log)
	var err error
	if c.Store.Kind == "redis" {
		if s.store, err = openStore(c, tc, log); err != nil {
			return nil, configError(err)
		}
		tc.Admission = s.store.admission
	}
	if s.transport, err = evenkeel.New(tc); err == nil {
		var cfg gateway.Config
		if cfg, err = gatewayConfig(c, s.transport, log); err == nil {
			if s.gateway, err = gateway.New(cfg); err == nil {
				return s, nil
			}
		}
	}
	s.close() // nothing has been logged
	return nil, configError(err)
}

// close writes the last lines of the log, and tells the store what it has yet to
// hear.
func (s *service) close() {
	if s.transport != nil {
		_ = s.transport.Close()
	}
	s.store.close()
}

// reconfigure changes both or neither.
func (s *service) reconfigure(old, c config.Config, log *slog.Logger) error {
	cfg, err := gatewayConfig(c, s.transport, log)
	if err != nil {
		return err
	}
	if err := s.transport.Reconfigure(s.shared(transportConfig(c, log))); err != nil {
		s.shared(transportConfig(old, log))
		return configError(err)
	}
	if err := s.gateway.Reconfigure(cfg); err != nil {
		return configError(errors.Join(err, s.transport.Reconfigure(s.shared(transportConfig(old, log)))))
	}
	return nil
}

// configError gives a code to what a room says about its configuration.
func configError(err error) error {
	if _, ok := errors.AsType[*ekerr.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*gateway.OpenError](err); ok {
		return ekerr.Wrap(ekerr.ConfigOpen, err, "the gateway would be open to the network with your key")
	}
	return ekerr.Wrap(ekerr.ConfigValue, err, "the configuration cannot be used")
}
