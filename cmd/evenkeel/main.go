// Command evenkeel keeps Claude calls working when the API is overloaded: as a
// gateway (serve), around one program (exec), or for one question (ask).
//
// Flags, environment and files are read here and nowhere else; docs/cli.md is
// the reference, `evenkeel config init` the manual of the configuration.
package main

import (
	"context"
	"os"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

func main() { os.Exit(run()) }

// run returns the exit code. What went wrong is on stderr by then.
func run() int {
	err := execute(context.Background(), rootCommand(), os.Args[1:])
	ekerr.Print(os.Stderr, err)
	return ekerr.Exit(err)
}
