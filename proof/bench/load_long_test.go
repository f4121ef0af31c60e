//go:build prove

package bench

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestGateway_flowingStreams follows a thousand streams of ten events a second,
// straight from upstream, through a plain proxy and through the gateway, in
// turns; and half of them by each proxy at the same time, to compare how late
// the latest are.
func TestGateway_flowingStreams(t *testing.T) {
	const rounds = 5
	r := newRig(t, 1000, 80, 100*time.Millisecond)
	var cpu, added, tail []float64
	for range rounds {
		got := r.round(t)
		t.Logf("CPU an event: plain %.1f µs, gateway %.1f; late p50: straight %.3f ms, plain %.3f, gateway %.3f; p99: straight %.2f ms, plain %.2f, gateway %.2f; side by side: plain %.2f, gateway %.2f",
			got.plain.cpu, got.ours.cpu, got.straight.p50, got.plain.p50, got.ours.p50, got.straight.p99, got.plain.p99, got.ours.p99, got.besidePlain.p99, got.besideOurs.p99)
		cpu, added, tail = append(cpu, got.cpu()), append(added, got.added()), append(tail, got.tail())
	}
	if got := median(cpu); got > 1.3 {
		t.Errorf("an event costs %.2f times the CPU of a plain proxy, want at most 1.3", got)
	}
	if got := median(added); got >= 0.5 {
		t.Errorf("half of the events come %.2f ms later than straight from upstream, want less than 0.5", got)
	}
	held := 0
	for _, ratio := range tail {
		if ratio <= 1.5 {
			held++
		}
	}
	if held < rounds-1 {
		t.Errorf("99%% of the events come in %.2f times the time of a plain proxy, want at most 1.5 in all rounds but one", tail)
	}
	t.Logf("gateway to plain: CPU %.2f, p99 %.2f; half of the events come %.3f ms later than straight", median(cpu), median(tail), median(added))
	goroutinesEnd(t, r.ours)
}

// TestGateway_idleStreamsAreSmall compares the memory of streams that are silent.
func TestGateway_idleStreamsAreSmall(t *testing.T) {
	const streams, most = 2000, 64 << 10
	up := startChild(t, roleTicker, tickerQuery(1, 0, 5*time.Second, false))
	each := map[string]float64{}
	for _, role := range []string{rolePlain, roleGateway} {
		c := startChild(t, role, up.url)
		before := mustAsk(t, c, "memory")
		holdIdle(t.Context(), t, c, streams, func() { each[role] = (mustAsk(t, c, "memory") - before) / streams })
	}
	more := each[roleGateway] - each[rolePlain]
	if t.Logf("a silent stream: plain %.1f KB, gateway %.1f", each[rolePlain]/1024, each[roleGateway]/1024); more > most {
		t.Errorf("a silent stream takes %.1f KB more than in a plain proxy, want at most %d", more/1024, most>>10)
	}
}

func mustAsk(t *testing.T, c *child, what string) float64 {
	t.Helper()
	n, err := c.ask(what)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGateway_tenThousandIdleStreams are held for a minute, and kept alive by
// pings of ours. Upstream is reached over HTTP/2, as the API is: with a
// connection for each stream on both sides a process would need more open
// files than it often may have.
func TestGateway_tenThousandIdleStreams(t *testing.T) {
	const streams, silence = 10_000, 90 * time.Second
	trustTestServers(t)
	if err := moreFiles(streams + 1000); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, roleGateway, startChild(t, roleTicker, tickerQuery(1, 0, silence, true)).url)
	before := mustAsk(t, c, "memory")
	begin := time.Now()
	got := holdIdle(t.Context(), t, c, streams, func() {
		t.Logf("%d streams are open after %v; each takes %.1f KB", streams, time.Since(begin).Round(time.Millisecond), (mustAsk(t, c, "memory")-before)/streams/1024)
		if took := time.Since(begin); took > silence-time.Minute {
			t.Errorf("that leaves less than a minute in which all are held")
		}
		used := mustAsk(t, c, "cpu")
		time.Sleep(time.Minute)
		t.Logf("in a minute they cost %.0f ms of CPU", (mustAsk(t, c, "cpu")-used)/1000)
	})
	for i, f := range got {
		if f.pings < 3 { // one in twenty seconds
			t.Fatalf("stream %d heard %d pings in %v", i, f.pings, silence)
		}
	}
	goroutinesEnd(t, c)
}

// moreFiles makes sure that this process and its children may have n open
// files. Go has raised the limit as far as it goes without privileges.
func moreFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= n {
		return err
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("a process may have %d open files and needs %d: ulimit -Hn %d, as root", limit.Max, n, n)
	}
	return nil
}

// trustTestServers makes children trust the certificate of net/http/httptest.
func trustTestServers(t *testing.T) {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
}
