package refit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Prober asks an upstream how many tokens texts have. The zero value of an
// optional field is its default.
type Prober struct {
	// Count sends one message with the text and returns its tokens, frame
	// included. Retries are its business. Needed; called concurrently.
	Count func(ctx context.Context, text string) (Answer, error)

	Ledger      *Ledger // of what was answered; needed
	Concurrency int     // probes under way at once; 0 means 1
	RPM         int     // probes begun in a minute, evenly; 0 means no limit but the upstream's

	// Progress is told how many of how many texts are done, from the ledger or
	// answered. It is called by one goroutine at a time. nil for nobody.
	Progress func(done, of int)
}

// Answer is the upstream's answer to a probe.
type Answer struct {
	Tokens  int  // of the message, frame included
	TooFast bool // it came after the upstream had asked for fewer probes
}

// RefusedError is what Count returns for a text that the upstream will not take,
// whatever the reason: this text, not the whole run, has failed.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns what the upstream said.
func (e *RefusedError) Unwrap() error { return e.Err }

// BusyError is what Count returns where the upstream would count the text, but
// not at this pace: the probe is made again, and all of them slower.
type BusyError struct{ Err error }

func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap returns what the upstream said.
func (e *BusyError) Unwrap() error { return e.Err }

// mostBusy is how many probes in a row may be told that the upstream is busy:
// then it is not the pace. A guess.
const mostBusy = 20

// mostRefused is how many texts of a run may be refused: single odd ones are
// left out, but an upstream that refuses them by the dozen is told wrong.
// A guess.
const mostRefused = 20

// Counts are the answers to texts.
type Counts struct {
	Tokens  []int // of each text, with the frame; less than 0 if it was refused
	Asked   int   // of the upstream, now; the others were in the ledger
	Refused int
	Refusal error // the last of them
}

// Ask returns the tokens of all texts, and asks for those that the ledger does
// not have. When the context ends, or a probe fails for good, it cancels those
// under way and returns the cause; what was answered is in the ledger.
func (p *Prober) Ask(ctx context.Context, texts []string) (Counts, error) {
	c := Counts{Tokens: make([]int, len(texts))}
	var open []int
	for i, text := range texts {
		tokens, ok := p.Ledger.Tokens(text)
		c.Tokens[i] = tokens
		if !ok {
			open = append(open, i)
		}
	}
	r := &run{Prober: p, pace: newPace(p.RPM), texts: texts, tokens: c.Tokens, done: len(texts) - len(open)}
	r.progress()
	err := r.all(ctx, open)
	c.Asked, c.Refused, c.Refusal = r.asked, r.refused, r.refusal
	return c, err
}

// run is one Ask under way.
type run struct {
	*Prober
	pace   *pace
	texts  []string
	tokens []int // each is written by the worker that has it

	mu      sync.Mutex // guards what follows
	done    int
	asked   int
	busy    int // in a row
	refused int
	refusal error
}

// all lets workers ask for the open texts.
func (r *run) all(ctx context.Context, open []int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range max(1, min(r.Concurrency, len(open))) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(open) {
					return
				}
				if err := r.one(ctx, open[i]); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// one asks for one text, again if the upstream is busy. Its error ends the run.
func (r *run) one(ctx context.Context, i int) error {
	for {
		began, err := r.pace.wait(ctx)
		if err != nil {
			return err
		}
		answer, err := r.Count(ctx, r.texts[i])
		busy, isBusy := errors.AsType[*BusyError](err)
		if !isBusy {
			return r.answered(i, answer, err)
		}
		if err := r.isBusy(began, busy.Err); err != nil {
			return err
		}
	}
}

// isBusy slows down, and returns the reason if that is of no use.
func (r *run) isBusy(began time.Time, reason error) error {
	r.pace.busy(began)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy++; r.busy > mostBusy {
		return reason
	}
	return nil
}

// answered notes what came of a text.
func (r *run) answered(i int, a Answer, err error) error {
	refused, isRefused := errors.AsType[*RefusedError](err)
	switch {
	case isRefused:
		a.Tokens = -1
	case err != nil:
		return err
	default:
		if err := r.Ledger.Add(r.texts[i], a.Tokens); err != nil {
			return &LedgerError{err}
		}
	}
	r.pace.answered(a.TooFast)
	r.tokens[i] = a.Tokens
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	r.done++
	r.busy = 0
	if isRefused {
		r.refusal = refused.Err
		if r.refused++; r.refused > mostRefused {
			return r.refusal
		}
	}
	r.progress()
	return nil
}

// progress tells how far the run is; mu is held, or nobody else is there.
func (r *run) progress() {
	if r.Progress != nil {
		r.Progress(r.done, len(r.texts))
	}
}

// LedgerError says that an answer could not be written down.
type LedgerError struct{ Err error }

func (e *LedgerError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LedgerError) Unwrap() error { return e.Err }
