package demo

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is a comparison with everything a table can hold.
func example() Comparison {
	phases, _ := plan(time.Minute, 5)
	t := newTally(phases)
	play := func(phase int, s side, calls, attempts, failed int, kind string, took ...time.Duration) {
		for range calls {
			t.began(phase, s)
		}
		for range attempts {
			t.attempt(phase, s)
		}
		for range failed {
			t.ended(phase, s, kind, time.Second)
		}
		for _, d := range took {
			t.ended(phase, s, "", d)
		}
	}
	play(calm, direct, 2, 2, 0, "", 400*time.Millisecond, 410*time.Millisecond)
	play(calm, viaEvenkeel, 2, 2, 0, "", 400*time.Millisecond, 410*time.Millisecond)
	play(overload, direct, 4, 9, 2, "529 overloaded_error", 400*time.Millisecond, 1700*time.Millisecond)
	play(overload, viaEvenkeel, 4, 9, 0, "", 400*time.Millisecond, 400*time.Millisecond, 2*time.Second, 9*time.Second)
	play(hang, direct, 3, 3, 0, "", 400*time.Millisecond)
	play(hang, viaEvenkeel, 3, 4, 1, "504 timeout_error", 400*time.Millisecond, 4500*time.Millisecond)
	play(outage, direct, 3, 9, 3, "connection failed")
	play(outage, viaEvenkeel, 3, 11, 0, "", 4*time.Second)
	c := Comparison{Simulated: true, Seed: 1, Seconds: 60, Settings: patienceFor(time.Minute).String()}
	c.Phases, c.All = t.rows()
	return c
}

func TestComparison_Table(t *testing.T) {
	for name, width := range map[string]int{"wide": 120, "medium": 80, "narrow": 70, "stacked": 56, "tiny": 30} {
		t.Run(name, func(t *testing.T) {
			got := example().Table(width)
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
					t.Errorf("a line has %d columns, want at most %d: %q", n, width, line)
				}
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestComparison_table_colours(t *testing.T) {
	painted := strings.Join(example().lines(120, true), "\n")
	for what, want := range map[string]string{
		"a side without failures is green":             "\x1b[32m 100 %",
		"one that has lost most calls is red":          "\x1b[31m   0 %",
		"one that waits and has lost none is no fault": "\x1b[32m  33 %",
	} {
		if !strings.Contains(painted, want) {
			t.Errorf("%s: want %q in\n%q", what, want, painted)
		}
	}
	var plain strings.Builder
	for i, line := range example().lines(120, true) {
		if i > 0 {
			plain.WriteString("\n")
		}
		plain.WriteString(strip(line))
	}
	if got, want := plain.String(), strings.Join(example().lines(120, false), "\n"); got != want {
		t.Errorf("colours move text: got\n%s\nwant\n%s", got, want)
	}
}

// strip removes what paint adds.
func strip(line string) string {
	for {
		before, rest, ok := strings.Cut(line, "\x1b[")
		if !ok {
			return line
		}
		_, after, _ := strings.Cut(rest, "m")
		line = before + after
	}
}

func TestSuccess_roundsNeverUpToAll(t *testing.T) {
	for _, tt := range []struct {
		s    Side
		want string
	}{
		{Side{}, "–"},
		{Side{Calls: 1000, OK: 999}, "99 %"},
		{Side{Calls: 1000, OK: 1000}, "100 %"},
		{Side{Calls: 3, OK: 2}, "67 %"},
		{Side{Calls: 3}, "0 %"},
	} {
		if got := success(tt.s); got != tt.want {
			t.Errorf("success(%d of %d) = %q, want %q", tt.s.OK, tt.s.Calls, got, tt.want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct {
		line  string
		width int
		want  string
	}{
		{"abc", 5, "abc"},
		{"abcdef", 3, "abc"},
		{"──────", 3, "───"},
		{"\x1b[31mabc\x1b[0mdef", 2, "\x1b[31mab\x1b[0m"}, // the colour ends
		{"abc", 0, ""},
	} {
		if got := clip(tt.line, tt.width); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.line, tt.width, got, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two three", 20, "one two three"},
		{"one two three", 7, "one two|three"},
		{"http://127.0.0.1", 10, "http://127|.0.0.1"},
		{"a bc", 0, "a|b|c"},
		{"", 10, ""},
	} {
		if got := strings.Join(wrap(tt.text, tt.width), "|"); got != tt.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}
