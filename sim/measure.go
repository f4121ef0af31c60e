package sim

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measure reads a number and what it counts: 60%, 3x, 3MiB, 3 events, 10ms
// apart.
func (l *line) measure(t token) {
	text := t.text
	switch {
	case isDigits(text):
		l.count(t)
	case isNumber(strings.TrimSuffix(text, "%")):
		l.share(t)
	case strings.HasSuffix(text, "x") && isNumber(strings.TrimSuffix(text, "x")):
		l.factor(t)
	case sizeOf(text) != 0:
		l.size(t)
	default:
		if _, err := time.ParseDuration(text); err == nil {
			l.apart(t)
			return
		}
		l.wrongAt(t.column, append([]string{text}, storyWords...), "%q means nothing here", text)
	}
}

// count reads a number of events, bytes or times.
func (l *line) count(t token) {
	n, ok := whole64(t.text)
	switch {
	case l.accept("events", "event"):
		if l.belongs(hasEvents, t.column, "events") && l.once("events", t.column) {
			l.is.Events = int(l.atMost(n, ok, mostEvents, t))
		}
	case l.accept("bytes", "byte"):
		if l.belongs(hasBytes, t.column, "bytes") && l.once("events", t.column) {
			l.is.Bytes = l.atMost(n, ok, math.MaxInt64, t)
			if ok && n == 0 {
				l.wrongAt(t.column, nil, "after 0 bytes there is no body: say 0 events")
			}
		}
	case l.accept("times", "time"):
		if l.once("times", t.column) {
			l.is.Times = int(l.atMost(n, ok, mostEvents, t))
			if ok && n == 0 {
				l.wrongAt(t.column, nil, "what strikes 0 times never does")
			}
		}
	default:
		word := l.peek()
		l.wrongAt(t.column, []string{word, "events", "bytes", "times"}, "%s of what? want events, bytes or times after it", t.text)
		if slices.Contains([]string{"events", "bytes", "times"}, nearest(word, []string{"events", "bytes", "times"})) {
			l.at++ // that is what it was meant to be
		}
	}
}

// atMost returns n, or notes that it is too large.
func (l *line) atMost(n int64, ok bool, most int64, t token) int64 {
	if !ok || n > most {
		l.wrongAt(t.column, nil, "%s is too many", t.text)
		return 0
	}
	return n
}

// share reads 60% or 0.6: the rate, or how much of a condition there is.
func (l *line) share(t token) {
	number, isPercent := strings.CutSuffix(t.text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if isPercent {
		v /= 100
	}
	switch {
	case err != nil || !(v >= 0 && v <= 1) || strings.HasPrefix(number, "-"):
		l.wrongAt(t.column, nil, "a share is 0%% to 100%%, or 0.0 to 1.0, not %s", t.text)
		l.said["share"] = t.column
	case l.is.Kind == Slowdown:
		l.wrongAt(t.column, nil, "slowdown wants a factor such as 3x, not a share")
		l.said["share"] = t.column
	case !l.once("share", t.column):
	case l.is.Kind.isCondition():
		l.is.Factor = v
	default:
		l.is.Rate = v
	}
}

// factor reads 3x.
func (l *line) factor(t token) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(t.text, "x"), 64)
	switch {
	case l.known && l.is.Kind != Slowdown:
		l.wrongAt(t.column, nil, "%s has no factor such as %s", l.is.Kind, t.text)
		l.said["share"] = t.column
	case !l.once("share", t.column):
	case err != nil || !(v > 0 && v <= largestSlow):
		l.wrongAt(t.column, nil, "a factor is more than 0x, and at most 1000000x, not %s", t.text)
	default:
		l.is.Factor = v
	}
}

// size reads 3MiB.
func (l *line) size(t token) {
	if !l.belongs(hasSize, t.column, "size") || !l.once("size", t.column) {
		return
	}
	n := sizeOf(t.text)
	if n < 1 || n > largestSize {
		l.wrongAt(t.column, nil, "a size is 1B to 64MiB, not %s", t.text)
		return
	}
	l.is.Size = int(n)
}

var units = []struct {
	name  string
	bytes int64
}{{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// sizeOf reads a size in bytes; 0 if it is none, -1 if it is too large.
func sizeOf(text string) int64 {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok || !isDigits(number) {
			continue
		}
		n, ok := whole64(number)
		if !ok || n == 0 || n > math.MaxInt64/unit.bytes {
			return -1
		}
		return n * unit.bytes
	}
	return 0
}

// apart reads 10ms apart.
func (l *line) apart(t token) {
	if !l.accept("apart") {
		l.wrongAt(t.column, nil, "%s of what? a time stands first in the line, after for, until, every, after or by, or before apart", t.text)
		return
	}
	if l.belongs(hasPace, t.column, "bytes that are apart") && l.once("apart", t.column) {
		l.is.Pace, _ = l.duration(t, 1)
	}
}

// isNumber reports whether s is a number in decimal digits, maybe with a sign
// and a dot.
func isNumber(s string) bool {
	s = strings.TrimLeft(s[:min(1, len(s))], "+-") + s[min(1, len(s)):]
	before, after, _ := strings.Cut(s, ".")
	return isDigits(before+after) && strings.Trim(before+after, "0123456789") == ""
}

// asStoryError returns err as one, without a place if it had none.
func asStoryError(err error) *StoryError {
	if e, ok := errors.AsType[*StoryError](err); ok {
		return &StoryError{Line: e.Line, Column: e.Column, Problem: e.Problem, Suggestion: e.Suggestion}
	}
	return &StoryError{Problem: err.Error()}
}
