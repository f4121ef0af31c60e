package sim

import (
	"cmp"
	"container/heap"
	"slices"
	"strconv"
	"time"
)

// How long after its end an attempt is taken for the cause of the next one.
// Guesses: twice the longest backoff of ten doublings capped at minutes, and
// the time in which a client notices a cut.
const (
	retryGap    = 10 * time.Minute
	continueGap = time.Minute
)

// try is an attempt that is judged.
type try struct {
	*Attempt
	call *judged
	fate fate
	over time.Time // when the client could know how it went; not for open ones
}

// judged is a call that is judged. Its attempts are in the order in which they
// began; there is at least one.
type judged struct {
	tries []*try
	named bool
}

// last returns the newest attempt.
func (c *judged) last() *try { return c.tries[len(c.tries)-1] }

// fate returns how the call ended.
func (c *judged) fate() fate {
	if slices.ContainsFunc(c.tries, func(t *try) bool { return t.fate == fateServed }) {
		return fateServed
	}
	return c.last().fate
}

// told returns what the client says of it.
func (c *judged) told() Told {
	for _, t := range slices.Backward(c.tries) {
		if t.Told != "" {
			return t.Told
		}
	}
	return ""
}

// retryTimes returns the times of the attempts after the first of all calls, in the order in
// which they began.
func retryTimes(calls []*judged) []time.Time {
	var times []time.Time
	for _, c := range calls {
		for _, t := range c.tries[1:] {
			times = append(times, t.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// callsOf sorts attempts into calls as the comment on [Calls] says, both in
// the order in which they began.
func callsOf(attempts []Attempt) ([]*try, []*judged) {
	tries := make([]*try, len(attempts))
	for i := range attempts {
		tries[i] = &try{Attempt: &attempts[i], fate: fateOf(&attempts[i]), over: overAt(&attempts[i])}
	}
	slices.SortStableFunc(tries, func(a, b *try) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Since, b.Since))
	})
	var calls []*judged
	named := map[string]*judged{}
	waiting := waiters{}
	for _, t := range tries {
		if t.Call != "" {
			t.call = named[t.Call]
		} else {
			t.call = waiting.match(t)
		}
		if t.call == nil {
			t.call = &judged{named: t.Call != ""}
			calls = append(calls, t.call)
		}
		t.call.tries = append(t.call.tries, t)
		if t.Call != "" {
			named[t.Call] = t.call
		} else {
			waiting.add(t)
		}
	}
	return tries, calls
}

// overAt returns when a client could know how an attempt went: for an error,
// when its headers left; what a client does with the body is its own affair.
func overAt(a *Attempt) time.Time {
	if a.Status >= 400 {
		return a.At.Add(a.Headers)
	}
	return a.At.Add(a.Duration)
}

// waitKey is what the next attempt of a call must look like.
type waitKey struct {
	key, method, path, query, hash string
	bytes                          int64
	count                          string // x-stainless-retry-count of the last attempt; "" if it has none
	kind                           waitKind
}

type waitKind uint8

const (
	waitsRetry    waitKind = iota // it failed
	waitsAnyway                   // it was served, so nothing but the count can tell
	waitsContinue                 // it was cut; model instead of hash
)

// waiters are the last attempts of calls that may go on, by how.
type waiters map[waitKey]*byEnd

// add lets the call of t go on. What goes on by a header is not added.
func (w waiters) add(t *try) {
	if t.fate == fateOpen {
		return
	}
	next := t.same(waitsRetry)
	if t.fate == fateServed {
		next.kind = waitsAnyway
	}
	if t.fate != fateServed || next.count != "" {
		w.push(next, t)
	}
	if t.fate == fateCut || t.fate == fateLeft {
		w.push(t.rest(), t)
	}
}

// same is what an attempt looks like that sends the same as t.
func (t *try) same(kind waitKind) waitKey {
	count := t.RetryCount
	if _, err := strconv.Atoi(count); err != nil {
		count = ""
	}
	return waitKey{t.KeyTag, t.Method, t.Path, t.Query, t.BodySHA256, t.BodyBytes, count, kind}
}

// rest is what an attempt looks like that asks for the rest of what t got.
func (t *try) rest() waitKey {
	return waitKey{key: t.KeyTag, path: t.Path, hash: t.Model, kind: waitsContinue}
}

// match returns the call that t belongs to, or nil.
func (w waiters) match(t *try) *judged {
	key := t.same(waitsRetry)
	if n, err := strconv.Atoi(key.count); err == nil {
		key.count = strconv.Itoa(n - 1)
	}
	if c := w.take(key, t.At, retryGap); c != nil || key.count == "" && !t.Continues {
		return c
	}
	if key.count != "" {
		key.kind = waitsAnyway
		if c := w.take(key, t.At, retryGap); c != nil {
			return c
		}
	}
	if t.Continues {
		return w.take(t.rest(), t.At, continueGap)
	}
	return nil
}

func (w waiters) push(key waitKey, t *try) {
	if w[key] == nil {
		w[key] = &byEnd{}
	}
	heap.Push(w[key], t)
}

// take returns the call that has waited longest, and is over at a time, but
// not for longer than gap.
func (w waiters) take(key waitKey, now time.Time, gap time.Duration) *judged {
	h := w[key]
	for h != nil && h.Len() > 0 {
		t := (*h)[0]
		idle := now.Sub(t.over)
		if idle < 0 {
			return nil
		}
		heap.Pop(h)
		if t.call.last() == t && idle-t.RetryAfter <= gap {
			return t.call
		}
	}
	return nil
}

// byEnd is a heap of attempts, the one that was over first on top.
type byEnd []*try

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].over.Before(h[j].over) }
func (h byEnd) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byEnd) Push(t any)        { *h = append(*h, t.(*try)) }

// Pop implements [heap.Interface].
func (h *byEnd) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}
