package sim

import (
	"errors"
	"fmt"
	"strings"
)

// ParseStory reads rules that are told line by line, one happening each:
//
//	# a bad morning
//	10s overload 60% for 20s on claude-opus-*
//	30s slots 50% for 1m on opus-4
//	stall_after 3 events with pings 10%
//	429 with retry-after 7 and x-should-retry false once
//
// A line is
//
//	[TIME] NAME[:N] [words in any order]
//
// TIME is when it begins, such as 10s or 1m30s, counted from when the rules are
// set. NAME is a [Kind], a preset (see [Presets]), or a bare status. N is the
// retry-after of an answer, and of other kinds the number of events. The words,
// each at most once but for headers:
//
//	60%  0.6               of the attempts that match, or of a condition (slots, others); left out, all
//	3x                     how many times as slow (slowdown)
//	once  3 times          it strikes, at most
//	for 20s  until 1m      it ends
//	every 5m               it begins anew, and counts its times anew
//	on claude-opus-*       models: a glob or a class
//	in org acme-*          organisations: a glob
//	path batches           messages, count_tokens, batches, other
//	named storm1           the name to replace or clear it by
//	[after] 3 events       … have passed whole
//	[after] 200 bytes      … of the body have passed
//	after 5s  by 5s        until it strikes; of a slow answer, how late it is
//	with pings             they go on in a stall
//	with NAME VALUE        a header; more follow with "and NAME VALUE"
//	accepted               the request takes effect all the same
//	of api_error  of 529   the type of the error; the status of what comes in an odd way
//	code NAME              the code of the error
//	saying "too much"      the message of the error
//	body "<html>"          in place of the error
//	10ms apart             the bytes of slow_bytes
//	3MiB                   the size of a huge_event, in B, KiB or MiB
//
// A word that begins with a double quote is a Go string; it is taken as it is,
// and never as one of the words above. A # at the beginning of a word makes the
// rest of the line a comment. Blank lines mean nothing.
//
// Rules that are told are asked in the order of the lines. The error joins one
// [*StoryError] for each mistake, in order.
func ParseStory(text string) ([]Rule, error) {
	var rules []Rule
	var errs []error
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		l := newLine(n, line)
		if len(l.tokens) == 0 && len(l.mistakes) == 0 {
			continue
		}
		rule := l.rule()
		rules = append(rules, rule)
		errs = append(errs, l.wrong()...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return rules, nil
}

// A StoryError says where a story cannot be understood, and what was meant.
type StoryError struct {
	Line, Column int    // the first is 1; columns are bytes; 0 for what stands in no story
	Problem      string // what is wrong
	Suggestion   string // the word that was probably meant; or ""
}

// Error implements [error].
func (e *StoryError) Error() string {
	text := e.Problem
	if e.Line > 0 {
		text = fmt.Sprintf("%d:%d: %s", e.Line, e.Column, text)
	}
	if e.Suggestion != "" {
		text += fmt.Sprintf(": did you mean %q?", e.Suggestion)
	}
	return text
}

// Tell replaces the rules in force by a story; see [ParseStory]. If that has a
// mistake, they stay.
func (a *API) Tell(story string) error {
	rules, err := ParseStory(story)
	if err != nil {
		return err
	}
	a.SetFaults(rules...)
	return nil
}
