package main

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
)

// logger is the log of a process. It never waits for whoever reads stderr: a
// terminal that is paused, or a collector that is stuck, costs lines and
// nothing else.
type logger struct {
	*slog.Logger
	text  bool // for people rather than for machines
	level *slog.LevelVar
	w     *queueWriter
}

// newLogger writes to w as c says. close it to see the last lines.
func newLogger(w io.Writer, c config.Log) *logger {
	l := &logger{w: newQueueWriter(w), level: new(slog.LevelVar)}
	l.setLevel(c)
	l.text = c.Format == "text" || c.Format == "auto" && isTerminal(w)
	if l.text {
		l.Logger = slog.New(tint.NewTextHandler(l.w, &tint.Options{Level: l.level, TimeFormat: "15:04:05.000", NoColor: !colours(w)}))
	} else {
		l.Logger = slog.New(slog.NewJSONHandler(l.w, &slog.HandlerOptions{Level: l.level}))
	}
	return l
}

func (l *logger) setLevel(c config.Log) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked when it was read
	l.level.Set(level)
}

// notes logs what the configuration says and its author may not expect.
func (l *logger) notes(notes []config.Note) {
	for _, n := range notes {
		l.Warn("configuration", slog.String("at", n.At), slog.String("note", n.Text))
	}
}

func (l *logger) close() { l.w.close(time.Second) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours follows no-color.org.
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// queueWriter writes on a goroutine of its own, and drops what does not fit
// into its queue.
type queueWriter struct {
	lines chan []byte
	done  chan struct{}

	mu     sync.Mutex // guards closed, and the sending side of lines
	closed bool
}

// queuedLines is a guess: a second of a busy gateway's lines.
const queuedLines = 1024

func newQueueWriter(w io.Writer) *queueWriter {
	q := &queueWriter{lines: make(chan []byte, queuedLines), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		for line := range q.lines {
			_, _ = w.Write(line) // there is nowhere to say that stderr is gone
		}
	}()
	return q
}

// Write queues a copy of p.
func (q *queueWriter) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(p), nil
	}
	select {
	case q.lines <- append([]byte(nil), p...):
	default:
	}
	return len(p), nil
}

// close waits for what is queued, at most for limit.
func (q *queueWriter) close(limit time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(limit):
	}
}
