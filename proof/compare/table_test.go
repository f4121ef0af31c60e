package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	cell
	results [len(policies)]result
}

// markdown prints the rows. A field says success, attempts per call, and the
// time to success of half and of 95 % of those who had it.
func markdown(rows []row) string {
	var b strings.Builder
	b.WriteString("| fault | answers | calls/s |")
	for _, p := range policies {
		fmt.Fprintf(&b, " %s |", p.name)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(policies)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %v | %v s | %g |", r.fault, r.answer.Seconds(), r.perSecond)
		for _, x := range r.results {
			fmt.Fprintf(&b, " %s · %s · %s · %s |", percent(x.success()), ratio(r.cell, x), seconds(x.quantile(0.5)), seconds(x.quantile(0.95)))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// ratio is attempts per call, in an outage also of those while it lasted.
func ratio(c cell, r result) string {
	if c.kind != outage || r.inFault.calls == 0 {
		return fmt.Sprintf("%.3f", r.perCall())
	}
	return fmt.Sprintf("%.3f (%.3f)", r.perCall(), float64(r.inFault.attempts)/float64(r.inFault.calls))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// The part of the document that is ours stands between these lines.
const (
	beginMark = "<!-- proof/compare: begin -->"
	endMark   = "<!-- proof/compare: end -->"
)

// heading begins the document where there is none yet.
const heading = `# Experiments

## Never worse than without

Ten minutes of calls at random moments, under four policies that meet the same
luck: attempt *n* of call *m* fails under all of them or under none. Each field
says how many calls succeeded, attempts per call (in brackets: while the outage
lasted), and the time to success of 50 and 95 % of those who had it.

- **SDK's own rule**: two retries, 0.5 s doubling to 8 s, ten minutes per attempt.
- **six blind attempts**: full jitter from 1 s to 60 s, whatever the failure.
- **evenkeel, breaker off**: the retry budget alone.
- **evenkeel**: every default.

An outage answers 529 at once; a hang never answers. Written by
` + "`go test -run TestNeverWorse ./compare -update`" + ` in proof/.

` + beginMark + "\n" + endMark + "\n"

// writeDocument puts the table into docs/experiments.md.
func writeDocument(table string) error {
	path := filepath.Join("..", "..", "docs", "experiments.md")
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		old, err = []byte(heading), nil
	}
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), beginMark)
	_, after, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		return fmt.Errorf("%s: no lines %q and %q to write between", path, beginMark, endMark)
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n\n"+table+"\n"+endMark+after), 0o644)
}
