package clients

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tap is what says that a client has not retried, so it must count every
// request however the network cuts the bytes.
func TestCounter_howeverBytesAreCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{
			"POST /v1/messages", "POST /v1/messages?beta=true HTTP/1.1\r\n", "GET /v1/models", "POST ", "/v1/messages", "\r\n\r\n{}", "",
		})).Draw(t, "parts")
		stream := strings.Join(parts, "")
		p := &tap{}
		c := &counter{tap: p}
		for rest := stream; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := c.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got, want := p.requests(), strings.Count(stream, string(requestLine)); got != want {
			t.Errorf("counted %d requests in %q, want %d", got, stream, want)
		}
	})
}
