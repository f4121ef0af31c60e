package limit

// node links what is remembered, so that touching it costs no allocation.
type node[K comparable] struct {
	key        K
	prev, next *node[K]
	self       any // what the node is part of
}

// lru remembers up to a number of things by key, and forgets the one that was
// used longest ago.
type lru[K comparable, V any] struct {
	byKey map[K]V
	ends  node[K] // next is the latest used, prev the one used longest ago
	at    func(V) *node[K]
}

func newLRU[K comparable, V any](at func(V) *node[K]) *lru[K, V] {
	l := &lru[K, V]{byKey: map[K]V{}, at: at}
	l.ends.prev, l.ends.next = &l.ends, &l.ends
	return l
}

func (l *lru[K, V]) get(k K) (V, bool) {
	v, ok := l.byKey[k]
	if ok {
		n := l.at(v)
		if l.ends.next != n {
			n.unlink()
			l.link(n)
		}
	}
	return v, ok
}

// put adds v under a key that is not in use.
func (l *lru[K, V]) put(k K, v V) {
	n := l.at(v)
	n.key, n.self = k, v
	l.byKey[k] = v
	l.link(n)
}

func (l *lru[K, V]) remove(v V) {
	n := l.at(v)
	delete(l.byKey, n.key)
	n.unlink()
}

// trim forgets until at most limit are left. What is in use is passed over, a
// few at a time: then the oldest goes nevertheless, for the bound holds.
func (l *lru[K, V]) trim(limit int, inUse func(V) bool) {
	const tries = 8
	for len(l.byKey) > limit {
		oldest := l.ends.prev
		for n, left := oldest, tries; n != &l.ends && left > 0; n, left = n.prev, left-1 {
			if v := n.self.(V); !inUse(v) {
				oldest = n
				break
			}
		}
		l.remove(oldest.self.(V))
	}
}

func (l *lru[K, V]) link(n *node[K]) {
	n.prev, n.next = &l.ends, l.ends.next
	n.prev.next, n.next.prev = n, n
}

func (n *node[K]) unlink() {
	n.prev.next, n.next.prev = n.next, n.prev
	n.prev, n.next = nil, nil
}

// all visits everything, the latest used first.
func (l *lru[K, V]) all(yield func(V) bool) {
	for n := l.ends.next; n != &l.ends; n = n.next {
		if !yield(n.self.(V)) {
			return
		}
	}
}
