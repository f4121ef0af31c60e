package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// A guard keeps calls from a store that fails: after five errors in a row
// nobody asks it, but every half second somebody looks who is no call.
//
//	up ── five errors in a row ──► down ── a look in the background ──► up
//	                                └─ fails: again in 0.5 s ────┘
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
	told   Cause     // in the log
	toldAt time.Time
}

const (
	errorsToTrip = 5
	// errorsToDoubt is when others may have gone, though this process has not yet:
	// when it is answered again it is held by its share as they will be.
	errorsToDoubt = 2
	// retryEvery is short so that all processes are back soon after each
	// other: a look costs a server that is there one script.
	retryEvery = 500 * time.Millisecond
	// settleFor is how long a process that is back is held by its share as well:
	// as long as another may need to be back too, though its first two looks
	// should have failed. One that needs longer is not waited for: see the package
	// comment for what that costs.
	settleFor = 3*(retryEvery+attendEvery) + 250*time.Millisecond
	// tellEvery is how often causes that change are told of.
	tellEvery = 5 * time.Second
	// quiet is for how long the share must not have been asked before it ends,
	// so that errors now and then do not each begin a new one.
	quiet = time.Second
)

// fail notes an error, and reports whether it was one too many, and whether it is
// worth telling: that one, and while it is down another cause, for one that was
// told of a server that has gone is of no use where it has come back without our
// rights.
func (g *guard) fail(now time.Time, err error) (tripped, news bool) {
	g.errors++
	g.cause, g.text = causeOf(err), err.Error()
	if !g.down && g.errors >= errorsToTrip {
		g.down, g.since, g.retry, tripped = true, now, now.Add(retryEvery), true
	}
	again, lately := g.cause == g.told, now.Sub(g.toldAt) < tellEvery
	if news = tripped && !(again && lately) || g.down && !again && !lately; news {
		g.told, g.toldAt = g.cause, now
	}
	return tripped, news
}

// doubtful reports whether an answer ends what was an outage to others.
func (g *guard) doubtful() bool { return !g.down && g.errors >= errorsToDoubt }

// succeed notes an answer.
func (g *guard) succeed() { g.errors = 0 }

// up lets calls ask again.
func (g *guard) up() { *g = guard{} }

// due reports whether somebody should look.
func (g *guard) due(now time.Time) bool { return g.down && !now.Before(g.retry) }

// weigh tells the guards how it went.
func (s *Store) weigh(ctx context.Context, now time.Time, owner string, err error) {
	s.mu.Lock()
	tripped, news := false, false
	switch {
	case err == nil:
		if s.server.doubtful() {
			s.heldAll = now.Add(settleFor)
		}
		s.server.succeed()
		if o := s.owners[owner]; o != nil && !o.down {
			if o.doubtful() {
				s.held[owner] = now.Add(settleFor)
			}
			delete(s.owners, owner)
		}
	default:
		tripped, news = s.guardOf(owner, causeOf(err)).fail(now, err)
	}
	if err != nil {
		s.counts.errors++
	}
	s.mu.Unlock()
	if c, ok := s.client.(*redis.ClusterClient); ok && err != nil {
		c.ReloadState(ctx) // in the background; by itself the client may take a minute to see a failover
	}
	if tripped {
		s.wake(Wake{All: true}) // what it has told them to wait for is not so any more
	}
	if news {
		what := []slog.Attr{slog.String("cause", string(causeOf(err))), slog.String("error", err.Error())}
		if s.cluster || causeOf(err).ofKeys() { // the others go on as they were
			what = append(what, slog.String("owner", owner))
		}
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "store does not answer", what...)
	}
}

// guardOf is whose fault an error is.
func (s *Store) guardOf(owner string, c Cause) *guard {
	if !s.cluster && !c.ofKeys() {
		return &s.server
	}
	g := s.owners[owner]
	if g == nil {
		g = &guard{}
		if len(s.owners) < maxMemos {
			s.owners[owner] = g
		}
	}
	return g
}
