package sim

import (
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

func TestCondition(t *testing.T) {
	a := New(Config{})
	began := time.Now()
	for _, c := range []struct {
		story string
		after time.Duration
		want  [3]float64 // slots, slowdown, others
	}{
		{"", 0, [3]float64{1, 1, 0}},
		{"slots 50%", 0, [3]float64{0.5, 1, 0}},
		{"slots 50%\nslots 20% on opus-5", 0, [3]float64{0.1, 1, 0}},
		{"slots 50% on opus-4", 0, [3]float64{1, 1, 0}},
		{"slots 0%", 0, [3]float64{0, 1, 0}},
		{"slowdown 3x\nslowdown 2x", 0, [3]float64{1, 6, 0}},
		{"others 50%\nothers 50%", 0, [3]float64{1, 1, 0.75}},
		{"others 50% in org acme", 0, [3]float64{1, 1, 0.5}},
		{"others 50% in org else", 0, [3]float64{1, 1, 0}},
		{"slowdown 3x path batches", 0, [3]float64{1, 1, 0}},
		{"10s slowdown 3x for 10s", 5 * time.Second, [3]float64{1, 1, 0}},
		{"10s slowdown 3x for 10s", 15 * time.Second, [3]float64{1, 3, 0}},
		{"10s slowdown 3x for 10s", 25 * time.Second, [3]float64{1, 1, 0}},
	} {
		if err := a.Tell(c.story); err != nil {
			t.Fatal(err)
		}
		for _, f := range a.rules {
			f.set = began
		}
		a.mu.Lock()
		for i, kind := range []Kind{Slots, Slowdown, Others} {
			got := a.condition(kind, began.Add(c.after), claude.Messages, "claude-opus-5", "acme")
			if got != c.want[i] {
				t.Errorf("%q after %v: %s is %v, want %v", c.story, c.after, kind, got, c.want[i])
			}
		}
		a.mu.Unlock()
	}
}
