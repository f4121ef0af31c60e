package wire

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/gateway"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// script is a stream, event by event. Its first two and the ping between them
// are held until content, which comes with the event at firstContent.
var script = []string{
	"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":9}}}\n\n",
	"event: ping\ndata: {\"type\": \"ping\"}\n\n",
	"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"One \"}}\n\n",
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\n\n",
	"event: ping\ndata: {\"type\": \"ping\"}\n\n",
	": a comment\n\n",
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\ndata: \"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"two.\"}}\n\n",
	"event: novelty\ndata: {}\n\n",
	"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"" + strings.Repeat("long ", 9000) + "\"}}\n\n",
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n",
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
}

const firstContent = 3

// withGiant is the script with an event that is passed as it comes: half of it
// is more than is held.
func withGiant() []string {
	const at = len("event: content_block_delta\ndata: ")
	giant := script[firstContent][:at] + `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"` +
		strings.Repeat("long ", stream.MaxEvent/2) + "\"}}\n\n"
	return slices.Insert(slices.Clone(script), len(script)-2, giant)
}

// lesson is a stream on its way: upstream sends a piece, and the next only
// when the caller has what it must have by then.
type lesson struct {
	stream string
	ends   []int // of the events
	cuts   []int // of the pieces
	sent   atomic.Int64
	seen   chan int    // how many bytes the caller has, after each read
	fault  chan string // what was wrong; the first counts
}

// newLesson cuts the events into pieces, where cut says.
func newLesson(events []string, cut func(ends []int) []int) *lesson {
	l := &lesson{stream: strings.Join(events, ""), seen: make(chan int, 1<<14), fault: make(chan string, 1)}
	end := 0
	for _, e := range events {
		end += len(e)
		l.ends = append(l.ends, end)
	}
	l.cuts = append(cut(l.ends), len(l.stream))
	return l
}

func (l *lesson) wrong(format string, args ...any) {
	select {
	case l.fault <- fmt.Sprintf(format, args...):
	default:
	}
}

// due is how many bytes the caller must have when n have been sent, and may
// have at most: whole events, none before content, and of an event of more than
// MaxEvent bytes all that has come.
func (l *lesson) due(n int) (due int) {
	for i, end := range l.ends {
		switch {
		case i < firstContent:
		case end <= n:
			due = end
		case n-l.ends[i-1] > stream.MaxEvent:
			return n
		}
	}
	return due
}

// send is the upstream. It gives up when something is wrong.
func (l *lesson) send(w io.Writer, flush func() error) {
	seen, from := 0, 0
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for _, cut := range l.cuts {
		l.sent.Store(int64(cut))
		if _, err := io.WriteString(w, l.stream[from:cut]); err != nil {
			l.wrong("after %d bytes: %v", from, err)
			return
		}
		if err := flush(); err != nil {
			l.wrong("after %d bytes: %v", cut, err)
			return
		}
		from = cut
		for seen < l.due(cut) {
			select {
			case seen = <-l.seen:
			case <-late.C:
				l.wrong("%d bytes were sent, and the caller has %d: something waits for the next", cut, seen)
				return
			}
		}
	}
}

// take is the caller.
func (l *lesson) take(body io.Reader) {
	var got []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := body.Read(buf)
		got = append(got, buf[:n]...)
		if most := l.due(int(l.sent.Load())); len(got) > most {
			l.wrong("the caller has %d bytes where whole events end at %d", len(got), most)
		}
		if n > 0 {
			l.seen <- len(got)
		}
		if err != nil {
			if err != io.EOF || string(got) != l.stream {
				l.wrong("the stream ended with %v after %d of %d bytes", err, len(got), len(l.stream))
			}
			return
		}
	}
}

// ServeHTTP makes a lesson an upstream on a socket.
func (l *lesson) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	l.send(w, http.NewResponseController(w).Flush)
}

// RoundTrip makes it one without.
func (l *lesson) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	pr, pw := io.Pipe()
	go func() {
		l.send(pw, func() error { return nil })
		_ = pw.Close()
	}()
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1, Body: pr, Request: r,
	}, nil
}

// served puts a handler on a socket, and returns its address and a transport
// that speaks to it.
func served(t *testing.T, h http.Handler, http2 bool) (string, http.RoundTripper) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	if s.EnableHTTP2 = http2; http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL, s.Client().Transport
}

// throughGateway puts a gateway in front of an upstream.
func throughGateway(t *testing.T, upstream string, cfg evenkeel.Config) (string, http.RoundTripper) {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Transport: transport(t, cfg), Upstream: u})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, listener) }()
	client := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String(), client
}

// ways are those between a caller and upstream.
var ways = map[string]func(*testing.T, *lesson, evenkeel.Config) (string, http.RoundTripper){
	"library": func(t *testing.T, l *lesson, cfg evenkeel.Config) (string, http.RoundTripper) {
		cfg.Base = l
		return "http://api.test", transport(t, cfg)
	},
	"library, HTTP/1.1": func(t *testing.T, l *lesson, cfg evenkeel.Config) (at string, _ http.RoundTripper) {
		at, cfg.Base = served(t, l, false)
		return at, transport(t, cfg)
	},
	"library, HTTP/2": func(t *testing.T, l *lesson, cfg evenkeel.Config) (at string, _ http.RoundTripper) {
		at, cfg.Base = served(t, l, true)
		return at, transport(t, cfg)
	},
	// To its callers the gateway speaks HTTP/1.1 only.
	"gateway, HTTP/1.1": func(t *testing.T, l *lesson, cfg evenkeel.Config) (at string, _ http.RoundTripper) {
		at, cfg.Base = served(t, l, false)
		return throughGateway(t, at, cfg)
	},
	"gateway, HTTP/2 upstream": func(t *testing.T, l *lesson, cfg evenkeel.Config) (at string, _ http.RoundTripper) {
		at, cfg.Base = served(t, l, true)
		return throughGateway(t, at, cfg)
	},
}

// TestStreams_inLockStep: every event is in the caller's hands before the
// next leaves upstream, and never half of one, however they are chopped, and
// whether the stream could be gone on with or not. From the first content on,
// that is: what comes before is held. An event too large to be held is in the
// caller's hands as far as it has left upstream.
func TestStreams_inLockStep(t *testing.T) {
	crlf := slices.Clone(script)
	for i := range crlf {
		crlf[i] = strings.ReplaceAll(crlf[i], "\n", "\r\n")
	}
	for kind, events := range map[string][]string{"LF": script, "CRLF": crlf, "with a giant": withGiant()} {
		for _, resume := range []bool{false, true} {
			for how, cut := range choppings {
				for way, open := range ways {
					t.Run(fmt.Sprintf("%s/%s/%s/resume=%v", way, kind, how, resume), func(t *testing.T) {
						t.Parallel()
						l := newLesson(events, cut)
						at, rt := open(t, l, evenkeel.Config{MaxAttempts: 1, Stream: evenkeel.Stream{Resume: resume}})
						resp, err := rt.RoundTrip(request(t, at, streaming))
						if err != nil {
							t.Fatal(err)
						}
						l.take(resp.Body)
						_ = resp.Body.Close()
						select {
						case what := <-l.fault:
							t.Error(what)
						default:
						}
					})
				}
			}
		}
	}
}

// choppings say where the pieces of a stream end, beside its end.
var choppings = map[string]func(ends []int) []int{
	"an event at a time": func(ends []int) []int { return ends[:len(ends)-1] },
	"byte by byte": func(ends []int) (cuts []int) {
		for i := 1; i < ends[firstContent+6]; i++ { // the long event is left out: 45,000 system calls
			cuts = append(cuts, i)
		}
		return append(cuts, ends[:len(ends)-1][firstContent+6:]...)
	},
	"in two halves": func(ends []int) (cuts []int) {
		from := 0
		for _, end := range ends {
			cuts = append(cuts, (from+end)/2, end)
			from = end
		}
		return cuts[:len(cuts)-1]
	},
	"with half of the next": func(ends []int) (cuts []int) {
		from := 0
		for _, end := range ends {
			cuts = append(cuts, (from+end)/2)
			from = end
		}
		return cuts
	},
	"without its last byte": func(ends []int) (cuts []int) {
		for _, end := range ends {
			cuts = append(cuts, end-1)
		}
		return cuts
	},
	"in pieces of 100,003 bytes": func(ends []int) (cuts []int) { // of the giant; other events come whole
		from := 0
		for _, end := range ends {
			for at := from + 100_003; at < end; at += 100_003 {
				cuts = append(cuts, at)
			}
			cuts = append(cuts, end)
			from = end
		}
		return cuts[:len(cuts)-1]
	},
	"three at a time": func(ends []int) (cuts []int) {
		for i := 2; i < len(ends)-1; i += 3 {
			cuts = append(cuts, ends[i])
		}
		return cuts
	},
	"at random": func(ends []int) (cuts []int) {
		random := rand.New(rand.NewPCG(1, 2))
		for at := 0; ; {
			if at += 1 + random.IntN(120); at >= ends[firstContent+6] {
				return cuts
			}
			cuts = append(cuts, at)
		}
	},
}
