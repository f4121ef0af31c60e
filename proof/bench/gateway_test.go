package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/gateway"
)

// Environment of the child processes, which are this test binary again: a
// proxy of its own each, so that its CPU time is counted apart.
const (
	envRole     = "EVENKEEL_BENCH_ROLE"
	envUpstream = "EVENKEEL_BENCH_UPSTREAM"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if err := serve(role, os.Getenv(envUpstream)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// serve is a child: it prints its address, answers each line it reads with a
// number, and ends with its input.
func serve(role, upstream string) error {
	u, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	s, err := part(role, u)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l) }()
	fmt.Println(s.scheme + "://" + l.Addr().String())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, err := s.tell(in.Text())
		if err != nil {
			stop()
			return err
		}
		fmt.Println(n)
	}
	stop()
	return <-ended
}

// tell answers a question of the parent.
func (s *served) tell(what string) (int64, error) {
	switch what {
	case "cpu":
		used, err := cpuUsed()
		return used.Microseconds(), err
	case "memory":
		return resident()
	case "goroutines":
		if s.base != nil {
			s.base.CloseIdleConnections()
		}
		return int64(runtime.NumGoroutine()), nil
	}
	return 0, fmt.Errorf("nobody knows %q", what)
}

// resident is the memory of this process that is in use, in bytes.
func resident() (int64, error) {
	debug.FreeOSMemory()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var all, pages int64
	_, err = fmt.Sscan(string(raw), &all, &pages)
	return pages * int64(os.Getpagesize()), err
}

// cpuUsed is the CPU time of this process so far, its own and the system's.
func cpuUsed() (time.Duration, error) {
	var use syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano()), err
}

// served is what a child does.
type served struct {
	scheme string
	serve  func(context.Context, net.Listener) error
	base   interface{ CloseIdleConnections() } // its connections upstream; nil if it has none
}

// handled serves with net/http until ctx ends.
func handled(h http.Handler) *served {
	return &served{scheme: "http", serve: func(ctx context.Context, l net.Listener) error {
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

// part returns what a child of that role does.
func part(role string, u *url.URL) (*served, error) {
	var h http.Handler
	var err error
	switch role {
	case roleSim:
		h, err = simulated(u.Query())
	case roleWriter:
		h, err = writer(u.Path)
	case roleTicker:
		return newTicker(u.Query())
	case roleGateway:
		return newGateway(u)
	default:
		return newPlain(u), nil
	}
	if err != nil {
		return nil, err
	}
	return handled(h), nil
}

// newGateway is ours, with every default on.
func newGateway(u *url.URL) (*served, error) {
	tr, err := evenkeel.New(evenkeel.Config{})
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(gateway.Config{Transport: tr, Upstream: u, Drain: gateway.Drain{Grace: 5 * time.Second}}) // thousands that hang up at once are noticed one by one
	if err != nil {
		return nil, err
	}
	return &served{scheme: "http", serve: g.Serve, base: tr}, nil
}

// newPlain is what the standard library offers, with as many idle connections
// as ours.
func newPlain(u *url.URL) *served {
	base := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, ForceAttemptHTTP2: true}
	s := handled(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, Transport: base})
	s.base = base
	return s
}

// The roles of a child.
const (
	roleGateway = "gateway"
	rolePlain   = "plain"
)

// child is a proxy in a process of its own.
type child struct {
	url    string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	client *http.Client
	frail  bool // a plain proxy, which breaks a stream now and then

	calls, broken atomic.Int64
}

func startChild(b testing.TB, role, upstream string) *child {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	c := &child{cmd: exec.Command(self), frail: role == rolePlain, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	c.cmd.Env = append(os.Environ(), envRole+"="+role, envUpstream+"="+upstream)
	if role == roleGateway {
		c.cmd.Stderr = os.Stderr // the plain one tells of each stream it breaks
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.client.CloseIdleConnections()
		_ = c.in.Close()
		if err := c.cmd.Wait(); err != nil {
			b.Errorf("%s: %v", role, err)
		}
	})
	if c.url, err = c.line(); err != nil {
		b.Fatal(err)
	}
	return c
}

func (c *child) line() (string, error) {
	s, err := c.out.ReadString('\n')
	return strings.TrimSpace(s), err
}

// cpu is the CPU time the child has used, in microseconds.
func (c *child) cpu() (float64, error) { return c.ask("cpu") }

// ask asks the child for a number.
func (c *child) ask(what string) (float64, error) {
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		return 0, err
	}
	s, err := c.line()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(s, 64)
}

// load makes calls, eight at a time, and returns the CPU time of the child per
// call in microseconds.
func (c *child) load(body []byte) (float64, error) {
	const workers, each = 8, 125
	before, err := c.cpu()
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				c.calls.Add(1)
				if err := c.call(body); err != nil {
					c.broken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	after, err := c.cpu()
	return (after - before) / (workers * each), err
}

// request is one that the API accepts.
func (c *child) request(body []byte) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, c.url+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "Anthropic-Version": {"2023-06-01"}, "X-Api-Key": {"key"},
		"Accept-Encoding": {"identity"},
	}
	return r, nil
}

func (c *child) call(body []byte) error {
	r, err := c.request(body)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

// answers are what the upstream of the gateway says: a plain message and a
// stream of a hundred events.
var answers = map[string]struct{ contentType, body string }{
	"plain":  {"application/json", message},
	"stream": {"text/event-stream", events(100)},
}

func events(n int) string {
	var b strings.Builder
	b.WriteString("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-opus-5-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n")
	b.WriteString("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
	for range n {
		b.WriteString("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"and so on \"}}\n\n")
	}
	b.WriteString("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n")
	b.WriteString("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":100}}\n\n")
	b.WriteString("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	return b.String()
}

// BenchmarkGateway measures the CPU of a call through the gateway and through
// a plain httputil.ReverseProxy, in turns, under the same load. ratio is the
// one that is promised: at most 1.25.
//
// The plain proxy sends a request on before it has read it, and breaks a
// stream now and then because of that; the share is reported. The gateway must
// break none.
func BenchmarkGateway(b *testing.B) {
	for _, name := range []string{"plain", "stream"} {
		b.Run("body=4KB/answer="+name, func(b *testing.B) {
			up := httptest.NewServer(answering(name))
			defer up.Close()
			ours, plain := startChild(b, roleGateway, up.URL), startChild(b, rolePlain, up.URL)
			body := request(4 << 10)
			took := map[*child][]float64{}
			round := func() {
				// In both orders, so that neither always comes first.
				for _, c := range []*child{ours, plain, plain, ours} {
					us, err := c.load(body)
					if err != nil {
						b.Fatal(err)
					}
					took[c] = append(took[c], us)
				}
			}
			round() // warms up
			clear(took)
			for b.Loop() {
				for range 5 {
					round()
				}
			}
			if n := ours.broken.Load(); n > 0 {
				b.Errorf("%d of %d calls through the gateway broke", n, ours.calls.Load())
			}
			b.ReportMetric(0, "ns/op") // of a round: says nothing
			b.ReportMetric(median(took[ours]), "gateway-cpu-us")
			b.ReportMetric(median(took[plain]), "plain-cpu-us")
			b.ReportMetric(median(took[ours])/median(took[plain]), "ratio")
			b.ReportMetric(100*float64(plain.broken.Load())/float64(plain.calls.Load()), "%-broken-by-plain")
		})
	}
}

func answering(name string) http.Handler {
	answer := answers[name]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", answer.contentType)
		w.Header().Set("Request-Id", "req_1")
		_, _ = io.WriteString(w, answer.body)
	})
}
