package refit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/evenkeel-dev/evenkeel/tokens/fit"
)

// InputError is a mistake in a file of counts or texts.
type InputError struct {
	File string
	Line int // 0 if it is about the file as a whole
	Text string
}

func (e *InputError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Text
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// mostMistakes is how many of a file are told at once.
const mostMistakes = 10

// ReadCounts reads counted texts: one JSON object a line, gzipped or not,
//
//	{"text":"Why do ships have keels?","tokens":8,"source":"faq.md"}
//
// where source is optional: lines of one source are parts of one text. Other
// fields and empty lines are ignored. Tokens are of the text alone, without
// the frame of a message. All mistakes are returned, up to ten.
func ReadCounts(r io.Reader, name string) ([]fit.Sample, error) {
	var samples []fit.Sample
	err := eachLine(r, name, func(line []byte) error {
		var l struct {
			Text   *string `json:"text"`
			Tokens *int    `json:"tokens"`
			Source string  `json:"source"`
		}
		switch err := json.Unmarshal(line, &l); {
		case err != nil:
			return notJSON(err)
		case l.Text == nil || *l.Text == "":
			return errors.New(`there is no "text"`)
		case l.Tokens == nil:
			return errors.New(`there are no "tokens"`)
		case *l.Tokens < 0:
			return fmt.Errorf(`"tokens" is %d, want 0 or more`, *l.Tokens)
		}
		samples = append(samples, fit.Sample{Text: *l.Text, Tokens: *l.Tokens, Source: l.Source})
		return nil
	})
	return samples, err
}

// notJSON says what is wrong with a line without quoting it.
func notJSON(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		want := e.Type.String()
		if want == "int" {
			want = "whole number"
		}
		return fmt.Errorf("%q is a %s, want a %s", e.Field, e.Value, want)
	}
	return errors.New(`it is no JSON object such as {"text":"…","tokens":8}`)
}

// ReadTexts reads the files that pieces are to be cut from. A file whose name
// ends with .jsonl or .jsonl.gz has a text a line, {"text":"…","kind":"…"}, where
// kind is optional; any other is one text, and its kind is the end of its name. A
// folder stands for the files below it, except for those that begin with a dot
// or are not text; skipped counts the latter.
func ReadTexts(names []string) (texts []fit.Text, skipped int, err error) {
	var problems []error
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err != nil:
		case info.IsDir():
			var more []fit.Text
			var left int
			more, left, err = readFolder(name)
			texts, skipped = append(texts, more...), skipped+left
		default:
			var more []fit.Text
			more, err = readFile(name)
			texts = append(texts, more...)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return sections(texts), skipped, errors.Join(problems...)
}

func readFolder(name string) (texts []fit.Text, skipped int, err error) {
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".") && path != name:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		more, err := readFile(path)
		if _, ok := errors.AsType[*InputError](err); ok {
			skipped++
			return nil
		}
		texts = append(texts, more...)
		return err
	})
	return texts, skipped, err
}

func readFile(name string) ([]fit.Text, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if base := strings.TrimSuffix(name, ".gz"); filepath.Ext(base) == ".jsonl" {
		return readTextLines(f, name)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return nil, &InputError{File: name, Text: "it is not UTF-8 text"}
	}
	kind := strings.TrimPrefix(filepath.Ext(name), ".")
	return []fit.Text{{Text: string(data), Kind: kind, Source: name}}, nil
}

func readTextLines(r io.Reader, name string) ([]fit.Text, error) {
	var texts []fit.Text
	err := eachLine(r, name, func(line []byte) error {
		var l struct {
			Text *string `json:"text"`
			Kind string  `json:"kind"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return notJSON(err)
		}
		if l.Text == nil {
			return errors.New(`there is no "text"`)
		}
		texts = append(texts, fit.Text{Text: *l.Text, Kind: l.Kind, Source: fmt.Sprintf("%s:%d", name, len(texts)+1)})
		return nil
	})
	return texts, err
}

// eachLine calls do for every line that is not empty, and collects what it says.
func eachLine(r io.Reader, name string, do func(line []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return &InputError{File: name, Text: err.Error()}
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	var mistakes []error
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if wrong := do(line); wrong != nil {
				mistakes = append(mistakes, &InputError{File: name, Line: n, Text: wrong.Error()})
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			mistakes = append(mistakes, &InputError{File: name, Line: n, Text: err.Error()})
		}
		if err != nil || len(mistakes) == mostMistakes {
			return errors.Join(mistakes...)
		}
	}
}

// Where there are few texts, sections of them stand for sources: something has
// to be kept away from the fit. Both are guesses. Sections of one text know
// more of each other than texts do, so errors on them come out a little low.
const (
	fewTexts     = 100
	sectionBytes = 4096
)

// sections cuts the texts into sections at ends of lines if they are few.
func sections(texts []fit.Text) []fit.Text {
	if len(texts) >= fewTexts {
		return texts
	}
	var all []fit.Text
	for _, t := range texts {
		for n, rest := 1, t.Text; rest != ""; n++ {
			end := len(rest)
			if end > sectionBytes {
				end = sectionBytes
				if i := strings.LastIndexByte(rest[:end], '\n'); i > 0 {
					end = i
				}
				for end > 1 && !utf8.RuneStart(rest[end]) {
					end--
				}
			}
			all = append(all, fit.Text{Text: rest[:end], Kind: t.Kind, Source: fmt.Sprintf("%s#%d", t.Source, n)})
			rest = rest[end:]
		}
	}
	return all
}
