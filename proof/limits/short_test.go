//go:build !prove

package limits

import "time"

// How many ask, and for how long, on the bubble's clock; make prove asks with
// more.
const (
	workers = 40
	length  = 8 * time.Minute

	// What is asked of them: of 20 answers at a time each is a twentieth of what
	// is in flight, and four attempts are one in a hundred.
	enough   = 0.965
	tooMany  = 0.01
	lateOnes = 1

	everything = false // streams and plain answers, configured and not, in all combinations
)
