package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestGuard_tells: that it has tripped, and then other causes, every five seconds
// at most.
func TestGuard_tells(t *testing.T) {
	late, rights := context.DeadlineExceeded, errors.New("NOPERM this user has no permissions")
	g, now := &guard{}, time.Unix(1_800_000_000, 0)
	for i, step := range []struct {
		after         time.Duration
		err           error
		tripped, news bool
	}{
		{0, late, false, false},
		{0, late, false, false},
		{0, rights, false, false},
		{0, late, false, false},
		{0, late, true, true},
		{time.Second, rights, false, false},
		{4 * time.Second, rights, false, true},
		{time.Minute, rights, false, false},
		{time.Second, late, false, true},
		{time.Second, rights, false, false},
		{time.Second, late, false, false},
	} {
		now = now.Add(step.after)
		if tripped, news := g.fail(now, step.err); tripped != step.tripped || news != step.news {
			t.Errorf("step %d: tripped %v, told %v; want %v, %v", i, tripped, news, step.tripped, step.news)
		}
	}
}

// TestStore_anothersKey: whichever of an owner's keys is another's, that is noticed
// within a few calls, however few there are, and over as soon as it is gone.
func TestStore_anothersKey(t *testing.T) {
	hour, _, _ := strings.Cut(string(newID(time.Now())), ".")
	for _, key := range []string{"live", "lane:api/messages/opus", "fly:api/messages/opus", "held:" + hour, "group:opus", "flow:opus"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			server := servertest.Single(t, servertest.Redis)
			s := newStore(t, patient(server))
			r := simple("o")
			r.Groups[0].Pace = 10
			r.Groups[0].Buckets = append(r.Groups[0].Buckets, Bucket{Kind: Output, Cost: 10, Cap: 60_000})
			one := func() {
				got := mustAcquire(t, s, r)
				if got.ID != "" {
					_, _ = s.Learn(t.Context(), got.ID, Lesson{Views: [][]View{{{}, {}, {Limit: 60_000, Remaining: 60_000}}}})
					_, _ = s.Settle(t.Context(), got.ID, Outcome{Charge: Refunded})
				}
			}
			warm(t, s, "o")
			one()
			key := "evenkeel:2:{o}:" + key
			server.Do("del", key)
			server.Do("set", key, "another's")
			for range 2 * errorsToTrip {
				one()
			}
			if h := s.Health(); h.Owners != 1 || h.Cause != CauseType {
				t.Errorf("health is %+v, want one owner with a key of another type", h)
			}
			server.Do("del", key)
			eventually(t, s, "o", isShared)
		})
	}
}
