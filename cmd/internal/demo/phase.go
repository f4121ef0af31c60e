package demo

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// phase is one way in which the API behaves: a row of the table.
type phase struct {
	name    string
	meaning string // what the API does meanwhile, in one sentence
	faults  []sim.Rule
	rpm     int // the limit of each side's key; 0 for none
}

// begin makes the API fail as the phase says, and in no other way.
func (p phase) begin(api *sim.API) {
	var limits []sim.Limit
	if p.rpm > 0 {
		limits = []sim.Limit{{RPM: p.rpm, Burst: burst}}
	}
	if err := api.SetLimits(limits...); err != nil {
		panic("demo: " + err.Error()) // a mistake in the phases below
	}
	api.SetFaults(p.faults...)
}

// The phases, in the order of the table.
const (
	calm = iota
	overload
	limit
	hang
	outage
	recovery
)

// stretch is a time for which a phase is played.
type stretch struct {
	phase int
	lasts time.Duration
}

// script is what is played, in shares of the whole. It is calm between
// failures, so that a row tells of one of them: without that, a call that
// meets a hang on the one side is through in time for the outage, and on the
// other sleeps past it. What the shares leave is the tail: no call begins
// then, and those under way may end. In a demo of a minute, a call that hung
// to the end of its phase still meets the SDK's limit and is tried again.
var script = []struct {
	phase int
	share float64
}{
	{calm, 0.06},
	{overload, 0.16},
	{calm, 0.02},
	{limit, 0.14},
	{calm, 0.05},
	{hang, 0.11},
	{calm, 0.10},
	{outage, 0.12},
	{recovery, 0.12},
}

// plan returns the phases and stretches of a demo of that length, at rate
// calls per second and side.
func plan(total time.Duration, rate float64) ([]phase, []stretch) {
	stretches := make([]stretch, len(script))
	lasts := map[int]time.Duration{}
	for i, s := range script {
		d := time.Duration(s.share * float64(total))
		stretches[i] = stretch{s.phase, d}
		lasts[s.phase] += d
	}
	return phases(tightLimit(lasts[limit], rate)), stretches
}

// How often, in phases where some attempts fail. Guesses at a bad day: users
// report anything from a few percent to most.
const (
	overloadRate = 0.5
	hangRate     = 0.3
)

func phases(rpm int) []phase {
	return []phase{
		calm: {
			name: "calm", meaning: "The API answers everything.",
		},
		overload: {
			name:    "overload",
			meaning: fmt.Sprintf("The API is overloaded: it answers %.0f %% of attempts with 529 overloaded_error.", overloadRate*100),
			faults:  []sim.Rule{{Fault: sim.Fault{Status: claude.StatusOverloaded}, Rate: overloadRate}},
		},
		limit: {
			name: "limit", rpm: rpm,
			meaning: fmt.Sprintf("Each side's key is limited to %d requests a minute, which lets about half of these calls through: 429 with retry-after.", rpm),
		},
		hang: {
			name:    "hang",
			meaning: fmt.Sprintf("%.0f %% of attempts get no answer at all: the connection stays open, and nothing comes.", hangRate*100),
			faults:  []sim.Rule{{Fault: sim.Fault{Kind: sim.Hang}, Rate: hangRate, Path: claude.Messages.String()}},
		},
		outage: {
			name: "outage", meaning: "The API is gone: every connection is reset before an answer.",
			faults: []sim.Rule{{Fault: sim.Fault{Kind: sim.Refuse}, Rate: 1}},
		},
		recovery: {
			name: "recovery", meaning: "The API is back and answers everything.",
		},
	}
}

// tightLimit returns the limit in requests per minute that lets through half
// of what a phase asks for: the bucket is full when it begins, so that a limit
// of half the rate would never be met.
func tightLimit(lasts time.Duration, rate float64) int {
	asked := rate * lasts.Seconds()
	return max(1, int(math.Round(60*asked/2/(burst.Seconds()+lasts.Seconds()))))
}

// burst is how much rate the bucket of the limit holds.
const burst = 10 * time.Second

// sum is how long stretches last together.
func sum(stretches []stretch) time.Duration {
	var d time.Duration
	for _, s := range stretches {
		d += s.lasts
	}
	return d
}

// patience is how long the two sides wait for an answer that does not come.
// In life both wait longer than a demo lasts, so both are shortened, by the
// same factor: what takes the SDK five times as long here does so in life.
type patience struct {
	shorter   int           // by how many times; 1 in a demo of half an hour
	sdk       time.Duration // the SDK's limit for one attempt
	firstByte time.Duration // evenkeel's limit for the first byte of an answer
}

// The limits in life: the official SDKs give an attempt 10 minutes
// (anthropic-sdk-go v2.13.0, @anthropic-ai/sdk 1.12.0), evenkeel gives the
// first byte of an answer 120 s.
const (
	sdkInLife       = 10 * time.Minute
	firstByteInLife = 2 * time.Minute
)

// patienceFor shortens as much as a demo of that length needs to show a hang
// to its end, but not so far that an answer of half a second is near a limit.
func patienceFor(total time.Duration) patience {
	const most = 30
	n := min(max(int(most*time.Minute/total), 1), most)
	return patience{n, sdkInLife / time.Duration(n), firstByteInLife / time.Duration(n)}
}

// String says what differs from the defaults.
func (p patience) String() string {
	if p.shorter == 1 {
		return fmt.Sprintf("Every setting is the default; answers take about %v.", answerTime)
	}
	return fmt.Sprintf("Shortened %d times for the show, on both sides: the SDK's limit for one attempt (10m to %s), evenkeel's for the first byte (2m to %s). All else is the default; answers take about %v.",
		p.shorter, brief(p.sdk), brief(p.firstByte), answerTime)
}

// brief is d to the second.
func brief(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

// How long a proper answer takes.
const (
	firstToken   = 160 * time.Millisecond
	tokenTime    = 10 * time.Millisecond
	outputTokens = 24
	answerTime   = firstToken + outputTokens*tokenTime
)

// model is what every call asks for. One model: limits, breaker and retry
// budget are kept per model, and a load spread over several would meet them
// later than this one.
const model = "claude-sonnet-5-5"

// statusText is an error as an SDK user reads it.
func statusText(status int, kind claude.ErrorType) string {
	if kind == "" {
		kind = claude.ErrorType(http.StatusText(status))
	}
	return fmt.Sprintf("%d %s", status, kind)
}
