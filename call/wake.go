package call

import "slices"

// unhold forgets that a call is held.
func (m *Memory) unhold(id ID, l *lane) {
	h := m.held[id]
	if h == nil {
		return
	}
	h.wake = nil // a list for money may still name it, and skips it
	delete(l.forProbe, id)
	delete(m.held, id)
}

// wakeForProbe wakes the calls that wait for a breaker which has moved, or
// has a place for a probe again.
func (m *Memory) wakeForProbe(l *lane) {
	if l.breaker.Wakes() == l.woken {
		return
	}
	l.woken = l.breaker.Wakes()
	for _, h := range l.forProbe {
		h.rouse()
	}
	clear(l.forProbe)
}

// line puts a call at the end of those that wait for the budget, unless it
// stands there already.
func (m *Memory) line(n Need, l *lane, h *holding) {
	list := m.waitersFor(n, l)
	if h.listed {
		return
	}
	if len(*list) > 2*m.cfg.QueueDepth {
		*list = slices.DeleteFunc(*list, func(h *holding) bool {
			if h.wake == nil {
				h.listed = false
			}
			return h.wake == nil
		})
	}
	h.listed = true
	*list = append(*list, h)
}

// wakeForMoney wakes as many of the calls that wait for the budget, longest
// first, as it can pay for.
func (m *Memory) wakeForMoney(n Need, l *lane) {
	list := m.waitersFor(n, l)
	if len(*list) == 0 {
		return
	}
	k := m.purse(n, l).Level() / retryPrice
	woken := 0
	rest := *list
	for len(rest) > 0 && woken < k {
		rest[0].listed = false
		if rest[0].rouse() {
			woken++
		}
		rest = rest[1:]
	}
	*list = append((*list)[:0], rest...)
}

// retryPrice is what one retry costs the budget.
const retryPrice = 5

// rouse closes the channel that the call waits on, once.
func (h *holding) rouse() bool {
	if h.wake == nil {
		return false
	}
	close(h.wake)
	h.wake = nil
	return true
}
