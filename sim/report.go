package sim

import (
	"cmp"
	"slices"
	"time"
)

// A Report is the verdict on a client: how it behaved, judged by the attempts
// that it made. The names of its JSON fields are stable. Fields that are 0 for
// want of observations say so; what can be asserted, and what good is, lists
// [Report.Metrics].
type Report struct {
	Grade   Grade    `json:"grade"`
	Reasons []string `json:"reasons"` // for a grade other than good

	From    time.Time     `json:"from"`       // the first attempt
	Span    time.Duration `json:"span_ns"`    // from the first attempt to the last
	Silence time.Duration `json:"silence_ns"` // the longest time between two attempts

	Attempts int   `json:"attempts"`
	Calls    Calls `json:"calls"`

	// Amplification is attempts ÷ calls. InTrouble is the same for those calls
	// whose first attempt failed in a way that may be retried; 0 if there are
	// none. Independent failures of probability p alone make it 1/(1−p).
	Amplification float64 `json:"amplification"`
	InTrouble     float64 `json:"amplification_in_trouble"`

	Herd       Herd       `json:"herd"`
	RetryAfter RetryAfter `json:"retry_after"`
	Retried    Retried    `json:"retried"`
	Truncated  Truncated  `json:"truncated"`
	Tokens     Tokens     `json:"tokens"`

	LimitHits int       `json:"limit_hits"` // attempts answered 429
	Failed    int       `json:"failed"`     // attempts that got an error, no answer, or a truncated one
	Failures  []Failure `json:"failures"`   // these by reason, most frequent first
}

// Calls is what became of the calls. Answered, Final, GaveUp, Left and Open
// add up to Total.
//
// Attempts are one call if they have the same header sim-call or evenkeel-id.
// Without one it is a guess: an attempt belongs to a call of the same
// credential, method, path, query and body whose last attempt failed and was
// over before this one began, at most ten minutes before, not counting the
// time it was asked to wait. If there are several, the one that failed first
// goes on. An x-stainless-retry-count of 0 begins a call, and n continues one
// that is at n−1, even one that was served. A continuation, whose body is
// another, belongs to a call of the same credential and model that was cut
// less than a minute before. Clients that send equal bodies should name their
// calls.
type Calls struct {
	Total    int `json:"total"`
	Named    int `json:"named"`    // by a header, so that nothing was guessed
	Answered int `json:"answered"` // an attempt was served whole
	Final    int `json:"final"`    // the last attempt got an error that must not be retried
	GaveUp   int `json:"gave_up"`  // the last attempt failed in another way
	Left     int `json:"left"`     // the client left the last attempt before it had ended
	Open     int `json:"open"`     // the last attempt was in flight

	// P50, P99 and Max are attempts per call; half of the calls needed at
	// most P50.
	P50 int `json:"attempts_p50"`
	P99 int `json:"attempts_p99"`
	Max int `json:"attempts_max"`
}

// RetryAfter is how the client took being told when to come back. It has a
// hundredth of a second to spare.
type RetryAfter struct {
	Asked   int           `json:"asked"`    // error answers with a Retry-After that may be retried
	Retried int           `json:"retried"`  // of these, that were
	Early   int           `json:"early"`    // of these, before the time
	Worst   time.Duration `json:"worst_ns"` // how much too early, at most

	// IntoPause is how many attempts of other calls, with the same credential
	// and class of models, began more than a tenth of a second after a 429 had
	// left and before its Retry-After was over. It shows a client whose calls
	// do not tell each other; it is not held against the client, because
	// programs that know nothing of each other may share a credential.
	IntoPause int `json:"into_pause"`
}

// Retried is what was sent again and should not have been.
type Retried struct {
	// Final counts attempts that sent the same again after an answer that
	// rules it out: status 400 to 499 but 408, 409 and 429, 501, 505,
	// x-should-retry: false, or a spend cap; not if its code or
	// x-should-retry: true calls it transient. Only POSTs count: to read
	// again what was not there yet is how one waits. ByReason is the same by what
	// the answer was.
	Final    int       `json:"final"`
	ByReason []Failure `json:"by_reason"`

	// Repeated counts POSTs with effects (all but messages and count_tokens)
	// that were sent again after one had taken effect. Risked counts those
	// sent again after an outcome that leaves it open: neither 4xx, nor 529,
	// nor a refused connection.
	Repeated int `json:"effects_repeated"`
	Risked   int `json:"effects_risked"`
}

// Truncated is what became of answers that were cut: those that began with
// success and ended by an error event, a reset, an end before their end, or
// silence. The fates add up to Total.
type Truncated struct {
	Total     int `json:"total"`
	Retried   int `json:"retried"`   // the call went on from the start
	Continued int `json:"continued"` // the call went on with the rest
	Reported  int `json:"reported"`  // the client says that the call failed; see [API.Told]

	// Accepted were taken for whole: the client says so, or a later request of
	// the same credential carries such an answer as a whole one. Each call
	// that does proves one, if as many are left.
	Accepted  int `json:"accepted"`
	LeftAlone int `json:"left_alone"` // the client did nothing, and nobody knows what it thinks
}

// Tokens is what the attempts cost, those in flight aside. Input counts what
// was read from and written to caches too. Wasted is that of attempts whose
// answer was not used: cut and not continued, left, or served before another
// one of the same call was.
type Tokens struct {
	Input        int `json:"input"`
	Output       int `json:"output"`
	WastedInput  int `json:"wasted_input"`
	WastedOutput int `json:"wasted_output"`
}

// Failure is how often something was met.
type Failure struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Judge returns the report on attempts, which it leaves as they are, in any
// order. The same attempts give the same report.
func Judge(attempts []Attempt) Report {
	tries, calls := callsOf(attempts)
	var r Report
	r.Attempts = len(tries)
	r.spans(tries)
	r.count(calls)
	r.Herd = herdOf(retryTimes(calls))
	r.RetryAfter = obedienceOf(calls)
	r.RetryAfter.IntoPause = intoPause(tries)
	r.Retried = retriedOf(calls)
	r.Truncated = truncatedOf(tries, calls)
	r.Tokens = costsOf(calls)
	r.Failed, r.LimitHits, r.Failures = failuresOf(tries)
	r.grade()
	return r
}

func (r *Report) spans(tries []*try) {
	if len(tries) == 0 {
		return
	}
	r.From = tries[0].At
	r.Span = tries[len(tries)-1].At.Sub(r.From)
	for i, t := range tries[1:] {
		r.Silence = max(r.Silence, t.At.Sub(tries[i].At))
	}
}

// count fills what is said of calls, and the amplification.
func (r *Report) count(calls []*judged) {
	var lengths []int
	trouble, inTrouble := 0, 0
	for _, c := range calls {
		lengths = append(lengths, len(c.tries))
		if c.named {
			r.Calls.Named++
		}
		if first := c.tries[0].fate; first == fateFailed || first == fateCut {
			trouble++
			inTrouble += len(c.tries)
		}
		switch c.fate() {
		case fateServed:
			r.Calls.Answered++
		case fateFinal:
			r.Calls.Final++
		case fateLeft:
			r.Calls.Left++
		case fateOpen:
			r.Calls.Open++
		default:
			r.Calls.GaveUp++
		}
	}
	r.Calls.Total = len(calls)
	if len(calls) == 0 {
		return
	}
	slices.Sort(lengths)
	rank := func(percent int) int { return lengths[(len(lengths)*percent+99)/100-1] } // nearest rank
	r.Calls.P50, r.Calls.P99, r.Calls.Max = rank(50), rank(99), rank(100)
	r.Amplification = ratio(r.Attempts, len(calls))
	r.InTrouble = ratio(inTrouble, trouble)
}

// ratio is a ÷ b, or 0.
func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// tally counts reasons.
type tally map[string]int

// list returns the counts, largest first.
func (t tally) list() []Failure {
	list := []Failure{}
	for reason, n := range t {
		list = append(list, Failure{reason, n})
	}
	slices.SortFunc(list, func(a, b Failure) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// failuresOf counts what the attempts met.
func failuresOf(tries []*try) (all, limitHits int, list []Failure) {
	met := tally{}
	for _, t := range tries {
		if t.Status == 429 {
			limitHits++
		}
		if t.fate == fateFailed || t.fate == fateFinal || t.fate == fateCut {
			all++
			met[t.reason()]++
		}
	}
	return all, limitHits, met.list()
}
