package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// slowly gives leave to produce after a wait, as a limit does that is used up.
func slowly(wait time.Duration, charged *int) func(context.Context, int) error {
	var free time.Time
	return func(ctx context.Context, tokens int) error {
		if free.IsZero() {
			free = time.Now().Add(wait)
		}
		if err := sleep(ctx, time.Until(free)); err != nil {
			return err
		}
		free = time.Time{}
		*charged += tokens
		return nil
	}
}

func TestFeed_pingsWhileAPieceWaitsForLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		charged := 0
		pieces := []piece{{data: []byte("a"), tokens: 1}, {data: []byte("b"), tokens: 2, wait: time.Second}}
		f := &feed{
			ping: 15 * time.Second, charge: slowly(40*time.Second, &charged), struck: func() {}, whole: EndWhole,
			body: func() (piece, bool) {
				if len(pieces) == 0 {
					return piece{}, false
				}
				p := pieces[0]
				pieces = pieces[1:]
				return p, true
			},
		}
		start := time.Now()
		type sent struct {
			what string
			at   time.Duration
		}
		var got []sent
		for {
			data, err := f.next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(data, []byte("event: ping")) {
				data = []byte("ping")
			}
			got = append(got, sent{string(data), time.Since(start)})
		}
		// The second piece is due a second after the first, which was held up.
		want := []sent{
			{"ping", 15 * time.Second},
			{"ping", 30 * time.Second},
			{"a", 40 * time.Second},
			{"ping", 56 * time.Second},
			{"ping", 71 * time.Second},
			{"b", 81 * time.Second},
		}
		if len(got) != len(want) || charged != 3 {
			t.Fatalf("got %v and %d tokens, want %v and 3", got, charged, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got %v, want %v", got[i], want[i])
			}
		}
	})
}

func TestFeed_waitForLeaveEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(why) })
		charged := 0
		f := &feed{
			ping: 15 * time.Second, charge: slowly(time.Minute, &charged), struck: func() {}, whole: EndWhole,
			body: func() (piece, bool) { return piece{data: []byte("a"), tokens: 1}, true },
		}
		if _, err := f.next(ctx); !errors.Is(err, why) || f.ended() != EndCanceled || charged != 0 {
			t.Errorf("got %v, %q, %d tokens, want the reader's reason and nothing charged", err, f.ended(), charged)
		}
	})
}

func TestFeed_doesNotAllocateForAnEvent(t *testing.T) {
	data := []byte("event: x\ndata: {}\n\n")
	f := &feed{
		ping: time.Minute, struck: func() {}, whole: EndWhole,
		charge: func(context.Context, int) error { return nil },
		body:   func() (piece, bool) { return piece{data: data, tokens: 1, wait: time.Microsecond}, true },
	}
	ctx := context.Background()
	if got := testing.AllocsPerRun(200, func() { _, _ = f.next(ctx) }); got > 0 {
		t.Errorf("%v allocations for an event, want none", got)
	}
}
