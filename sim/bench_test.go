package sim_test

import (
	"io"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// The simulation must cost less than what is measured against it.
func BenchmarkRoundTrip(b *testing.B) {
	long := strings.Repeat("What comes in with the tide, and what goes out? ", 2000) // 100 kB
	for _, c := range []struct{ name, body string }{
		{"plain", plainCall},
		{"stream", streamCall},
		{"stream/prompt=100kB", ask(newer, body{"stream": true}, user(long), assistant("Hm."), user("Well?"))},
	} {
		b.Run("answer="+c.name, func(b *testing.B) {
			api := sim.New(sim.Config{KeepAttempts: 1})
			b.ReportAllocs()
			for b.Loop() {
				resp, err := api.RoundTrip(call{body: c.body}.request(b, "https://api.test"))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
