package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/scenario"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func faultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "What fails in a running simulated API: set, clear, ls",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(faultSetCommand(), faultClearCommand(), faultLsCommand())
	return cmd
}

func faultSetCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "set NAME WORDS…",
		Short: "Let something fail from now on, under a name",
		Long: `Puts a failure in force beside the others, told in words; one of the same name
is replaced. Times count from now. docs/sim.md has the words.`,
		Example: `  evenkeel fault set storm overload 60% for 20s
  evenkeel fault set storm overload 60% for 20s on 'claude-opus-*'
  evenkeel fault clear storm`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 { // a name is the user's own, and what follows a failure is many things
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return failures(), cobra.ShellCompDirectiveNoFileComp
		},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return ekerr.New(ekerr.Usage, "want a name, and what fails in words").Hint("evenkeel fault set storm overload 60%% for 20s")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := dialSim(at)
			if err != nil {
				return err
			}
			story, err := storyOf(args)
			if err != nil {
				return err
			}
			body, err := api.ask(cmd.Context(), http.MethodPut, faultPath(args[0]), story)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s  %s\n", args[0], story)
			return body.Close()
		},
	}
	simFlag(cmd.Flags(), &at)
	return cmd
}

// failures are the words a story begins with, and what each means, as a shell
// that completes them wants it.
func failures() []string {
	var all []string
	for _, name := range sim.Presets() {
		all = append(all, cobra.CompletionWithDesc(name, sim.About(name)))
	}
	for _, kind := range sim.Kinds() {
		all = append(all, cobra.CompletionWithDesc(string(kind), sim.About(string(kind))))
	}
	return all
}

// storyOf checks the words after the name, here rather than there: a mistake is
// told even if no API is running.
func storyOf(args []string) (string, error) {
	story, whole := strings.Join(args[1:], " "), strings.Join(args, " ")
	rules, err := sim.ParseStory(story)
	if err == nil && len(rules) == 1 {
		return story, nil
	}
	if _, noName := sim.ParseStory(whole); noName == nil {
		return "", ekerr.New(ekerr.Usage, "%q is taken for the name, and the rest is not understood", args[0]).
			Hint("evenkeel fault set NAME %s", whole)
	}
	if err == nil {
		return "", ekerr.New(ekerr.Usage, "want one failure in words, not %d", len(rules))
	}
	return "", scenario.StoryMistakes(story, err)
}

func faultPath(name string) string { return "/sim/faults/" + url.PathEscape(name) }

func faultClearCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "clear [NAME…]",
		Short: "Remove failures by name; without one, all of them",
		Example: `  evenkeel fault clear storm
  evenkeel fault clear`,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Second) // somebody waits for the key they have pressed
			defer cancel()
			return faultNames(ctx, at), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := dialSim(at)
			if err != nil {
				return err
			}
			paths := []string{"/sim/faults"}
			if len(args) > 0 {
				paths = nil
			}
			for _, name := range args {
				paths = append(paths, faultPath(name))
			}
			var mistakes ekerr.List
			for _, path := range paths {
				body, err := api.ask(cmd.Context(), http.MethodDelete, path, "")
				if err == nil {
					err = body.Close()
				}
				mistakes = append(mistakes, ekerr.All(err)...)
			}
			if len(mistakes) > 0 {
				return mistakes
			}
			return nil
		},
	}
	simFlag(cmd.Flags(), &at)
	return cmd
}

// inForce is what GET /sim/faults answers.
type inForce struct {
	Faults []sim.Rule `json:"faults"`
}

func faultLsCommand() *cobra.Command {
	var at string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what fails, in the order in which it is asked",
		Long: `Lists the failures in force by name, in words. The first that strikes an attempt
counts. Times count from when each was set; those of a profile, a scenario or a
flag have no name unless they were given one.`,
		Example: "  evenkeel fault ls\n  evenkeel fault ls --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := dialSim(at)
			if err != nil {
				return err
			}
			var now inForce
			if err := api.json(cmd.Context(), http.MethodGet, "/sim/faults", &now); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), listed(now.Faults))
			}
			if len(now.Faults) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "nothing fails at %s\n", api.url)
				return nil
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(table, "NAME\tWHAT FAILS")
			for _, f := range listed(now.Faults) {
				fmt.Fprintf(table, "%s\t%s\n", cmp.Or(f.Name, "-"), f.Story)
			}
			return table.Flush()
		},
	}
	simFlag(cmd.Flags(), &at)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// listedFault is what `fault ls --json` prints for a rule.
type listedFault struct {
	Name  string   `json:"name,omitempty"`
	Story string   `json:"story"` // without its name
	Rule  sim.Rule `json:"rule"`
}

func listed(rules []sim.Rule) []listedFault {
	out := make([]listedFault, len(rules))
	for i, rule := range rules {
		told := rule
		told.Name = ""
		out[i] = listedFault{rule.Name, told.Story(), rule}
	}
	return out
}

// faultNames returns the names in force, for a shell that completes: none if
// nobody answers.
func faultNames(ctx context.Context, at string) []string {
	api, err := dialSim(at)
	if err != nil {
		return nil
	}
	var now inForce
	if api.json(ctx, http.MethodGet, "/sim/faults", &now) != nil {
		return nil
	}
	var names []string
	for _, rule := range now.Faults {
		if rule.Name != "" {
			names = append(names, rule.Name)
		}
	}
	return names
}
