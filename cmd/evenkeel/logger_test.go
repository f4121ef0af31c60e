package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
)

func TestQueueWriter_writesInOrder(t *testing.T) {
	var out bytes.Buffer
	q := newQueueWriter(&out)
	line := make([]byte, 0, 16)
	for i := range 100 {
		line = fmt.Appendf(line[:0], "%d ", i) // as slog does, in one buffer
		_, _ = q.Write(line)
	}
	q.close(time.Minute)
	_, _ = q.Write([]byte("too late"))
	q.close(time.Minute)
	if got := out.String(); !strings.HasPrefix(got, "0 1 2 ") || !strings.HasSuffix(got, " 98 99 ") {
		t.Errorf("got %q", got)
	}
}

func TestQueueWriter_waitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe() // nobody reads
		q := newQueueWriter(w)
		start := time.Now()
		for range 3 * queuedLines {
			_, _ = q.Write([]byte("line\n"))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("writing took %v, want no time", took)
		}
		q.close(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("closing took %v, want the second it may take", took)
		}
		r.Close()
	})
}

func TestNewLogger_formats(t *testing.T) {
	for format, want := range map[string]string{"auto": `"msg":"hello"`, "json": `"msg":"hello"`, "text": "INF hello n=1\n"} {
		var out bytes.Buffer
		l := newLogger(&out, config.Log{Level: "info", Format: format})
		l.Debug("hidden")
		l.Info("hello", slog.Int("n", 1))
		l.close()
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "hidden") || strings.Contains(got, "\x1b") {
			t.Errorf("%s: got %q, want %q, no debug line and no colours in a pipe", format, got, want)
		}
	}
}
