package clients

import "strings"

// A stream can break in every place, in every way. What a caller then gets
// was written down here before the code that does it: a line for each place
// and way, a column for each setting of stream.resume. A cell says
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

// cell is one place, break and setting, and what must come of it.
type cell struct {
	place, fault, resume string
	ends                 string
	attempts             int
	reads                string
}

// cells reads the table.
func cells() (all []cell) {
	lines := strings.Split(strings.TrimSpace(matrix), "\n")
	at := func(head string) int { return strings.Index(lines[0], head) }
	for _, line := range lines[1:] {
		place, fault := strings.TrimSpace(line[:at("break")]), strings.TrimSpace(line[at("break"):at("off")])
		for resume, text := range map[string]string{"off": line[at("off"):at("continue")], "continue": line[at("continue"):]} {
			f := strings.Fields(text)
			all = append(all, cell{place, fault, resume, f[0], int(f[1][0] - '0'), f[2]})
		}
	}
	return all
}
