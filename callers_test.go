package evenkeel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// What callers do must not be held against upstream: upload slowly, pause,
// close early, fail.

// slowly is a body that comes after a while.
type slowly struct {
	after time.Duration
	io.Reader
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.after)
	s.after = 0
	return s.Reader.Read(p)
}

func hang(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

func TestCaller_slowUploadDoesNotMoveItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req := newRequest(t, "POST", endpoint, plainBody)
		req.Body, req.GetBody = io.NopCloser(&slowly{15 * time.Second, strings.NewReader(plainBody)}), nil
		req.Header.Set(evenkeel.HeaderDeadline, "20s")
		start := time.Now()
		_, err := send(t, newTransport(t, evenkeel.Config{Base: roundTrip(hang)}), req)
		if took := time.Since(start); err == nil || took != 19*time.Second {
			t.Errorf("ended after %v with %v, want a timeout 1s before the deadline of 20s", took, err)
		}
	})
}

// failuresOf is what the breakers have counted.
func failuresOf(tr *evenkeel.Transport) (n int) {
	for _, b := range tr.Snapshot().Breakers {
		n += b.Failures
	}
	return n
}

func TestCaller_pauseIsNotSilence(t *testing.T) {
	for name, finish := range map[string]bool{"and reads on": true, "and closes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, evenkeel.Config{Base: sim.New(sim.Config{})})
				resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Minute) // the caller, not upstream
				if finish {
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Errorf("after the pause: %v", err)
					}
				}
				_ = resp.Body.Close()
				if n := failuresOf(tr); n != 0 {
					t.Errorf("%d failures are held against upstream", n)
				}
			})
		})
	}
}

func TestCaller_closeRacesTheEnd(t *testing.T) {
	for range 200 {
		tr := newTransport(t, evenkeel.Config{Base: sim.New(sim.Config{})})
		resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamBody))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		wg.Go(func() { _ = resp.Body.Close() })
		wg.Wait()
		if s := tr.Snapshot(); len(s.Calls) != 0 {
			t.Fatalf("%d calls still live", len(s.Calls))
		}
	}
}

func TestCaller_failingBodyIsItsOwnFault(t *testing.T) {
	broken := errors.New("disk on fire")
	tests := []struct {
		name string
		make func(*http.Request)
	}{
		{"one that passes once", func(r *http.Request) {
			r.Body, r.GetBody = io.NopCloser(io.MultiReader(strings.NewReader(plainBody[:20]), io.LimitReader(zeros{}, 2<<20), failing{broken})), nil
			r.ContentLength = -1
		}},
		{"one that GetBody fails to repeat", func(r *http.Request) {
			calls := 0
			r.GetBody = func() (io.ReadCloser, error) {
				if calls++; calls > 1 { // the first is read to describe the call
					return nil, broken
				}
				return io.NopCloser(strings.NewReader(plainBody)), nil
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := roundTrip(func(r *http.Request) (*http.Response, error) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: 529, Header: http.Header{}, Body: http.NoBody}, nil
				})
				tr := newTransport(t, evenkeel.Config{Base: base, Memory: evenkeel.Memory{Body: 1 << 20}})
				req := newRequest(t, "POST", endpoint, plainBody)
				tt.make(req)
				a, err := send(t, tr, req)
				e, ok := errors.AsType[*evenkeel.Error](err)
				if returned := err == nil && a.StatusCode == 529; !returned && (!ok || e.Code != evenkeel.CodeBody || !errors.Is(err, broken)) {
					t.Errorf("got %v, want EK-BODY", err)
				}
				if n := failuresOf(tr); n != 0 {
					t.Errorf("%d failures are held against upstream", n)
				}
			})
		})
	}
}

// TestStream_brokenAfterItsEndIsWhole: what breaks after message_stop takes
// nothing away.
func TestStream_brokenAfterItsEndIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, r.Body)
			body := io.MultiReader(strings.NewReader("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), failing{io.ErrUnexpectedEOF})
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body)}, nil
		})
		if a := mustSend(t, newTransport(t, evenkeel.Config{Base: base}), newRequest(t, "POST", endpoint, streamBody)); a.read != nil {
			t.Errorf("ended with %v", a.read)
		}
	})
}

// TestBreaker_opensOnResets: connections that die one after the other are an
// outage, and not one connection that carried them all.
func TestBreaker_opensOnResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.NewScript(sim.Reply{Fault: sim.Fault{Kind: sim.ResetBeforeHeaders}})
		tr := newTransport(t, evenkeel.Config{Base: api})
		for range 20 * 120 { // two minutes, twenty a second
			go func() { _, _ = send(t, tr, newRequest(t, "POST", endpoint, plainBody)) }()
			time.Sleep(50 * time.Millisecond)
		}
		if s := tr.Snapshot(); len(s.Breakers) != 1 || s.Breakers[0].State != "open" {
			t.Errorf("after two minutes of nothing but resets: %+v", s.Breakers)
		}
		time.Sleep(30 * time.Minute)
	})
}

func TestTransport_reconfigureUnderASnapshot(t *testing.T) {
	tr := newTransport(t, evenkeel.Config{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _ = tr.Reconfigure(evenkeel.Config{}) })
		wg.Go(func() { _ = tr.Snapshot() })
	}
	wg.Wait()
}

func TestTransport_requestWithoutURL(t *testing.T) {
	b := &tracked{Reader: strings.NewReader("x")}
	if _, err := newTransport(t, evenkeel.Config{}).RoundTrip(&http.Request{Method: "POST", Body: b}); err == nil || b.closed == 0 {
		t.Errorf("got %v, body closed %d times", err, b.closed)
	}
}
