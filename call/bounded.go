package call

import "container/list"

// bounded is a map that forgets its least recently used entry when it is
// full. It is not safe for concurrent use.
type bounded[K comparable, V any] struct {
	limit int
	byKey map[K]*list.Element
	order list.List // of entry; the most recently used first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func (b *bounded[K, V]) get(k K) (v V, ok bool) {
	e, ok := b.byKey[k]
	if !ok {
		return v, false
	}
	b.order.MoveToFront(e)
	return e.Value.(*entry[K, V]).value, true
}

func (b *bounded[K, V]) put(k K, v V) {
	if b.byKey == nil {
		b.byKey = make(map[K]*list.Element)
	}
	b.byKey[k] = b.order.PushFront(&entry[K, V]{k, v})
	if b.order.Len() <= b.limit {
		return
	}
	last := b.order.Back()
	b.order.Remove(last)
	delete(b.byKey, last.Value.(*entry[K, V]).key)
}

func (b *bounded[K, V]) clear() {
	clear(b.byKey)
	b.order.Init()
}

func (b *bounded[K, V]) len() int { return len(b.byKey) }

func (b *bounded[K, V]) all(yield func(K, V) bool) {
	for e := b.order.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*entry[K, V]); !yield(x.key, x.value) {
			return
		}
	}
}
