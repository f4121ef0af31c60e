//go:build !unix

package main

import "os"

// reloadSignals make serve read its file again: there are none here.
var reloadSignals []os.Signal

// passedOn are the signals that exec keeps from ending itself before its
// child, which gets Ctrl-C from the console like everyone on it.
var passedOn = []os.Signal{os.Interrupt}

func fromTerminal(os.Signal) bool { return true }

// killedBy returns the signal that has ended a child: there are none here.
func killedBy(*os.ProcessState) os.Signal { return nil }
