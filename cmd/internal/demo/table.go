package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Table returns the comparison for people, without colours, in lines of at
// most width columns; from 30 on, no line is cut.
func (c Comparison) Table(width int) string {
	caption := fmt.Sprintf("%v s against a simulated API (answers are made up), seed %d.", c.Seconds, c.Seed)
	if c.Interrupted {
		caption = "Stopped before its time: " + caption
	}
	lines := append(wrap(caption, width), "")
	lines = append(lines, c.lines(width, false)...)
	lines = append(lines, wrap(c.Settings, width)...)
	for i, line := range lines {
		lines[i] = strings.TrimRight(clip(line, width), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// lines are the table, what failed, what waits, and the sum in a sentence.
func (c Comparison) lines(width int, p paint) []string {
	lines := c.table(width, p)
	lines = append(lines, "")
	lines = append(lines, c.failures(width, p)...)
	return append(lines, paragraph("att: attempts that reached the API, per call. p50, p95: time to success. Rows are by when a call began.", width, p.dim)...)
}

// column is a column of one side.
type column struct {
	head  string
	width int
	text  func(Side) string
	hue   func(paint, Side, string) string // nil for none
}

var (
	columnSuccess  = column{"ok", 6, success, hueSuccess}
	columnFailed   = column{"fail", 5, func(s Side) string { return count(s.Failed) }, nil}
	columnWaiting  = column{"wait", 5, func(s Side) string { return count(s.Waiting) }, nil}
	columnAttempts = column{"att", 5, attempts, nil}
	columnP50      = column{"p50", 7, func(s Side) string { return seconds(s.P50) }, nil}
	columnP95      = column{"p95", 7, func(s Side) string { return seconds(s.P95) }, nil}
)

// layout is how the table fits a width: each variant gives up what can be
// read below it.
type layout struct {
	columns []column
	stacked bool // one side below the other
}

const (
	phaseWidth = 9
	callsWidth = 6
	gap        = 2 // between the sides
)

func layoutFor(width int) layout {
	all := []column{columnSuccess, columnFailed, columnWaiting, columnAttempts, columnP50, columnP95}
	few := []column{columnSuccess, columnAttempts, columnP50, columnP95}
	for _, l := range []layout{{all, false}, {few, false}, {all, true}, {few, true}} {
		if l.width() <= width {
			return l
		}
	}
	return layout{few[:2], true} // 26 columns
}

func (l layout) side() int {
	w := 0
	for _, c := range l.columns {
		w += c.width
	}
	return w
}

func (l layout) width() int {
	if l.stacked {
		return phaseWidth + callsWidth + l.side()
	}
	return phaseWidth + callsWidth + 2*(gap+l.side())
}

var sideNames = [sides]string{"direct, SDK's own retries", "the same via evenkeel"}

func (r Row) of(s side) Side {
	if s == direct {
		return r.Direct
	}
	return r.Evenkeel
}

func (c Comparison) table(width int, p paint) []string {
	l := layoutFor(width)
	if !l.stacked {
		return c.block(l, p, direct, viaEvenkeel)
	}
	lines := c.block(l, p, direct)
	return append(append(lines, ""), c.block(l, p, viaEvenkeel)...)
}

// block is a table with the columns of some sides.
func (c Comparison) block(l layout, p paint, of ...side) []string {
	between, title := strings.Repeat(" ", gap), strings.Repeat(" ", phaseWidth+callsWidth)
	if l.stacked {
		between, title = "", ""
	}
	titles, heads := []string{title}, []string{left("began in", phaseWidth) + right("calls", callsWidth)}
	for _, s := range of {
		titles = append(titles, p.bold(right(sideNames[s], l.side())))
		var head strings.Builder
		for _, col := range l.columns {
			head.WriteString(right(col.head, col.width))
		}
		heads = append(heads, head.String())
	}
	head := strings.Join(heads, between)
	rule := strings.Repeat("─", utf8.RuneCountInString(head))
	lines := []string{strings.Join(titles, between), p.dim(head), p.dim(rule)}
	for _, r := range c.Phases {
		lines = append(lines, l.row(r, p, between, of))
	}
	return append(lines, p.dim(rule), l.row(c.All, p, between, of))
}

func (l layout) row(r Row, p paint, between string, of []side) string {
	parts := []string{left(r.Phase, phaseWidth) + right(fmt.Sprint(r.of(of[0]).Calls), callsWidth)}
	for _, s := range of {
		var cells strings.Builder
		for _, col := range l.columns {
			cell := right(col.text(r.of(s)), col.width)
			if col.hue != nil {
				cell = col.hue(p, r.of(s), cell)
			}
			cells.WriteString(cell)
		}
		parts = append(parts, cells.String())
	}
	return strings.Join(parts, between)
}

func success(s Side) string {
	if s.Calls == 0 {
		return "–"
	}
	percent := 100 * s.Success()
	if percent > 99 && s.OK < s.Calls {
		percent = 99 // all is all
	}
	return fmt.Sprintf("%.0f %%", percent)
}

// hueSuccess judges what is over: a call that has just begun is no fault.
func hueSuccess(p paint, s Side, cell string) string {
	switch over := s.OK + s.Failed; {
	case over == 0:
		return cell
	case s.Failed == 0:
		return p.green(cell)
	case ratio(s.OK, over) >= 0.9:
		return p.yellow(cell)
	default:
		return p.red(cell)
	}
}

func attempts(s Side) string {
	if s.Calls == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", s.AttemptsPerCall())
}

// count leaves zeros out, so that what is not zero is seen.
func count(n int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprint(n)
}

func seconds(ms *float64) string {
	if ms == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f s", *ms/1000)
}

// failures says for each side what its callers saw.
func (c Comparison) failures(width int, p paint) []string {
	var lines []string
	for s := range sides {
		side := c.All.of(s)
		name := [sides]string{"direct", "evenkeel"}[s]
		text := fmt.Sprintf("%d of %d calls failed", side.Failed, side.Calls)
		if side.Failed > 0 {
			text += ": " + errorList(side.Errors)
		}
		if side.Waiting > 0 {
			text += fmt.Sprintf("; %d waiting for an answer", side.Waiting)
		}
		for i, line := range wrap(text+".", width-phaseWidth) {
			head := ""
			if i == 0 {
				head = name
			}
			lines = append(lines, p.bold(left(head, phaseWidth))+line)
		}
	}
	return lines
}

// errorList is the errors by kind, the most frequent first.
func errorList(errors map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(errors[b], errors[a]), cmp.Compare(a, b))
	})
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d × %s", errors[kind], kind)
	}
	return strings.Join(kinds, ", ")
}

// paragraph wraps text and paints each line.
func paragraph(text string, width int, hue func(string) string) []string {
	lines := wrap(text, width)
	for i, line := range lines {
		lines[i] = hue(line)
	}
	return lines
}

// clock is a time as the screen shows it.
func clock(d time.Duration) string {
	s := int(d.Seconds())
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
