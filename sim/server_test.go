package sim_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestServer_closeWaitsForAll(t *testing.T) {
	srv := sim.NewServer(sim.Config{Faults: []sim.Rule{{Rate: 1, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}}}})
	const streams = 8
	for range streams {
		resp, err := srv.Client().Do(call{body: streamCall}.request(t, srv.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	srv.Close()
	for i, a := range srv.Attempts() {
		if !a.Done || a.End != sim.EndCanceled {
			t.Errorf("attempt %d is still in flight after Close: %+v", i, a)
		}
	}
	if got := srv.Calls(); got != streams {
		t.Errorf("counted %d calls, want %d", got, streams)
	}
	if _, err := srv.Client().Do(call{}.request(t, srv.URL)); err == nil {
		t.Error("a closed server answers")
	}
	srv.Close() // once more is no harm
}

// counter counts the flushes of an answer.
type counter struct {
	*httptest.ResponseRecorder
	flushes int
}

// Flush implements [http.Flusher].
func (c *counter) Flush() { c.flushes++ }

// What is due at once leaves at once: a flush is a system call, and a packet.
func TestServe_flushesOnlyBeforeAWait(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  sim.Config
		body string
		want int
	}{
		{"a stream without a pace", sim.Config{}, streamCall, 0},
		{"a plain answer", sim.Config{}, plainCall, 0},
		{"a stream of five words: before each", sim.Config{TokenTime: time.Second, OutputTokens: 5}, streamCall, 5},
		{"a stall right after the headers", struckBy(sim.Fault{Kind: sim.StallAfter}), streamCall, 1},
		{"a cut right after the headers", struckBy(sim.Fault{Kind: sim.CloseAfter}), streamCall, 1},
		{"a cut after what was due at once", struckBy(sim.Fault{Kind: sim.CloseAfter, Events: 5}), streamCall, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r := call{body: c.body, ctx: ctx}.request(t, "http://api.test")
				w := &counter{ResponseRecorder: httptest.NewRecorder()}
				func() {
					defer func() { _ = recover() }() // how a handler breaks off
					sim.New(c.cfg).ServeHTTP(w, r)
				}()
				if w.flushes != c.want {
					t.Errorf("flushed %d times, want %d", w.flushes, c.want)
				}
			})
		})
	}
}
