//go:build !race

package clients

// raceFlags are none: the tests themselves are built without the detector.
var raceFlags []string
