package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// tell reports progress until over is closed.
func (s *show) tell(over <-chan struct{}) {
	if s.opts.Live != nil {
		s.live(over)
		return
	}
	s.plain(over)
}

// plainEvery is the time between two lines in a pipe.
const plainEvery = 3 * time.Second

// plain writes a line per phase, and one every few seconds.
func (s *show) plain(over <-chan struct{}) {
	w := s.opts.Talk
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // nobody to tell
	say("evenkeel demo, %v, seed %d. SIMULATED — answers are made up.", s.opts.For, s.opts.Seed)
	say("  simulated API  %s", s.stage.apiURL)
	say("  evenkeel       %s", s.stage.gatewayURL)
	say("  to take part   export ANTHROPIC_BASE_URL=%s   (any key will do)", s.stage.gatewayURL)
	say("  %s", patienceFor(s.opts.For))
	tick := time.NewTicker(plainEvery)
	defer tick.Stop()
	phase := func(i int) {
		name, meaning := s.about(i)
		say("%s  %-9s %s", clock(time.Since(s.began)), name, meaning)
	}
	for {
		select {
		case i := <-s.changes:
			phase(i)
		case <-tick.C:
			say("%s            %s", clock(time.Since(s.began)), s.progress())
		case <-over:
			for len(s.changes) > 0 {
				phase(<-s.changes)
			}
			return
		}
	}
}

// about returns the name of a phase, or of the tail, and what it means.
func (s *show) about(i int) (name, meaning string) {
	if i < len(s.phases) {
		return s.phases[i].name, s.phases[i].meaning
	}
	return "the end", "No more calls begin; those under way may end."
}

// progress is the totals in a line.
func (s *show) progress() string {
	_, all := s.counts.rows()
	d, e := all.Direct, all.Evenkeel
	return fmt.Sprintf("direct %d ok, %d failed, %d waiting; evenkeel %d ok, %d failed, %d waiting; %s",
		d.OK, d.Failed, d.Waiting, e.OK, e.Failed, e.Waiting, sentence(s.stage.transport.Snapshot()))
}

// A Terminal is where a live screen can be drawn.
type Terminal struct {
	Out   io.Writer
	Size  func() (columns, rows int) // asked before each frame: windows are resized
	Color bool
}

// Escape sequences of every terminal since the VT100, and xterm's second
// screen: what was on the screen before is there again afterwards, and a
// resize cannot leave half a frame behind.
const (
	openScreen  = "\x1b[?1049h\x1b[?25l"
	closeScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// frameEvery is the time between two frames.
const frameEvery = 200 * time.Millisecond

// live redraws the screen in place.
func (s *show) live(over <-chan struct{}) {
	out := s.opts.Live.Out
	write := func(text string) { _, _ = io.WriteString(out, text) } // a terminal that is gone reads nothing
	write(openScreen)
	defer write(closeScreen)
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		write(s.frame())
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

// frame is one screen, as the terminal wants it written.
func (s *show) frame() string {
	columns, rows := s.opts.Live.Size()
	lines := s.screen(columns, paint(s.opts.Live.Color))
	lines = lines[:min(len(lines), rows)]
	for i, line := range lines {
		lines[i] = clip(line, columns) + clearLine
	}
	return home + strings.Join(lines, "\r\n") + clearBelow
}
