package sim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestPacing(t *testing.T) {
	cfg := sim.Config{FirstToken: 4 * time.Second, TokenTime: 500 * time.Millisecond, OutputTokens: 10}
	for _, c := range []struct {
		name, body     string
		headers, whole time.Duration
	}{
		{"a stream begins with the first token", streamCall, 4 * time.Second, 9 * time.Second},
		{"a plain answer comes when it is done", plainCall, 9 * time.Second, 9 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				resp, err := sim.New(cfg).RoundTrip(call{body: c.body}.request(t, "https://api.test"))
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != c.headers {
					t.Errorf("headers after %v, want %v", got, c.headers)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != c.whole {
					t.Errorf("whole after %v, want %v", got, c.whole)
				}
			})
		})
	}
}

func TestPacing_slowReaderCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		resp, err := sim.New(sim.Config{TokenTime: time.Second, OutputTokens: 10}).RoundTrip(call{body: streamCall}.request(t, "https://api.test"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Second)
		_, _ = io.Copy(io.Discard, resp.Body)
		if got, want := time.Since(start), 10*time.Second; got != want {
			t.Errorf("whole after %v, want %v: tokens are due at their time", got, want)
		}
	})
}

func TestPings_fillSilence(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   sim.Config
		body  string
		pings int
		limit time.Duration
	}{
		{
			"thinking that is not shown",
			sim.Config{TokenTime: 10 * time.Second, PingEvery: 15 * time.Second, OutputTokens: 12},
			`{"model":"claude-opus-5-5","max_tokens":100,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},"messages":[{"role":"user","content":"hi"}]}`, 1 + 2, time.Hour,
		},
		{
			"a stall with pings",
			sim.Config{Faults: []sim.Rule{{Rate: 1, Fault: sim.Fault{Kind: sim.StallAfter, Events: 1, Pings: true}}}},
			streamCall, 4, 61 * time.Second,
		},
		{
			"a stall without",
			sim.Config{Faults: []sim.Rule{{Rate: 1, Fault: sim.Fault{Kind: sim.StallAfter, Events: 3}}}},
			streamCall, 1, 61 * time.Second,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				r := do(t, sim.New(c.cfg), "https://api.test", call{body: c.body, ctx: ctx})
				if got := strings.Count(r.body, "event: ping"); got != c.pings {
					t.Errorf("got %d pings in %v, want %d:\n%s", got, r.took, c.pings, r.body)
				}
			})
		})
	}
}

// hooks records the calls of a ClientTrace.
func hooks(ctx context.Context, log *[]string) context.Context {
	add := func(name string) { *log = append(*log, name) }
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { add("GetConn " + hostPort) },
		GotConn:              func(info httptrace.GotConnInfo) { add("GotConn " + info.Conn.RemoteAddr().String()) },
		ConnectStart:         func(_, _ string) { add("ConnectStart") },
		ConnectDone:          func(_, _ string, err error) { add("ConnectDone") },
		WroteHeaders:         func() { add("WroteHeaders") },
		WroteRequest:         func(info httptrace.WroteRequestInfo) { add("WroteRequest") },
		GotFirstResponseByte: func() { add("GotFirstResponseByte") },
	})
}

func TestTrace_tellsWhatWasSent(t *testing.T) {
	const sent = "GetConn api.test:443, GotConn 127.0.0.1:5290, WroteHeaders, WroteRequest"
	for _, c := range []struct {
		kind sim.Kind
		want string
	}{
		{"", sent + ", GotFirstResponseByte"},
		{sim.Refuse, "GetConn api.test:443, ConnectStart, ConnectDone"},
		{sim.ResetBeforeHeaders, sent},
		{sim.ResetAfter, sent + ", GotFirstResponseByte"},
	} {
		var log []string
		api := sim.New(sim.Config{Faults: []sim.Rule{{Fault: sim.Fault{Kind: c.kind}, Rate: 1}}})
		r := do(t, api, "https://api.test", call{ctx: hooks(t.Context(), &log)})
		if got := strings.Join(log, ", "); got != c.want {
			t.Errorf("%q: got hooks %s, want %s", c.kind, got, c.want)
		}
		if c.kind == sim.Refuse {
			var op *net.OpError
			if !errors.Is(r.err, syscall.ECONNREFUSED) || !errors.As(r.err, &op) || op.Op != "dial" {
				t.Errorf("refused with %v, want a dial error", r.err)
			}
		}
	}
}

// Wherever a call waits, it ends when its caller leaves, and says why.
func TestCancel_isNoticedAtOnce(t *testing.T) {
	why := errors.New("had enough")
	slow := sim.Config{FirstToken: time.Minute, TokenTime: time.Minute}
	fault := func(f sim.Fault) sim.Config { return sim.Config{Faults: []sim.Rule{{Fault: f, Rate: 1}}} }
	for _, c := range []struct {
		name string
		cfg  sim.Config
		body string
	}{
		{"before the first token", slow, streamCall},
		{"between tokens", sim.Config{TokenTime: time.Minute}, streamCall},
		{"in a plain answer", slow, plainCall},
		{"hung", fault(sim.Fault{Kind: sim.Hang}), plainCall},
		{"about to hang", fault(sim.Fault{Kind: sim.Hang, After: time.Minute}), plainCall},
		{"about to be refused", fault(sim.Fault{Kind: sim.Refuse, After: time.Minute}), plainCall},
		{"about to fail", fault(sim.Fault{Status: 529, After: time.Minute}), plainCall},
		{"stalled", fault(sim.Fault{Kind: sim.StallAfter}), streamCall},
		{"stalled with pings", fault(sim.Fault{Kind: sim.StallAfter, Pings: true}), streamCall},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second, func() { cancel(why) })
				api := sim.New(c.cfg)
				r := do(t, api, "https://api.test", call{body: c.body, ctx: ctx})
				if got := errors.Join(r.err, r.bodyErr); !errors.Is(got, why) || r.took != 3*time.Second {
					t.Errorf("ended with %v after %v, want the caller's reason after 3s", got, r.took)
				}
				a := api.Attempts()[0]
				if !a.Done || !a.Canceled || a.Duration != 3*time.Second {
					t.Errorf("recorded %+v, want canceled after 3s", a)
				}
			})
		})
	}
}

func TestClose_endsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := sim.New(sim.Config{Faults: []sim.Rule{{Rate: 1, Fault: sim.Fault{Kind: sim.StallAfter}}}})
		resp, err := api.RoundTrip(call{body: streamCall}.request(t, "https://api.test"))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { _ = resp.Body.Close() })
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("read a stalled body to its end")
		}
		if a := api.Attempts()[0]; !a.Canceled || a.Duration != time.Second {
			t.Errorf("recorded %+v, want canceled after 1s", a)
		}
	})
}

func TestClose_afterTheLastEventIsNoCancel(t *testing.T) {
	api := sim.New(sim.Config{})
	resp, err := api.RoundTrip(call{body: streamCall}.request(t, "https://api.test"))
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	for !strings.Contains(string(body), "event: message_stop") {
		p := make([]byte, 4096)
		n, err := resp.Body.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, p[:n]...)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if a := api.Attempts()[0]; !a.Done || a.Canceled || a.Events != countEvents(string(body)) {
		t.Errorf("recorded %+v, want done with %d events", a, countEvents(string(body)))
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("read from a closed body")
	}
}

// stuck is a body that never comes, until it is closed.
type stuck struct{ closed chan struct{} }

func (s stuck) Read([]byte) (int, error) { <-s.closed; return 0, net.ErrClosed }
func (s stuck) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func TestRequestBody(t *testing.T) {
	t.Run("one that never comes ends with the caller", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req := call{ctx: ctx}.request(t, "https://api.test")
			req.Body = stuck{make(chan struct{})}
			if _, err := sim.New(sim.Config{}).RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
		})
	})
	t.Run("its error is the caller's to know", func(t *testing.T) {
		broken := errors.New("disk gone")
		req := call{}.request(t, "https://api.test")
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), failing{broken}))
		api := sim.New(sim.Config{})
		if _, err := api.RoundTrip(req); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
		if got := api.Attempts()[0].BodyBytes; got != 1 {
			t.Errorf("recorded %d bytes, want the 1 that came", got)
		}
	})
	t.Run("the request is not touched", func(t *testing.T) {
		req := call{}.request(t, "https://api.test")
		before := req.Header.Clone()
		resp, err := sim.New(sim.Config{}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Request != req || len(req.Header) != len(before) || req.URL.String() != "https://api.test/v1/messages" {
			t.Errorf("request is now %v %v", req.URL, req.Header)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

var (
	_ http.RoundTripper = (*sim.API)(nil)
	_ http.Handler      = (*sim.API)(nil)
)
