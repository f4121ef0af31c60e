//go:build !prove

package fleet

import "time"

// How long, and what is asked of so short a time: of the first seconds much is
// spent finding out what the limit is.
const (
	brimFor     = 15 * time.Second
	brimKnown   = time.Duration(0)
	brimUsed    = 0.80
	brimRefused = 0.05
	brimJain    = 0.75 // two fifths are what the bucket held, and whoever comes first has that; 0.84 was seen

	settled  = 4 * time.Second
	goneFor  = 6 * time.Second
	goneRate = 0.55 // of six seconds the change takes one or two
	backFor  = 10 * time.Second
	backIn   = 7 * time.Second // of looks every five seconds, and a little
	backRate = 0.80

	notBlocked = 0.98 // share of calls: a machine that has much else to do is late itself
	classesFor = 15 * time.Second
	classesOff = 0.35 // of ten batch calls a few are a third

	probeEvery = 2 * time.Second
	downFor    = 5 * time.Second
)
