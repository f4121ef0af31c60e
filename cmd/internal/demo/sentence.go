package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// retryBudget is the size of evenkeel's default retry budget, in tokens.
const retryBudget = 500

// holds says what a waiting call waits for, by observe.Call.Reason.
var holds = map[string]string{
	"backoff":  "backing off",
	"breaker":  "for the breaker's probe",
	"ramp":     "for the load to return step by step",
	"pause":    "as long as a 429 asked everyone to",
	"budget":   "for retry budget",
	"queue":    "in the queue",
	"draining": "for the end",
}

// sentence says what evenkeel is doing, from its own snapshot.
func sentence(s observe.Snapshot) string {
	parts := []string{breakerText(s)}
	if s.InFlight > 0 {
		parts = append(parts, fmt.Sprintf("%d in flight", s.InFlight))
	}
	if text := waitingText(s); text != "" {
		parts = append(parts, text)
	}
	if b, ok := lane(s); ok && b.Budget < retryBudget {
		parts = append(parts, fmt.Sprintf("retry budget %d of %d", b.Budget, retryBudget))
	}
	return strings.Join(parts, " · ")
}

// lane returns the breaker of the demo's own calls; a reader who tries it too
// may have others.
func lane(s observe.Snapshot) (observe.Breaker, bool) {
	i := slices.IndexFunc(s.Breakers, func(b observe.Breaker) bool { return b.Model == model })
	if i < 0 {
		return observe.Breaker{}, false
	}
	return s.Breakers[i], true
}

func breakerText(s observe.Snapshot) string {
	b, ok := lane(s)
	if !ok || b.State == "closed" {
		return "breaker closed"
	}
	text := fmt.Sprintf("breaker %s (%d of %d calls failed)", b.State, b.Failures, b.Calls)
	if in := b.NextProbe.Sub(s.Time); !b.NextProbe.IsZero() && in > 0 {
		text += fmt.Sprintf(", next probe in %v", in.Round(time.Second))
	}
	return text
}

func waitingText(s observe.Snapshot) string {
	reasons := map[string]int{}
	for _, c := range s.Calls {
		if c.Phase == "waiting" {
			reasons[c.Reason]++
		}
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		text, ok := holds[reason]
		if !ok {
			text = reason
		}
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s", reasons[reason], text)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "waiting: " + strings.Join(parts, ", ")
}
