package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// input is one thing to count.
type input struct {
	name  string // of the file, with :LINE for a line of it
	model string // that the request names, or ""
	body  []byte // a request, or the text
	text  bool   // body is a text, to be counted alone
}

// inputs reads the files that args name, - being stdin, and yields what is in
// them, or why that cannot be counted.
func inputs(args []string, stdin io.Reader, text bool) iter.Seq2[input, *ekerr.Error] {
	return func(yield func(input, *ekerr.Error) bool) {
		for _, name := range args {
			data, bad := readInput(name, stdin)
			if bad != nil {
				if !yield(input{}, bad) {
					return
				}
				continue
			}
			for in, bad := range recognise(name, data, text) {
				if !yield(in, bad) {
					return
				}
			}
		}
	}
}

// readInput reads a file, and makes sure that it is text.
func readInput(name string, stdin io.Reader) ([]byte, *ekerr.Error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err // the name stands before it
		}
		return nil, &ekerr.Error{Code: ekerr.Input, At: name, What: "cannot be read: " + err.Error(), Err: err}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		n := len(data) - len(bytes.TrimLeftFunc(data, func(r rune) bool { return r != utf8.RuneError }))
		return nil, (&ekerr.Error{Code: ekerr.Input, At: name, What: fmt.Sprintf("is no text: what begins at byte %d is not UTF-8", n+1)}).
			Hint("an image or a PDF is counted as part of a request: its data in base64")
	}
	return data, nil
}

// recognise tells requests, lines of requests and texts apart.
func recognise(name string, data []byte, text bool) iter.Seq2[input, *ekerr.Error] {
	one := func(in input, bad *ekerr.Error) iter.Seq2[input, *ekerr.Error] {
		return func(yield func(input, *ekerr.Error) bool) { yield(in, bad) }
	}
	trimmed := bytes.TrimSpace(data)
	ext := strings.ToLower(filepath.Ext(name))
	switch {
	case text:
		return one(input{name: name, body: data, text: true}, nil)
	case ext == ".jsonl" || ext == ".ndjson" || areRequests(trimmed):
		return eachLine(name, data)
	case ext == ".json" && !json.Valid(trimmed), looksCut(trimmed):
		return one(input{}, notJSON(name, data))
	case ext == ".json" || name == "-" && isObject(trimmed) || isRequest(trimmed):
		return one(requestOf(name, trimmed))
	}
	body, err := json.Marshal(map[string]any{"messages": []turn{{Role: "user", Content: string(data)}}})
	if err != nil {
		return one(input{}, ekerr.Wrap(ekerr.Input, err, "%s cannot be written as a message", name))
	}
	return one(input{name: name, body: body}, nil)
}

// isObject tells whether data is a JSON object. One that comes through a pipe
// is meant as a request; in a file that is not named so it may be any text.
func isObject(data []byte) bool { return bytes.HasPrefix(data, []byte("{")) && json.Valid(data) }

// isRequest tells whether data is a request, or a line of a batch.
func isRequest(data []byte) bool {
	if !isObject(data) {
		return false
	}
	_, bad := requestOf("", data)
	return bad == nil
}

// areRequests tells whether data is more than one line, the first of which is
// a request.
func areRequests(data []byte) bool {
	first, _, more := bytes.Cut(data, []byte("\n"))
	return more && isRequest(bytes.TrimSpace(first))
}

// looksCut tells whether data is no document, but begins as a request does.
func looksCut(data []byte) bool {
	start := data[:min(len(data), 1<<10)]
	return bytes.HasPrefix(start, []byte("{")) && bytes.Contains(start, []byte(`"messages"`)) && !json.Valid(data)
}

// eachLine yields the requests of JSONL.
func eachLine(name string, data []byte) iter.Seq2[input, *ekerr.Error] {
	return func(yield func(input, *ekerr.Error) bool) {
		n := 0
		for line := range bytes.Lines(data) {
			n++
			line = bytes.TrimSpace(line)
			if len(line) == 0 {
				continue
			}
			at := fmt.Sprintf("%s:%d", name, n)
			if !json.Valid(line) {
				if !yield(input{}, notJSON(at, line)) {
					return
				}
				continue
			}
			if !yield(requestOf(at, line)) {
				return
			}
		}
	}
}

// requestOf takes a request, or the params of a line of a batch.
func requestOf(name string, data []byte) (input, *ekerr.Error) {
	type request struct {
		Model    any             `json:"model"`
		Messages json.RawMessage `json:"messages"`
	}
	var r struct {
		request
		Params json.RawMessage `json:"params"`
	}
	err := json.Unmarshal(data, &r)
	if err == nil && r.Messages == nil && r.Params != nil {
		data = r.Params
		err = json.Unmarshal(data, &r.request)
	}
	if err != nil || r.Messages == nil {
		return input{}, (&ekerr.Error{Code: ekerr.Input, At: name, What: "is JSON, but no request: it has no messages"}).
			Hint(`{"messages": [{"role": "user", "content": "…"}]}`).Hint("--text counts it as the text that it is")
	}
	model, _ := r.Model.(string)
	return input{name: name, model: model, body: data}, nil
}

// notJSON says where a document stops being JSON.
func notJSON(name string, data []byte) *ekerr.Error {
	var v any
	err := json.Unmarshal(data, &v)
	e := &ekerr.Error{Code: ekerr.Input, At: name, What: "is no valid JSON", Err: err}
	if err == nil { // several documents, one after the other
		return e.Because("there is more than one document").Hint("one request per line, in a file named .jsonl")
	}
	e.Why = err.Error()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := data[:min(int(syntax.Offset), len(data))]
		line := 1 + bytes.Count(before, []byte("\n"))
		e.Why = fmt.Sprintf("line %d, byte %d of it: %v", line, len(before)-(bytes.LastIndexByte(before, '\n')+1), err)
	}
	return e.Hint("--text counts it as the text that it is")
}
