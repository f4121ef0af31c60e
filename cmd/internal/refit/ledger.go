// Package refit collects what package tokens/fit needs: counts that somebody
// has written down ([ReadCounts]), or counts of its own, from probes of an
// upstream ([Prober]).
//
// A probe is one piece of text sent to be counted. It costs nothing but time,
// so no answer is asked for twice: each goes to a [Ledger] when it comes, and an
// interrupted run goes on where it was.
package refit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A Ledger is a file of answered probes. Its first line says which upstream
// and model were asked, each other one holds the hash of a probe and the tokens
// of its message, frame included. It has no text.
//
//	{"ledger":"evenkeel tokens refit","upstream":"https://api.anthropic.com","model":"claude-opus-5-5"}
//	{"probe":"5f2b6b5f0a3f3f0c5a1d0f0b8f6f9a11","tokens":41}
//
// A line is written whole, by one call, before the next probe of the same worker
// is sent: what was answered survives the end of the process, however it ends.
// Every syncEvery answers, and on Close, the file is synced: if the machine
// stops, no more than that has to be asked again. A last line that was not
// written whole is cut off when the file is opened.
//
// A Ledger is safe for concurrent use. One process at a time may have it open.
type Ledger struct {
	// Broken is how many lines could not be read; they are asked again.
	Broken int

	mu       sync.Mutex // guards what follows
	file     *os.File
	answers  map[string]int
	unsynced int
}

// syncEvery is a guess: some seconds of a fast run.
const syncEvery = 100

// header is the first line of a ledger.
type header struct {
	Ledger   string `json:"ledger"`
	Upstream string `json:"upstream"`
	Model    string `json:"model"`
}

// ledgerName marks the file as ours.
const ledgerName = "evenkeel tokens refit"

type answer struct {
	Probe  string `json:"probe"`
	Tokens *int   `json:"tokens"`
}

// ErrInUse is the error of opening a ledger that another process has open. Where
// there are no file locks nobody notices.
var ErrInUse = errors.New("another process is using it")

// ErrNoLedger is the error of opening a file that is something else.
var ErrNoLedger = errors.New("it is no ledger of evenkeel tokens refit")

// OtherError is the error of opening a ledger of another upstream or model:
// counts of two tokenizers in one table would fit neither.
type OtherError struct{ Upstream, Model string } // what it is of

// Error names them.
func (e *OtherError) Error() string {
	return fmt.Sprintf("its counts are of %s at %s", e.Model, e.Upstream)
}

// OpenLedger opens the ledger, or begins it if there is no such file.
func OpenLedger(name, upstream, model string) (*Ledger, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Ledger{file: file, answers: map[string]int{}}
	if err := l.load(header{ledgerName, upstream, model}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// load locks the file and reads it.
func (l *Ledger) load(want header) error {
	if err := lock(l.file); err != nil {
		return err
	}
	first, err := json.Marshal(want)
	if err != nil {
		return err
	}
	in := bufio.NewReader(l.file)
	line, err := in.ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF):
		return l.begin(line, append(first, '\n'))
	case err != nil:
		return err
	}
	var found header
	if json.Unmarshal(line, &found) != nil || found.Ledger != ledgerName {
		return ErrNoLedger
	}
	if found != want {
		return &OtherError{Upstream: found.Upstream, Model: found.Model}
	}
	return l.read(in, int64(len(line)))
}

// begin writes the first line, in place of a part of one: whoever began the
// file last did not come further.
func (l *Ledger) begin(torn, first []byte) error {
	if !bytes.HasPrefix(first, torn) {
		return ErrNoLedger
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	if _, err := l.file.Write(first); err != nil {
		return err
	}
	return l.file.Sync()
}

// read reads the answers, which begin at byte end, and cuts off a torn line.
func (l *Ledger) read(in *bufio.Reader, end int64) error {
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) > 0:
			return l.file.Truncate(end)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		end += int64(len(line))
		var a answer
		if json.Unmarshal(line, &a) != nil || a.Probe == "" || a.Tokens == nil || *a.Tokens < 0 {
			l.Broken++
			continue
		}
		l.answers[a.Probe] = *a.Tokens
	}
}

// Tokens returns what was answered for a text, and whether anything was.
func (l *Ledger) Tokens(text string) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens, ok := l.answers[probeName(text)]
	return tokens, ok
}

// Add writes down an answer.
func (l *Ledger) Add(text string, tokens int) error {
	a := answer{Probe: probeName(text), Tokens: &tokens}
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	l.answers[a.Probe] = tokens
	if l.unsynced++; l.unsynced < syncEvery {
		return nil
	}
	l.unsynced = 0
	return l.file.Sync()
}

// Close syncs and closes the file, and unlocks it.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.file.Sync(), l.file.Close())
}

// probeName is the hash of a text: 128 bits are enough to tell pieces apart.
func probeName(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
