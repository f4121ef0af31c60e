package retry

import (
	"testing"
	"time"
)

func TestFits(t *testing.T) {
	for _, c := range []struct {
		why                  string
		now, until, deadline time.Time
		want                 bool
	}{
		{"the wait ends before the deadline", at(0), at(3), at(5), true},
		{"the wait ends after it", at(0), at(7), at(5), false},
		{"waking at the deadline leaves no time for an answer", at(0), at(5), at(5), false},
		{"no wait, but the deadline has passed", at(6), at(2), at(5), false},
		{"no wait and time left", at(1), at(1), at(5), true},
		{"no deadline", at(0), at(1e6), time.Time{}, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := Fits(c.now, c.until, c.deadline); got != c.want {
				t.Errorf("Fits = %v, want %v", got, c.want)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		why     string
		timeout time.Duration
		want    time.Duration // after arrival
	}{
		{"ten minutes: a second earlier", 10 * time.Minute, 10*time.Minute - time.Second},
		{"twenty seconds: 5 % is a second", 20 * time.Second, 19 * time.Second},
		{"two seconds: 5 % and not half of it", 2 * time.Second, 1900 * ms},
		{"a fraction of a second", 100 * ms, 95 * ms},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := Deadline(start, c.timeout).Sub(start); got != c.want {
				t.Errorf("deadline %v after arrival, want %v", got, c.want)
			}
		})
	}
	for _, timeout := range []time.Duration{0, -time.Second} {
		if got := Deadline(start, timeout); !got.IsZero() {
			t.Errorf("Deadline with timeout %v = %v, want none", timeout, got)
		}
	}
}
