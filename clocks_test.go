package evenkeel_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// blunt is an upstream whose errors do not tell why a request was cancelled:
// many a RoundTripper does not.
type blunt struct{ http.RoundTripper }

func (b blunt) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil && r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	if err == nil {
		resp.Body = &bluntBody{resp.Body, r}
	}
	return resp, err
}

type bluntBody struct {
	io.ReadCloser
	r *http.Request
}

func (b *bluntBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.r.Context().Err() != nil {
		err = b.r.Context().Err()
	}
	return n, err
}

// clockErrors are the errors of the clocks of a call.
var clockErrors = []error{evenkeel.ErrFirstByte, evenkeel.ErrIdle, evenkeel.ErrContent}

// TestClocks_ownErrors: the caller can tell by the error which clock has
// struck, in whatever phase of a call, and when.
func TestClocks_ownErrors(t *testing.T) {
	const sec, long = time.Second, time.Hour
	const more = 64 * 28 * time.Millisecond // that a plain answer is given for its tokens
	firstByte := evenkeel.Timeouts{FirstByte: sec, Idle: long, Total: long}
	idle := evenkeel.Timeouts{FirstByte: long, Idle: sec, Total: long}
	total := evenkeel.Timeouts{FirstByte: sec, Idle: long, Total: sec} // it is never less than the first
	hang := sim.Fault{Kind: sim.Hang}
	stall := sim.Fault{Kind: sim.StallAfter}
	begun := sim.Fault{Kind: sim.StallAfter, Events: 1}
	pings := sim.Fault{Kind: sim.StallAfter, Events: 1, Pings: true}
	tests := []struct {
		name     string
		body     string
		fault    sim.Fault
		times    evenkeel.Timeouts
		assemble bool
		second   bool // attempt; the first finds no connection
		want     error
		after    time.Duration
	}{
		{"no headers of a stream", streamBody, hang, firstByte, false, false, evenkeel.ErrFirstByte, sec},
		{"no headers of a plain answer", plainBody, hang, firstByte, false, false, evenkeel.ErrFirstByte, sec + more},
		{"headers of a stream, then silence", streamBody, stall, idle, false, false, evenkeel.ErrIdle, sec},
		{"an event of a stream, then silence", streamBody, begun, idle, false, false, evenkeel.ErrIdle, sec},
		{"half a plain answer, then silence", plainBody, stall, idle, false, false, evenkeel.ErrIdle, sec},
		{"a part of one to be assembled, then silence", plainBody, begun, idle, true, false, evenkeel.ErrIdle, sec},
		{"a stream that is alive, and says nothing", streamBody, pings, total, false, false, evenkeel.ErrContent, sec},
		{"a silent stream, and the total comes first", streamBody, stall, total, false, false, evenkeel.ErrContent, sec},
		{"no headers of a stream, and the total comes first", streamBody, hang, total, false, true, evenkeel.ErrContent, sec},
		{"no headers of a plain answer, and the total comes first", plainBody, hang, total, false, true, evenkeel.ErrContent, sec + more},
		{"half a plain answer, and the total comes first", plainBody, stall, total, false, false, evenkeel.ErrContent, sec + more},
		{"a part of one to be assembled, and the total comes first", plainBody, pings, total, true, false, evenkeel.ErrContent, sec + more},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(*sim.API) http.RoundTripper{
			"told": func(api *sim.API) http.RoundTripper { return api },
			"not":  func(api *sim.API) http.RoundTripper { return blunt{api} },
		} {
			t.Run(tt.name+"/cause is "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					script := []sim.Reply{{Status: 200, Fault: tt.fault}}
					if tt.second {
						script = append([]sim.Reply{{Fault: sim.Fault{Kind: sim.Refuse}}}, script...)
					}
					tr := newTransport(t, evenkeel.Config{
						Base: wrap(sim.NewScript(script...)), MaxAttempts: len(script), Backoff: flat(sec / 2),
						Timeouts: tt.times, Stream: evenkeel.Stream{Plain: tt.assemble},
					})
					start := time.Now()
					_, err := send(t, tr, newRequest(t, "POST", endpoint, tt.body))
					took := time.Since(start)
					for _, clock := range clockErrors {
						if errors.Is(err, clock) != errors.Is(tt.want, clock) {
							t.Errorf("got %v, want %v and no other", err, tt.want)
						}
					}
					if e, ok := errors.AsType[*evenkeel.Error](err); !ok || e.Code != evenkeel.CodeTimeout || !e.Timeout() {
						t.Errorf("got %v, want %s", err, evenkeel.CodeTimeout)
					}
					if took != tt.after {
						t.Errorf("it struck after %v, want %v", took, tt.after)
					}
				})
			})
		}
	}
}
