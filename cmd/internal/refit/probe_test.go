package refit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// upstream counts words, with a frame, and what it is asked.
type upstream struct {
	frame int
	takes time.Duration // to answer
	fails func(n int, text string) error

	mu          sync.Mutex // guards what follows
	asked       []string
	began       []time.Time
	now, atOnce int
}

func (u *upstream) count(ctx context.Context, text string) (Answer, error) {
	u.mu.Lock()
	u.asked = append(u.asked, text)
	u.began = append(u.began, time.Now())
	n := len(u.asked)
	u.now++
	u.atOnce = max(u.atOnce, u.now)
	u.mu.Unlock()
	defer func() { u.mu.Lock(); u.now--; u.mu.Unlock() }()
	select {
	case <-time.After(u.takes):
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if u.fails != nil {
		if err := u.fails(n, text); err != nil {
			return Answer{}, err
		}
	}
	return Answer{Tokens: u.frame + len(strings.Fields(text))}, nil
}

func texts(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("text number %d", i)
	}
	return all
}

func TestProber_asksEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: 3 * time.Second}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 8, RPM: 60}
		start := time.Now()
		c, err := p.Ask(t.Context(), texts(30))
		if err != nil || c.Asked != 30 {
			t.Fatalf("asked %d (%v), want 30", c.Asked, err)
		}
		if got, want := time.Since(start), 32*time.Second; got != want {
			t.Errorf("took %v, want %v: one begun every second, the last one answered", got, want)
		}
		for i, at := range u.began {
			if got, want := at.Sub(start), time.Duration(i)*time.Second; got != want {
				t.Errorf("probe %d began after %v, want %v", i, got, want)
			}
		}
		if u.atOnce > 4 {
			t.Errorf("%d at once, want 3 or 4: as many as a second each and three seconds make", u.atOnce)
		}
	})
}

func TestProber_doesNotMakeUpForAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{fails: func(n int, _ string) error {
			if n == 1 {
				time.Sleep(30 * time.Second) // the only worker is held up
			}
			return nil
		}}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 1, RPM: 60}
		start := time.Now()
		if _, err := p.Ask(t.Context(), texts(10)); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 38*time.Second; got != want {
			t.Errorf("took %v, want %v: a second between those after the pause", got, want)
		}
	})
}

// Probes that are not answered for their number are made again, slower.
func TestProber_slowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := errors.New("too fast")
		u := &upstream{takes: 10 * time.Millisecond, fails: func(n int, _ string) error {
			if n <= 8 { // all that are under way at once
				return &BusyError{fast}
			}
			return nil
		}}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 8}
		start := time.Now()
		c, err := p.Ask(t.Context(), texts(150))
		if err != nil || c.Asked != 150 || len(u.asked) != 158 {
			t.Fatalf("%d answers to %d probes (%v), want 150 to 158", c.Asked, len(u.asked), err)
		}
		// 75 ms between two, which is slowed down once, not eight times.
		if got := time.Since(start); got < 11*time.Second || got > 12*time.Second {
			t.Errorf("took %v, want 150 times 75 ms", got)
		}
	})
}

func TestProber_givesUpOnABusyUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := errors.New("too fast")
		u := &upstream{fails: func(int, string) error { return &BusyError{fast} }}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 1, RPM: 600}
		start := time.Now()
		if _, err := p.Ask(t.Context(), texts(50)); !errors.Is(err, fast) {
			t.Errorf("got %v, want what the upstream said", err)
		}
		if got, want := len(u.asked), mostBusy+1; got != want {
			t.Errorf("%d probes, want %d", got, want)
		}
		if took := time.Since(start); took < time.Minute || took > 5*time.Minute {
			t.Errorf("it took %v until it gave up, want some minutes", took)
		}
	})
}

// The pace falls to what is granted, and comes back when that has passed.
func TestPace_findsWhatIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(6000)
		for range 40 { // answers come at a tenth of the pace
			time.Sleep(100 * time.Millisecond)
			p.answered(true)
		}
		if got, want := p.every, 105*time.Millisecond; got != want {
			t.Errorf("a probe every %v, want %v: a little less than is granted", got, want)
		}
		for range 5000 {
			time.Sleep(100 * time.Millisecond)
			p.answered(false)
		}
		if got, want := p.every, 10*time.Millisecond; got != want {
			t.Errorf("a probe every %v at last, want the %v that were told", got, want)
		}
	})
}

func TestProber_noMoreAtOnceThanTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 5}
		start := time.Now()
		if _, err := p.Ask(t.Context(), texts(50)); err != nil {
			t.Fatal(err)
		}
		if u.atOnce != 5 || time.Since(start) != 10*time.Second {
			t.Errorf("%d at once and %v, want 5 and 10 s", u.atOnce, time.Since(start))
		}
	})
}

func TestProber_asksOnlyTheRest(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger")
	all := texts(40)
	broken := errors.New("the upstream is gone")
	first := &upstream{fails: func(n int, _ string) error {
		if n > 15 {
			return broken
		}
		return nil
	}}
	l := openLedger(t, name)
	p := &Prober{Count: first.count, Ledger: l, Concurrency: 4}
	c, err := p.Ask(t.Context(), all)
	if !errors.Is(err, broken) || c.Asked < 15-3 || c.Asked > 15 { // the failure may overtake three others
		t.Fatalf("asked %d (%v), want 15 or little less, and the error", c.Asked, err)
	}
	done := c.Asked
	if got := len(first.asked); got > 15+4 {
		t.Errorf("sent %d probes, want 19 or less: none after the first failure", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	second := &upstream{}
	var reports []int
	p = &Prober{Count: second.count, Ledger: openLedger(t, name), Concurrency: 4, Progress: func(done, of int) { reports = append(reports, done) }}
	c, err = p.Ask(t.Context(), all)
	if err != nil || c.Asked != 40-done || len(second.asked) != 40-done {
		t.Fatalf("asked %d and sent %d (%v), want %d of each", c.Asked, len(second.asked), err, 40-done)
	}
	for i, got := range c.Tokens {
		if got != 3 {
			t.Errorf("text %d has %d tokens, want 3", i, got)
		}
	}
	if reports[0] != done || reports[len(reports)-1] != 40 || len(reports) != 41-done {
		t.Errorf("progress %v, want %d to 40", reports, done)
	}
}

func TestProber_endsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		p := &Prober{Count: u.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")), Concurrency: 2, RPM: 6000}
		cause := errors.New("Ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3500*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		c, err := p.Ask(ctx, texts(100))
		if !errors.Is(err, cause) {
			t.Errorf("got %v, want the cause", err)
		}
		if c.Asked != 6 || time.Since(start) != 3500*time.Millisecond {
			t.Errorf("%d answers after %v, want 6 and no waiting", c.Asked, time.Since(start))
		}
	})
}

func TestProber_textsThatAreRefused(t *testing.T) {
	odd := errors.New("text is odd")
	for _, tt := range []struct {
		reason  string
		refused int
		want    error
	}{
		{"some are left out", 20, nil},
		{"too many are no accident", 21, odd},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			u := &upstream{fails: func(n int, _ string) error {
				if n <= tt.refused {
					return &RefusedError{odd}
				}
				return nil
			}}
			l := openLedger(t, filepath.Join(t.TempDir(), "l"))
			p := &Prober{Count: u.count, Ledger: l}
			c, err := p.Ask(t.Context(), texts(50))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if c.Refused != tt.refused || !errors.Is(c.Refusal, odd) || c.Tokens[0] != -1 {
				t.Errorf("%d refused (%v), the first with %d tokens; want %d and -1", c.Refused, c.Refusal, c.Tokens[0], tt.refused)
			}
			if _, ok := l.Tokens("text number 0"); ok {
				t.Error("a text that was refused is in the ledger: it would never be asked again")
			}
		})
	}
}

func TestProber_Frame(t *testing.T) {
	floor := func(_ context.Context, text string) (Answer, error) {
		return Answer{Tokens: max(1, len(text)*2/5)}, nil
	} // as package sim does
	for _, tt := range []struct {
		reason string
		count  func(context.Context, string) (Answer, error)
		want   int
		sure   bool
	}{
		{"a token a word", (&upstream{frame: 11}).count, 11, true},
		{"no frame", (&upstream{}).count, 0, true},
		{"bytes by the dozen, rounded down", floor, 0, true},
		{"a first word of two tokens is outvoted", func(ctx context.Context, text string) (Answer, error) {
			n, err := (&upstream{frame: 7}).count(ctx, text)
			if strings.HasPrefix(text, "time") {
				n.Tokens++
			}
			return n, err
		}, 7, false},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			p := &Prober{Count: tt.count, Ledger: openLedger(t, filepath.Join(t.TempDir(), "l"))}
			f, err := p.Frame(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if f.Tokens != tt.want || f.Sure != tt.sure || f.Asked != FrameProbes {
				t.Errorf("got %+v, want %d tokens, sure %v, asked %d", f, tt.want, tt.sure, FrameProbes)
			}
			if again, err := p.Frame(t.Context()); err != nil || again.Asked != 0 || again.Tokens != tt.want {
				t.Errorf("the second time %+v (%v), want the same from the ledger", again, err)
			}
		})
	}
	t.Run("words that are refused", func(t *testing.T) {
		no := errors.New("no")
		p := &Prober{
			Count:  func(context.Context, string) (Answer, error) { return Answer{}, &RefusedError{no} },
			Ledger: openLedger(t, filepath.Join(t.TempDir(), "l")),
		}
		if _, err := p.Frame(t.Context()); !errors.Is(err, no) {
			t.Errorf("got %v, want what the upstream said", err)
		}
	})
}
