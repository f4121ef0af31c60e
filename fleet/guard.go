package fleet

import (
	"crypto/rand"
	"time"
)

// A guard keeps calls from a store that fails: after five errors in a row
// nobody asks it for five seconds, and then somebody does who is no call.
//
//	up ── five errors in a row ──► down ── a look in the background ──► up
//	                                └─ fails: again in five seconds ─┘
//
// There is one for the server, and one for each owner, because an owner may be
// in a part of a Cluster that is gone, or have a key of the wrong type.
type guard struct {
	errors int       // in a row
	down   bool      // nobody asks
	since  time.Time // down
	retry  time.Time // when to look
	cause  Cause     // of the last error
	text   string    // and its words
	id     ID        // of this time down
}

const (
	errorsToTrip = 5
	retryEvery   = 5 * time.Second
)

// fail notes an error, and reports whether it was one too many.
func (g *guard) fail(now time.Time, err error) bool {
	g.errors++
	g.cause, g.text = causeOf(err), err.Error()
	if g.down || g.errors < errorsToTrip {
		return false
	}
	g.down, g.since, g.retry, g.id = true, now, now.Add(retryEvery), ID(rand.Text()[:16])
	return true
}

// succeed notes an answer.
func (g *guard) succeed() { g.errors = 0 }

// up lets calls ask again.
func (g *guard) up() { *g = guard{} }

// charge is the ID under which what was used while it was down is charged.
func (g *guard) charge(m *memo) ID { return g.id + ":" + ID(clean(m.key)) }

// due reports whether somebody should look.
func (g *guard) due(now time.Time) bool { return g.down && !now.Before(g.retry) }
