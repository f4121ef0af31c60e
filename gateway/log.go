package gateway

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// refusals logs calls that were refused: one line per reason and second, with
// the number of calls it stands for. Whoever can make us refuse a thousand
// calls a second cannot make us write a thousand lines.
//
// The line is written by a goroutine of its own, one at a time: a log reader
// that has stopped delays no call, and its lines are lost.
type refusals struct {
	mu      sync.Mutex // guards since
	since   map[evenkeel.Code]*tally
	writing atomic.Bool
}

// tally counts what has not been logged yet.
type tally struct {
	logged time.Time
	calls  int
}

// every is the least time between two lines with one reason.
const every = time.Second

// add counts one refused call of a client, "" if unknown, and logs it if its
// time has come.
func (l *refusals) add(ctx context.Context, log *slog.Logger, no *refusal, client string) {
	calls := l.count(time.Now(), no.code)
	if calls == 0 {
		return
	}
	if !l.writing.CompareAndSwap(false, true) {
		l.uncount(no.code, calls)
		return
	}
	ctx = context.WithoutCancel(ctx) // the line outlives the call
	go func() {
		defer l.writing.Store(false)
		log.LogAttrs(ctx, slog.LevelWarn, "refused",
			slog.String("reason", string(no.code)), slog.Int("status", no.status),
			slog.Int("count", calls), slog.String("client", client))
	}()
}

// count returns how many calls a line is due for, 0 for none.
func (l *refusals) count(now time.Time, code evenkeel.Code) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.since[code]
	if t == nil {
		if l.since == nil {
			l.since = map[evenkeel.Code]*tally{}
		}
		t = &tally{}
		l.since[code] = t
	}
	t.calls++
	if now.Sub(t.logged) < every {
		return 0
	}
	calls := t.calls
	t.logged, t.calls = now, 0
	return calls
}

// uncount gives back calls whose line could not be written.
func (l *refusals) uncount(code evenkeel.Code, calls int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since[code].calls += calls
}
