package tokens

import "time"

// anchor is the known usage of a request, kept under the hash of its prefix:
// all up to the end of its last message.
type anchor struct {
	hash   uint64
	at     time.Time
	input  int  // tokens, cached ones included
	output int  // of the answer, thinking included
	cached int  // tokens of the input that the cache holds since
	hour   bool // for an hour, not five minutes

	// By how much, relative, the estimate of its texts was still too low after
	// this usage had been learned from; 0 if it taught nothing.
	off float32

	newer, older int32 // neighbours in the order of use
}

// fresh tells whether what was cached can be expected to be there still. A
// read renews the lifetime, and leaves an anchor of its own.
func (a *anchor) fresh(now time.Time) bool {
	lifetime := 5 * time.Minute
	if a.hour {
		lifetime = time.Hour
	}
	return now.Sub(a.at) < lifetime
}

// maxAnchors bounds what is remembered: some 400 KB when full.
const maxAnchors = 4096

// anchors are the anchors that were used last. The zero value is empty.
type anchors struct {
	byHash map[uint64]int32 // place in list
	list   []anchor
	newest int32 // places in list; meaningless if it is empty
	oldest int32
}

// find returns the anchor of a prefix, or nil.
func (a *anchors) find(hash uint64) *anchor {
	i, ok := a.byHash[hash]
	if !ok {
		return nil
	}
	a.touch(i)
	return &a.list[i]
}

// put remembers an anchor, in the place of the one that was not used longest.
func (a *anchors) put(n anchor) {
	i, ok := a.byHash[n.hash]
	switch {
	case ok:
	case len(a.list) < maxAnchors:
		if a.byHash == nil {
			a.byHash = map[uint64]int32{}
		}
		i = int32(len(a.list))
		a.list = append(a.list, anchor{newer: i, older: i})
		if i > 0 {
			a.join(i, a.newest)
		} else {
			a.oldest = i
		}
		a.newest = i
	default:
		i = a.oldest
		delete(a.byHash, a.list[i].hash)
	}
	a.byHash[n.hash] = i
	n.newer, n.older = a.list[i].newer, a.list[i].older
	a.list[i] = n
	a.touch(i)
}

// join makes two places neighbours.
func (a *anchors) join(newer, older int32) {
	a.list[newer].older, a.list[older].newer = older, newer
}

// touch makes the anchor at i the newest.
func (a *anchors) touch(i int32) {
	if i == a.newest {
		return
	}
	newer, older := a.list[i].newer, a.list[i].older
	if i == a.oldest {
		a.oldest = newer
	} else {
		a.join(newer, older)
	}
	a.join(i, a.newest)
	a.newest = i
}
