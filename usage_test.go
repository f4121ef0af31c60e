package evenkeel_test

import (
	"context"
	"errors"
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

const (
	costsInput = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n"
	costsDelta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n"
	costsSoFar = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":70}}\n\n"
)

// hanging is a body that ends with end, or, without one, when its request does.
type hanging struct {
	io.Reader
	ctx context.Context
	end error
}

func (h *hanging) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	if h.end == nil {
		<-h.ctx.Done()
		return 0, h.ctx.Err()
	}
	return 0, h.end
}

func (h *hanging) Close() error { return nil }

// TestTransport_tellsWhatACutStreamCost, as far as it told: however it ended,
// and whoever ended it.
func TestTransport_tellsWhatACutStreamCost(t *testing.T) {
	cancels := func(cancel func(), _ io.Closer) { cancel() }
	closes := func(_ func(), body io.Closer) { _ = body.Close() }
	start := claude.Usage{Input: 9, CacheRead: 4, Caches: true, Output: 1}
	later := claude.Usage{Input: 9, CacheRead: 4, Caches: true, Output: 70}
	tests := []struct {
		name   string
		events string
		end    error                   // of the body
		leave  func(func(), io.Closer) // after ten seconds
		reason string                  // of the call
		want   claude.Usage
	}{
		{"ends too early", costsInput + costsDelta, io.EOF, nil, "stream_cut", start},
		{"is reset", costsInput + costsDelta + costsSoFar, errors.New("reset"), nil, "stream_cut", later},
		{"falls silent", costsInput + costsDelta + costsSoFar, nil, nil, "idle_timeout", later},
		{"ends in an error", costsInput + costsDelta + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n", io.EOF, nil, "overloaded", start},
		{"is closed by the caller", costsInput + costsDelta + costsSoFar, nil, closes, "caller_left", later},
		{"is cancelled by the caller", costsInput + costsDelta + costsSoFar, nil, cancels, "caller_left", later},
		{"is closed before content", costsInput, nil, closes, "caller_left", start},
		{"is cancelled before content", costsInput, nil, cancels, "caller_left", start},
	}
	for _, tt := range tests {
		for _, reads := range []bool{true, false} {
			if !reads && tt.leave == nil {
				continue
			}
			t.Run(tt.name+map[bool]string{true: "", false: " without reading"}[reads], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var running atomic.Int64 // attempts
					seen := &recorder{}
					base := roundTrip(func(r *http.Request) (*http.Response, error) {
						_ = r.Body.Close()
						running.Add(1)
						context.AfterFunc(r.Context(), func() { running.Add(-1) })
						return &http.Response{
							StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}},
							ContentLength: -1, Body: &hanging{strings.NewReader(tt.events), r.Context(), tt.end},
						}, nil
					})
					tr := newTransport(t, evenkeel.Config{Base: base, Observer: seen})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody).WithContext(ctx))
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan error, 1)
					if reads {
						go func() { _, err := io.Copy(io.Discard, resp.Body); done <- err }()
					}
					if tt.leave != nil {
						time.Sleep(10 * time.Second)
						tt.leave(cancel, resp.Body)
					}
					if reads {
						if err := <-done; (err == nil) != (tt.leave == nil) {
							t.Errorf("it was read to %v", err)
						}
					}
					_ = resp.Body.Close()
					synctest.Wait()
					got := seen.last(observe.CallDone)
					if got.Usage != tt.want || got.Reason != tt.reason {
						t.Errorf("told to have ended as %q at %+v, want %q at %+v", got.Reason, got.Usage, tt.reason, tt.want)
					}
					if n := running.Load(); n != 0 {
						t.Errorf("upstream still works on %d attempts", n)
					}
					if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
						t.Errorf("%d calls and %d bytes of bodies are left", len(s.Calls), s.Bodies)
					}
				})
			})
		}
	}
}

// TestTransport_aReaderThatPausesHoldsUpstreamBack, for as long as it likes:
// nothing is read that was not asked for, and its silence is not upstream's.
func TestTransport_aReaderThatPausesHoldsUpstreamBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrote atomic.Int64
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			pr, pw := io.Pipe()
			go func() {
				for _, event := range []string{costsInput, strings.Repeat(costsDelta, 10_000), "event: message_stop\ndata: {}\n\n"} {
					for e := range strings.SplitAfterSeq(event, "\n\n") {
						n, _ := io.WriteString(pw, e)
						wrote.Add(int64(n))
					}
				}
				_ = pw.Close()
			}()
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1, Body: pr}, nil
		})
		seen := &recorder{}
		resp, err := newTransport(t, evenkeel.Config{Base: base, Observer: seen}).RoundTrip(newRequest(t, "POST", endpoint, streamBody))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for p := make([]byte, 4<<10); err == nil; {
			if got < 4<<10 {
				time.Sleep(time.Hour)
				synctest.Wait()
				if ahead := int(wrote.Load()) - got; ahead > 4<<10 {
					t.Fatalf("upstream is %d bytes ahead of a reader that pauses", ahead)
				}
			}
			var n int
			n, err = resp.Body.Read(p)
			got += n
		}
		_ = resp.Body.Close()
		if e := seen.last(observe.CallDone); !errors.Is(err, io.EOF) || int64(got) != wrote.Load() || e.Reason != "ok" {
			t.Errorf("read %d of %d bytes to %v, told as %s", got, wrote.Load(), err, e.Reason)
		}
	})
}
