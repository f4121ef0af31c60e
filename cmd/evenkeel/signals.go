package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// signalError is the cause of a context that a signal has ended.
type signalError struct{ sig os.Signal }

func (e signalError) Error() string { return e.sig.String() }

// untilSignal returns a context that SIGINT and SIGTERM end. A second signal
// finds nobody listening and ends the process at once, as it should.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case sig := <-signals:
			cancel(signalError{sig})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// signalOf returns the signal that has ended ctx, nil if none has.
func signalOf(ctx context.Context) os.Signal {
	if e, ok := errors.AsType[signalError](context.Cause(ctx)); ok {
		return e.sig
	}
	return nil
}

// interrupted is the error of a command that a signal has ended.
func interrupted(sig os.Signal) *ekerr.Error {
	e := ekerr.New(ekerr.Interrupted, "stopped by %v", sig)
	e.Exit = exitOf(sig)
	return e
}

// exitOf is what a shell reports for a process that a signal has ended.
func exitOf(sig os.Signal) int {
	if s, ok := sig.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return 1
}

// notify is signal.Notify for a list that may be empty, which Notify takes for
// all signals.
func notify(list []os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	if len(list) == 0 {
		return c, func() {}
	}
	signal.Notify(c, list...)
	return c, func() { signal.Stop(c) }
}
