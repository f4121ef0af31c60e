package breaker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is the time s seconds after start.
func at(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }

// step is one line of a time line: at a second, somebody does something, and
// afterwards the breaker is in a state.
//
// do is one of
//
//	ask NAME       a messages call; says "pass", "probe", "hold 30" (ask again
//	               at second 30) or "ramp 12.5" (its place)
//	other NAME     the same for a call that may not probe
//	waited NAME    the same for a messages call that was held
//	slot NAME      the same for one whose place has come
//	good, fail, ignore, retry, early, content NAME
//	N good, N fail N calls are asked and end so at once; must pass
//	count          a call without a ticket gives up
//	look           nothing; only the state counts
type step struct {
	at   float64
	do   string
	says string
	then State
}

type player struct {
	*Breaker
	tickets map[string]*Ticket
	random  float64
}

func play(t *testing.T, cfg Config, steps []step) {
	t.Helper()
	p := player{New(cfg), map[string]*Ticket{}, 0.5}
	for i, s := range steps {
		says := p.do(at(s.at), s.do)
		if says != s.says {
			t.Errorf("step %d: %q at %vs says %q, want %q", i, s.do, s.at, says, s.says)
		}
		if got := p.State(at(s.at)); got != s.then {
			t.Fatalf("step %d: after %q at %vs the breaker is %v, want %v", i, s.do, s.at, got, s.then)
		}
	}
}

func (p player) do(now time.Time, do string) string {
	var n int
	var verb, name string
	if _, err := fmt.Sscanf(do, "%d %s", &n, &verb); err == nil {
		for range n {
			d := p.Admit(now, true, false, 0)
			if !d.OK || d.Ticket.Probe {
				return "does not pass"
			}
			p.Report(now, &d.Ticket, results[verb])
		}
		return ""
	}
	verb, name, _ = strings.Cut(do, " ")
	switch verb {
	case "ask", "other", "waited":
		return p.asked(name, p.Admit(now, verb != "other", verb == "waited", p.random))
	case "slot":
		return p.asked(name, p.AdmitSlot(now, true))
	case "early":
		p.Early(now, p.tickets[name])
	case "content":
		p.Content(now, p.tickets[name])
	case "count":
		p.Count(now, Failure)
	case "look":
	default:
		p.Report(now, p.tickets[name], results[verb])
	}
	return ""
}

var results = map[string]Result{"good": Good, "fail": Failure, "ignore": Ignored, "retry": Retrying}

func (p player) asked(name string, d Decision) string {
	p.tickets[name] = &d.Ticket
	switch {
	case d.OK && d.Ticket.Probe:
		return "probe"
	case d.OK:
		return "pass"
	case d.Ramp:
		return fmt.Sprintf("ramp %v", d.Until.Sub(start).Seconds())
	}
	return fmt.Sprintf("hold %v", d.Until.Sub(start).Seconds())
}
