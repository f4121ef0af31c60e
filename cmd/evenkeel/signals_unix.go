//go:build unix

package main

import (
	"os"
	"syscall"
)

// reloadSignals make serve read its file again.
var reloadSignals = []os.Signal{syscall.SIGHUP}

// passedOn are the signals that exec hands to its child. Those that a terminal
// sends go to the whole foreground group: the child has them already.
var passedOn = []os.Signal{
	syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	syscall.SIGINT, syscall.SIGQUIT,
}

// fromTerminal tells signals that keys send.
func fromTerminal(sig os.Signal) bool {
	return sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGWINCH
}

// killedBy returns the signal that has ended a child, nil if it exited.
func killedBy(state *os.ProcessState) os.Signal {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return nil
}
