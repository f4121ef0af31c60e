package main

import (
	"github.com/spf13/cobra"
)

func simCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "A simulated Claude API that fails on schedule",
		Long: `A Claude API of your own, to see how a program behaves when the real one is
overloaded, when a limit is hit, and when a stream breaks. It needs no key.

  evenkeel sim serve       the API, on 127.0.0.1:5290
  evenkeel fault set NAME  what fails from now on, in words
  evenkeel sim report      how the client has behaved

docs/sim.md is its manual.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(simServeCommand(), simCheckCommand(), simReportCommand())
	return cmd
}
