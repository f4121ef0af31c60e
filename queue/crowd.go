package queue

// lowest are the classes in the order in which they make room. That a call is
// late does not count here.
var lowest = [classes]Class{Batch, Normal, Interactive}

// crowd is all calls that wait, in the order in which they make room.
type crowd struct {
	holders map[flowKey]*holder
	classes [classes]heap[*holder, byLoad]
	bytes   [classes]int64
	free    []*holder
}

// holder is a flow's calls in one class, over all groups.
type holder struct {
	key    flowKey
	weight float64
	items  heap[*entry, byYouth]
	at     int32 // place in crowd.classes
}

// load is how crowded the queue is by this flow, with so many more calls.
func (h *holder) load(more int) float64 { return float64(h.items.len()+more) / h.weight }

func (c *crowd) add(e *entry, key flowKey) {
	h := c.holders[key]
	if h == nil {
		h = c.holder()
		h.key = key
		c.holders[key] = h
	}
	h.weight = e.weight
	h.items.push(e)
	e.holder = h
	c.bytes[e.class] += e.bytes
	if h.items.len() == 1 {
		c.classes[e.class].push(h)
	} else {
		c.classes[e.class].fix(h)
	}
}

func (c *crowd) remove(e *entry) {
	h := e.holder
	h.items.remove(e)
	e.holder = nil
	c.bytes[e.class] -= e.bytes
	if h.items.len() > 0 {
		c.classes[e.class].fix(h)
		return
	}
	c.classes[e.class].remove(h)
	delete(c.holders, h.key)
	h.key = flowKey{}
	if len(c.free) < 64 {
		c.free = append(c.free, h)
	}
}

func (c *crowd) holder() *holder {
	n := len(c.free)
	if n == 0 {
		return &holder{}
	}
	h := c.free[n-1]
	c.free = c.free[:n-1]
	return h
}

// makeRoom has as many calls leave as it takes for one more, or reports that
// none of those that wait has less right to than the newcomer.
func (q *Queue) makeRoom(it Item) bool {
	if !q.roomFor(it) {
		return false
	}
	for len(q.entries) >= q.cfg.Depth || q.bytes+it.Bytes > q.cfg.Bytes {
		e := q.victim(it)
		if e == nil {
			return false
		}
		q.leave(e, Crowded)
	}
	return true
}

// roomFor says whether the bytes of the newcomer would fit if all that may
// have to make room did: nobody leaves in vain.
func (q *Queue) roomFor(it Item) bool {
	over := q.bytes + it.Bytes - q.cfg.Bytes
	for _, c := range lowest {
		if c == it.Class {
			break
		}
		over -= q.crowd.bytes[c]
	}
	return over <= 0
}

// victim is the call that makes room for the newcomer; nil if none should.
func (q *Queue) victim(it Item) *entry {
	for _, c := range lowest {
		if c == it.Class {
			break
		}
		if h := &q.crowd.classes[c]; h.len() > 0 {
			return h.top().items.top()
		}
	}
	if q.bytes+it.Bytes > q.cfg.Bytes {
		return nil // one large newcomer could drive out many of its own class
	}
	same := &q.crowd.classes[it.Class]
	if same.len() == 0 {
		return nil
	}
	own := holder{weight: positive(it.Weight, 1)}
	load := own.load(1)
	if h := q.crowd.holders[flowKey{it.Class, it.Flow}]; h != nil {
		load = h.load(1)
	}
	if most := same.top(); most.load(0) > load {
		return most.items.top()
	}
	return nil
}
