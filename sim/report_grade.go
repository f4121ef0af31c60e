package sim

import (
	"fmt"
	"strings"
	"time"
)

// Grade is a report in a word.
type Grade string

// The grades. A client is harmful if one of these holds, and naive if nothing
// of the first column but something of the second does; the numbers are
// guesses but for the amplification, of which three attempts for each call are
// what the official SDKs make at worst, and the share of one in ten, which is
// what Google's SRE book allows retries to be:
//
//	harmful if                          naive if
//	amplification       > 3             > 2        with 20 calls or more
//	herd share          > 50%           > 25%
//	Retry-After early   > half of 10    any
//	retried final       > 10% of all    any
//	POSTs with effects  repeated        risked
//	truncated answers   accepted
//
// Limit hits, waste, and answers left alone are shown but not graded, because
// they depend on what the client was asked to do.
const (
	Untested Grade = "untested" // it has met no failure, so nothing is known
	Good     Grade = "good"
	Naive    Grade = "naive"   // it gets by, at the cost of others or of its own
	Harmful  Grade = "harmful" // it makes an outage worse, does things twice, or passes off half an answer
)

// wrong is something a client does wrong: how much, what of it is naive, and
// what harmful.
type wrong struct {
	amount         float64
	naive, harmful float64 // more than that
	reason         string
}

// grade fills Grade and Reasons.
func (r *Report) grade() {
	r.Grade, r.Reasons = Good, []string{}
	if r.Failed == 0 {
		r.Grade = Untested
	}
	var mild []string
	for _, w := range r.wrongs() {
		switch {
		case w.amount > w.harmful:
			r.Reasons = append(r.Reasons, w.reason)
		case w.amount > w.naive:
			mild = append(mild, w.reason)
		}
	}
	switch {
	case len(r.Reasons) > 0:
		r.Grade = Harmful
	case len(mild) > 0:
		r.Grade = Naive
	case r.Grade == Untested:
		mild = []string{"it met no failure, so nothing is proved"}
	}
	r.Reasons = append(r.Reasons, mild...)
}

// fewCalls is from how many calls on amplification is held against a client (in
// an outage every policy tries one call often), naiveAmplification how much.
const (
	fewCalls           = 20
	naiveAmplification = 2
)

// wrongs lists what is graded, the worst for others first.
func (r *Report) wrongs() []wrong {
	const never = 1e18
	amplification := 0.0
	if r.Calls.Total >= fewCalls {
		amplification = r.Amplification
	}
	early := float64(min(r.RetryAfter.Early, 1)) // any is naive
	if r.RetryAfter.Retried >= 10 {
		early += ratio(r.RetryAfter.Early, r.RetryAfter.Retried)
	}
	wasFinal := float64(min(r.Retried.Final, 1)) + ratio(r.Retried.Final, r.Attempts)
	return []wrong{
		{amplification, naiveAmplification, 3, fmt.Sprintf("%.2f attempts for each call", r.Amplification)},
		{r.Herd.Share, 0.25, 0.5, fmt.Sprintf("a herd: %.0f%% of the retries of 10 s came within 0.1 s", 100*r.Herd.Share)},
		{early, 0, 1.5, fmt.Sprintf("%d of %d retries came before their Retry-After, by up to %v", r.RetryAfter.Early, r.RetryAfter.Retried, r.RetryAfter.Worst.Round(time.Millisecond))},
		{wasFinal, 0, 1.1, fmt.Sprintf("%d retries of what cannot succeed (%s)", r.Retried.Final, inALine(r.Retried.ByReason))},
		{float64(r.Retried.Repeated), never, 0, fmt.Sprintf("%d POSTs sent again that had taken effect", r.Retried.Repeated)},
		{float64(r.Retried.Risked), 0, never, fmt.Sprintf("%d POSTs sent again that may have taken effect", r.Retried.Risked)},
		{float64(r.Truncated.Accepted), never, 0, fmt.Sprintf("%d truncated answers taken for whole", r.Truncated.Accepted)},
	}
}

// inALine returns failures in a line.
func inALine(failures []Failure) string {
	var parts []string
	for _, f := range failures {
		parts = append(parts, fmt.Sprintf("%s: %d", f.Reason, f.Count))
	}
	return strings.Join(parts, ", ")
}
