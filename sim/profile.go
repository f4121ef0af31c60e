package sim

import (
	"fmt"
	"strings"
)

// profiles are the named sets of rules, as stories. All shares and times are
// guesses at what users report, not measurements of the API.
var profiles = map[string]string{
	"calm": ``,

	// Overload comes in waves of a minute, for all at once, and each wave takes
	// capacity with it. Between them it never is quite gone.
	"storm": `
		20s overload 70% every 1m for 20s named wave
		20s overload_in_stream 5% every 1m for 20s path messages named wave
		20s slots 30% every 1m for 20s named wave
		overload 5%
		server_error 1%
		reset_before_headers 1%
	`,

	// Everything works, slowly and not always.
	"brownout": `
		slowdown 3x
		overload 10%
		timeout 3% after 10s
		hang 1%
		stall_after 8 events with pings 1% path messages
		slow by 5s 50%
	`,

	// Nothing works for a minute in every five; some connections fail too.
	"outage": `
		30s refuse 20% every 5m for 1m named outage
		30s overload every 5m for 1m named outage
	`,

	// Other users of the same organisation eat its limits.
	"limits": `
		15s rate_limit every 30s for 5s path messages
		others 50%
		ramp 2% path messages
		throttle 2% path messages
	`,

	// Answers begin well and end badly.
	"flaky-streams": `
		overload_in_stream 10% path messages
		error_event_at 6 events 3% path messages
		reset_after 2 events 5% path messages
		close_after 9 events 3% path messages
		end_after 1 events 5% path messages
		half_event 5 events 3% path messages
		garbage 4 events 1% path messages
		stall_after 2 events 1% path messages
	`,
}

// Profiles returns the names of the profiles, the calmest first.
func Profiles() []string {
	return []string{"calm", "storm", "brownout", "outage", "limits", "flaky-streams"}
}

// Profile returns the rules of a named set, for Config.Faults or SetFaults. The
// error is a [*StoryError] without a place.
func Profile(name string) ([]Rule, error) {
	story, ok := profiles[name]
	if !ok {
		return nil, &StoryError{
			Problem:    fmt.Sprintf("no profile %q, want one of %s", name, strings.Join(Profiles(), ", ")),
			Suggestion: nearest(name, Profiles()),
		}
	}
	rules, err := ParseStory(story)
	if err != nil {
		panic("sim: profile " + name + ": " + err.Error()) // a mistake in the table above
	}
	return rules, nil
}
