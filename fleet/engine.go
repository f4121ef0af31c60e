package fleet

import "context"

// engine decides: the scripts in Redis, or memory. now is the time in
// microseconds; 0 is the engine's own clock, which memory has none of.
type engine interface {
	acquire(ctx context.Context, now float64, a *acquisition) (Reply, error)
	settle(ctx context.Context, now float64, s *settlement) (Reply, error)
	learn(ctx context.Context, now float64, l *lesson) (Reply, error)
	look(ctx context.Context, now float64, l *glimpse) (Reply, error)
}

// acquisition is a Request with what the store adds to it.
type acquisition struct {
	*Request
	id       ID
	instance string
	touch    bool     // say that this process lives, and that the keys are in use
	hints    [][]hint // what is known of groups that may have been forgotten; nil to be asked for it
	mirror   bool     // of the local share: the store is charged as well
}

// hint is what a process remembers of a bucket. The zero hint is nothing.
type hint struct {
	limit, depth, level float64
	levelled            bool
}

// income is what a success is worth to the budget.
func (a *acquisition) income() float64 {
	switch {
	case a.Price > 0:
		return float64(a.Price)
	case a.Repeat:
		return 0
	}
	return 1
}

// settleMode says what a settlement is about.
type settleMode string

const (
	atEnd     settleMode = "settle"
	atContent settleMode = "content" // a probe has brought its first content
	atLeave   settleMode = "leave"   // a call without a reservation has ended
)

// settlement is an Outcome with the request that it ends.
type settlement struct {
	mode settleMode
	req  *Request
	id   ID
	flow string // that leaves the line; "" is none
	*Outcome
}

// actual says what is charged of a kind of a group: a number; what is held,
// if neither is set; or at least what it had time for.
func (s *settlement) actual(i int, k Kind) (n float64, known, ran bool) {
	n = -1
	switch {
	case len(s.Actual) == 1:
		n = s.Actual[0][k]
	case i < len(s.Actual):
		n = s.Actual[i][k]
	}
	switch {
	case s.Charge == Refunded:
		return 0, true, false
	case s.Charge == Kept || k == Requests:
		return 0, false, false
	case s.Charge == Broken && k == Output:
		return max(0, n), true, true
	case n < 0:
		return 0, false, false
	case s.Charge == Broken && n == 0:
		return 0, false, false // a stream that broke before it told
	}
	return n, true, false
}

// lesson is a Lesson with the request that it is about.
type lesson struct {
	*Request
	id ID
	*Lesson
}

// view is what is shown of a bucket.
func (l *lesson) view(i, j int) View {
	if i < len(l.Views) && j < len(l.Views[i]) {
		return l.Views[i][j]
	}
	return View{}
}

// glimpse asks for the state of a request's lane and groups.
type glimpse struct {
	*Request
	instance string
	bill     *bill // what was used locally, taken once; nil is nothing
}
