package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/scenario"
)

// checkedScenario is what `sim check --json` prints for a file.
type checkedScenario struct {
	OK     bool           `json:"ok"`
	File   string         `json:"file"`
	Errors []*ekerr.Error `json:"errors"`
}

func simCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Say what sim serve would say to a scenario, without serving it",
		Long: `Reads scenarios as evenkeel sim serve --scenario does. All mistakes are told at
once, each with its line and column. docs/sim.md has every key.`,
		Example: "  evenkeel sim check overload.yaml\n  evenkeel sim check scenarios/*.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return ekerr.New(ekerr.Usage, "there is no file to check").Hint("evenkeel sim check overload.yaml")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var out []checkedScenario
			var mistakes ekerr.List
			for _, file := range args {
				s, err := scenario.Load(file)
				out = append(out, checkedScenario{OK: err == nil, File: file, Errors: append([]*ekerr.Error{}, ekerr.All(err)...)})
				mistakes = append(mistakes, ekerr.All(err)...)
				if err == nil && !asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "ok  %s\n", summary(s))
				}
			}
			var err error
			if len(mistakes) > 0 {
				err = mistakes
			}
			if asJSON {
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), out))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
