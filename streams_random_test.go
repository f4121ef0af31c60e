package evenkeel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// finishes counts the ends of calls.
type finishes struct {
	mu   sync.Mutex
	done int
}

func (f *finishes) Observe(e observe.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == observe.CallDone || e.Kind == observe.Refused {
		f.done++
	}
}

// TestStreams_interleavings: random faults, random buffers, random leaving.
// Whatever happens: tickets settled once, one end, no goroutine, attempt or body left.
func TestStreams_interleavings(t *testing.T) {
	kinds := []sim.Kind{
		sim.ErrorEventAt, sim.ResetAfter, sim.CloseAfter, sim.EndAfter, sim.HalfEvent, sim.Garbage, sim.StallAfter,
		sim.Hang, sim.Refuse, sim.ResetBeforeHeaders, sim.CloseBeforeHeaders, sim.Gzip, sim.HugeEvent, "",
	}
	for seed := range uint64(150) {
		name := fmt.Sprintf("seed=%d", seed)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 4))
				b, fin := newBooks(), &finishes{}
				var script []sim.Reply
				for range 1 + r.IntN(5) {
					rep := sim.Reply{Status: 200}
					k := kinds[r.IntN(len(kinds))]
					rep.Fault = sim.Fault{Kind: k, Events: r.IntN(30)}
					if k == sim.HugeEvent {
						rep.Fault.Size = 1<<20 + 1<<19
					}
					if r.IntN(6) == 0 {
						rep = sim.Reply{Status: []int{529, 500, 429, 400}[r.IntN(4)]}
					}
					script = append(script, rep)
				}
				api := sim.New(sim.Config{TokenTime: time.Duration(r.IntN(3)) * 700 * time.Millisecond, Script: script})
				tr := newTransport(t, evenkeel.Config{
					Base: api, Admission: b, Observer: fin,
					Timeouts: evenkeel.Timeouts{Idle: 5 * time.Second, FirstByte: 8 * time.Second},
					Stream:   evenkeel.Stream{Resume: r.IntN(4) != 0, Plain: true},
				})
				body := streamOf("claude-opus-4-5")
				plain := r.IntN(4) == 0
				if plain {
					body = strings.Replace(body, `"stream":true,`, "", 1)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req := newRequest(t, "POST", endpoint, body).WithContext(ctx)
				if r.IntN(2) == 0 {
					req.GetBody = nil
				}
				stop := time.Duration(r.IntN(60000)) * time.Millisecond
				how := r.IntN(4) // 0,1: reads on; 2: cancel; 3: close
				if how == 2 {
					time.AfterFunc(stop, cancel)
				}
				resp, err := tr.RoundTrip(req)
				if err == nil {
					if how == 3 {
						time.AfterFunc(stop, func() { _ = resp.Body.Close() })
					}
					if r.IntN(8) == 0 { // never reads for a while
						time.Sleep(time.Duration(r.IntN(30000)) * time.Millisecond)
					}
					if r.IntN(8) != 0 {
						buf := make([]byte, []int{1, 7, 100, 4096, 32 << 10}[r.IntN(5)])
						var all strings.Builder
						for {
							n, e := resp.Body.Read(buf)
							if n > 0 && all.Len() < 1<<20 {
								all.Write(buf[:n])
							}
							if e != nil {
								err = e
								break
							}
						}
						s := all.String()
						if errors.Is(err, io.EOF) && !plain && resp.Header.Get("Content-Encoding") == "" && resp.StatusCode == 200 && len(s) < 1<<20 {
							words, starts, stops := text(t, s)
							bad := strings.Count(s, "event: error\n")
							if starts > 1 || stops+bad != 1 {
								t.Errorf("%d starts, %d stops, %d errors: %s\n%v", starts, stops, bad, s, script)
							}
							if stops == 1 && sim.CheckWhole(words) != nil || sim.CheckText(words) != nil && words != "" {
								t.Errorf("text %q stops %d: %v", words, stops, script)
							}
							if !strings.HasSuffix(s, "\n\n") {
								t.Errorf("ends in half an event: %q", s[max(0, len(s)-200):])
							}
						}
					}
					_ = resp.Body.Close()
				}
				cancel()
				synctest.Wait()
				b.check(t)
				if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
					t.Errorf("%d calls, %d bytes left; %v", len(s.Calls), s.Bodies, script)
				}
				if fin.done != 1 {
					t.Errorf("%d ends told", fin.done)
				}
				for i, at := range api.Attempts() {
					if !at.Done {
						t.Errorf("attempt %d in flight: %v", i+1, script)
					}
				}
			})
		})
	}
}

// TestStreams_leftAtAnyTime is the same in real time, for the race detector.
func TestStreams_leftAtAnyTime(t *testing.T) {
	for i := range 100 {
		b := newBooks()
		api := sim.New(sim.Config{Script: []sim.Reply{{Status: 200, Fault: sim.Fault{Kind: []sim.Kind{sim.EndAfter, sim.ResetAfter, sim.ErrorEventAt}[i%3], Events: 7}}, {Status: 200}}})
		tr := newTransport(t, evenkeel.Config{Base: api, Admission: b, Backoff: fixed(time.Duration(i%5) * 100 * time.Microsecond), Stream: evenkeel.Stream{Resume: true}})
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := tr.RoundTrip(newRequest(t, "POST", endpoint, streamOf("claude-opus-4-5")).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 1+i%300)
			for {
				if _, err := resp.Body.Read(buf); err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
			if i%2 == 0 {
				_ = resp.Body.Close()
			} else {
				cancel()
			}
		})
		wg.Go(func() { _ = tr.Snapshot() })
		wg.Wait()
		_ = resp.Body.Close()
		cancel()
		if s := tr.Snapshot(); len(s.Calls) != 0 || s.Bodies != 0 {
			t.Fatalf("%d: %d calls, %d bytes left", i, len(s.Calls), s.Bodies)
		}
		b.check(t)
		_ = tr.Close()
	}
}

type fixed time.Duration

func (f fixed) Delay(int) time.Duration { return time.Duration(f) }
