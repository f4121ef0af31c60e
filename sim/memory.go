package sim

import (
	"slices"
	"sync"
	"time"
)

// memory is what an API remembers of prompts and answers beyond the attempt:
// which prefixes are in the prompt cache, and where answers came to an end
// before they were whole. It is bounded; what was not looked at for longest is
// forgotten first. The zero value is empty and ready. Safe for concurrent use.
type memory struct {
	mu      sync.Mutex // guards all below
	cached  recent[cached]
	answers recent[[]mark]
}

// reset forgets everything.
func (m *memory) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cached, m.answers = recent[cached]{}, recent[[]mark]{}
}

// cached is a prefix in the prompt cache.
type cached struct {
	life  time.Duration // how long each use keeps it
	until time.Time
}

// read reports whether a prefix is in the cache.
func (m *memory) read(key uint64, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.cached.get(key)
	return ok && now.Before(c.until)
}

// use keeps a prefix for another life: its own if it is in the cache, else the
// one given.
func (m *memory) use(key uint64, life time.Duration, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.cached.get(key); ok && now.Before(c.until) {
		life = max(life, c.life)
	}
	m.cached.put(key, cached{life, now.Add(life)})
}

// answered remembers that the text of that seed has been given up to a mark.
// That it was given to its end needs no remembering, but that it was begun.
func (m *memory) answered(text prose, to mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ends, known := m.answers.get(text.seed)
	const most = 16 // ends of one text: a caller that raises max_tokens step by step
	switch {
	case to.words >= text.words:
		if !known {
			m.answers.put(text.seed, nil)
		}
	case len(ends) < most:
		m.answers.put(text.seed, append(slices.Clip(ends), to))
	}
}

// begun reports whether the text of that seed has been given, in part or whole.
func (m *memory) begun(seed uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.answers.get(seed)
	return ok
}

// meant reports whether the text was once given up to that mark and no
// further, because the request said so.
func (m *memory) meant(seed uint64, to mark) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	ends, _ := m.answers.get(seed)
	return slices.Contains(ends, to)
}

// recent is a map of the entries used last: one to two times generation of
// them.
type recent[V any] struct{ young, old map[uint64]V }

const generation = 50_000 // about 10 MB of each kind; guess

func (r *recent[V]) get(key uint64) (V, bool) {
	v, ok := r.young[key]
	if !ok {
		if v, ok = r.old[key]; ok {
			r.put(key, v)
		}
	}
	return v, ok
}

func (r *recent[V]) put(key uint64, v V) {
	if r.young == nil || len(r.young) >= generation {
		r.old, r.young = r.young, map[uint64]V{}
	}
	r.young[key] = v
}
