package call

import (
	"time"

	"github.com/evenkeel-dev/evenkeel/queue"
)

// line is what those who wait in a group have been told: all of them, and those
// of a strand. It is found out anew by each pump, and what was told before is
// kept for those whose time ends: see missed.
type line struct {
	pump    uint64 // counts them
	all     block
	strands map[string]block
}

// block is what holds calls back.
type block struct {
	why   HoldReason
	until time.Time // before which none of them can go; zero if that depends on the call
	again time.Time // when the one that was asked could; zero if unknown
	pump  uint64    // in which that was told
}

// renew begins a pump.
func (l *line) renew() {
	if l == nil {
		return
	}
	l.pump++
	if len(l.strands) >= maxScopes {
		clear(l.strands)
	}
}

// blocks notes what holds back a call, and all of its group or those of its
// strand with it.
func (m *Memory) blocks(h *holding, whom queue.Extent, b block) {
	l := m.lines[h.group]
	if l == nil {
		l = new(line)
		m.lines[h.group] = l
	}
	b.pump = l.pump
	if whom == queue.Everyone {
		l.all = b
		return
	}
	if l.strands == nil {
		l.strands = make(map[string]block)
	}
	l.strands[h.strand] = b
}

// told is what holds a call back, as the last pump has found. If nobody was
// asked who stands for it, others go first.
func (m *Memory) told(h *holding) block {
	if l := m.lines[h.group]; l != nil {
		if b, ok := l.strands[h.strand]; ok && b.pump == l.pump {
			return b
		}
		if l.all.why != HoldNone && l.all.pump == l.pump {
			return l.all
		}
	}
	return block{why: HoldTurn}
}

// missed is what a call has waited for that the queue has just let go. That
// others go first is no reason. Those whose time ends may be the last who wait,
// or leave before anybody is asked: so it is what was told last, in this pump or
// before, to its strand or to all; and if there is no such thing, to the call.
func (m *Memory) missed(h *holding) HoldReason {
	if l := m.lines[h.group]; l != nil {
		if b := l.strands[h.strand]; b.why != HoldNone && (b.pump+1 >= l.pump || b.pump >= l.all.pump) {
			return b.why
		}
		if l.all.why != HoldNone {
			return l.all.why
		}
	}
	return h.reason
}
