//go:build unix

package sim_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// The same bytes from the simulation and from a handler that has them ready,
// each event flushed, over one connection. cpu-ns/op is that of the process,
// with the client, which is the same for both.
func BenchmarkServe(b *testing.B) {
	for _, tokens := range []struct {
		name string
		n    int
	}{{"24", 24}, {"1000", 1000}} {
		api := sim.New(sim.Config{KeepAttempts: 1, OutputTokens: tokens.n})
		request := ask(newer, body{"stream": true, "max_tokens": 2000}, user("hi"))
		events := bytes.SplitAfter([]byte(do(b, api, "https://api.test", call{body: request}).body), []byte("\n\n"))
		ready := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			for _, event := range events {
				_, _ = w.Write(event)
				_ = http.NewResponseController(w).Flush()
			}
		})
		for _, c := range []struct {
			name    string
			handler http.Handler
		}{{"ready", ready}, {"simulation", api}} {
			b.Run("tokens="+tokens.name+"/by="+c.name, func(b *testing.B) {
				srv := httptest.NewServer(c.handler)
				tr := &http.Transport{DisableCompression: true}
				defer srv.Close()
				defer tr.CloseIdleConnections()
				begun := cpu(b)
				for b.Loop() {
					if r := do(b, tr, srv.URL, call{body: request}); r.status != http.StatusOK || r.bodyErr != nil {
						b.Fatalf("got %d (%v)", r.status, r.bodyErr)
					}
				}
				b.ReportMetric(float64(cpu(b)-begun)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// cpu is the time this process has had of the processors.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
