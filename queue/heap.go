package queue

import "time"

// heap is a binary heap whose elements know their place, so that one can be
// taken out of its middle. O says how: where an element keeps its place (one
// more than the index; 0 when it is in no heap), and which comes first.
type heap[E any, O order[E]] struct{ list []E }

type order[E any] interface {
	less(a, b E) bool
	place(e E) *int32
}

func (h *heap[E, O]) len() int { return len(h.list) }

// top is the first element. There must be one.
func (h *heap[E, O]) top() E { return h.list[0] }

func (h *heap[E, O]) push(e E) {
	var o O
	h.list = append(h.list, e)
	*o.place(e) = int32(len(h.list))
	h.up(len(h.list) - 1)
}

// remove takes e out, if it is in.
func (h *heap[E, O]) remove(e E) {
	var o O
	var none E
	i := int(*o.place(e)) - 1
	if i < 0 {
		return
	}
	last := len(h.list) - 1
	h.swap(i, last)
	h.list[last] = none
	h.list = h.list[:last]
	*o.place(e) = 0
	if i < last {
		h.settle(i)
	}
}

// fix moves e to its place after its rank has changed. It must be in.
func (h *heap[E, O]) fix(e E) {
	var o O
	h.settle(int(*o.place(e)) - 1)
}

func (h *heap[E, O]) settle(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[E, O]) up(i int) {
	var o O
	for i > 0 {
		parent := (i - 1) / 2
		if !o.less(h.list[i], h.list[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[E, O]) down(i int) (moved bool) {
	var o O
	for {
		child := 2*i + 1
		if child >= len(h.list) {
			return moved
		}
		if right := child + 1; right < len(h.list) && o.less(h.list[right], h.list[child]) {
			child = right
		}
		if !o.less(h.list[child], h.list[i]) {
			return moved
		}
		h.swap(i, child)
		i, moved = child, true
	}
}

func (h *heap[E, O]) swap(i, j int) {
	var o O
	h.list[i], h.list[j] = h.list[j], h.list[i]
	*o.place(h.list[i]), *o.place(h.list[j]) = int32(i+1), int32(j+1)
}

// byArrival: the call that arrived first, and of those that arrived together
// the one that was pushed first.
type byArrival struct{}

func (byArrival) place(e *entry) *int32 { return &e.at[inStrand] }
func (byArrival) less(a, b *entry) bool {
	if c := a.arrived.Compare(b.arrived); c != 0 {
		return c < 0
	}
	return a.seq < b.seq
}

// byEnd: the call whose time is over first. Those without an end are not in.
type byEnd struct{}

func (byEnd) place(e *entry) *int32   { return &e.at[inEnds] }
func (byEnd) less(a, b *entry) bool   { return soonest(a.end, b.end, a, b) }
func (byAge) place(e *entry) *int32   { return &e.at[inAges] }
func (byAge) less(a, b *entry) bool   { return soonest(a.ages, b.ages, a, b) }
func (byYouth) place(e *entry) *int32 { return &e.at[inHolder] }
func (byYouth) less(a, b *entry) bool { return byArrival{}.less(b, a) }

// byAge: the call that moves up a class first.
type byAge struct{}

// byYouth: the call that arrived last.
type byYouth struct{}

func soonest(x, y time.Time, a, b *entry) bool {
	if c := x.Compare(y); c != 0 {
		return c < 0
	}
	return a.seq < b.seq
}

// byTag: the flow with the least counter, and of equal ones the call that
// arrived first.
type byTag struct{}

func (byTag) place(s *strand) *int32 { return &s.at }
func (byTag) less(a, b *strand) bool {
	if a.flow.tag != b.flow.tag {
		return a.flow.tag < b.flow.tag
	}
	return byArrival{}.less(a.items.top(), b.items.top())
}

// byLoad: the flow that has most calls waiting for its weight.
type byLoad struct{}

func (byLoad) place(h *holder) *int32 { return &h.at }
func (byLoad) less(a, b *holder) bool { return a.load(0) > b.load(0) }
