//go:build !prove

package wire

import "time"

// soakFor is short here; make prove soaks for minutes.
const soakFor = 5 * time.Second
