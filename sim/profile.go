package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// profiles are the named sets of rules. All shares and times are guesses at
// what users report, not measurements of the API.
var profiles = map[string][]Rule{
	"calm": {},

	// Overload in waves of a minute: mostly a few percent, for 20 s most.
	"storm": {
		{Fault: Fault{Status: 529}, Rate: 0.7, From: 20 * time.Second, Until: 40 * time.Second, Every: time.Minute},
		{Fault: Fault{Status: 529}, Rate: 0.05},
		{Fault: Fault{Kind: ErrorEventAt}, Rate: 0.05, From: 20 * time.Second, Until: 40 * time.Second, Every: time.Minute},
		{Fault: Fault{Status: http.StatusInternalServerError}, Rate: 0.01},
		{Fault: Fault{Kind: ResetBeforeHeaders}, Rate: 0.01},
	},

	// Everything works, slowly and not always.
	"brownout": {
		{Fault: Fault{Status: 529}, Rate: 0.10},
		{Fault: Fault{Status: http.StatusGatewayTimeout, After: 10 * time.Second}, Rate: 0.03},
		{Fault: Fault{Kind: Hang}, Rate: 0.01},
		{Fault: Fault{Kind: StallAfter, Events: 8, Pings: true}, Rate: 0.01},
		{Fault: Fault{Kind: Slow, After: 5 * time.Second}, Rate: 0.5},
	},

	// Nothing works for a minute in every five; some connections fail too.
	"outage": {
		{Fault: Fault{Kind: Refuse}, Rate: 0.2, From: 30 * time.Second, Until: 90 * time.Second, Every: 5 * time.Minute},
		{Fault: Fault{Status: 529}, Rate: 1, From: 30 * time.Second, Until: 90 * time.Second, Every: 5 * time.Minute},
	},

	// Other users of the same organisation eat its limits.
	"limits": {
		{
			Fault: Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "5", "Anthropic-Ratelimit-Requests-Remaining": "0"}},
			Rate:  1, Path: "messages", From: 15 * time.Second, Until: 20 * time.Second, Every: 30 * time.Second,
		},
		{
			Fault: Fault{Status: http.StatusTooManyRequests, Code: claude.RampLimitExceeded, Header: map[string]string{"Retry-After": "10"}},
			Rate:  0.02, Path: "messages",
		},
		{Fault: Fault{Status: http.StatusTooManyRequests}, Rate: 0.02, Path: "messages"},
	},

	// Answers begin well and end badly.
	"flaky-streams": {
		{Fault: Fault{Kind: ErrorEventAt}, Rate: 0.10, Path: "messages"},
		{Fault: Fault{Kind: ErrorEventAt, Events: 6}, Rate: 0.03, Path: "messages"},
		{Fault: Fault{Kind: ResetAfter, Events: 2}, Rate: 0.05, Path: "messages"},
		{Fault: Fault{Kind: CloseAfter, Events: 9}, Rate: 0.03, Path: "messages"},
		{Fault: Fault{Kind: EndAfter, Events: 1}, Rate: 0.05, Path: "messages"},
		{Fault: Fault{Kind: HalfEvent, Events: 5}, Rate: 0.03, Path: "messages"},
		{Fault: Fault{Kind: Garbage, Events: 4}, Rate: 0.01, Path: "messages"},
		{Fault: Fault{Kind: StallAfter, Events: 2}, Rate: 0.01, Path: "messages"},
	},
}

// Profiles returns the names of the profiles, the calmest first.
func Profiles() []string {
	return []string{"calm", "storm", "brownout", "outage", "limits", "flaky-streams"}
}

// Profile returns the rules of a named set, for Config.Faults or SetFaults.
func Profile(name string) ([]Rule, error) {
	rules, ok := profiles[name]
	if !ok {
		return nil, fmt.Errorf("sim: no profile %q, want one of %s", name, strings.Join(Profiles(), ", "))
	}
	return slices.Clone(rules), nil
}
