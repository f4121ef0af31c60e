package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// testClient talks to api without sockets.
func testClient(api *sim.API) *client {
	c := newClient("http://api.test", "k", 20*time.Second)
	c.http = &http.Client{Transport: api}
	return c
}

func TestClient_isTheSDKsRule(t *testing.T) {
	after := func(seconds string) map[string]string { return map[string]string{"Retry-After": seconds} }
	for _, tt := range []struct {
		name     string
		replies  []sim.Reply
		stream   bool
		want     string
		calls    int
		min, max time.Duration
	}{
		{"success", []sim.Reply{{}}, false, "", 1, 0, 0},
		{"two overloads are survived", []sim.Reply{{Status: 529}, {Status: 529}, {Status: 200}}, false, "", 3, 1125 * time.Millisecond, 1500 * time.Millisecond},
		{"three are not", []sim.Reply{{Status: 529}}, false, "529 overloaded_error", 3, 1125 * time.Millisecond, 1500 * time.Millisecond},
		{"retry-after is obeyed as it stands", []sim.Reply{{Status: 429, Header: after("7")}, {}}, false, "", 2, 7 * time.Second, 7 * time.Second},
		{"milliseconds come first", []sim.Reply{{Status: 429, Header: map[string]string{"Retry-After": "7", "Retry-After-Ms": "250"}}, {}}, false, "", 2, 250 * time.Millisecond, 250 * time.Millisecond},
		{"a bad request stays one", []sim.Reply{{Status: 400}}, false, "400 invalid_request_error", 1, 0, 0},
		{"x-should-retry: false wins", []sim.Reply{{Status: 502, Header: map[string]string{"X-Should-Retry": "false"}}}, false, "502 api_error", 1, 0, 0},
		{"x-should-retry: true wins", []sim.Reply{{Status: 400, Header: map[string]string{"X-Should-Retry": "true"}}, {}}, false, "", 2, 375 * time.Millisecond, 500 * time.Millisecond},
		{"no connection", []sim.Reply{{Fault: sim.Fault{Kind: sim.Refuse}}}, false, lostConnection, 3, 1125 * time.Millisecond, 1500 * time.Millisecond},
		{"a hang meets the limit", []sim.Reply{{Fault: sim.Fault{Kind: sim.Hang}}, {}}, true, "", 2, 20*time.Second + 375*time.Millisecond, 20*time.Second + 500*time.Millisecond},
		{"hangs to the end", []sim.Reply{{Fault: sim.Fault{Kind: sim.Hang}}}, false, tookTooLong, 3, 61 * time.Second, 62 * time.Second},
		{"a plain body that breaks off is retried", []sim.Reply{{Fault: sim.Fault{Kind: sim.ResetAfter}}, {}}, false, "", 2, 375 * time.Millisecond, 500 * time.Millisecond},
		{"a stream that breaks off is not", []sim.Reply{{Fault: sim.Fault{Kind: sim.CloseAfter, Events: 3}}, {}}, true, brokenStream, 1, 0, 0},
		{"nor one that ends too early", []sim.Reply{{Fault: sim.Fault{Kind: sim.EndAfter, Events: 3}}, {}}, true, brokenStream, 1, 0, 0},
		{"nor one with an error event", []sim.Reply{{Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 3}}, {}}, true, "error event overloaded_error", 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := sim.NewScript(tt.replies...)
				start := time.Now()
				got, err := testClient(api).call(t.Context(), newRequest(0, 0, tt.stream))
				if err != nil {
					t.Fatal(err)
				}
				if got != tt.want || api.Calls() != tt.calls {
					t.Errorf("got %q after %d attempts, want %q after %d", got, api.Calls(), tt.want, tt.calls)
				}
				if took := time.Since(start); took < tt.min || took > tt.max {
					t.Errorf("took %v, want %v to %v", took, tt.min, tt.max)
				}
			})
		})
	}
}

func TestClient_stopsWhenToldTo(t *testing.T) {
	for _, replies := range [][]sim.Reply{
		{{Fault: sim.Fault{Kind: sim.Hang}}},                                // in an attempt
		{{Status: 429, Header: map[string]string{"Retry-After": "100000"}}}, // in a wait
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := testClient(sim.NewScript(replies...)).call(ctx, newRequest(0, 0, false))
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v, want %v after 1s", err, time.Since(start), context.DeadlineExceeded)
			}
		})
	}
}

func TestOwnBackoff(t *testing.T) {
	for _, tt := range []struct {
		n      int
		jitter float64
		want   time.Duration
	}{
		{0, 0, 500 * time.Millisecond},
		{0, 1, 375 * time.Millisecond},
		{1, 0, time.Second},
		{4, 0, 8 * time.Second},
		{100, 0, 8 * time.Second},
	} {
		if got := ownBackoff(tt.n, tt.jitter); got != tt.want {
			t.Errorf("ownBackoff(%d, %v) = %v, want %v", tt.n, tt.jitter, got, tt.want)
		}
	}
}

func TestArrivals_areTheSeeds(t *testing.T) {
	type arrival struct {
		at     time.Duration
		stream bool
	}
	first := func(seed uint64) (all []arrival) {
		a := newArrivals(seed, 5)
		for range 1000 {
			at, stream := a.next()
			all = append(all, arrival{at, stream})
		}
		return all
	}
	one, again, two := first(1), first(1), first(2)
	streams := 0
	for i := range one {
		if one[i] != again[i] {
			t.Fatalf("arrival %d of one seed is %v and %v", i, one[i], again[i])
		}
		if one[i].stream {
			streams++
		}
	}
	if one[0] == two[0] {
		t.Error("two seeds have the same arrivals")
	}
	if got := one[999].at; got < 180*time.Second || got > 220*time.Second {
		t.Errorf("1000 arrivals at 5/s took %v, want about 200s", got)
	}
	if streams < 450 || streams > 550 {
		t.Errorf("%d of 1000 calls stream, want about half", streams)
	}
}

func TestNewRequest_isTheSameForBothSides(t *testing.T) {
	a, b := newRequest(1, 2, true), newRequest(1, 2, true)
	if a.name != b.name || !bytes.Equal(a.body, b.body) {
		t.Errorf("got %q %s and %q %s, want the same", a.name, a.body, b.name, b.body)
	}
	c := newClient("http://api.test", "k", time.Second)
	req := c.request(t.Context(), a, 1)
	body, err := io.ReadAll(req.Body)
	if err != nil || !bytes.Equal(body, a.body) {
		t.Errorf("sent %s (%v), want %s", body, err, a.body)
	}
	if got := req.Header.Get("X-Stainless-Retry-Count"); got != "1" {
		t.Errorf("x-stainless-retry-count is %q, want 1", got)
	}
}
