package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// cpu is the processor time this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGateway compares processor time per call: straight to an upstream,
// through a plain ReverseProxy, and through a gateway with every default on,
// turn by turn in one process over loopback. Client and upstream take part in
// all three, so what a proxy itself costs is the difference to straight:
//
//	net-ratio    (gateway − straight) / (plain − straight)
//	whole-ratio  gateway / plain, as a process with client and upstream sees it
//	             (smaller than what a gateway on a machine of its own would see)
//
// One op is one call of each kind.
func BenchmarkGateway(b *testing.B) {
	plainAnswer := `{"id":"msg_1","type":"message","content":[{"type":"text","text":"` + strings.Repeat("word ", 200) + `"}],"usage":{"input_tokens":1,"output_tokens":2}}`
	b.Run("answer=plain", func(b *testing.B) {
		compare(b, `{"model":"m","max_tokens":100,"messages":"`+strings.Repeat("x", 4<<10)+`"}`, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, plainAnswer)
		})
	})
	b.Run("answer=stream", func(b *testing.B) {
		compare(b, `{"model":"m","max_tokens":100,"stream":true,"messages":"`+strings.Repeat("x", 4<<10)+`"}`, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/event-stream")
			rc := http.NewResponseController(w)
			for i, e := range streamed {
				for range 1 + 20*(i&1) { // twenty pings and deltas
					if i == len(streamed)-1 {
						break
					}
					_, _ = io.WriteString(w, e)
					_ = rc.Flush()
				}
			}
			_, _ = io.WriteString(w, streamed[len(streamed)-1])
		})
	})
}

// batchOf is how many calls of one kind are made in a row: enough that the
// clock of the processor is fine enough, few enough that a busy machine
// disturbs all kinds alike.
const batchOf = 50

func compare(b *testing.B, body string, answer http.HandlerFunc) {
	up := upstream(b, answer)
	tr, err := evenkeel.New(evenkeel.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close()
	g := start(b, up, func(c *Config) { c.Transport = tr })
	base := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
	defer base.CloseIdleConnections()
	plain := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(up) }, Transport: base, BufferPool: &buffers, ErrorLog: quiet,
	})
	defer plain.Close()
	kinds := []struct {
		url  string
		took time.Duration
	}{{url: up.String()}, {url: plain.URL}, {url: (&url.URL{Scheme: "http", Host: g.addr}).String()}}
	var calls, broken int
	for b.Loop() {
		if calls++; calls%batchOf != 1 {
			continue // made with the first of the batch
		}
		for i := range kinds {
			k := &kinds[i]
			before := cpu(b)
			for range batchOf {
				broken += once(b, k.url+"/v1/messages", body)
			}
			k.took += cpu(b) - before
		}
	}
	batches := (calls + batchOf - 1) / batchOf
	per := func(i int) float64 { return float64(kinds[i].took) / float64(batches*batchOf) }
	b.ReportMetric(per(0), "straight-cpu-ns/call")
	b.ReportMetric(per(1), "plain-cpu-ns/call")
	b.ReportMetric(per(2), "gateway-cpu-ns/call")
	b.ReportMetric(per(2)/per(1), "whole-ratio")
	b.ReportMetric((per(2)-per(0))/(per(1)-per(0)), "net-ratio")
	if broken > 0 {
		b.Logf("%d calls broke (the plain proxy breaks some)", broken)
	}
}

// once makes a call and reports 1 if it broke.
func once(b *testing.B, url, body string) int {
	resp, err := caller.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 1
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 1
	}
	return 0
}
