package sim

import (
	"fmt"
	"strings"
)

// pageBlocks are the metrics after which a line is left free.
var pageBlocks = map[string]bool{
	"failures": true, "herd_share": true, "limit_hits": true, "effects_risked": true, "truncated_left_alone": true, "wasted": true,
}

// Text returns the report as a page to read: the verdict, why, the numbers
// under the names they can be asserted by, and what went wrong how often.
// Lines end with a newline.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "verdict: %s\n", r.Grade)
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "  - %s\n", reason)
	}
	if n := r.Calls.Total; n > 0 && n < fewCalls && r.Amplification > naiveAmplification {
		fmt.Fprintf(&b, "  - %.2f attempts for each call: not held against it below %d calls\n", r.Amplification, fewCalls)
	}
	fmt.Fprintf(&b, "\n%-26s%10s  %s\n", "", "got", "good is")
	for _, m := range r.Metrics() {
		line := fmt.Sprintf("%-26s%10s  %s", m.Name, m, m.Good)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if pageBlocks[m.Name] {
			b.WriteString("\n")
		}
	}
	if len(r.Failures) > 0 {
		b.WriteString("\nattempts that failed\n")
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  %-48s %d\n", f.Reason, f.Count)
	}
	return b.String()
}
