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

// The parts of the document that are ours stand between these lines.
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

` + beginMark + "\n" + endMark + `

### Where it is not better

- **Above 31 % of attempts failing independently** the retry budget no longer
  balances: a retry costs five, a first success earns one. It then holds
  retries back, which is what keeps attempts near 1.1 per call in an outage.
- **Plain calls with a large max_tokens that hang**: the first byte of a plain
  answer may take 120 s + max_tokens · 28 ms, and ten minutes in all hold only
  two or three such waits; the SDK's rule spends up to half an hour. Streams
  are not concerned.

` + beginMark + "\n" + endMark + "\n"

// writeDocument puts the tables into docs/experiments.md, in their order.
func writeDocument(tables ...string) error {
	path := filepath.Join("..", "..", "docs", "experiments.md")
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		old, err = []byte(heading), nil
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	rest := string(old)
	for _, table := range tables {
		before, after, found := strings.Cut(rest, beginMark)
		_, after, closed := strings.Cut(after, endMark)
		if !found || !closed {
			return fmt.Errorf("%s: not %d pairs of lines %q and %q to write between", path, len(tables), beginMark, endMark)
		}
		b.WriteString(before + beginMark + "\n\n" + table + "\n" + endMark)
		rest = after
	}
	return os.WriteFile(path, []byte(b.String()+rest), 0o644)
}
