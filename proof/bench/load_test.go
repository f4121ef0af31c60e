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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// roleTicker is a child that streams at a pace, and writes into each event
// when it left.
const roleTicker = "ticker"

// tickerQuery is what newTicker reads: so many events, so far apart, then
// silence for so long before the message ends; over HTTP/2 and TLS, as the API
// is reached, or over plain HTTP/1.1.
func tickerQuery(events int, pace, silence time.Duration, http2 bool) string {
	return "?" + url.Values{
		"events": {strconv.Itoa(events)}, "pace": {pace.String()}, "silence": {silence.String()}, "http2": {strconv.FormatBool(http2)},
	}.Encode()
}

func newTicker(q url.Values) (*served, error) {
	n, err := strconv.Atoi(q.Get("events"))
	pace, err1 := time.ParseDuration(q.Get("pace"))
	silence, err2 := time.ParseDuration(q.Get("silence"))
	if err := errors.Join(err, err1, err2); err != nil {
		return nil, err
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		tick(r.Context(), w, n, pace, silence)
	})
	if q.Get("http2") != "true" {
		return handled(h), nil
	}
	return &served{scheme: "https", serve: func(ctx context.Context, l net.Listener) error {
		s := httptest.NewUnstartedServer(h)
		_ = s.Listener.Close()
		s.Listener, s.EnableHTTP2 = l, true
		s.StartTLS()
		<-ctx.Done()
		s.CloseClientConnections()
		s.Close()
		return nil
	}}, nil
}

// tick writes the stream.
func tick(ctx context.Context, w http.ResponseWriter, n int, pace, silence time.Duration) {
	whole := strings.SplitAfter(events(0), "\n\n")
	rc := http.NewResponseController(w)
	_, _ = io.WriteString(w, whole[0]+whole[1])
	due := time.Now()
	for k := range n {
		time.Sleep(time.Until(due))
		due = due.Add(pace)
		_, err := fmt.Fprintf(w, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%d %d \"}}\n\n", k, time.Now().UnixNano())
		if err != nil || rc.Flush() != nil {
			return
		}
	}
	select {
	case <-time.After(silence):
		_, _ = io.WriteString(w, strings.Join(whole[2:], ""))
	case <-ctx.Done():
	}
}

// followed is what one stream brought.
type followed struct {
	events []timed
	pings  int
}

// timed is an event: when it left upstream, and how many milliseconds later it
// was read.
type timed struct {
	left time.Time
	late float64
}

var textOf = []byte(`"text":"`)

// follow follows a stream of so many events to its end, and calls came at the
// first. Every event must be there, in its order.
func follow(ctx context.Context, addr string, events int, came func()) (f followed, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return f, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := sendRequest(conn, addr); err != nil {
		return f, err
	}
	f.events = make([]timed, 0, events)
	wire := &clocked{Reader: conn}
	for lines := bufio.NewReaderSize(wire, 1<<10); ; {
		line, err := lines.ReadSlice('\n')
		switch {
		case err != nil:
			return f, fmt.Errorf("after %d events: %w", len(f.events), err)
		case bytes.HasPrefix(line, []byte("event: ping")):
			f.pings++
		case bytes.HasPrefix(line, []byte("event: message_stop")):
			if len(f.events) != events {
				return f, fmt.Errorf("ended after %d events, want %d", len(f.events), events)
			}
			return f, nil
		case bytes.HasPrefix(line, []byte("event: error")):
			return f, fmt.Errorf("an error event after %d events", len(f.events))
		}
		_, text, ok := bytes.Cut(line, textOf)
		if !ok || text[0] == '"' {
			continue
		}
		var k, left int64
		if _, err := fmt.Sscan(string(text), &k, &left); err != nil || k != int64(len(f.events)) {
			return f, fmt.Errorf("event %d is %q, %w", len(f.events), text, err)
		}
		if f.events = append(f.events, timed{time.Unix(0, left), float64(wire.at.UnixNano()-left) / 1e6}); k == 0 {
			came()
		}
	}
}

// forgive counts the streams that broke, and returns the errors of those that
// may not. The plain proxy sends a request on before it has read it, and
// breaks a stream now and then because of that.
func (c *child) forgive(errs []error) error {
	c.calls.Add(int64(len(errs)))
	for i, err := range errs {
		if err == nil {
			continue
		}
		c.broken.Add(1)
		if c.frail {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// flow is what streams that flow have shown.
type flow struct {
	cpu      float64 // of the proxy per event, microseconds; of upstream itself where there is none
	p50, p99 float64 // lateness, milliseconds
}

// measureFlow follows n streams of events at a pace through c, which is the
// upstream or a proxy. They are opened one after the other within the first
// quarter of the time. What is told is of the rest, in which all of them flow:
// a thousand connections that are made at once are another load.
func measureFlow(tb testing.TB, c *child, n, events int, pace time.Duration) flow {
	tb.Helper()
	f, err := flowOf(c, n, events, pace)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func flowOf(c *child, n, events int, pace time.Duration) (flow, error) {
	addr := strings.TrimPrefix(c.url, "http://")
	all, errs := make([]followed, n), make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	length := pace * time.Duration(events)
	from, to := start.Add(length*3/8), start.Add(length*15/16)
	for i := range n {
		wg.Go(func() {
			time.Sleep(time.Until(start.Add(length / 4 * time.Duration(i) / time.Duration(n))))
			all[i], errs[i] = follow(context.Background(), addr, events, func() {})
		})
	}
	time.Sleep(time.Until(from))
	before, err := c.cpu()
	time.Sleep(time.Until(to))
	after, err1 := c.cpu()
	wg.Wait()
	if err := errors.Join(err, err1, c.forgive(errs)); err != nil {
		return flow{}, err
	}
	var late []float64
	for _, f := range all {
		for _, e := range f.events {
			if e.left.After(from) && e.left.Before(to) {
				late = append(late, e.late)
			}
		}
	}
	if len(late) == 0 {
		return flow{}, errors.New("no event came while all streams flowed")
	}
	slices.Sort(late)
	return flow{(after - before) / float64(len(late)), late[len(late)/2], late[len(late)*99/100]}, nil
}

// holdIdle opens n streams that speak once and are silent then, calls held
// when all have spoken, and returns what they brought in the end.
func holdIdle(ctx context.Context, tb testing.TB, c *child, n int, held func()) []followed {
	tb.Helper()
	addr := strings.TrimPrefix(c.url, "http://")
	all, errs := make([]followed, n), make([]error, n)
	var wg sync.WaitGroup
	var spoken atomic.Int64
	gate, ready := make(chan struct{}, 64), make(chan struct{}) // so many requests at a time
	for i := range n {
		gate <- struct{}{}
		wg.Go(func() {
			open := true
			pass := func() {
				if open {
					open = false
					<-gate
				}
			}
			all[i], errs[i] = follow(ctx, addr, 1, func() {
				if pass(); spoken.Add(1) == int64(n) {
					close(ready)
				}
			})
			pass()
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	select {
	case <-ready:
		held()
	case <-over:
	}
	<-over
	if err := c.forgive(errs); err != nil {
		tb.Fatalf("%d of %d streams spoke: %.500v", spoken.Load(), n, err)
	}
	return all
}

// goroutinesEnd waits until a proxy whose callers have gone has none left but
// those it began with.
func goroutinesEnd(tb testing.TB, c *child) {
	tb.Helper()
	const own = 12
	var n float64
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if n, err = c.ask("goroutines"); err != nil {
			tb.Fatal(err)
		}
		if n <= own {
			return
		}
	}
	tb.Errorf("%v goroutines are left", n)
}

// Streams that flow lose nothing, keep their order, and leave nothing behind;
// so do those that are silent. What they cost is told, and asserted in make
// prove, where there are fifty times as many.
func TestGateway_manyStreams(t *testing.T) {
	const streams, events, idle, pace = 50, 16, 200, 100 * time.Millisecond
	ours := startChild(t, roleGateway, startChild(t, roleTicker, tickerQuery(events, pace, 0, false)).url)
	got := measureFlow(t, ours, streams, events, pace)
	t.Logf("%d streams: %.0f µs of CPU an event, half of them late by less than %.2f ms, 99%% by less than %.2f ms", streams, got.cpu, got.p50, got.p99)
	goroutinesEnd(t, ours)

	silent := startChild(t, roleGateway, startChild(t, roleTicker, tickerQuery(1, 0, 2*time.Second, false)).url)
	before, err := silent.ask("memory")
	if err != nil {
		t.Fatal(err)
	}
	holdIdle(t.Context(), t, silent, idle, func() {
		during, err := silent.ask("memory")
		if err != nil {
			t.Error(err)
		}
		t.Logf("%d silent streams: %.0f KB each", idle, (during-before)/idle/1024)
	})
	goroutinesEnd(t, silent)
}

// round is what streams have shown straight from upstream, by a plain proxy
// and through the gateway; and beside, half of them by each at the same time:
// then whatever else the machine does makes both of them late.
type round struct {
	straight, plain, ours   flow
	besidePlain, besideOurs flow
}

// cpu and tail are ratios of gateway to plain proxy; added is how many
// milliseconds later half of the events come than straight from upstream.
func (r round) cpu() float64   { return r.ours.cpu / r.plain.cpu }
func (r round) tail() float64  { return r.besideOurs.p99 / r.besidePlain.p99 }
func (r round) added() float64 { return r.ours.p50 - r.straight.p50 }

// rig is an upstream and the two proxies in front of it.
type rig struct {
	up, plain, ours *child
	streams, events int
	pace            time.Duration
	rounds          int
}

func newRig(tb testing.TB, streams, events int, pace time.Duration) *rig {
	tb.Helper()
	up := startChild(tb, roleTicker, tickerQuery(events, pace, 0, false))
	r := &rig{up: up, plain: startChild(tb, rolePlain, up.url), ours: startChild(tb, roleGateway, up.url), streams: streams, events: events, pace: pace}
	r.round(tb) // warms up
	return r
}

// round measures all three, in an order that changes, so that neither proxy
// always comes first.
func (r *rig) round(tb testing.TB) (got round) {
	tb.Helper()
	got.straight = measureFlow(tb, r.up, r.streams, r.events, r.pace)
	if r.rounds++; r.rounds%2 == 0 {
		got.ours = measureFlow(tb, r.ours, r.streams, r.events, r.pace)
	}
	got.plain = measureFlow(tb, r.plain, r.streams, r.events, r.pace)
	if r.rounds%2 == 1 {
		got.ours = measureFlow(tb, r.ours, r.streams, r.events, r.pace)
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		got.besidePlain, err = flowOf(r.plain, r.streams/2, r.events, r.pace)
	}()
	got.besideOurs = measureFlow(tb, r.ours, r.streams/2, r.events, r.pace)
	if <-done; err != nil {
		tb.Fatal(err)
	}
	return got
}

// BenchmarkGatewayStreams follows a thousand streams of ten events a second for
// four seconds, in turns. Promised are a cpu-ratio of at most 1.3, less than
// 0.5 added-p50-ms, and a p99-ratio of at most 1.5.
func BenchmarkGatewayStreams(b *testing.B) {
	r := newRig(b, 1000, 40, 100*time.Millisecond)
	var cpu, added, tail []float64
	for b.Loop() {
		got := r.round(b)
		cpu, added, tail = append(cpu, got.cpu()), append(added, got.added()), append(tail, got.tail())
	}
	b.ReportMetric(0, "ns/op") // of a round: says nothing
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(median(added), "added-p50-ms")
	b.ReportMetric(median(tail), "p99-ratio")
}
