package demo

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// side is which way a call goes.
type side int

const (
	direct side = iota
	viaEvenkeel
	sides
)

// tally counts calls by side and by the phase in which they began. It is safe
// for concurrent use.
type tally struct {
	names []string

	mu    sync.Mutex
	cells [][sides]cell
}

// cell is what one side did in one phase. What has begun and neither
// succeeded nor failed is waiting.
type cell struct {
	calls, attempts int
	took            []time.Duration // of the calls that succeeded
	failed          map[string]int  // by what the caller saw
}

func newTally(phases []phase) *tally {
	t := &tally{cells: make([][sides]cell, len(phases))}
	for _, p := range phases {
		t.names = append(t.names, p.name)
	}
	return t
}

func (t *tally) update(phase int, s side, f func(*cell)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.cells[phase][s])
}

// began counts a call that its client has been asked to make.
func (t *tally) began(phase int, s side) { t.update(phase, s, func(c *cell) { c.calls++ }) }

// attempt counts a request that has arrived at the API.
func (t *tally) attempt(phase int, s side) { t.update(phase, s, func(c *cell) { c.attempts++ }) }

// ended counts the end of a call; kind is "" for success.
func (t *tally) ended(phase int, s side, kind string, took time.Duration) {
	t.update(phase, s, func(c *cell) {
		if kind == "" {
			c.took = append(c.took, took)
			return
		}
		if c.failed == nil {
			c.failed = map[string]int{}
		}
		c.failed[kind]++
	})
}

// rows returns a row for each phase, and their sum.
func (t *tally) rows() ([]Row, Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows, sum := make([]Row, len(t.cells)), [sides]cell{}
	for i, c := range t.cells {
		rows[i] = Row{Phase: t.names[i], Direct: c[direct].side(), Evenkeel: c[viaEvenkeel].side()}
		for s := range sides {
			sum[s].add(c[s])
		}
	}
	return rows, Row{Phase: "all", Direct: sum[direct].side(), Evenkeel: sum[viaEvenkeel].side()}
}

func (c *cell) add(o cell) {
	c.calls += o.calls
	c.attempts += o.attempts
	c.took = append(c.took, o.took...)
	for kind, n := range o.failed {
		if c.failed == nil {
			c.failed = map[string]int{}
		}
		c.failed[kind] += n
	}
}

func (c *cell) side() Side {
	s := Side{Calls: c.calls, OK: len(c.took), Attempts: c.attempts, Errors: map[string]int{}}
	maps.Copy(s.Errors, c.failed)
	for _, n := range c.failed {
		s.Failed += n
	}
	s.Waiting = s.Calls - s.OK - s.Failed
	if len(c.took) > 0 {
		took := slices.Sorted(slices.Values(c.took))
		p50, p95 := milliseconds(percentile(took, 50)), milliseconds(percentile(took, 95))
		s.P50, s.P95 = &p50, &p95
	}
	return s
}

// percentile returns the smallest of the sorted values that at least p percent
// of them do not exceed (nearest rank: no value that was not measured is ever
// shown). sorted must not be empty.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func milliseconds(d time.Duration) float64 { return float64(d.Round(time.Millisecond).Milliseconds()) }
