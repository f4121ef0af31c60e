//go:build race

package clients

// raceFlags builds the binary under test with the race detector, as the tests are.
var raceFlags = []string{"-race"}
