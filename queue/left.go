package queue

import "time"

// Reason says why a call may not wait, or not any longer.
type Reason uint8

// The reasons.
const (
	None      Reason = iota
	Full             // nobody who waits has less right to
	Crowded          // it has made room for a call of a higher class, or of a flow with fewer
	TooLate          // it cannot start before its deadline
	WaitedOut        // it has waited as long as one of its class does, or would have to
	Refused          // it can never go: Answer.Never
)

// String returns the reason as logs and snapshots spell it.
func (r Reason) String() string {
	switch r {
	case Full:
		return "queue full"
	case Crowded:
		return "made room"
	case TooLate:
		return "deadline cannot be met"
	case WaitedOut:
		return "waited too long"
	case Refused:
		return "can never go"
	default:
		return ""
	}
}

// Left is a call that has left without a turn.
type Left struct {
	ID     uint64
	Reason Reason
}

// Left returns the calls that have left since it was last asked, other than
// by Remove. The slice is good until the next use of the Queue.
func (q *Queue) Left() []Left {
	l := q.left
	q.left = q.left[:0]
	return l
}

// Expired has calls leave, in all groups, whose time is over at now; they are
// in Left. Next does the same for its group. Where each call asks again when
// its time is over nobody needs this.
func (q *Queue) Expired(now time.Time) {
	for _, g := range q.groups {
		g.each(func(l *lane) { q.expire(now, l) })
	}
}

// expire has those calls of a lane leave that had to start before t.
func (q *Queue) expire(t time.Time, l *lane) {
	for l.ends.len() > 0 && !l.ends.top().end.After(t) {
		q.leave(l.ends.top(), l.ends.top().tooLate())
	}
}

func (q *Queue) leave(e *entry, why Reason) {
	q.left = append(q.left, Left{ID: e.id, Reason: why})
	q.exit(e)
	q.drop(e)
}

func (e *entry) tooLate() Reason {
	if e.capped {
		return WaitedOut
	}
	return TooLate
}
