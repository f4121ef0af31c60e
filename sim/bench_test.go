package sim_test

import (
	"io"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// The simulation must cost less than what is measured against it.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct{ name, body string }{{"plain", plainCall}, {"stream", streamCall}} {
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
