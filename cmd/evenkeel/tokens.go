package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/refit"
	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

func tokensCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "The tables that tokens are estimated with",
		Long: `Tokens are estimated with a table of weights, one for each pair of bytes. A new
tokenizer needs a new table:

  evenkeel tokens refit    makes one, from counts or by asking for them`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(refitCommand())
	return cmd
}

// refitFlags are the flags of tokens refit.
type refitFlags struct {
	counts, out, prior string
	texts              []string
	force, json        bool

	// With texts only.
	model, ledger            string
	budget, rpm, concurrency int
}

// Defaults of refit. 5,000 probes are the middle of the 3,000 to 10,000 that a
// table needs. 1,000 in a minute are half of what the lowest tier may ask
// for (“Rate limits”, platform.claude.com, 2026-08-22: count_tokens has a limit
// of its own, 2,000 RPM and more).
const (
	defaultBudget      = 5000
	leastBudget        = 20
	defaultRPM         = 1000
	defaultConcurrency = 8
	ledgerSuffix       = ".ledger"
)

func refitCommand() *cobra.Command {
	var f refitFlags
	cmd := &cobra.Command{
		Use:   "refit --out FILE (--counts FILE | --model MODEL --texts FILE…)",
		Short: "Make a table for a tokenizer, from counts or by asking for them",
		Long: `Fits a table of 65,536 weights, one byte each, to texts whose tokens are known.

With --counts they are in a file, one JSON object a line, gzipped or not:
{"text":"…","tokens":8}, the tokens of the text alone. Lines with the same
"source" are parts of one text.

With --texts they are asked for. Texts are cut into pieces, and up to --budget of
these are sent to the upstream's count_tokens, which is free; what a message costs
beside its text is measured and subtracted. FILE may be a folder, or a .jsonl with
{"text":"…"} on each line. Each answer goes to the ledger, which has no text:
interrupted, the same command goes on where it was.

A tenth of the texts is kept away from the fit, and the errors on them are what
is printed: those of the table to start from, and those of the new one. That
very table is written, whole or not at all.`,
		Example: `  evenkeel tokens refit --out new.u8 --counts counts.jsonl
  evenkeel tokens refit --out new.u8 --prior old.u8 --model claude-opus-5-5 --texts docs src mail.txt
  evenkeel tokens refit --out new.u8 --model claude-opus-5-5 --texts corpus.jsonl --budget 10000 --json`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.texts) > 0 { // --texts a b: the shell has made more than one of a pattern
				f.texts, args = append(f.texts, args...), nil
			}
			if err := noArgs(cmd, args); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.counts, "counts", "", "file of counted texts; - is stdin")
	flags.StringArrayVar(&f.texts, "texts", nil, "file or folder to cut pieces from; more may follow")
	flags.StringVar(&f.out, "out", "", "file for the table")
	flags.BoolVar(&f.force, "force", false, "write it even if there is such a file")
	flags.StringVar(&f.prior, "prior", "", "table to start from, another tokenizer's for instance")
	flags.StringVar(&f.model, "model", "", "model whose tokens are to be counted")
	flags.IntVar(&f.budget, "budget", defaultBudget, "most probes to be made, those of the ledger included")
	flags.IntVar(&f.rpm, "rpm", defaultRPM, "most probes begun in a minute; 0 is no limit but the upstream's")
	flags.IntVar(&f.concurrency, "concurrency", defaultConcurrency, "most probes at once")
	flags.StringVar(&f.ledger, "ledger", "", "file of answered probes (default that of --out with "+ledgerSuffix+")")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	configFlag(flags, "upstream", "upstream.url", "the API that counts")
	return cmd
}

// check finds what is missing or contradicts itself.
func (f refitFlags) check(cmd *cobra.Command) error {
	var mistakes ekerr.List
	wrong := func(format string, args ...any) {
		mistakes = append(mistakes, ekerr.New(ekerr.Usage, format, args...))
	}
	if f.out == "" {
		wrong("--out is missing: which file is the table for?")
	}
	switch {
	case f.counts == "" && len(f.texts) == 0:
		wrong("there is neither --counts nor --texts: what is to be fitted?")
	case f.counts != "" && len(f.texts) > 0:
		wrong("there are --counts and --texts: leave one of them out")
	case f.counts != "":
		for _, name := range []string{"model", "budget", "rpm", "concurrency", "ledger", "upstream"} {
			if cmd.Flags().Changed(name) {
				wrong("--%s has no meaning with --counts: nobody is asked", name)
			}
		}
	case f.model == "":
		wrong("--model is missing: whose tokens are to be counted?")
	}
	for _, n := range []struct {
		name         string
		value, least int
	}{{"budget", f.budget, leastBudget}, {"rpm", f.rpm, 0}, {"concurrency", f.concurrency, 1}} {
		if n.value < n.least {
			wrong("--%s is %d, want %d or more", n.name, n.value, n.least)
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	mistakes[0] = mistakes[0].Hint("evenkeel tokens refit --help")
	return mistakes
}

func (f refitFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	f.ledger = cmp.Or(f.ledger, f.out+ledgerSuffix)
	if err := refit.CheckFree(f.out, f.force); err != nil {
		return tableError(err, "write", f.out)
	}
	var prior *fit.Table
	if f.prior != "" {
		var err error
		if prior, err = refit.ReadTable(f.prior); err != nil {
			return tableError(err, "read", f.prior)
		}
	}
	result := refitResult{Out: f.out}
	var samples []fit.Sample
	var err error
	if f.counts != "" {
		result.From = "counts"
		samples, err = f.read(cmd.InOrStdin())
	} else {
		result.From = "probes"
		samples, err = f.probe(cmd, &result)
	}
	if err != nil {
		return err
	}
	table, err := result.fit(samples, prior)
	if err != nil {
		return inputError(err)
	}
	if err := refit.WriteTable(f.out, table, f.force); err != nil {
		return tableError(err, "write", f.out)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", f.out)
	if f.json {
		return writeJSON(cmd.OutOrStdout(), result)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), result.text())
	return err
}

func (f refitFlags) read(stdin io.Reader) ([]fit.Sample, error) {
	in, name := stdin, "stdin"
	if f.counts != "-" {
		file, err := os.Open(f.counts)
		if err != nil {
			return nil, inputError(err)
		}
		defer file.Close()
		in, name = file, f.counts
	}
	samples, err := refit.ReadCounts(in, name)
	if err != nil {
		return nil, inputError(err)
	}
	return samples, nil
}

// inputError gives a code to each mistake in counts or texts.
func inputError(err error) error {
	var list ekerr.List
	var add func(error)
	add = func(err error) {
		if several, ok := err.(interface{ Unwrap() []error }); ok { // as errors.Join makes it
			for _, e := range several.Unwrap() {
				add(e)
			}
			return
		}
		list = append(list, ekerr.New(ekerr.TokensInput, "%s", strings.TrimPrefix(err.Error(), "fit: ")))
	}
	add(err)
	return list
}
