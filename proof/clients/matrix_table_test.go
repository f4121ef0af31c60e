package clients

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A stream can break in every place, in every way. This table is what a caller
// must then get: a line for each place and way, a column for each setting of
// stream.resume. Which cells there are is not read from it, but is the cross
// product of places, ways and settings: each must have its line. A cell says
//
//	how it ends      whole, or the type of the error that the client raises
//	attempts         that reach the API
//	what is read     all       the bytes of one attempt's stream; after the stop reason
//	                           with a message_stop of ours, which says no more
//	                 cut       the whole events before the break, and one error event
//	                 spliced   one message of two attempts, each word once
//
// Before the headers there is no stream for an event or an end to be in. What
// stands there for an error event is the status of that error; for a clean
// end, a connection closed without an answer; for half an event, half a
// header; for garbage, a page with status 200.
const matrix = `
place                     break          off                          continue
before headers            error event    whole 2 all                  whole 2 all
before headers            reset          whole 2 all                  whole 2 all
before headers            stall          whole 2 all                  whole 2 all
before headers            clean end      whole 2 all                  whole 2 all
before headers            half event     whole 2 all                  whole 2 all
before headers            garbage        whole 2 all                  whole 2 all
first frame               error event    whole 2 all                  whole 2 all
first frame               reset          whole 2 all                  whole 2 all
first frame               stall          whole 2 all                  whole 2 all
first frame               clean end      whole 2 all                  whole 2 all
first frame               half event     whole 2 all                  whole 2 all
first frame               garbage        whole 2 all                  whole 2 all
after message_start       error event    whole 2 all                  whole 2 all
after message_start       reset          whole 2 all                  whole 2 all
after message_start       stall          whole 2 all                  whole 2 all
after message_start       clean end      whole 2 all                  whole 2 all
after message_start       half event     whole 2 all                  whole 2 all
after message_start       garbage        whole 2 all                  whole 2 all
in text, after 1 delta    error event    overloaded_error 1 cut       whole 2 spliced
in text, after 1 delta    reset          api_error 1 cut              whole 2 spliced
in text, after 1 delta    stall          api_error 1 cut              whole 2 spliced
in text, after 1 delta    clean end      api_error 1 cut              whole 2 spliced
in text, after 1 delta    half event     api_error 1 cut              whole 2 spliced
in text, after 1 delta    garbage        api_error 1 cut              whole 2 spliced
in text, after 9 deltas   error event    overloaded_error 1 cut       whole 2 spliced
in text, after 9 deltas   reset          api_error 1 cut              whole 2 spliced
in text, after 9 deltas   stall          api_error 1 cut              whole 2 spliced
in text, after 9 deltas   clean end      api_error 1 cut              whole 2 spliced
in text, after 9 deltas   half event     api_error 1 cut              whole 2 spliced
in text, after 9 deltas   garbage        api_error 1 cut              whole 2 spliced
between blocks            error event    overloaded_error 1 cut       overloaded_error 1 cut
between blocks            reset          api_error 1 cut              api_error 1 cut
between blocks            stall          api_error 1 cut              api_error 1 cut
between blocks            clean end      api_error 1 cut              api_error 1 cut
between blocks            half event     api_error 1 cut              api_error 1 cut
between blocks            garbage        api_error 1 cut              api_error 1 cut
in thinking               error event    overloaded_error 1 cut       overloaded_error 1 cut
in thinking               reset          api_error 1 cut              api_error 1 cut
in thinking               stall          api_error 1 cut              api_error 1 cut
in thinking               clean end      api_error 1 cut              api_error 1 cut
in thinking               half event     api_error 1 cut              api_error 1 cut
in thinking               garbage        api_error 1 cut              api_error 1 cut
in text after thinking    error event    overloaded_error 1 cut       whole 2 spliced
in text after thinking    reset          api_error 1 cut              whole 2 spliced
in text after thinking    stall          api_error 1 cut              whole 2 spliced
in text after thinking    clean end      api_error 1 cut              whole 2 spliced
in text after thinking    half event     api_error 1 cut              whole 2 spliced
in text after thinking    garbage        api_error 1 cut              whole 2 spliced
in tool input             error event    overloaded_error 1 cut       overloaded_error 1 cut
in tool input             reset          api_error 1 cut              api_error 1 cut
in tool input             stall          api_error 1 cut              api_error 1 cut
in tool input             clean end      api_error 1 cut              api_error 1 cut
in tool input             half event     api_error 1 cut              api_error 1 cut
in tool input             garbage        api_error 1 cut              api_error 1 cut
after the stop reason     error event    overloaded_error 1 cut       overloaded_error 1 cut
after the stop reason     reset          whole 1 all                  whole 1 all
after the stop reason     stall          whole 1 all                  whole 1 all
after the stop reason     clean end      whole 1 all                  whole 1 all
after the stop reason     half event     whole 1 all                  whole 1 all
after the stop reason     garbage        whole 1 all                  whole 1 all
`

// matrixSettings are the values of stream.resume, and columns of the table.
var matrixSettings = []string{"off", "continue"}

// cell is one place, break and setting, and what must come of it.
type cell struct {
	place, fault, resume string
	ends                 string
	attempts             int
	reads                string
}

// cells returns the cross product of places, breaks and settings with what the
// table expects of each. The error tells of every line that is missing, stands
// twice, belongs to no cell or cannot be read.
func cells(table string) (all []cell, _ error) {
	lines, bad := expectations(table)
	for _, place := range slices.Sorted(maps.Keys(matrixPlaces)) {
		for _, fault := range slices.Sorted(maps.Keys(matrixFaults)) {
			for _, resume := range matrixSettings {
				c := cell{place: place, fault: fault, resume: resume}
				key := c.key()
				if words := strings.Fields(lines[key]); len(words) == 3 && len(words[1]) == 1 && words[1] >= "1" && words[1] <= "9" {
					c.ends, c.attempts, c.reads = words[0], int(words[1][0]-'0'), words[2]
				} else {
					bad = append(bad, fmt.Errorf("%s: the table says %q, want an end, attempts and what is read", key, lines[key]))
				}
				delete(lines, key)
				all = append(all, c)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		bad = append(bad, fmt.Errorf("%s: in the table, and no such cell", key))
	}
	return all, errors.Join(bad...)
}

func (c cell) key() string { return strings.Join([]string{c.place, c.fault, c.resume}, "/") }

// expectations reads the table, by the key of the cell.
func expectations(table string) (of map[string]string, bad []error) {
	of = map[string]string{}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	column := func(line, head, next string) string {
		from, to := strings.Index(lines[0], head), len(line)
		if next != "" {
			to = strings.Index(lines[0], next)
		}
		return strings.TrimSpace(line[min(from, len(line)):min(to, len(line))])
	}
	for _, line := range lines[1:] {
		c := cell{place: column(line, "place", "break"), fault: column(line, "break", "off")}
		for i, resume := range matrixSettings {
			c.resume = resume
			if _, double := of[c.key()]; double {
				bad = append(bad, fmt.Errorf("%s: twice in the table", c.key()))
			}
			of[c.key()] = column(line, resume, append(matrixSettings, "")[i+1])
		}
	}
	return of, bad
}

// TestMatrix_tableIsWhole: the count of lines alone would let one stand twice
// in place of another.
func TestMatrix_tableIsWhole(t *testing.T) {
	if all, err := cells(matrix); err != nil || len(all) != len(matrixPlaces)*len(matrixFaults)*len(matrixSettings) {
		t.Errorf("%d cells: %v", len(all), err)
	}
	lines := strings.SplitAfter(strings.TrimPrefix(matrix, "\n"), "\n")
	const last = 60 // the head is line 0
	for name, broken := range map[string][]string{
		"a line is missing":                    slices.Delete(slices.Clone(lines), last, last+1),
		"a line stands twice":                  slices.Insert(slices.Clone(lines), 1, lines[1]),
		"a line stands in place of another":    slices.Replace(slices.Clone(lines), 1, 2, lines[2]),
		"a line is of no place":                slices.Insert(slices.Clone(lines), 1, strings.Replace(lines[1], "before headers", "after the end  ", 1)),
		"a line ends after its first setting":  slices.Replace(slices.Clone(lines), 1, 2, strings.TrimRight(lines[1], " \n")[:60]+"\n"),
		"the attempts of a cell are no number": slices.Replace(slices.Clone(lines), 1, 2, strings.Replace(lines[1], "2", "n/a", 1)),
	} {
		if _, err := cells(strings.Join(broken, "")); err == nil {
			t.Errorf("%s, and nothing is wrong", name)
		}
	}
}
