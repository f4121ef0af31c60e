package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// rootCommand returns the whole command line.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "evenkeel",
		Short: "Claude calls that survive overload, limits and lost connections",
		Long: `evenkeel keeps Claude calls working when the API is overloaded, when a limit
is hit, and when a call hangs or is cut before its answer begins.

  evenkeel serve                                    a gateway on 127.0.0.1:4290
  export ANTHROPIC_BASE_URL=http://127.0.0.1:4290   every Claude SDK then uses it

stdout is data, stderr is talk. docs/cli.md lists exit codes and error codes;
evenkeel explain CODE explains one.`,
		Args:          noArgs,
		SilenceErrors: true, // printed in one place, by main
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       buildVersion().Version,
	}
	root.SetVersionTemplate("evenkeel {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	flags := root.PersistentFlags()
	flags.StringP("config", "c", "", "configuration file; or "+config.EnvFile)
	configFlag(flags, "log-level", "log.level", "debug, info, warn or error")
	configFlag(flags, "log-format", "log.format", "auto, text or json")
	root.AddCommand(
		demoCommand(), serveCommand(), execCommand(), askCommand(), countCommand(), tokensCommand(), simCommand(), faultCommand(), configCommand(),
		healthcheckCommand(), versionCommand(), explainCommand(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" { // cobra's own would take any shell, and print help
			cmd.Args = noArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// execute runs a command line. Every error it returns has a code: what cobra
// says before a command runs is about usage, what a command says is about its
// work.
func execute(ctx context.Context, root *cobra.Command, args []string) error {
	root.SetArgs(args)
	ran := false
	var wrap func(*cobra.Command)
	wrap = func(cmd *cobra.Command) {
		if work := cmd.RunE; work != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error { ran = true; return work(cmd, args) }
		}
		for _, sub := range cmd.Commands() {
			wrap(sub)
		}
	}
	wrap(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil || ran {
		return err
	}
	if _, ok := errors.AsType[*ekerr.Error](err); ok {
		return err
	}
	return usage(cmd, err)
}

// usage turns what cobra says into an error of ours.
func usage(cmd *cobra.Command, err error) *ekerr.Error {
	what, _, _ := strings.Cut(err.Error(), "\n") // below it are cobra's own suggestions
	e := &ekerr.Error{Code: ekerr.Usage, What: what, Err: err}
	return e.Hint("%s --help", cmd.CommandPath())
}

// flagError suggests the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	e := usage(cmd, err)
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := invalid.GetFlag()
		e.What = fmt.Sprintf("--%s is %q, want %s", f.Name, invalid.GetValue(), wanted(f.Value.Type()))
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if near := config.Suggest(unknown.GetSpecifiedName(), known); near != "" {
			e.Do = slices.Insert(e.Do, 0, "did you mean --"+near+"?")
		}
	}
	return e
}

// wanted says what a flag of a type takes.
func wanted(kind string) string {
	switch kind {
	case "int", "uint64":
		return "a whole number"
	case "duration":
		return "a duration such as 30s"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// counted writes 1 rule, 2 rules.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// noArgs refuses arguments and suggests the command that was probably meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := ekerr.New(ekerr.Usage, "unexpected argument %q for %s", args[0], cmd.CommandPath())
	if cmd.HasSubCommands() {
		e.What = "unknown command \"" + args[0] + "\" for " + cmd.CommandPath()
		var known []string
		for _, sub := range cmd.Commands() {
			known = append(known, sub.Name())
		}
		if near := config.Suggest(args[0], known); near != "" {
			e = e.Hint("did you mean %s %s?", cmd.CommandPath(), near)
		}
	}
	return e.Hint("%s --help", cmd.CommandPath())
}

// pathOf is the annotation of a flag that sets a key of the configuration.
const pathOf = "evenkeel_path"

// configFlag defines a flag that sets the key at path. Its default is the
// key's, and its help names the variable of the key.
func configFlag(flags *pflag.FlagSet, name, path, text string) {
	flags.String(name, "", text+"; or "+config.EnvName(path)+" (default "+config.DefaultText(path)+")")
	if err := flags.SetAnnotation(name, pathOf, []string{path}); err != nil {
		panic(err) // the flag has just been defined
	}
}

// load resolves the configuration for cmd: its flags over the environment over
// the file over the defaults.
func load(cmd *cobra.Command) (*config.Resolved, error) { return config.Load(sources(cmd)) }

// loadCaller is load for commands that do not listen where the configuration
// says: to call a gateway that does is what they may be there for.
func loadCaller(cmd *cobra.Command) (*config.Resolved, error) {
	src := sources(cmd)
	src.NoListen = true
	return config.Load(src)
}

func sources(cmd *cobra.Command) config.Sources {
	src := config.Sources{File: os.Getenv(config.EnvFile), Env: os.Environ()}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "config" {
			src.File = f.Value.String()
		}
		if path := f.Annotations[pathOf]; path != nil {
			src.Flags = append(src.Flags, config.Flag{Name: f.Name, Path: path[0], Value: f.Value.String()})
		}
	})
	return src
}
