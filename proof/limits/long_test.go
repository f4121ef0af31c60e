//go:build prove

package limits

import "time"

const (
	workers = 200
	length  = 15 * time.Minute

	// An output bucket that was found empty is tried again when it should have
	// refilled; if somebody else has taken that, one attempt finds out.
	enough   = 0.99
	tooMany  = 0.005
	lateOnes = 1

	everything = true // streams and plain answers, configured and not, in all combinations
)
