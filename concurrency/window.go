package concurrency

import (
	"math/bits"
	"time"
)

// tickTime is the precision with which the age of attempts is known, horizon
// the number of ticks after which it is not asked for any more.
const (
	tickTime = 50 * time.Millisecond
	horizon  = 200
)

// young counts the attempts in flight that may still be refused, by the tick
// in which they started.
type young struct {
	ring [horizon + 1]int32
	n    int
	low  int64 // the oldest tick that may have any
	high int64 // the newest that has had one
}

func (y *young) add(tick int64) int64 {
	if y.n == 0 {
		y.low = tick
	}
	tick = max(tick, y.high, y.low) // time does not go back
	y.high = tick
	y.ring[tick%int64(len(y.ring))]++
	y.n++
	return tick
}

// remove takes one out, if it is still in.
func (y *young) remove(tick int64) bool {
	if y.n == 0 || tick < y.low {
		return false
	}
	y.ring[tick%int64(len(y.ring))]--
	y.n--
	return true
}

// oldest is the first tick that has any, and how many.
func (y *young) oldest() (tick int64, n int) {
	if y.n == 0 {
		return 0, 0
	}
	for ; ; y.low++ {
		if n := y.ring[y.low%int64(len(y.ring))]; n > 0 {
			return y.low, int(n)
		}
	}
}

// drop forgets the attempts of a tick, and of those before it.
func (y *young) drop(tick int64) {
	at := &y.ring[tick%int64(len(y.ring))]
	y.n -= int(*at)
	*at = 0
	y.low = tick + 1
}

// seconds is how far a window reaches back.
const seconds = 10

// window counts what became of attempts in the last ten seconds, by the second
// in which it was known.
type window struct {
	origin time.Time
	last   int64
	ring   [seconds]slice
	sum    slice
}

type slice struct {
	counts
	lost time.Duration // that attempts were in flight which met overload
}

func (w *window) roll(now time.Time) *slice {
	if w.origin.IsZero() {
		w.origin = now
	}
	s := max(int64(now.Sub(w.origin)/time.Second), w.last)
	if s-w.last >= seconds {
		w.ring, w.sum, w.last = [seconds]slice{}, slice{}, s
	}
	for w.last < s {
		w.last++
		old := &w.ring[w.last%seconds]
		w.sum.good -= old.good
		w.sum.bad -= old.bad
		w.sum.lost -= old.lost
		*old = slice{}
	}
	return &w.ring[w.last%seconds]
}

func (w *window) add(now time.Time, c counts, lost time.Duration) {
	for at := w.roll(now); at != nil; at = w.also(at) {
		at.good += c.good
		at.bad += c.bad
		at.lost += lost
	}
}

// also is the sum, after a slice of it.
func (w *window) also(at *slice) *slice {
	if at == &w.sum {
		return nil
	}
	return &w.sum
}

func (w *window) counts(now time.Time) counts {
	w.roll(now)
	return w.sum.counts
}

// doomed is how many of the attempts in flight will meet overload, if things
// stay as they were.
func (w *window) doomed(now time.Time) float64 {
	w.roll(now)
	span := min(now.Sub(w.origin), seconds*time.Second)
	return w.sum.lost.Seconds() / max(span.Seconds(), 1)
}

// median is about the median of the last one or two hundred durations, to an
// eighth.
type median struct {
	counts [8 * 20]uint16 // eight to each doubling, from 1 ms on
	n      int
}

func (m *median) add(d time.Duration) {
	m.counts[scale(d)]++
	if m.n++; m.n < 256 {
		return
	}
	m.n = 0
	for i := range m.counts {
		m.counts[i] /= 2
		m.n += int(m.counts[i])
	}
}

// value is the upper end of the step in which the median lies; 0 if there is
// nothing to take it of.
func (m *median) value() time.Duration {
	sum := 0
	for i, c := range m.counts {
		if sum += int(c); 2*sum >= m.n && sum > 0 {
			return time.Duration(8+i%8+1) << (i / 8) * time.Millisecond / 8
		}
	}
	return 0
}

// scale is the step of a duration.
func scale(d time.Duration) int {
	eighths := uint64(max(d.Milliseconds(), 1)) * 8
	octave := bits.Len64(eighths) - 4
	return min(octave*8+int(eighths>>octave)-8, len(median{}.counts)-1)
}
