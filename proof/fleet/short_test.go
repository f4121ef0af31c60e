//go:build !prove

package fleet

import "time"

const brimFor = 20 * time.Second
