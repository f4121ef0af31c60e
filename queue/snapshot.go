package queue

import "time"

// Snapshot is the state of a Queue, for those who look.
type Snapshot struct {
	Calls   int // that wait, or have a turn and have not come
	Bytes   int64
	Waiting [classes]int       // by class
	Oldest  [classes]time.Time // arrival of the first of each class; zero if none waits
	Late    int                // of those that wait: four fifths of their time are over
	Groups  int                // with calls that wait
}

// Snapshot looks at all calls, which takes time in proportion to their number.
func (q *Queue) Snapshot() Snapshot {
	s := Snapshot{Calls: len(q.entries), Bytes: q.bytes}
	for _, g := range q.groups {
		if g.waiting > 0 {
			s.Groups++
		}
	}
	for _, e := range q.entries {
		if e.turn {
			continue
		}
		s.Waiting[e.class]++
		if e.strand.flow.key.class == late {
			s.Late++
		}
		if first := &s.Oldest[e.class]; first.IsZero() || e.arrived.Before(*first) {
			*first = e.arrived
		}
	}
	return s
}

// Len is the number of calls that wait, or have a turn and have not come.
func (q *Queue) Len() int { return len(q.entries) }

// Backlog is how many calls wait in a group, and the time in which its
// scarcest bucket could serve them all: what a caller who is refused may be
// told to wait.
func (q *Queue) Backlog(group string) (calls int, cost time.Duration) {
	g := q.groups[group]
	if g == nil {
		return 0, 0
	}
	return g.waiting, time.Duration(min(g.backlog, 1e9) * float64(time.Second)) // min: no overflow
}
