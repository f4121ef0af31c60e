package gateway

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// arrival is an event and when it was seen.
type arrival struct {
	name string
	at   time.Duration
}

// TestGateway_pingsASilentStream: a client that counts silence hears from us
// while upstream says nothing and while a call is tried again behind headers
// that are out. What it gets is one message all the same.
func TestGateway_pingsASilentStream(t *testing.T) {
	const minute = time.Minute
	tests := []struct {
		name    string
		cfg     sim.Config
		pings   int
		longest time.Duration // silence
	}{
		{"upstream sends no pings before its content", sim.Config{
			OutputTokens: 3, TokenTime: minute, PingEvery: 24 * time.Hour,
		}, 7, pingAfter},
		{"upstream sends its own between its words", sim.Config{OutputTokens: 3, TokenTime: minute}, 8, pingAfter},
		{"a stall, and a second attempt", sim.Config{Script: []sim.Reply{
			{Status: 200, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1}}, {Status: 200},
		}}, 8, pingAfter},
		{"a stream that flows gets none of ours", sim.Config{OutputTokens: 3, TokenTime: 10 * time.Second}, 1, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, err := evenkeel.New(evenkeel.Config{Base: sim.New(tt.cfg)})
				if err != nil {
					t.Fatal(err)
				}
				g := startPiped(t, tr, Drain{})
				r := g.request(t.Context(), "POST", "/v1/messages", strings.Replace(message, "{", `{"stream":true,`, 1))
				r.Header.Set("X-Api-Key", "sk-test")
				r.Header.Set("Anthropic-Version", "2023-06-01")
				start := time.Now()
				resp, err := g.caller.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got > 3*time.Second {
					t.Errorf("the headers came after %v, want within 3s", got)
				}
				defer resp.Body.Close()
				var seen []arrival
				for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
					if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
						seen = append(seen, arrival{name, time.Since(start)})
					}
				}
				check(t, seen, tt.pings, tt.longest)
				g.stop()
				if err := <-g.done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// check wants so many pings in a stream that is whole, and no longer silence.
func check(t *testing.T, seen []arrival, pings int, longest time.Duration) {
	t.Helper()
	count := map[string]int{}
	silence, before := time.Duration(0), 2*time.Second
	for _, a := range seen {
		count[a.name]++
		silence = max(silence, a.at-before)
		before = a.at
	}
	if count["message_start"] != 1 || count["message_stop"] != 1 || count["error"] != 0 {
		t.Errorf("saw %v, want one whole message", count)
	}
	if count["ping"] < pings {
		t.Errorf("saw %d pings, want %d or more: %v", count["ping"], pings, seen)
	}
	if silence > longest {
		t.Errorf("silent for %v, want at most %v: %s", silence, longest, fmt.Sprint(seen))
	}
}

// TestPinger_knowsWhereEventsEnd however what is written is divided.
func TestPinger_knowsWhereEventsEnd(t *testing.T) {
	for _, eol := range []string{"\n", "\r\n"} {
		event := "event: ping" + eol + "data: {}" + eol + eol
		for size := 1; size <= len(event); size++ {
			p := newPinger(nil)
			if !p.border() {
				t.Fatal("the beginning is not where an event may stand")
			}
			for at := 0; at < len(event); at += size {
				piece := event[at:min(at+size, len(event))]
				p.wrote([]byte(piece))
				if got, want := p.border(), at+len(piece) == len(event); got != want {
					t.Errorf("in pieces of %d, after %q: an event ends here: %v, want %v", size, event[:at+len(piece)], got, want)
				}
			}
			p.end()
		}
	}
}
