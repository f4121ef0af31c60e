//go:build prove

package fleet

import "time"

const (
	brimFor     = time.Minute
	brimKnown   = time.Duration(0)
	brimUsed    = 0.99
	brimRefused = 0.005
	brimJain    = 0.98

	settled  = 15 * time.Second
	goneFor  = 20 * time.Second
	goneRate = 0.70
	backFor  = 30 * time.Second
	backIn   = 10 * time.Second
	backRate = 0.97

	notBlocked = 0.999
	classesFor = time.Minute
	classesOff = 0.10

	probeEvery = 30 * time.Second
	downFor    = 95 * time.Second
)
