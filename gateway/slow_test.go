package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/observe"
)

// numbered is an upstream whose stream counts, until so many, or until nobody
// listens.
type numbered struct {
	events int
	wrote  atomic.Int64
	left   atomic.Int64 // unix nanoseconds when nobody listened; 0 if somebody did to the end
}

func (n *numbered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	say := func(event string) bool {
		wrote, err := io.WriteString(w, event)
		if err == nil {
			err = rc.Flush()
		}
		n.wrote.Add(int64(wrote))
		if err != nil || r.Context().Err() != nil {
			n.left.CompareAndSwap(0, time.Now().UnixNano())
			return false
		}
		return true
	}
	if !say("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n") {
		return
	}
	for i := range n.events {
		if !say(numberedDelta(i)) {
			return
		}
		if i == 0 {
			// The reverse proxy flushes once from a timer, under the lock of its
			// writes. In a bubble that must be over before a write blocks for good:
			// who waits for a lock keeps the clock from moving.
			time.Sleep(time.Millisecond)
		}
	}
	say(streamed[len(streamed)-1])
}

func numberedDelta(i int) string {
	return fmt.Sprintf("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%d \"}}\n\n", i)
}

// ends is told how the call ended.
type ends struct{ observe.Event }

func (e *ends) Observe(got observe.Event) {
	if got.Kind == observe.CallDone {
		e.Event = got
	}
}

// inMemory has a caller talk to up through a gateway with every default on,
// over pipes, and returns when all of them have gone. Pipes have no buffers:
// what upstream has written and the caller has not read is what is kept
// between them, and no kernel's share of it.
func inMemory(t *testing.T, up http.Handler, done observe.Observer, talk func(tr *evenkeel.Transport, events *bufio.Reader)) {
	back := newPipes()
	server := &http.Server{Handler: up, ErrorLog: quiet, ReadHeaderTimeout: time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(back) }()
	tr, err := evenkeel.New(evenkeel.Config{Base: &http.Transport{DialContext: back.dial}, Observer: done})
	if err != nil {
		t.Fatal(err)
	}
	g := startPiped(t, tr, Drain{})
	resp, err := g.caller.Do(g.request(t.Context(), "POST", "/v1/messages", strings.Replace(message, "{", `{"stream":true,`, 1)))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	talk(tr, bufio.NewReaderSize(resp.Body, 16))
	_ = resp.Body.Close()
	g.caller.CloseIdleConnections()
	g.stop()
	if err := <-g.done; err != nil {
		t.Error(err)
	}
	_ = tr.Close()
	_ = server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// next reads one event; "" at the end.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var event strings.Builder
	for {
		line, err := r.ReadString('\n')
		event.WriteString(line)
		if errors.Is(err, io.EOF) {
			return event.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" {
			return event.String()
		}
	}
}

// A caller that takes its time holds upstream back: what is kept for it is a
// few buffers, however much there is, and nothing of it is lost.
func TestGateway_slowCallersHoldUpstreamBack(t *testing.T) {
	const events, kept = 5000, 16 << 10
	synctest.Test(t, func(t *testing.T) {
		up, done := &numbered{events: events}, &ends{}
		inMemory(t, up, done, func(_ *evenkeel.Transport, r *bufio.Reader) {
			read := int64(len(next(t, r)))
			for i := range events {
				if i%1000 == 500 {
					time.Sleep(100 * time.Second) // less than is held against it
					synctest.Wait()
					ahead := up.wrote.Load() - read
					if t.Logf("upstream is %d bytes ahead", ahead); ahead > kept {
						t.Fatalf("%d bytes are kept for a caller that does not read, want at most %d", ahead, kept)
					}
				}
				got, want := next(t, r), numberedDelta(i)
				if got != want {
					t.Fatalf("event %d is %q, want %q: pings are for silence", i, got, want)
				}
				read += int64(len(got))
			}
			if got := next(t, r); got != streamed[len(streamed)-1] {
				t.Errorf("the last event is %q", got)
			}
			if next(t, r) != "" || up.left.Load() != 0 {
				t.Error("the stream did not end well")
			}
		})
		if done.Reason != "ok" {
			t.Errorf("the call ended as %q, want ok", done.Reason)
		}
	})
}

// A caller that takes no bytes for two minutes is gone: upstream is cancelled,
// and what it has cost is told.
func TestGateway_callersThatStopReadingAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up, done := &numbered{events: 1e6}, &ends{}
		inMemory(t, up, done, func(tr *evenkeel.Transport, r *bufio.Reader) {
			for range 500 {
				next(t, r)
			}
			begin := time.Now()
			time.Sleep(130 * time.Second)
			synctest.Wait()
			if at := time.Unix(0, up.left.Load()); up.left.Load() == 0 || at.Sub(begin) > defaultWrite || at.Sub(begin) < defaultWrite*7/8 {
				t.Errorf("upstream was let go after %v, want about %v", at.Sub(begin), defaultWrite)
			}
			if s := tr.Snapshot(); len(s.Calls) != 0 {
				t.Errorf("%d calls are live", len(s.Calls))
			}
		})
		if want := (claude.Usage{Input: 9, Output: 1}); done.Reason != "caller_left" || done.Usage != want {
			t.Errorf("the call ended as %q at %+v, want caller_left at %+v", done.Reason, done.Usage, want)
		}
	})
}
