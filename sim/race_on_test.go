//go:build race

package sim_test

// raceDetector makes everything some eight times slower.
const raceDetector = true
