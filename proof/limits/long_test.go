//go:build prove

package limits

import "time"

const (
	workers = 200
	length  = 15 * time.Minute

	enough   = 0.99
	tooMany  = 0.005
	lateOnes = 0
)
