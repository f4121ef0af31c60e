//go:build !prove

package limits

import "time"

// How many ask, and for how long, on the bubble's clock; make prove asks with
// more.
const (
	workers = 40
	length  = 8 * time.Minute
)
