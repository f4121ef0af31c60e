package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func simReportCommand() *cobra.Command {
	var at string
	var asJSON bool
	var texts []string
	cmd := &cobra.Command{
		Use:   "report [FILE]",
		Short: "Judge how the client has behaved",
		Long: `Judges a client by the attempts it made: how many for each call, whether it came
back when it was told to, what it retried that cannot succeed, what it did with
answers that were cut. FILE is what evenkeel sim serve --record wrote; - is
stdin; without a file a running simulated API is asked.

Each --assert names a number of the report, and what it must be. If one is
missed the exit code is 7; all that are missed are listed.`,
		Example: `  evenkeel sim report
  evenkeel sim report attempts.jsonl --assert 'amplification<1.3' --assert retry_after_obeyed==100%
  evenkeel sim report --json | jq .grade`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			assertions, err := parseAssertions(texts)
			if err != nil {
				return err
			}
			if len(args) == 1 && at != "" {
				return ekerr.New(ekerr.Usage, "there is a file and --sim: which one is to be judged?").Hint("leave one of them out")
			}
			attempts, err := readAttempts(cmd, args, at)
			if err != nil {
				return err
			}
			if len(attempts) == 0 && len(assertions) > 0 {
				return ekerr.New(ekerr.Record, "there are no attempts to judge").
					Because("what nobody did cannot be asserted on").Hint("does the client call the simulated API?")
			}
			report := sim.Judge(attempts)
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), report.Text())
			}
			return errors.Join(err, missed(report, assertions))
		},
	}
	flags := cmd.Flags()
	simFlag(flags, &at)
	flags.StringArrayVar(&texts, "assert", nil, "what must hold, such as 'amplification<1.3' or wasted<5%; may be repeated")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	complete(cmd, "assert", metrics())
	return cmd
}

// metrics are the names of the numbers of a report, and what each is, as a
// shell that completes them wants it.
func metrics() []string {
	var all []string
	for _, m := range (sim.Report{}).Metrics() {
		all = append(all, cobra.CompletionWithDesc(m.Name, m.Doc))
	}
	return all
}

// parseAssertions reads all of them, before anything is judged.
func parseAssertions(texts []string) ([]sim.Assertion, error) {
	var all []sim.Assertion
	var mistakes ekerr.List
	for _, text := range texts {
		a, err := sim.ParseAssertion(text)
		if err == nil {
			all = append(all, a)
			continue
		}
		e := &ekerr.Error{Code: ekerr.Usage, At: "--assert", What: err.Error(), Err: err}
		if told, ok := errors.AsType[*sim.AssertionError](err); ok {
			e.What = told.Problem
			e.Why = ekerr.Mark(text, told.Column)
			if told.Suggestion != "" {
				e = e.Hint("did you mean %q?", told.Suggestion)
			}
		}
		mistakes = append(mistakes, e)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return all, nil
}

// readAttempts reads what is to be judged. A record whose last line is torn is
// judged without it.
func readAttempts(cmd *cobra.Command, args []string, at string) ([]sim.Attempt, error) {
	in, name, err := openAttempts(cmd.Context(), cmd.InOrStdin(), args, at)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	attempts, err := sim.ReadAttempts(in)
	if errors.Is(err, sim.ErrCutRecord) {
		fmt.Fprintf(cmd.ErrOrStderr(), "note  %s: %s; it is left out\n", name, strings.TrimPrefix(err.Error(), "sim: "))
		err = nil
	}
	if err != nil {
		return nil, ekerr.New(ekerr.Record, "%s is no record of attempts", name).Because("%s", strings.TrimPrefix(err.Error(), "sim: "))
	}
	return attempts, nil
}

func openAttempts(ctx context.Context, stdin io.Reader, args []string, at string) (io.ReadCloser, string, error) {
	switch {
	case len(args) == 0:
		api, err := dialSim(at)
		if err != nil {
			return nil, "", err
		}
		body, err := api.ask(ctx, http.MethodGet, "/sim/attempts", "")
		return body, api.url, err
	case args[0] == "-":
		return io.NopCloser(stdin), "stdin", nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, "", ekerr.Wrap(ekerr.Record, rootCause(err), "cannot read %s", args[0])
	}
	return f, args[0], nil
}

// missed lists the assertions that do not hold.
func missed(report sim.Report, assertions []sim.Assertion) error {
	var list ekerr.List
	for _, a := range assertions {
		if err := a.Check(report); err != nil {
			list = append(list, &ekerr.Error{Code: ekerr.Assertion, What: err.Error(), Err: err})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}
