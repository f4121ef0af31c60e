//go:build prove

package limits

import "time"

const (
	workers = 200

	// What is lost once, when a run begins and when it ends, is up to ten seconds
	// of rate: of a quarter of an hour that is the one in a hundred that is allowed.
	length = 30 * time.Minute

	// An output bucket that was found empty is tried again when it should have
	// refilled; if somebody else has taken that, one attempt finds out.
	enough   = 0.99
	tooMany  = 0.005
	lateOnes = 1

	everything = true // streams and plain answers, configured and not, in all combinations
)
