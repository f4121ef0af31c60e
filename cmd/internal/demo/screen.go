package demo

import (
	"strings"
	"time"
	"unicode/utf8"
)

// screen is what a live frame shows, the most important first: a low terminal
// shows its beginning.
func (s *show) screen(width int, p paint) []string {
	now := time.Now()
	elapsed := clock(min(now.Sub(s.began), s.opts.For)) + " of " + clock(s.opts.For)
	const title, made = "evenkeel demo", "SIMULATED — answers are made up"
	space := width - len(title) - 3 - utf8.RuneCountInString(made) - len(elapsed)
	lines := []string{p.bold(title) + "   " + p.yellow(made) + strings.Repeat(" ", max(2, space)) + elapsed}
	lines = append(lines, s.invitation(width, p), "", s.strip(p))
	_, meaning := s.about(int(s.phase.Load()))
	lines = append(lines, paragraph(meaning, width, p.bold)...)
	lines = append(lines, paragraph("evenkeel: "+sentence(s.stage.transport.Snapshot()), width, plainly)...)
	lines = append(lines, "")
	lines = append(lines, s.comparison(now).lines(width, p)...)
	lines = append(lines, "")
	lines = append(lines, paragraph("Simulated API at "+s.stage.apiURL+", evenkeel at "+s.stage.gatewayURL+". "+patienceFor(s.opts.For).String(), width, p.dim)...)
	return append(lines, p.dim("Ctrl-C ends it with the comparison so far."))
}

// invitation is how a reader takes part, in a line that can be copied whole.
func (s *show) invitation(width int, p paint) string {
	line, why := "export ANTHROPIC_BASE_URL="+s.stage.gatewayURL, "   to take part; any key will do"
	if len(line)+len(why) <= width {
		line += p.dim(why)
	}
	return line
}

func plainly(s string) string { return s }

// strip names the phases and marks the one that is played.
func (s *show) strip(p paint) string {
	at := int(s.phase.Load())
	names := make([]string, 0, len(s.phases)+1)
	for i, ph := range s.phases {
		names = append(names, mark(p, ph.name, i, at))
	}
	return strings.Join(append(names, mark(p, "end", len(s.phases), at)), " ")
}

func mark(p paint, name string, i, at int) string {
	switch {
	case i < at:
		return p.dim(" " + name + " ")
	case i > at:
		return " " + name + " "
	case bool(p):
		return p.reverse(" " + name + " ")
	default:
		return "[" + name + "]"
	}
}
