//go:build !prove

package fleet

// How much is drawn and rehearsed of what could be. make prove does more.
const (
	rehearsals = 1    // of every kind of outage
	draws      = "20" // histories for every property
)
