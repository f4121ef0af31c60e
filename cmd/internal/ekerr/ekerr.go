// Package ekerr is how the command line says that something went wrong: what,
// where, why, and what to do about it, under a code that stays the same from
// version to version and decides the exit code.
//
// Every code is in the catalogue ([Lookup]), which `evenkeel explain` prints
// and docs/cli.md lists. An error that reaches main without a code is printed
// as EK-FAILED, so that nobody ever reads a bare line.
package ekerr

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one thing that went wrong.
type Error struct {
	Code Code     `json:"code"`
	At   string   `json:"at,omitempty"`  // file:line:column, variable or flag it is about; "" if none
	What string   `json:"what"`          // one line: what is wrong, with the value at fault
	Why  string   `json:"why,omitempty"` // a line more; "" takes nothing away
	Do   []string `json:"do,omitempty"`  // what to do, most likely first; commands or short sentences
	Err  error    `json:"-"`             // the cause, for errors.Is; may be nil
	Exit int      `json:"-"`             // where it differs from the catalogue's; 0: it does not
}

// New returns an Error of a code; the text says what went wrong.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, What: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause, whose text is the why.
func Wrap(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, What: fmt.Sprintf(format, args...), Why: err.Error(), Err: err}
}

// Hint adds something to do and returns e.
func (e *Error) Hint(format string, args ...any) *Error {
	e.Do = append(e.Do, fmt.Sprintf(format, args...))
	return e
}

// Because sets why and returns e.
func (e *Error) Because(format string, args ...any) *Error {
	e.Why = fmt.Sprintf(format, args...)
	return e
}

// Error is the first line of what is printed, without the word error.
func (e *Error) Error() string {
	if e.At == "" {
		return string(e.Code) + "  " + e.What
	}
	return string(e.Code) + "  " + e.At + "  " + e.What
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// List is several errors found in one pass. It is never empty.
type List []*Error

// Error joins the first lines.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives [errors.Is] each of them.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

// Status ends the program with that code and without a word: a child has
// already said what there was to say.
type Status int

// Error names the code.
func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// All returns every Error in err, in order. An error without a code becomes
// one EK-FAILED; nil gives none.
func All(err error) []*Error {
	if err == nil {
		return nil
	}
	if l, ok := errors.AsType[List](err); ok {
		return l
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return []*Error{e}
	}
	return []*Error{{Code: Failed, What: err.Error(), Err: err}}
}

// Print writes every error in err for a person to read.
func Print(w io.Writer, err error) {
	if _, ok := errors.AsType[Status](err); ok {
		return
	}
	for _, e := range All(err) {
		fmt.Fprintf(w, "error %s\n", e.Error())
		if e.Why != "" {
			fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(e.Why, "\n", "\n  "))
		}
		do := append(slices.Clip(e.Do), "evenkeel explain "+string(e.Code))
		fmt.Fprintf(w, "  %s\n", strings.Join(do, "  ·  "))
	}
}

// Mark returns a text with a mark below one of its columns, counted in bytes
// from 1; the text alone if it has no such column.
func Mark(text string, column int) string {
	if column < 1 || column > len(text)+1 {
		return text
	}
	return text + "\n" + strings.Repeat(" ", utf8.RuneCountInString(text[:column-1])) + "^"
}

// Exit returns the exit code of a program that ended with err: 0 for nil, that
// of the first Error, 1 for anything unknown.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[Status](err); ok {
		return int(s)
	}
	first := All(err)[0]
	if first.Exit != 0 {
		return first.Exit
	}
	if entry, ok := Lookup(first.Code); ok {
		return entry.Exit
	}
	return 1
}
