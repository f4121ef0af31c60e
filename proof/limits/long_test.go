//go:build prove

package limits

import "time"

const (
	workers = 200
	length  = 15 * time.Minute
)
