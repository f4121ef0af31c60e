package breaker

import "time"

// buckets is into how many steps a window is cut. More would forget more
// smoothly, and be slower to clear; at twelve the count reaches back between
// eleven twelfths of the window and all of it.
const buckets = 12

// window counts results over the last twelve steps. The zero value with a
// step set is empty.
type window struct {
	step   time.Duration
	origin time.Time // of slot 0; zero until the first use
	last   int64     // newest slot begun
	ring   [buckets]counts
	sum    counts
}

type counts struct{ good, bad int }

// slot is the number of the step that now falls in; it clears what has left
// the window. A time earlier than one seen before counts as that one.
func (w *window) slot(now time.Time) int64 {
	if w.origin.IsZero() {
		w.origin = now
	}
	s := max(int64(now.Sub(w.origin)/w.step), w.last)
	if s-w.last >= buckets {
		w.ring, w.sum = [buckets]counts{}, counts{}
		w.last = s
	}
	for w.last < s {
		w.last++
		old := &w.ring[w.last%buckets]
		w.sum.good -= old.good
		w.sum.bad -= old.bad
		*old = counts{}
	}
	return s
}

// add books good and bad results, which may be negative, at slot s. It does
// nothing if s has left the window.
func (w *window) add(s int64, good, bad int) {
	if s <= w.last-buckets {
		return
	}
	at := &w.ring[s%buckets]
	at.good += good
	at.bad += bad
	w.sum.good += good
	w.sum.bad += bad
}

func (w *window) counts(now time.Time) (bad, all int) {
	w.slot(now)
	return w.sum.bad, w.sum.good + w.sum.bad
}

// clear forgets all results. Slots go on.
func (w *window) clear() { w.ring, w.sum = [buckets]counts{}, counts{} }
