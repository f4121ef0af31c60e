package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/observe"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// told asks for a wait so long that whoever is in it must be noticed.
const told = 50 * time.Second

// limited is an API that turns the first attempt away for told, and a
// Transport with every default in front of it.
func limited(t *testing.T) (*sim.API, *evenkeel.Transport) {
	t.Helper()
	api := sim.NewScript(sim.Reply{Status: 429, Header: map[string]string{"Retry-After": "50"}}, sim.Reply{Status: 200})
	tr, err := evenkeel.New(evenkeel.Config{Base: api})
	if err != nil {
		t.Fatal(err)
	}
	return api, tr
}

// wantBackoff checks that one call lives, and that it waits for its second attempt.
func wantBackoff(t *testing.T, s observe.Snapshot) {
	t.Helper()
	if len(s.Calls) != 1 || s.Calls[0].Phase != "waiting" || time.Until(s.Calls[0].Until) < told-time.Second {
		t.Fatalf("live calls are %+v, want one that waits for %v", s.Calls, told)
	}
}

// A caller that hangs up is not waited for, and nothing more is sent for it.
func TestGateway_noticesWhoLeavesDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, tr := limited(t)
		g := startPiped(t, tr, Drain{Grace: time.Minute})
		ctx, hangUp := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			resp, err := g.caller.Do(g.request(ctx, "POST", "/v1/messages", message))
			if err == nil {
				_ = resp.Body.Close()
			}
			left <- err
		}()
		time.Sleep(time.Second)
		wantBackoff(t, tr.Snapshot())

		hangUp()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller got %v, want that it has left", err)
		}
		time.Sleep(time.Second)
		if s := tr.Snapshot(); len(s.Calls) != 0 || s.Waiting != 0 || s.Bodies != 0 {
			t.Errorf("a second later %d calls live, %d wait, %d bytes are kept; want none", len(s.Calls), s.Waiting, s.Bodies)
		}
		if n := g.drain.calls(); n != 0 {
			t.Errorf("a second later %d calls are in the gateway, want none", n)
		}
		time.Sleep(2 * told)
		if got := len(api.Attempts()); got != 1 {
			t.Errorf("upstream got %d attempts, want none after the caller had left", got)
		}
		g.stop()
		if err := <-g.done; err != nil {
			t.Error(err)
		}
	})
}

// A drain does not shorten a backoff, and does not cut a call that is in one.
func TestServe_finishesWhatIsInBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, tr := limited(t)
		g := startPiped(t, tr, Drain{Delay: 5 * time.Second, Grace: 2 * time.Minute})
		begun, answer := time.Now(), make(chan reply, 1)
		go func() { answer <- g.call(t, "POST", "/v1/messages", message) }()
		time.Sleep(time.Second)
		wantBackoff(t, tr.Snapshot())

		g.stop()
		got := <-answer
		if got.StatusCode != 200 || !got.Close || got.Header.Get(evenkeel.HeaderAttempts) != "2" {
			t.Errorf("got %d %v, close %v; want 200 at the second attempt and the connection closed", got.StatusCode, got.Header, got.Close)
		}
		if took := time.Since(begun); took < told || took > told+told/4 {
			t.Errorf("the call took %v, want what upstream has asked for, and little more", took)
		}
		if err := <-g.done; err != nil {
			t.Errorf("Serve returned %v, want nil: the call has ended within the grace", err)
		}
		if got := len(api.Attempts()); got != 2 {
			t.Errorf("upstream got %d attempts, want 2", got)
		}
	})
}
