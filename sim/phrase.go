package sim

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// storyWords are what an unknown word may have been.
var storyWords = []string{
	"for", "until", "every", "on", "in", "path", "named", "after", "by", "with", "and", "accepted", "of", "code",
	"saying", "body", "once", "times", "events", "bytes", "apart",
}

// rule reads the line. What is wrong is noted, and the rest read all the same.
func (l *line) rule() Rule {
	if len(l.tokens) > 0 {
		l.begin()
		l.name()
		for l.at < len(l.tokens) {
			l.phrase()
		}
		l.ends()
	}
	if err := l.is.Validate(); err != nil && len(l.mistakes) == 0 {
		l.wrongAt(1, nil, "%v", err) // what the words let through
	}
	return l.is
}

// begin reads the TIME.
func (l *line) begin() {
	first := l.tokens[0]
	name, _, _ := strings.Cut(first.text, ":")
	_, err := time.ParseDuration(first.text)
	isTime := err == nil
	isMeant := len(l.tokens) > 1 && strings.ContainsAny(first.text[:min(1, len(first.text))], "+-.0123456789") && !isDigits(name)
	if !first.quoted && (isTime || isMeant) {
		l.at++
		l.is.From, _ = l.duration(first, 0)
	}
}

// name reads NAME[:N].
func (l *line) name() {
	if l.at >= len(l.tokens) {
		l.wrongAt(l.end, nil, "a time, and nothing that happens then")
		return
	}
	t := l.tokens[l.at]
	l.at++
	name, arg, hasArg := t.text, "", false
	if !t.quoted {
		name, arg, hasArg = strings.Cut(t.text, ":")
	}
	f, err := named(name)
	if err != nil {
		e := asStoryError(err)
		e.Line, e.Column = l.number, t.column
		l.mistakes = append(l.mistakes, e)
		return
	}
	l.is.Fault, l.known = f, true
	if f.Kind == Status && name != string(Status) {
		l.said["status"] = t.column
	}
	if !hasArg {
		return
	}
	if err := l.is.argue(arg); err != nil {
		l.wrongAt(t.column+len(name)+1, nil, "%v", err)
	}
	l.said["events"] = t.column
	if l.is.Kind == Status {
		l.said["header retry-after"] = t.column
	}
}

// phrase reads what belongs together: a word, and what it wants after it.
func (l *line) phrase() {
	t := l.tokens[l.at]
	l.at++
	if t.quoted {
		l.wrongAt(t.column, nil, "a quoted word stands only after the word it belongs to")
		return
	}
	if read, ok := phrases[t.text]; ok {
		read(l, t)
		return
	}
	l.measure(t)
}

// phrases are what begins with a word.
var phrases = map[string]func(*line, token){
	"for":      func(l *line, t token) { l.time(t, "end", &l.is.Until) },
	"until":    func(l *line, t token) { l.time(t, "end", &l.is.Until) },
	"every":    func(l *line, t token) { l.time(t, "every", &l.is.Every) },
	"on":       func(l *line, t token) { l.glob(t, &l.is.Models) },
	"in":       (*line).organization,
	"path":     (*line).path,
	"named":    (*line).ruleName,
	"after":    (*line).after,
	"by":       (*line).delay,
	"with":     (*line).with,
	"accepted": func(l *line, t token) { l.flag(t, hasAccept, &l.is.Accept) },
	"of":       (*line).of,
	"code": func(l *line, t token) {
		if v, ok := l.errorText(t, hasError); ok {
			l.is.Code = claude.ErrorCode(v.text)
		}
	},
	"saying": func(l *line, t token) {
		if v, ok := l.errorText(t, hasError); ok {
			l.is.Message = v.text
		}
	},
	"body": func(l *line, t token) {
		if v, ok := l.errorText(t, hasBody); ok {
			l.is.Body = v.text
		}
	},
	"once": func(l *line, t token) {
		if l.once("times", t.column) {
			l.is.Times = 1
		}
	},
}

// time reads the duration after a word.
func (l *line) time(t token, what string, into *time.Duration) {
	v, ok := l.value(t, "a time such as 30s")
	if !ok || !l.once(what, t.column) {
		return
	}
	l.said[t.text] = v.column
	*into, _ = l.duration(v, 1)
	if t.text == "for" {
		*into += l.is.From
	}
}

// duration reads a time that is neither negative nor absurd. 0 counts as
// negative if least is more.
func (l *line) duration(t token, least time.Duration) (time.Duration, bool) {
	d, err := time.ParseDuration(t.text)
	switch {
	case t.quoted || err != nil:
		l.wrongAt(t.column, nil, "%q is no time, want one such as 10s or 1m30s", t.text)
	case d < 0:
		l.wrongAt(t.column, nil, "a time cannot be negative: %s", t.text)
	case d < least:
		l.wrongAt(t.column, nil, "a time of nothing: %s", t.text)
	case d > longest:
		l.wrongAt(t.column, nil, "%s is longer than a year", t.text)
	default:
		return d, true
	}
	return 0, false
}

func (l *line) glob(t token, into *string) {
	v, ok := l.value(t, "a glob")
	if !ok || !l.once(t.text, t.column) {
		return
	}
	if _, err := path.Match(v.text, ""); err != nil || v.text == "" {
		l.wrongAt(v.column, nil, "%q is no glob", v.text)
		return
	}
	*into = v.text
}

func (l *line) organization(t token) {
	if !l.accept("org") {
		l.wrongAt(t.column, nil, `"in" wants "org" and a glob after it`)
		return
	}
	t.text = "in org"
	l.glob(t, &l.is.Organization)
}

func (l *line) path(t token) {
	v, ok := l.value(t, "a class of paths")
	if !ok || !l.once("path", t.column) {
		return
	}
	if !slices.Contains(paths, v.text) {
		l.wrongAt(v.column, append([]string{v.text}, paths...), "no path is called %q", v.text)
		return
	}
	l.is.Path = v.text
}

func (l *line) ruleName(t token) {
	v, ok := l.value(t, "a name")
	if !ok || !l.once("named", t.column) {
		return
	}
	if v.text == "" || !ruleName.MatchString(v.text) {
		l.wrongAt(v.column, nil, "%q is no name, want up to 64 of A-Z a-z 0-9 . _ -", v.text)
		return
	}
	l.is.Name = v.text
}

// after is a delay, or belongs to the number of events or bytes that follows.
func (l *line) after(t token) {
	if isDigits(l.peek()) {
		next := l.tokens[l.at]
		l.at++
		l.measure(next)
		return
	}
	l.delay(t)
}

func (l *line) delay(t token) {
	v, ok := l.value(t, "a time such as 5s")
	if !ok || !l.belongs(hasAfter, t.column, "time until it strikes") || !l.once("after", t.column) {
		return
	}
	l.is.After, _ = l.duration(v, 1)
}

func (l *line) flag(t token, field trait, into *bool) {
	if l.belongs(field, t.column, t.text) && l.once(t.text, t.column) {
		*into = true
	}
}

// errorText reads the text after a word.
func (l *line) errorText(t token, field trait) (token, bool) {
	v, ok := l.value(t, "a word, or a text in quotes")
	if !ok || !l.belongs(field, t.column, t.text) || !l.once(t.text, t.column) {
		return token{}, false
	}
	return v, true
}

// of reads a type of error, or a status.
func (l *line) of(t token) {
	v, ok := l.value(t, "a type of error, or a status")
	if !ok {
		return
	}
	if status, ok := whole64(v.text); ok && !v.quoted {
		if !l.belongs(hasStatus, t.column, "status") || !l.once("status", t.column) {
			return
		}
		if status < 200 || status > 999 {
			l.wrongAt(v.column, nil, "a status is 200 to 999, not %s", v.text)
			return
		}
		l.is.Status = int(status)
		return
	}
	if !l.belongs(hasError, t.column, "type of error") || !l.once("of", t.column) {
		return
	}
	if known := typeNames(); !v.quoted && !slices.Contains(known, v.text) {
		l.wrongAt(v.column, append([]string{v.text}, known...), "no type of error is called %q (quoted, it may be any)", v.text)
		return
	}
	l.is.Type = claude.ErrorType(v.text)
}

// with reads pings and headers.
func (l *line) with(t token) {
	for {
		if l.peek() == "pings" {
			l.at++
			l.flag(token{text: "pings", column: l.tokens[l.at-1].column}, hasPings, &l.is.Pings)
		} else {
			l.header(t)
		}
		if l.peek() != "and" {
			return
		}
		t = l.tokens[l.at]
		l.at++
	}
}

func (l *line) header(t token) {
	name, ok := l.value(t, `"pings", or a header and its value`)
	if !ok {
		return
	}
	value, ok := l.value(name, "the value of the header")
	if !ok || !l.belongs(hasHeader, name.column, "header") {
		return
	}
	if !isHeader(name.text, value.text) {
		l.wrongAt(name.column, nil, "the header %q cannot be sent", name.text)
		return
	}
	if l.once("header "+strings.ToLower(name.text), name.column) {
		l.is.setHeader(name.text, value.text)
	}
}

// setHeader sets one header of the answer, whatever the case of its name.
func (f *Fault) setHeader(name, value string) {
	for old := range f.Header {
		if strings.EqualFold(old, name) {
			delete(f.Header, old)
		}
	}
	if f.Header == nil {
		f.Header = map[string]string{}
	}
	f.Header[name] = value
}

// argue sets what stands after the colon of a name.
func (f *Fault) argue(arg string) error {
	n, ok := whole64(arg)
	switch {
	case !ok || n > mostEvents:
		return &StoryError{Problem: "want a whole number after the colon"}
	case f.Kind == Status:
		f.setHeader("retry-after", arg)
	case f.Kind.traits()&hasEvents != 0:
		f.Events = int(n)
	default:
		return &StoryError{Problem: string(f.Kind) + " has no events, and no number"}
	}
	return nil
}

// ends checks what only the whole line tells.
func (l *line) ends() {
	if at, ok := l.said["until"]; ok && l.is.Until > 0 && l.is.Until <= l.is.From {
		l.wrongAt(at, nil, "until %v is not later than %v, when it begins", l.is.Until, l.is.From)
	}
	if at, ok := l.said["for"]; ok && l.is.Until > longest {
		l.wrongAt(at, nil, "that is more than a year from the start")
	}
	if at, ok := l.said["every"]; ok && l.is.Every > 0 && (l.is.From >= l.is.Every || l.is.Until > l.is.Every) {
		l.wrongAt(at, nil, "what begins anew every %v must begin and end within that time", l.is.Every)
	}
	if _, ok := l.said["share"]; !ok && l.known && l.is.Kind.isCondition() {
		example := "50%"
		if l.is.Kind == Slowdown {
			example = "3x"
		}
		l.wrongAt(l.end, nil, "%s wants to know how much, such as %s", l.is.Kind, example)
	}
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// whole64 reads a number that is written in digits alone.
func whole64(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && isDigits(s)
}
