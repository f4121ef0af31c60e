package demo

// Comparison is what a demo has shown.
type Comparison struct {
	Simulated   bool    `json:"simulated"` // always: answers are made up
	Seed        uint64  `json:"seed"`
	Seconds     float64 `json:"seconds"`     // played
	Interrupted bool    `json:"interrupted"` // ended before its time
	Settings    string  `json:"settings"`    // what differs from the defaults
	Phases      []Row   `json:"phases"`      // by when a call began; those that were played
	All         Row     `json:"all"`
}

// Row is one phase, or all of them.
type Row struct {
	Phase    string `json:"phase"`
	Meaning  string `json:"meaning,omitempty"`
	Direct   Side   `json:"direct"`
	Evenkeel Side   `json:"evenkeel"`
}

// Side is what one side's clients saw. Calls is the sum of OK, Failed and
// Waiting.
type Side struct {
	Calls    int            `json:"calls"`
	OK       int            `json:"ok"`
	Failed   int            `json:"failed"`
	Waiting  int            `json:"waiting"`  // not over
	Attempts int            `json:"attempts"` // that arrived at the API
	P50      *float64       `json:"p50_ms"`   // of the calls that succeeded; null if none did
	P95      *float64       `json:"p95_ms"`
	Errors   map[string]int `json:"errors"` // Failed by what the client saw
}

// Success is the share of calls that succeeded so far, from 0 to 1; a call
// that waits has not. It is 0 without calls.
func (s Side) Success() float64 { return ratio(s.OK, s.Calls) }

// AttemptsPerCall is 0 without calls.
func (s Side) AttemptsPerCall() float64 { return ratio(s.Attempts, s.Calls) }

func ratio(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}
