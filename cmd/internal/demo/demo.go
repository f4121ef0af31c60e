// Package demo shows the main job without a key: one load, half of it sent
// straight to a simulated Claude API and half through evenkeel, while the API
// is overloaded, limited, silent and gone.
//
//	           ┌── client ─────────────────────────────► door ─► sim.API
//	arrivals ──┤                                          ▲
//	           └── client ─► gateway ─► evenkeel ─────────┘
//
// Everything is real but the API behind the door: HTTP over loopback, the
// gateway as `evenkeel serve` runs it, the same [client] on both sides, which
// is the official SDK's retry rule. At each arrival both get one call with
// the same body. The door counts attempts; a call is counted by what its
// client saw, in the phase in which it began, and one without an end is
// waiting, never a success.
//
// Two limits are shorter than in life, by the same factor on both sides,
// because a minute cannot show a hang of ten ([patience]). Everything else is
// the default, and the screen says which is which.
package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Options configures [Run]. The zero value is the demo of a minute.
type Options struct {
	For  time.Duration // how long it lasts, the wait for the last calls included; 0 means 60 s
	Seed uint64        // of arrivals, and of which attempts fail by their number; how concurrent ones fall is up to timing
	Rate float64       // calls per second on each side, on average; 0 means 5

	// APIAddr and GatewayAddr are where the simulated API and the gateway
	// listen. Empty means 127.0.0.1:5290 and 127.0.0.1:4290. One that is
	// taken is replaced by a free port of 127.0.0.1.
	APIAddr, GatewayAddr string

	// Talk is where progress goes: lines, or a screen if Live is set. nil
	// discards.
	Talk io.Writer
	Live *Terminal
}

func (o Options) withDefaults() Options {
	if o.For == 0 {
		o.For = time.Minute
	}
	if o.Rate == 0 {
		o.Rate = 5
	}
	if o.APIAddr == "" {
		o.APIAddr = "127.0.0.1:5290"
	}
	if o.GatewayAddr == "" {
		o.GatewayAddr = "127.0.0.1:4290"
	}
	if o.Talk == nil {
		o.Talk = io.Discard
	}
	return o
}

// Shortest is the shortest demo: below it a phase is over before a call is.
const Shortest = 3 * time.Second

// Run plays the demo and returns the comparison, of what was played by then
// if ctx ended it early; Comparison.Interrupted tells. The error is that of
// a server that could not serve, and the comparison is then empty. When Run returns, every
// goroutine it started has returned too and the ports are free.
func Run(ctx context.Context, opts Options) (Comparison, error) {
	opts = opts.withDefaults()
	if opts.For < Shortest {
		return Comparison{}, fmt.Errorf("a demo of %v is too short, want %v or more", opts.For, Shortest)
	}
	phases, script := plan(opts.For, opts.Rate)
	counts := newTally(phases)
	s, err := openStage(ctx, opts, counts)
	if err != nil {
		return Comparison{}, err
	}
	show := &show{opts: opts, stage: s, phases: phases, script: script, counts: counts, began: time.Now(), changes: make(chan int, len(script)+1)}
	defer s.close()
	show.play(ctx)
	select {
	case err := <-s.broken:
		return Comparison{}, err
	default:
	}
	return show.comparison(time.Now()), nil
}
