package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/demo"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func demoCommand() *cobra.Command {
	var opts demo.Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a simulated API fails, with and without evenkeel; needs no key",
		Long: `Starts a simulated Claude API and a gateway in front of it, and sends one load
twice: directly, retried as the official SDKs do, and through evenkeel. The API
is calm, overloaded, limited, silent, gone and back, while a table compares what
the callers see. Answers are made up; HTTP, gateway and clients are real.

The ports are 5290 and 4290, or free ones where those are taken. What is shown
live is talk, on stderr; the comparison at the end is data, on stdout.`,
		Example: "  evenkeel demo\n  evenkeel demo --for 20s --seed 7\n  evenkeel demo --json > comparison.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.For < demo.Shortest {
				e := ekerr.New(ekerr.Usage, "--for is %v, want %v or more", opts.For, demo.Shortest)
				return e.Hint("evenkeel demo --for 20s")
			}
			return runDemo(cmd, opts, asJSON)
		},
	}
	cmd.Flags().DurationVar(&opts.For, "for", time.Minute, "how long it lasts, all in all")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "draws when calls arrive and which attempts fail, by their number; which call makes which attempt depends on timing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the comparison as JSON")
	return cmd
}

func runDemo(cmd *cobra.Command, opts demo.Options, asJSON bool) error {
	ctx, cancel := untilSignal(cmd.Context())
	defer cancel()
	opts.Talk = cmd.ErrOrStderr()
	// Where the table goes into a pipe, lines are what goes with it.
	if asJSON || demo.OpenTerminal(os.Stdout) != nil {
		opts.Live = demo.OpenTerminal(os.Stderr)
	}
	c, err := demo.Run(ctx, opts)
	if err != nil {
		return ekerr.Wrap(ekerr.Failed, err, "the demo cannot run")
	}
	out := cmd.OutOrStdout()
	if asJSON {
		err = writeJSON(out, c)
	} else {
		_, err = fmt.Fprintf(out, "\n%s", c.Table(demo.Width(os.Stdout)))
	}
	if sig := signalOf(ctx); sig != nil {
		return errors.Join(err, ekerr.Status(exitOf(sig))) // the comparison has said it
	}
	return err
}
