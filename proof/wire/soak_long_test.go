//go:build prove

package wire

import "time"

const soakFor = 5 * time.Minute
