//go:build race

package binary

// flags build the binary as the test was built: with the race detector.
var flags = []string{"-race"}
