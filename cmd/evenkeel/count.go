package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/tokens"
)

// countFlags are the flags of count.
type countFlags struct {
	model             string
	text, exact, json bool
}

// defaultModel is counted for where neither the flag nor the body names one.
const defaultModel = "claude-haiku-5-5"

func countCommand() *cobra.Command {
	var f countFlags
	cmd := &cobra.Command{
		Use:   "count [FILE…]",
		Short: "Estimate the input tokens of requests and texts; needs no key",
		Long: `Says how many input tokens Claude will count, without asking: for each input the
number, between which bounds it lies, how it was reached, and the sum. Without a
FILE, or with -, stdin is read.

An input is a request to the Messages API as JSON; or JSONL with a request in
each line, or with a line of a message batch, whose params are counted; or text,
which is counted as one message. With --text every input is a text and is
counted alone, without the message around it.

--exact asks the upstream's count_tokens, which is free and needs a key as ask
does. An input that cannot be counted is an error; the others are counted all
the same, and the exit code is 3.`,
		Example: `  evenkeel count request.json requests.jsonl README.md
  git diff | evenkeel count --text --model claude-opus-5-5
  evenkeel count --exact --json request.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return count(cmd, args, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "", "model to count for; else the one that the request names, else "+defaultModel)
	flags.BoolVar(&f.text, "text", false, "inputs are texts, counted without a message around them")
	flags.BoolVar(&f.exact, "exact", false, "ask the upstream's count_tokens")
	flags.BoolVar(&f.json, "json", false, "one object per input: file, model, tokens, low, high, how")
	configFlag(flags, "upstream", "upstream.url", "the API that --exact asks")
	return cmd
}

// counter counts one input for a model.
type counter func(ctx context.Context, model string, in input) (tokens.Estimate, error)

func count(cmd *cobra.Command, args []string, f countFlags) error {
	if len(args) == 0 {
		if isTerminal(cmd.InOrStdin()) {
			return ekerr.New(ekerr.Usage, "there is nothing to count").Hint("evenkeel count FILE").Hint("or pipe it in: evenkeel count < file")
		}
		args = []string{"-"}
	}
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	how := counter(estimated(new(tokens.Estimator)))
	if f.exact {
		e, err := newExactCounter(cmd)
		if err != nil {
			return err
		}
		defer e.close()
		how = exactly(e)
	}
	out := countPrinter{out: bufio.NewWriter(cmd.OutOrStdout()), json: f.json}
	failed, err := countAll(ctx, inputs(args, cmd.InOrStdin(), f.text), f.model, how, &out)
	if err == nil {
		err = out.close()
	}
	if err != nil || len(failed) == 0 {
		return err
	}
	if out.n > 0 {
		const someFailed = 3
		failed[0].Exit = someFailed
	}
	return failed
}

// countAll counts every input, and returns the errors of those that could not
// be counted. Its own error ends the command.
func countAll(ctx context.Context, all iter.Seq2[input, *ekerr.Error], model string, how counter, out *countPrinter) (failed ekerr.List, _ error) {
	for in, bad := range all {
		if sig := signalOf(ctx); sig != nil {
			return failed, interrupted(sig)
		}
		if bad != nil {
			failed = append(failed, bad)
			continue
		}
		m := cmp.Or(model, in.model, defaultModel)
		est, err := how(ctx, m, in)
		if err != nil {
			return failed, err
		}
		if err := out.print(in.name, m, est); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// estimated counts without asking.
func estimated(e *tokens.Estimator) counter {
	return func(ctx context.Context, model string, in input) (tokens.Estimate, error) {
		if in.text {
			return e.Text(model, in.body), nil
		}
		return e.Count(ctx, time.Now(), model, in.body)
	}
}

// countPrinter prints numbers, and their sum.
type countPrinter struct {
	out       *bufio.Writer
	json      bool
	n         int
	sum       int
	low, high float64 // squares of the distances of the bounds
}

// countLine is an object of --json.
type countLine struct {
	File   string `json:"file"`
	Model  string `json:"model"`
	Tokens int    `json:"tokens"`
	Low    int    `json:"low"`
	High   int    `json:"high"`
	How    string `json:"how"`
}

func (p *countPrinter) print(name, model string, e tokens.Estimate) error {
	p.n++
	if p.json {
		b, err := json.Marshal(countLine{name, model, e.Input, e.Low, e.High, e.How.String()})
		if err != nil {
			return err
		}
		_, err = p.out.Write(append(b, '\n'))
		return err
	}
	p.sum += e.Input
	p.low += float64(e.Input-e.Low) * float64(e.Input-e.Low)
	p.high += float64(e.High-e.Input) * float64(e.High-e.Input)
	how := e.How.String()
	if e.Marks&tokens.Unsized != 0 && e.How != tokens.Counted {
		how += "?"
	}
	return p.line(e.Input, e.Low, e.High, fmt.Sprintf("%-10s  %s  %s", how, model, name))
}

func (p *countPrinter) line(n, low, high int, rest string) error {
	bounds := ""
	if low != n || high != n {
		bounds = strconv.Itoa(low) + "–" + strconv.Itoa(high)
	}
	_, err := fmt.Fprintf(p.out, "%9d  %-19s  %s\n", n, bounds, rest)
	return err
}

// close prints the sum of several. Errors of different inputs partly cancel:
// the bounds of the sum are the root of the squares of theirs.
func (p *countPrinter) close() error {
	if p.n > 1 && !p.json {
		low, high := p.sum-int(math.Ceil(math.Sqrt(p.low))), p.sum+int(math.Ceil(math.Sqrt(p.high)))
		if err := p.line(p.sum, low, high, "sum of "+counted(p.n, "input")); err != nil {
			return err
		}
	}
	return p.out.Flush()
}
