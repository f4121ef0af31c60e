package observe

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Log writes events to a [slog.Logger], on a goroutine of its own:
//
//   - WARN before each wait, at most one per model and second;
//   - INFO for each finished call, WARN if it failed;
//   - WARN for refusals, one line per model, reason and second, with a count;
//   - WARN when calls go to another model, or may not, at most one per model,
//     reason and second;
//   - WARN when a breaker opens, INFO when it moves otherwise.
//
// The keys are listed in docs/logs.md.
type Log struct {
	*Queue
	logger atomic.Pointer[slog.Logger]

	// The rest belongs to the goroutine.
	waits    map[string]time.Time // model → when its last WARN was written
	refusals map[refusal]*tally
	falls    map[refusal]time.Time // model, and why not → when its last WARN was written
	dropped  uint64                // as last told
}

type refusal struct{ model, reason string }

// tally counts what is not written one by one.
type tally struct {
	since time.Time
	count int
	first Event
}

// NewLog starts a Log. [Log.Close] ends it.
func NewLog(l *slog.Logger) *Log {
	log := &Log{waits: make(map[string]time.Time), refusals: make(map[refusal]*tally), falls: make(map[refusal]time.Time)}
	log.logger.Store(l)
	log.Queue = newQueue(log.tick)
	go log.run(log.write)
	return log
}

// SetLogger makes l receive what is written from now on.
func (l *Log) SetLogger(logger *slog.Logger) { l.logger.Store(logger) }

func (l *Log) write(e Event) {
	switch e.Kind {
	case Waiting:
		l.waiting(e)
	case CallDone:
		l.done(e)
	case Refused:
		l.refused(e)
	case BreakerMoved:
		level := slog.LevelInfo
		if e.State == "open" {
			level = slog.LevelWarn
		}
		l.put(level, "breaker moved", slog.String("state", e.State), slog.String("model", e.Model),
			slog.String("path", e.Path), slog.String("upstream", e.Upstream))
	case Resumed:
		l.put(slog.LevelWarn, "resuming", slog.String("id", e.Call), slog.String("model", e.Model),
			slog.String("reason", e.Reason), slog.Int("attempt", e.Attempt), slog.String("request_id", e.RequestID),
			slog.Int("input_tokens", e.Usage.Input), slog.Int("output_tokens", e.Usage.Output))
	case FellBack:
		l.fellBack(e)
	case PassedOn:
		l.put(slog.LevelWarn, "plain calls are sent plain from now on", slog.String("model", e.Model),
			slog.String("delta", e.State), slog.String("id", e.Call), slog.String("request_id", e.RequestID))
	case AttemptDone:
		l.put(slog.LevelDebug, "attempt", slog.String("id", e.Call), slog.String("model", e.Model),
			slog.Int("attempt", e.Attempt), slog.Int("status", e.Status), slog.String("reason", e.Reason),
			slog.Duration("took", e.Took), slog.Bool("probe", e.Probe), slog.String("request_id", e.RequestID))
	}
}

func (l *Log) waiting(e Event) {
	if last, ok := l.waits[e.Model]; ok && e.Time.Sub(last) < time.Second {
		return
	}
	if len(l.waits) >= 1000 { // models are free input
		clear(l.waits)
	}
	l.waits[e.Model] = e.Time
	l.put(slog.LevelWarn, "waiting", slog.String("id", e.Call), slog.String("model", e.Model),
		slog.Int("status", e.Status), slog.String("reason", e.Reason),
		slog.Int("attempt", e.Attempt), slog.Int("of", e.MaxAttempts),
		slog.Duration("wait", e.Wait.Round(time.Millisecond)), slog.String("request_id", e.RequestID))
}

func (l *Log) fellBack(e Event) {
	k := refusal{e.Model, e.State}
	if last, ok := l.falls[k]; ok && e.Time.Sub(last) < time.Second {
		return
	}
	if len(l.falls) >= 1000 {
		clear(l.falls)
	}
	l.falls[k] = e.Time
	attrs := []slog.Attr{
		slog.String("id", e.Call), slog.String("model", e.Model), slog.String("fallback", e.Fallback),
		slog.String("reason", e.Reason), slog.Int("attempts", e.Attempt),
	}
	if e.State != "" {
		l.put(slog.LevelWarn, "not falling back", append(attrs, slog.String("why_not", e.State))...)
		return
	}
	l.put(slog.LevelWarn, "falling back", attrs...)
}

func (l *Log) done(e Event) {
	level := slog.LevelInfo
	if e.Status == 0 || e.Status >= 500 || e.Status == 429 || e.Status < 300 && e.Reason != "ok" {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("id", e.Call), slog.String("model", e.Model), slog.String("path", e.Path),
		slog.String("tag", e.Tag), slog.Bool("stream", e.Stream), slog.Int("status", e.Status),
		slog.String("reason", e.Reason), slog.Int("attempts", e.Attempt),
		slog.Int64("waited_ms", e.Waited.Milliseconds()), slog.Int64("first_byte_ms", e.FirstByte.Milliseconds()),
		slog.Int64("total_ms", e.Took.Milliseconds()), slog.String("request_id", e.RequestID),
	}
	if e.Fallback != "" {
		attrs = append(attrs, slog.String("fallback", e.Fallback))
	}
	if e.Resume != "" {
		attrs = append(attrs, slog.String("resume", e.Resume))
	}
	if e.Usage.Known() {
		attrs = append(attrs, slog.Int("input_tokens", e.Usage.Input), slog.Int("cache_write_tokens", e.Usage.CacheWrite),
			slog.Int("cache_read_tokens", e.Usage.CacheRead), slog.Int("output_tokens", e.Usage.Output))
	}
	l.put(level, "call done", attrs...)
}

func (l *Log) refused(e Event) {
	k := refusal{e.Model, e.Reason}
	t := l.refusals[k]
	if t == nil {
		if len(l.refusals) >= 1000 {
			l.tick()
		}
		t = &tally{since: e.Time, first: e}
		l.refusals[k] = t
	}
	t.count++
	if e.Time.Sub(t.since) >= time.Second {
		l.tellRefused(k, t)
	}
}

func (l *Log) tellRefused(k refusal, t *tally) {
	delete(l.refusals, k)
	l.put(slog.LevelWarn, "refused", slog.String("model", k.model), slog.String("reason", k.reason),
		slog.Int("count", t.count), slog.Int("status", t.first.Status), slog.String("id", t.first.Call))
}

// tick writes what has been counted, once a second.
func (l *Log) tick() {
	for k, t := range l.refusals {
		l.tellRefused(k, t)
	}
	if d := l.Dropped(); d != l.dropped {
		l.put(slog.LevelWarn, "events dropped: the log reader is too slow", slog.Uint64("count", d-l.dropped))
		l.dropped = d
	}
}

func (l *Log) put(level slog.Level, msg string, attrs ...slog.Attr) {
	if logger := l.logger.Load(); logger != nil {
		logger.LogAttrs(context.Background(), level, msg, attrs...) //nolint:sloglint // constant at every caller
	}
}
