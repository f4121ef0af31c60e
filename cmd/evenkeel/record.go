package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// recorder is the file of --record. When it cannot be written any more it says
// so, once and at once; the API goes on. A nil recorder records nothing.
type recorder struct {
	name string
	file io.WriteCloser
	talk io.Writer

	mu     sync.Mutex // guards broken
	broken error
}

// openRecord makes the file anew: what is judged later is this run. - is
// stdout; "" is none, and gives nil.
func openRecord(name string, stdout, talk io.Writer) (*recorder, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return &recorder{name: "stdout", file: unclosed{stdout}, talk: talk}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		e := ekerr.Wrap(ekerr.Record, rootCause(err), "cannot write %s", name)
		e.At = "--record"
		return nil, e
	}
	return &recorder{name: name, file: file, talk: talk}, nil
}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// Write implements [io.Writer].
func (r *recorder) Write(line []byte) (int, error) {
	n, err := r.file.Write(line)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.broken == nil {
		r.broken = rootCause(err)
		fmt.Fprintf(r.talk, "note  %s: %v; attempts are no longer recorded\n", r.name, r.broken)
	}
	return n, err
}

// Close closes the file. The error says that not every attempt is in it.
func (r *recorder) Close() error {
	if r == nil {
		return nil
	}
	err := r.file.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil && err != nil {
		r.broken = rootCause(err)
	}
	if r.broken == nil {
		return nil
	}
	return ekerr.Wrap(ekerr.Record, r.broken, "%s does not have every attempt", r.name)
}
