package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "explain [CODE]",
		Short:   "Explain an error code; without one, list them",
		Example: "  evenkeel explain EK-CONFIG-KEY\n  evenkeel explain breaker-open",
		Args:    atMostOneArg,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return codes(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			entries := ekerr.Catalogue()
			if len(args) == 1 {
				entry, err := findCode(args[0])
				if err != nil {
					return err
				}
				entries = []ekerr.Entry{entry}
			}
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				return writeJSON(out, entries)
			case len(args) == 0:
				for _, e := range entries {
					fmt.Fprintf(out, "%-24s exit %-3d  %s\n", e.Code, e.Exit, e.Means)
				}
			default:
				e := entries[0]
				fmt.Fprintf(out, "%s\n\n%s\n\nWhat to do: %s\n\nA command that ends with it exits with %d.\n", e.Code, e.Means, e.Do, e.Exit)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// findCode takes a code in any case, with or without EK-.
func findCode(arg string) (ekerr.Entry, error) {
	code := strings.ToUpper(strings.TrimSpace(arg))
	if !strings.HasPrefix(code, "EK-") {
		code = "EK-" + code
	}
	if entry, ok := ekerr.Lookup(ekerr.Code(code)); ok {
		return entry, nil
	}
	e := ekerr.New(ekerr.Usage, "unknown error code %q", arg)
	if near := config.Suggest(code, codes()); near != "" {
		e = e.Hint("did you mean %s?", near)
	}
	return ekerr.Entry{}, e.Hint("evenkeel explain lists all")
}

func codes() []string {
	var all []string
	for _, e := range ekerr.Catalogue() {
		all = append(all, string(e.Code))
	}
	return all
}

func atMostOneArg(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return noArgs(cmd, args[1:])
	}
	return nil
}
