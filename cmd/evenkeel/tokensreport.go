package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// refitSeed draws which pieces are chosen, which texts are kept, and in which
// order samples are looked at. It is fixed: what was asked before an
// interruption has to be what would be asked after it.
const refitSeed = 1

// keptOf is the part of the texts that is kept away from the fit: a tenth.
const keptOf = 10

// refitResult is what `tokens refit --json` prints.
type refitResult struct {
	Out      string       `json:"out"`
	From     string       `json:"from"` // counts or probes
	Upstream string       `json:"upstream,omitempty"`
	Model    string       `json:"model,omitempty"`
	Probes   *refitProbes `json:"probes,omitempty"`

	Samples  int         `json:"samples"`            // that were fitted
	HeldOut  int         `json:"held_out"`           // and that were kept away
	PerByte  float64     `json:"per_byte"`           // tokens a byte, over those that were fitted
	Ratio    float64     `json:"ratio,omitempty"`    // of their tokens to those that the prior expects
	Before   *fit.Report `json:"before,omitempty"`   // of the prior as it is; without a prior, of one weight for every byte
	Rescaled *fit.Report `json:"rescaled,omitempty"` // of the prior times the ratio
	After    *fit.Report `json:"after,omitempty"`    // of the table
}

type refitProbes struct {
	Asked      int  `json:"asked"`       // of the upstream, by this run
	FromLedger int  `json:"from_ledger"` // answered earlier
	Refused    int  `json:"refused"`     // pieces that the upstream would not take
	Frame      int  `json:"frame"`       // tokens of a message beside its text
	FrameSure  bool `json:"frame_sure"`  // it came out the same with every word
}

// fit makes the table, and notes what is known of it.
func (r *refitResult) fit(samples []fit.Sample, prior *fit.Table) (*fit.Table, error) {
	fitted, kept := fit.Split(samples, keptOf, refitSeed)
	table, err := fit.Fit(fitted, fit.Config{Prior: prior, Seed: refitSeed})
	if err != nil {
		return nil, err
	}
	r.Samples, r.HeldOut = len(fitted), len(kept)
	tokens, bytes, expected := 0.0, 0.0, 0.0
	for _, s := range fitted {
		tokens += float64(s.Tokens)
		bytes += float64(len(s.Text))
		if prior != nil {
			expected += prior.Tokens(s.Text)
		}
	}
	r.PerByte = tokens / bytes
	if expected > 0 {
		r.Ratio = tokens / expected
	}
	if len(kept) == 0 {
		return table, nil
	}
	score := func(t *fit.Table) *fit.Report {
		report := fit.Score(t, kept)
		return &report
	}
	r.After = score(table)
	if prior == nil {
		r.Before = score(flat(r.PerByte))
		return table, nil
	}
	r.Before = score(prior)
	r.Rescaled = score(prior.Scaled(r.Ratio))
	return table, nil
}

// flat is a table with the same weight for every pair.
func flat(perByte float64) *fit.Table {
	ones := new(fit.Table)
	for i := range ones {
		ones[i] = fit.Unit
	}
	return ones.Scaled(perByte)
}

// text is the result for people.
func (r *refitResult) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory: never fails
	row("table", r.Out)
	if p := r.Probes; p != nil {
		row("counted by", r.Model+" at "+r.Upstream)
		probes := fmt.Sprintf("%d asked, %d from the ledger", p.Asked, p.FromLedger)
		if p.Refused > 0 {
			probes += fmt.Sprintf(", %d refused", p.Refused)
		}
		row("probes", probes)
		frame := counted(p.Frame, "token") + " of each message subtracted"
		if !p.FrameSure {
			frame += "; words disagree about it, it may be off by one"
		}
		row("frame", frame)
	}
	row("samples", fmt.Sprintf("%d fitted, %d held out", r.Samples, r.HeldOut))
	_ = w.Flush()
	if r.After == nil {
		b.WriteString("\nThere is one source only, so nothing was held out and nothing is known of the errors.\n")
		return b.String()
	}
	b.WriteString("\nErrors on what was held out, in per cent (in tokens):\n\n")
	r.rows(row, "300 bytes and more", func(e *fit.Report) fit.Errors { return e.Long })
	r.rows(row, "less than 300 bytes", func(e *fit.Report) fit.Errors { return e.Short })
	_ = w.Flush()
	return b.String()
}

// rows writes the errors of each table on the texts of one length.
func (r *refitResult) rows(row func(...string), length string, of func(*fit.Report) fit.Errors) {
	n := of(r.After).Texts
	if n == 0 {
		return
	}
	row(fmt.Sprintf("%s of %s", counted(n, "text"), length), "median", "p95", "max")
	before := "one weight"
	if r.Rescaled != nil {
		before = "prior"
	}
	for _, table := range []struct {
		name   string
		errors *fit.Report
	}{{before, r.Before}, {fmt.Sprintf("prior × %.3f", r.Ratio), r.Rescaled}, {"new table", r.After}} {
		if table.errors == nil {
			continue
		}
		e := of(table.errors)
		cell := func(relative, tokens float64) string { return fmt.Sprintf("%.1f %% (%.1f)", 100*relative, tokens) }
		row("  "+table.name, cell(e.Relative.Median, e.Tokens.Median), cell(e.Relative.P95, e.Tokens.P95), cell(e.Relative.Max, e.Tokens.Max))
	}
}

// tableError gives a code to what is wrong with a file of a table.
func tableError(err error, doing, name string) error {
	if errors.Is(err, fs.ErrExist) {
		return ekerr.New(ekerr.TableFile, "%s exists already", name).
			Because("it is not overwritten unless you say so").Hint("--force")
	}
	return ekerr.New(ekerr.TableFile, "cannot %s the table %s", doing, name).
		Because("%s", strings.TrimPrefix(rootCause(err).Error(), "fit: "))
}
