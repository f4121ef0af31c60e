package sim

import (
	"fmt"
	"strconv"
	"time"
)

// A Metric is a number of a [Report] that can be asserted on.
type Metric struct {
	Name  string
	Doc   string // what it is, in one line
	Good  string // what is expected of a good client; "" if that depends
	Value float64

	// Observed is false if there was nothing to measure: no retry, no token.
	// Value is 0 then and means nothing.
	Observed bool

	unit measure
}

// measure is how a value is written.
type measure uint8

const (
	inCounts measure = iota
	inTimes
	inShares // shown in percent
	inSeconds
)

// String returns the value as people read it; "-" if it was not observed.
func (m Metric) String() string {
	if !m.Observed {
		return "-"
	}
	return m.unit.format(m.Value)
}

func (u measure) format(v float64) string {
	switch u {
	case inTimes:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case inShares:
		return strconv.FormatFloat(100*v, 'f', 1, 64) + "%"
	case inSeconds:
		return fmt.Sprint(time.Duration(v * float64(time.Second)).Round(time.Millisecond))
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// Metrics returns the numbers of the report in the order of its page. The
// names are stable.
func (r Report) Metrics() []Metric {
	var list []Metric
	counted := func(name string, n int, good, doc string) {
		list = append(list, Metric{name, doc, good, float64(n), true, inCounts})
	}
	// of is a share or a mean, which is not observed if there is none of them
	of := func(name string, u measure, v float64, them int, good, doc string) {
		m := Metric{name, doc, good, 0, them > 0, u}
		if m.Observed {
			m.Value = v
		}
		list = append(list, m)
	}
	calls := r.Calls.Total

	counted("calls", calls, "", "what was asked for; see Calls for what is one call")
	counted("attempts", r.Attempts, "", "requests on the wire")
	of("answered", inShares, ratio(r.Calls.Answered, calls), calls, "", "calls that got a whole answer / calls")
	of("refused", inShares, ratio(r.Calls.Final, calls), calls, "", "calls that ended with an error that must not be retried / calls")
	of("gave_up", inShares, ratio(r.Calls.GaveUp, calls), calls, "", "calls whose last attempt failed otherwise / calls")
	of("failures", inShares, ratio(r.Failed, r.Attempts), r.Attempts, "", "attempts that got an error, no answer or a truncated one / attempts")

	of("amplification", inTimes, r.Amplification, calls, "<= 2", "attempts / calls; from 1,000 calls on 1.1 is possible in a total outage")
	of("amplification_in_trouble", inTimes, r.InTrouble, int(r.InTrouble), "", "attempts / calls, of the calls whose first attempt failed")
	of("attempts_p50", inCounts, float64(r.Calls.P50), calls, "1", "half of the calls made at most so many attempts")
	of("attempts_p99", inCounts, float64(r.Calls.P99), calls, "", "99 of 100 calls made at most so many attempts")
	of("attempts_max", inCounts, float64(r.Calls.Max), calls, "", "the most attempts of a call")
	of("herd_index", inTimes, r.Herd.Index, int(1e6*r.Herd.Index), "1", "how many retries come at once, 1 if independent; of 20 retries or more")
	of("herd_share", inShares, r.Herd.Share, int(1e6*r.Herd.Share), "<= 25%", "the largest part of the retries of 10 s that came within 0.1 s; of 20 or more")

	after := r.RetryAfter
	of("retry_after_obeyed", inShares, 1-ratio(after.Early, after.Retried), after.Retried, "100%", "retries not before their Retry-After / retries after one")
	counted("retry_after_early", after.Early, "0", "retries before their Retry-After")
	of("retry_after_worst", inSeconds, after.Worst.Seconds(), after.Retried, "0s", "how much too early the earliest was, in seconds")
	counted("into_pause", after.IntoPause, "", "attempts of other calls before a 429's Retry-After was over; same key and class")
	of("limit_hits", inShares, ratio(r.LimitHits, r.Attempts), r.Attempts, "<= 0.5%", "attempts answered 429 / attempts")

	counted("retried_final", r.Retried.Final, "0", "retries after 4xx but 408, 409, 429; 501, 505, spend caps, x-should-retry: false")
	counted("effects_repeated", r.Retried.Repeated, "0", "POSTs with effects sent again after one had taken effect")
	counted("effects_risked", r.Retried.Risked, "0", "POSTs with effects sent again after one may have")

	cut := r.Truncated
	counted("truncated", cut.Total, "", "answers that began and were cut")
	counted("truncated_retried", cut.Retried, "", "of these, asked for again")
	counted("truncated_continued", cut.Continued, "", "of these, continued")
	counted("truncated_reported", cut.Reported, "", "of these, called failed by the client")
	counted("truncated_accepted", cut.Accepted, "0", "of these, taken for whole")
	counted("truncated_left_alone", cut.LeftAlone, "", "of these, the rest: what the client thinks is not known")

	tokens := r.Tokens
	all := tokens.Input + tokens.Output
	counted("wasted_input", tokens.WastedInput, "", "input tokens of attempts whose answer was not used")
	counted("wasted_output", tokens.WastedOutput, "", "output tokens of attempts whose answer was not used")
	of("wasted", inShares, ratio(tokens.WastedInput+tokens.WastedOutput, all), all, "", "wasted tokens / all tokens")

	of("span", inSeconds, r.Span.Seconds(), r.Attempts, "", "from the first attempt to the last, in seconds")
	of("silence", inSeconds, r.Silence.Seconds(), r.Attempts, "", "the longest time between two attempts, in seconds")
	return list
}
