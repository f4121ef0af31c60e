package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/scenario"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// simFlags are the flags of `sim serve` that are no keys of a scenario.
type simFlags struct {
	listen, scenario, record string
	fault, rate              string
	rpm                      int
}

// scenarioFlags are the flags that set a key of a scenario, by name.
var scenarioFlags = map[string]string{
	"profile": "profile", "seed": "seed",
	"first-token": "answers.first_token", "token-time": "answers.token_time",
	"output-tokens": "answers.tokens", "spread": "answers.spread",
	"limits": "limits", "slots": "capacity", "story": "timeline",
}

func simServeCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the simulated API on a port",
		Long: `Serves a simulated Claude API. Its answers are made up; its errors, limits,
headers and streams have the shapes of the real ones. Any key is accepted.

What fails is told in words, before it starts (--story, --scenario, --profile)
or while it runs (evenkeel fault set). The header sim-script of a request says
what its own attempts get: sim-script: 529,529,200. evenkeel sim report judges
how the client has behaved. A flag wins over the scenario; a story is added to
its timeline.`,
		Example: `  evenkeel sim serve --profile storm
  evenkeel sim serve --story 'overload 60% for 20s on claude-opus-*'
  evenkeel sim serve --limits rpm=60,itpm=30k,otpm=8k --slots 8 --token-time 20ms
  evenkeel sim serve --scenario overload.yaml --record attempts.jsonl
  evenkeel sim serve --fault reset_after --rate 5%
  evenkeel serve --upstream http://127.0.0.1:5290`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return simServe(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5290", "where it listens; port 0 takes a free one")
	flags.StringVar(&f.scenario, "scenario", "", "a file that says how the API behaves; see evenkeel sim check")
	flags.StringVar(&f.record, "record", "", "file for every attempt, one JSON object a line, written anew; - is stdout")
	flags.StringVar(&f.fault, "fault", "", "one more failure: overload, a status such as 529, a kind such as hang or reset_after:3")
	flags.StringVar(&f.rate, "rate", "100%", "share of the attempts that --fault strikes")

	flags.StringArray("story", nil, "a line that tells what fails, such as '10s overload 60% for 20s'; may be repeated")
	flags.String("profile", "calm", strings.Join(sim.Profiles(), ", "))
	flags.Uint64("seed", 1, "draws which attempts fail, by their number; the same seed gives the same numbers")
	flags.StringArray("limits", nil, "what an organisation may use a minute, such as rpm=60,itpm=30k,otpm=8k,models=opus-4; may be repeated")
	flags.IntVar(&f.rpm, "rpm", 0, "requests a minute that an organisation may start of a model, in place of --limits; 0 is no limit")
	flags.String("slots", "", "attempts of a model that are served at once; more are answered 529")
	flags.Duration("first-token", 0, "time until the first event of a stream")
	flags.Duration("token-time", 0, "time from one token to the next")
	flags.String("output-tokens", "24", "median length of an answer")
	flags.Float64("spread", 0, "how far lengths spread: the standard deviation of their logarithm; 0.7 is lifelike")
	complete(cmd, "profile", sim.Profiles())
	complete(cmd, "fault", failures())
	complete(cmd, "story", failures())
	return cmd
}

// complete offers values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag has just been defined
	}
}

func simServe(cmd *cobra.Command, f simFlags) error {
	s, err := f.resolve(cmd)
	if err != nil {
		return err
	}
	l, err := listen("listen", f.listen) // before the record: who has the port may be writing to it
	if err != nil {
		return err
	}
	rec, err := openRecord(f.record, cmd.OutOrStdout(), cmd.ErrOrStderr())
	if err != nil {
		_ = l.Close() // the record is what failed
		return err
	}
	if rec != nil {
		s.Record = rec
	}
	api := sim.New(s.Config)
	ctx, stop := untilSignal(cmd.Context()) // before anybody can know that it runs
	defer stop()
	welcome(cmd.ErrOrStderr(), s, urlOf(l), f.record)
	if err := api.Serve(ctx, l); err != nil && context.Cause(ctx) == nil {
		return ekerr.Wrap(ekerr.Failed, err, "the simulated API has stopped")
	}
	_ = api.FlushRecord() // what it could not write, rec has told
	return rec.Close()
}

// resolve reads the scenario and the flags over it.
func (f simFlags) resolve(cmd *cobra.Command) (*scenario.Scenario, error) {
	var flags []scenario.Flag
	cmd.Flags().Visit(func(set *pflag.Flag) {
		path, ok := scenarioFlags[set.Name]
		if !ok {
			return
		}
		values := []string{set.Value.String()}
		if several, ok := set.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, value := range values {
			if set.Name == "slots" {
				value = "slots=" + value
			}
			flags = append(flags, scenario.Flag{Name: set.Name, Path: path, Value: value})
		}
	})
	rpm := cmd.Flags().Changed("rpm")
	switch {
	case f.rpm < 0:
		return nil, ekerr.New(ekerr.Usage, "--rpm is %d, want 0 or more", f.rpm)
	case rpm && cmd.Flags().Changed("limits"):
		return nil, ekerr.New(ekerr.Usage, "--rpm is in place of --limits, and both are there").Hint("--limits rpm=%d,…", f.rpm)
	}
	rule, err := f.rule(cmd)
	if err != nil {
		return nil, err
	}
	s, err := scenario.Load(f.scenario, flags...)
	if err != nil {
		return nil, err
	}
	if rpm {
		s.Limits = nil
		if f.rpm > 0 {
			s.Limits = []sim.Limit{{RPM: f.rpm}}
		}
	}
	s.Faults = slices.Concat(rule, s.Faults)
	profile, err := sim.Profile(s.Profile)
	if err != nil {
		return nil, ekerr.Wrap(ekerr.Usage, err, "no profile")
	}
	s.Faults = append(s.Faults, profile...)
	return s, nil
}

// rule is that of --fault.
func (f simFlags) rule(cmd *cobra.Command) ([]sim.Rule, error) {
	if f.fault == "" {
		if cmd.Flags().Changed("rate") {
			return nil, ekerr.New(ekerr.Usage, "--rate says how often --fault strikes, and there is no --fault").
				Hint("evenkeel sim serve --fault 529 --rate %s", f.rate)
		}
		return nil, nil
	}
	var rate config.Percent
	if err := rate.UnmarshalText([]byte(f.rate)); err != nil {
		return nil, ekerr.New(ekerr.Usage, "--rate is %q: %v", f.rate, err)
	}
	if rate < 0 || rate > 1 {
		return nil, ekerr.New(ekerr.Usage, "--rate is %v, want 0%% to 100%%", rate)
	}
	rules, err := sim.ParseStory(f.fault)
	if err == nil && len(rules) != 1 {
		err = &sim.StoryError{Problem: "want one failure"}
	}
	if err != nil {
		mistakes := scenario.StoryMistakes(f.fault, err)
		for _, e := range mistakes {
			e.At = "--fault"
		}
		return nil, mistakes
	}
	if cmd.Flags().Changed("rate") {
		rules[0].Rate = float64(rate)
	}
	return rules, nil
}

// welcome says what is served, where, and what to do with it.
func welcome(w io.Writer, s *scenario.Scenario, url, record string) {
	fmt.Fprintf(w, "SIMULATED API: answers are made up\n  %s   %s\n", url, summary(s))
	if record != "" {
		fmt.Fprintf(w, "  every attempt goes to %s\n", record)
	}
	for _, rule := range s.Faults {
		fmt.Fprintf(w, "  fails: %s\n", rule.Story())
	}
	at := ""
	if url != defaultSim {
		at = " --sim " + url
	}
	fmt.Fprintf(w, `  export ANTHROPIC_BASE_URL=%s   directly, or
  evenkeel serve --upstream %s
  evenkeel fault set NAME overload 60%% for 20s%s
  evenkeel sim report%s
`, url, url, at, at)
}

// summary is a scenario in a line.
func summary(s *scenario.Scenario) string {
	text := fmt.Sprintf("profile %s, seed %d", s.Profile, s.Seed)
	if s.File != "" {
		text = s.File + ", " + text
	}
	for _, part := range []struct {
		one string
		n   int
	}{{"key", len(s.Keys)}, {"limit", len(s.Limits)}, {"pool", len(s.Capacity)}, {"failure", len(s.Faults)}} {
		if part.n > 0 {
			text += ", " + counted(part.n, part.one)
		}
	}
	return text
}
