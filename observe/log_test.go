package observe

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines collects log lines as maps.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// inLog runs f with a Log in a bubble and returns what was written.
func inLog(t *testing.T, f func(*Log)) (got []map[string]any) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out lines
		l := NewLog(slog.New(slog.NewJSONHandler(&out, nil)))
		f(l)
		l.Close(time.Minute)
		got = out.all(t)
	})
	return got
}

func observe(l *Log, e Event) {
	e.Time = time.Now()
	l.Observe(e)
	synctest.Wait()
}

func TestLog_oneWarningPerModelAndSecond(t *testing.T) {
	got := inLog(t, func(l *Log) {
		for range 30 { // ten a second for three seconds
			for _, model := range []string{"opus", "haiku"} {
				observe(l, Event{Kind: Waiting, Model: model, Status: 529, Reason: "overloaded", Attempt: 2, MaxAttempts: 6, Wait: 4100 * time.Millisecond, RequestID: "req_1"})
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	if len(got) != 6 {
		t.Fatalf("%d lines, want one per model and second: 6", len(got))
	}
	want := map[string]any{"level": "WARN", "status": 529., "reason": "overloaded", "attempt": 2., "of": 6., "wait": 4.1e9, "request_id": "req_1"}
	for k, v := range want {
		if got[0][k] != v {
			t.Errorf("%s is %v, want %v", k, got[0][k], v)
		}
	}
}

// TestLog_fallingBack tells of it once a second for each model, and of each
// reason not to.
func TestLog_fallingBack(t *testing.T) {
	got := inLog(t, func(l *Log) {
		for range 5 {
			observe(l, Event{Kind: FellBack, Model: "a", Fallback: "b", Reason: "breaker", Call: "ek_1"})
			observe(l, Event{Kind: FellBack, Model: "a", Fallback: "b", Reason: "breaker", State: "prefill"})
		}
		time.Sleep(time.Second)
		observe(l, Event{Kind: FellBack, Model: "a", Fallback: "b", Reason: "pause"})
		observe(l, Event{Kind: CallDone, Model: "a", Fallback: "b", Status: 200, Reason: "ok"})
	})
	if len(got) != 4 {
		t.Fatalf("%d lines, want 4: %v", len(got), got)
	}
	for i, want := range []map[string]any{
		{"msg": "falling back", "model": "a", "fallback": "b", "reason": "breaker", "id": "ek_1"},
		{"msg": "not falling back", "model": "a", "fallback": "b", "reason": "breaker", "why_not": "prefill"},
		{"msg": "falling back", "reason": "pause"},
		{"msg": "call done", "model": "a", "fallback": "b"},
	} {
		for key, value := range want {
			if got[i][key] != value {
				t.Errorf("line %d: %s is %v, want %v", i+1, key, got[i][key], value)
			}
		}
	}
}

func TestLog_refusalsAreCounted(t *testing.T) {
	got := inLog(t, func(l *Log) {
		for range 250 {
			observe(l, Event{Kind: Refused, Model: "opus", Reason: "EK-QUEUE-FULL", Status: 429})
			time.Sleep(10 * time.Millisecond)
		}
	})
	total := 0.
	for _, line := range got {
		total += line["count"].(float64)
	}
	if total != 250 || len(got) > 4 {
		t.Errorf("%d lines that count %v refusals, want at most 4 that count 250", len(got), total)
	}
}

func TestLog_oneLinePerFinishedCall(t *testing.T) {
	got := inLog(t, func(l *Log) {
		observe(l, Event{Kind: CallDone, Call: "ek_1", Model: "opus", Path: "messages", Status: 200, Reason: "ok", Attempt: 3, Waited: 812 * time.Millisecond, Took: 14 * time.Second})
		observe(l, Event{Kind: CallDone, Call: "ek_2", Model: "opus", Path: "messages", Status: 529, Reason: "overloaded", Attempt: 6})
	})
	if len(got) != 2 || got[0]["level"] != "INFO" || got[1]["level"] != "WARN" {
		t.Fatalf("got %v, want an INFO and a WARN", got)
	}
	if got[0]["attempts"] != 3. || got[0]["waited_ms"] != 812. || got[0]["total_ms"] != 14000. {
		t.Errorf("the line is %v", got[0])
	}
}

// stuck is a handler that never returns until it is let go.
type stuck struct {
	slog.Handler
	let chan struct{}
}

func (s stuck) Write(p []byte) (int, error) { <-s.let; return len(p), nil }

func TestLog_stuckReaderBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{let: make(chan struct{})}
		l := NewLog(slog.New(slog.NewJSONHandler(s, nil)))
		start := time.Now()
		for range 3 * queueLength {
			l.Observe(Event{Kind: CallDone, Time: start})
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("observing took %v", took)
		}
		if got := l.Dropped(); got < 2*queueLength-2 {
			t.Errorf("%d dropped, want all but what the queue holds", got)
		}
		l.Close(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close waited %v for the stuck reader, want 1s", took)
		}
		close(s.let)
	})
}

func TestQueue_afterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		q := NewQueue(func(Event) { n++ })
		for range 10 {
			q.Observe(Event{})
		}
		q.Close(time.Second)
		q.Close(time.Second)
		q.Observe(Event{})
		if n != 10 {
			t.Errorf("%d events were read before Close returned, want 10", n)
		}
	})
}
