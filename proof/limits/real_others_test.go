package limits

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// TestReal_othersAreMadeRoomFor: for a time a client that we know nothing of
// takes 40 % of the organisation's limit, past the gateway. While it begins at
// most one attempt in fifty is answered 429, and from ten seconds on none.
func TestReal_othersAreMadeRoomFor(t *testing.T) {
	t.Parallel()
	type played struct {
		name  string
		kind  int
		stage *stage
		scene scene
	}
	var all []played
	var plays []func()
	for i, d := range demands[:3] { // one for each kind of limit
		s, stream := othersTempo.scene(d, realWorkers, i == 0)
		st := newStage(t, s, "")
		all = append(all, played{d.name, i, st, s})
		// Workers want twice the limit, a call each in 18 s where nothing is
		// faster; 40 % of it is a fifth of that.
		every := time.Duration(18 * float64(time.Second) / othersTempo.faster / realWorkers * 2 / 0.4)
		plays = append(plays,
			func() { st.play(uint64(i), othersEnd, d.load(realWorkers, stream)) },
			func() {
				time.Sleep(othersFrom)
				l := d.load(1, stream)
				l.key = "theirs"
				strangers(direct{st}, l, every, othersUntil-othersFrom)
			})
	}
	together(plays...)
	for _, p := range all {
		attempts := p.stage.attempts(t)
		tag := attempts[0].KeyTag // ours: they come later
		ours := func(a sim.Attempt) bool { return a.KeyTag == tag }
		theirs := func(a sim.Attempt) bool { return a.KeyTag != tag }
		change := observe(attempts, p.scene.limit, othersFrom, othersFrom+othersSeen, 0, ours)
		late := observe(attempts, p.scene.limit, othersFrom+othersSeen, othersUntil, 0, ours)
		foreign := observe(attempts, p.scene.limit, othersFrom+othersSeen, othersUntil, 0, theirs)
		t.Logf("%-15s while it begins: %v", p.name, change)
		t.Logf("%-15s while it lasts:  %v; they %.1f %%", p.name, late, 100*foreign.used[p.kind])
		if got := change.refusedShare(); got > 0.02 && change.refused > othersFew {
			t.Errorf("%s: %d of %d attempts were answered 429 while it begins, want 2 %% at most", p.name, change.refused, change.attempts)
		}
		if late.refused > othersLate {
			t.Errorf("%s: %d of %d attempts were answered 429 from %v on, want %d at most", p.name, late.refused, late.attempts, othersSeen, othersLate)
		}
		if got := late.used[p.kind]; got < othersLeave {
			t.Errorf("%s: used %.1f %% of the limit beside others who want 40 %%, want %.0f %%", p.name, 100*got, 100*othersLeave)
		}
	}
}
