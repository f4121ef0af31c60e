package evenkeel_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel"
)

// instant answers without a network.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return &http.Response{StatusCode: 200, Header: http.Header{"Request-Id": {"req_1"}}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2}, nil
}

func BenchmarkTransport(b *testing.B) {
	over, err := evenkeel.New(evenkeel.Config{Base: instant{}})
	if err != nil {
		b.Fatal(err)
	}
	for name, rt := range map[string]http.RoundTripper{"bare": instant{}, "evenkeel": over} {
		b.Run(name, func(b *testing.B) {
			body := []byte(`{"model":"claude-haiku-5-5","max_tokens":64,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 800) + `"}]}`)
			b.ReportAllocs()
			for b.Loop() {
				r, _ := http.NewRequest("POST", "https://api.example/v1/messages", bytes.NewReader(body))
				r.Header["X-Api-Key"] = []string{"sk"}
				resp, err := rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
