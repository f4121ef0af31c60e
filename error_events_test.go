package evenkeel_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// overloads are the ways in which the API says overloaded before any content.
var overloads = map[string]sim.Reply{
	"529":                             {Status: 529},
	"error event as the first":        {Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt}},
	"error event after message_start": {Status: 200, Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 1}},
}

// TestHold_errorEventsOpenTheBreaker: as many as 529s would, and then nothing
// more is sent.
func TestHold_errorEventsOpenTheBreaker(t *testing.T) {
	for how, reply := range overloads {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const least = 7
				api := sim.NewScript(reply)
				tr := newTransport(t, evenkeel.Config{
					Base: api, MaxAttempts: 1, Breaker: evenkeel.Breaker{MinCalls: least, Refuse: true},
				})
				for n := range least {
					if _, err := send(t, tr, newRequest(t, "POST", endpoint, streamBody)); errors.Is(err, evenkeel.ErrBreakerOpen) {
						t.Fatalf("call %d is refused, and the breaker needs %d", n+1, least)
					}
				}
				if n := failuresOf(tr); n != least {
					t.Errorf("%d failures are counted, want %d", n, least)
				}
				_, err := send(t, tr, newRequest(t, "POST", endpoint, streamBody))
				if !errors.Is(err, evenkeel.ErrBreakerOpen) {
					t.Errorf("the next call ended with %v, want %v", err, evenkeel.ErrBreakerOpen)
				}
				checkAttempts(t, api, least)
			})
		})
	}
}

// TestHold_errorEventsSpendTheBudget: a retry after one costs what a retry
// after a 529 does, and without budget there is none.
func TestHold_errorEventsSpendTheBudget(t *testing.T) {
	for how, reply := range overloads {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const retries, price = 7, 5 // more than one call may make
				api := sim.NewScript(reply)
				tr := newTransport(t, evenkeel.Config{
					Base: api, RetryBudget: retries * price, Breaker: evenkeel.Breaker{Off: true},
					Backoff: flat(time.Millisecond), LongestWait: time.Second, // shorter than the wait of one without budget
				})
				for n, want := range []struct{ attempts, left int }{{6, 10}, {3, 0}, {1, 0}} {
					before := api.Calls()
					_, _ = send(t, tr, newRequest(t, "POST", endpoint, streamBody))
					if got := api.Calls() - before; got != want.attempts {
						t.Errorf("call %d made %d attempts, want %d", n+1, got, want.attempts)
					}
					if got := tr.Snapshot().Breakers[0].Budget; got != want.left {
						t.Errorf("after call %d the budget is %d, want %d", n+1, got, want.left)
					}
				}
			})
		})
	}
}
