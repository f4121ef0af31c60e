package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show and write configurations",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand(), configShowCommand(), configInitCommand(), configSchemaCommand())
	return cmd
}

// checked is what `config check --json` prints.
type checked struct {
	OK     bool           `json:"ok"`
	File   string         `json:"file,omitempty"`
	Errors []*ekerr.Error `json:"errors"`
	Notes  []config.Note  `json:"notes"`  // what the author may not expect
	Unused []string       `json:"unused"` // keys at their defaults that this version does not use
}

func configCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say what start-up would say, without starting",
		Long: `Reads the file, the environment and the flags exactly as serve does, and builds
everything but the listeners. All mistakes are reported at once. What is valid
and has no effect in this version is said as well.`,
		Example: "  evenkeel config check evenkeel.yaml",
		Args:    atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			src := sources(cmd)
			if len(args) == 1 {
				src.File = args[0]
			}
			resolved, err := check(src)
			if asJSON {
				out := checked{OK: err == nil, File: src.File, Errors: []*ekerr.Error{}, Notes: []config.Note{}, Unused: []string{}}
				out.Errors = append(out.Errors, ekerr.All(err)...)
				out.Notes = append(out.Notes, resolved.Notes...)
				out.Unused = append(out.Unused, resolved.Unused...)
				return errors.Join(err, writeJSON(cmd.OutOrStdout(), out))
			}
			printNotes(cmd.ErrOrStderr(), resolved.Notes)
			if err != nil {
				return err
			}
			if len(resolved.Unused) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note  not used in this version, whatever they are set to: %s\n", strings.Join(resolved.Unused, ", "))
			}
			name := src.File
			if name == "" {
				name = "no file, defaults and environment"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ok  %s\n", name)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printNotes(w io.Writer, notes []config.Note) {
	for _, n := range notes {
		fmt.Fprintf(w, "note  %s  %s\n", n.At, n.Text)
	}
}

// check is start-up without listeners.
func check(src config.Sources) (*config.Resolved, error) {
	resolved, err := config.Load(src)
	if err != nil {
		return resolved, err
	}
	s, err := newService(resolved.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		return resolved, err
	}
	s.close()
	return resolved, nil
}

func configShowCommand() *cobra.Command {
	var asJSON, origins bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration that applies, credentials hidden",
		Example: `  evenkeel config show -c evenkeel.yaml --origin
  EVENKEEL_RETRY_BUDGET=100 evenkeel config show --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			resolved, err := load(cmd)
			printNotes(cmd.ErrOrStderr(), resolved.Notes)
			if err != nil {
				return err
			}
			if asJSON {
				out := map[string]any{"config": resolved.Tree()}
				if origins {
					out["origin"] = resolved.AllOrigins()
				}
				return writeJSON(cmd.OutOrStdout(), out)
			}
			text, err := resolved.YAML(origins)
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&origins, "origin", false, "say where each value was set")
	return cmd
}

func configInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write an example with every key, why it is there, and its default",
		Example: `  evenkeel config init                  to stdout
  evenkeel config init evenkeel.yaml    to a file that does not exist yet`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := cmd.OutOrStdout().Write(config.Example)
				return err
			}
			return initFile(cmd, args[0])
		},
	}
}

// initFile writes the example to a new file. Only its owner may read it: a key
// may be written into it later.
func initFile(cmd *cobra.Command, name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return ekerr.New(ekerr.Failed, "%s exists already", name).
			Because("it is not overwritten: it may hold changes").
			Hint("evenkeel config init prints to stdout")
	}
	if err == nil {
		_, err = f.Write(config.Example)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return ekerr.Wrap(ekerr.Failed, rootCause(err), "cannot write %s", name)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; check it with: evenkeel config check %s\n", name, name)
	return nil
}

func configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON schema of the file, for editors",
		Example: "  evenkeel config schema > evenkeel.schema.json\n  # and in the file:  # yaml-language-server: $schema=evenkeel.schema.json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeJSON(cmd.OutOrStdout(), config.Schema()) },
	}
}
