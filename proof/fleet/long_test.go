//go:build prove

package fleet

import "time"

const (
	brimFor     = time.Minute
	brimUsed    = 0.99
	brimRefused = 0.005
	brimJain    = 0.98

	settled  = 15 * time.Second
	goneFor  = 20 * time.Second
	backFor  = 30 * time.Second
	backIn   = 10 * time.Second
	backRate = 0.97

	notBlocked = 0.999
	classesFor = time.Minute
	classesOff = 0.10

	probeEvery = 30 * time.Second
	downFor    = 95 * time.Second
)
