package observe

import (
	"sync"
	"sync/atomic"
	"time"
)

// queueLength is how many events may wait for a slow reader: some seconds of
// a busy process, at about 300 bytes each.
const queueLength = 4096

// Queue hands events to a reader on a goroutine of its own. Observe never
// blocks: when the reader is stuck and the queue is full, events are dropped
// and counted.
type Queue struct {
	events  chan Event
	dropped atomic.Uint64
	idle    func() // called each second and at the end; may be nil
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
}

// NewQueue starts the goroutine that calls read for each event. [Queue.Close]
// ends it.
func NewQueue(read func(Event)) *Queue {
	q := newQueue(nil)
	go q.run(read)
	return q
}

// newQueue returns a queue that nobody reads yet.
func newQueue(idle func()) *Queue {
	return &Queue{
		events: make(chan Event, queueLength),
		idle:   idle,
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
}

func (q *Queue) run(read func(Event)) {
	defer close(q.done)
	var tick <-chan time.Time
	if q.idle != nil {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case e := <-q.events:
			read(e)
		case <-tick:
			q.idle()
		case <-q.stop:
			q.drain(read)
			return
		}
	}
}

func (q *Queue) drain(read func(Event)) {
	for {
		select {
		case e := <-q.events:
			read(e)
		default:
			if q.idle != nil {
				q.idle()
			}
			return
		}
	}
}

// Observe implements [Observer].
func (q *Queue) Observe(e Event) {
	select {
	case q.events <- e:
	default:
		q.dropped.Add(1)
	}
}

// Dropped is the number of events lost because the reader was stuck.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Close lets the reader finish what is queued, waits for it at most so long,
// and ends the goroutine as soon as the reader returns. Events observed
// afterwards stay in the queue, then are dropped.
func (q *Queue) Close(wait time.Duration) {
	q.once.Do(func() { close(q.stop) })
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-q.done:
	case <-t.C:
	}
}
