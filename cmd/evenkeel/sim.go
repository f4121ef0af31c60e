package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func simCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "A simulated Claude API that fails on schedule",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(simServeCommand())
	return cmd
}

// simFlags are the flags of `sim serve`.
type simFlags struct {
	listen, profile, fault, rate string
	seed                         uint64
	rpm                          int
	firstToken, tokenTime        time.Duration
}

func simServeCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the simulated API on a port",
		Long: `Serves a simulated Claude API. Its answers are made up; its errors, limits,
headers and streams have the shapes of the real ones. Any key is accepted.

While it runs, POST /sim/faults changes what fails, and /sim/attempts tells what
has arrived, one JSON object a line; docs/cli.md has both. The header sim-script
of a request says what its own attempts get: sim-script: 529,529,200.`,
		Example: `  evenkeel sim serve --profile storm
  evenkeel sim serve --fault 529 --rate 30%
  evenkeel sim serve --fault reset_after --rate 5%
  curl -d '{"faults":[{"status":529,"rate":0.3}]}' http://127.0.0.1:5290/sim/faults
  evenkeel serve --upstream http://127.0.0.1:5290`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.fault == "" && cmd.Flags().Changed("rate") {
				return ekerr.New(ekerr.Usage, "--rate says how often --fault strikes, and there is no --fault").
					Hint("evenkeel sim serve --fault 529 --rate %s", f.rate)
			}
			return simServe(cmd, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5290", "where it listens")
	flags.StringVar(&f.profile, "profile", "calm", strings.Join(sim.Profiles(), ", "))
	flags.StringVar(&f.fault, "fault", "", "one more failure: a status such as 529, or a kind such as hang or reset_after")
	flags.StringVar(&f.rate, "rate", "100%", "share of the attempts that --fault strikes")
	flags.Uint64Var(&f.seed, "seed", 1, "draws which attempts fail, by their number; the same seed gives the same numbers")
	flags.IntVar(&f.rpm, "rpm", 0, "requests per minute that a key may start; 0 is no limit")
	flags.DurationVar(&f.firstToken, "first-token", 0, "time until the first event of a stream")
	flags.DurationVar(&f.tokenTime, "token-time", 0, "time from one token to the next")
	return cmd
}

func simServe(cmd *cobra.Command, f simFlags) error {
	rules, err := f.rules()
	if err != nil {
		return err
	}
	l, err := listen("listen", f.listen)
	if err != nil {
		return err
	}
	api := sim.New(sim.Config{Seed: f.seed, Faults: rules, RPM: f.rpm, FirstToken: f.firstToken, TokenTime: f.tokenTime})
	fmt.Fprintf(cmd.ErrOrStderr(), `SIMULATED API: answers are made up
  %s   profile %s, seed %d, %s
  export ANTHROPIC_BASE_URL=%s   directly, or
  evenkeel serve --upstream %s
`, urlOf(l), f.profile, f.seed, counted(len(rules), "rule"), urlOf(l), urlOf(l))
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	if err := api.Serve(ctx, l); err != nil && context.Cause(ctx) == nil {
		return ekerr.Wrap(ekerr.Failed, err, "the simulated API has stopped")
	}
	return nil
}

// rules are those of the profile, after the one of --fault.
func (f simFlags) rules() ([]sim.Rule, error) {
	rules, err := sim.Profile(f.profile)
	if err != nil {
		e := ekerr.New(ekerr.Usage, "--profile is %q, want one of %s", f.profile, strings.Join(sim.Profiles(), ", "))
		if near := config.Suggest(f.profile, sim.Profiles()); near != "" {
			e = e.Hint("did you mean %s?", near)
		}
		return nil, e
	}
	if f.fault == "" {
		return rules, nil
	}
	var rate config.Percent
	if err := rate.UnmarshalText([]byte(f.rate)); err != nil {
		return nil, ekerr.New(ekerr.Usage, "--rate is %q: %v", f.rate, err)
	}
	if rate < 0 || rate > 1 {
		return nil, ekerr.New(ekerr.Usage, "--rate is %v, want 0%% to 100%%", rate)
	}
	rule := sim.Rule{Fault: sim.Fault{Kind: sim.Kind(f.fault)}, Rate: float64(rate)}
	if status, err := strconv.Atoi(f.fault); err == nil {
		rule.Fault = sim.Fault{Status: status}
	}
	if err := rule.Validate(); err != nil {
		return nil, ekerr.Wrap(ekerr.Usage, err, "--fault %s --rate %s make no rule", f.fault, f.rate)
	}
	return append([]sim.Rule{rule}, rules...), nil
}
