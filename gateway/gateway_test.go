package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/backoff"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && !settles(before) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// settles reports whether the goroutines return to n.
func settles(n int) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= n {
			return true
		}
	}
	return false
}

// upstream serves h in the place of the API.
func upstream(t testing.TB, h http.HandlerFunc) *url.URL {
	t.Helper()
	srv := httptest.NewUnstartedServer(h) // a nil h is never called
	srv.Config.ErrorLog = quiet
	srv.Start()
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// transport is what a gateway is used with. It retries at once, so that tests
// which are not about waiting do not.
func transport(t testing.TB) *evenkeel.Transport {
	t.Helper()
	tr, err := evenkeel.New(evenkeel.Config{Backoff: backoff.Exponential{Base: time.Microsecond, Max: time.Microsecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// running is a gateway on a socket.
type running struct {
	*Gateway
	addr string
	stop context.CancelFunc
	done chan error // what Serve returned
}

// start serves a gateway in front of up until the test ends or stop is called.
func start(t testing.TB, up *url.URL, change func(*Config)) *running {
	t.Helper()
	cfg := Config{Transport: transport(t), Upstream: up, Drain: Drain{Grace: patience}}
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Gateway: g, addr: l.Addr().String(), stop: stop, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- g.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
		caller.CloseIdleConnections()
	})
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// caller neither asks for compression nor follows redirects.
var caller = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// request makes a request to the gateway; headers are name, value, name, value.
func (r *running) request(t testing.TB, method, path, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
		req.Header.Del("Host")
	}
	return req
}

// quiet discards what a server or proxy of a test reports.
var quiet = log.New(io.Discard, "", 0)

// reply is an answer that has been read.
type reply struct {
	*http.Response
	body []byte
}

func do(t testing.TB, req *http.Request) reply {
	t.Helper()
	resp, err := caller.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *http.Response) reply {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp, b}
}

// raw sends bytes as they are and reads one answer to a request with method.
func (r *running) raw(t testing.TB, method, bytes string) reply {
	t.Helper()
	conn := r.dial(t)
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func (r *running) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// wantOwn checks that got is an answer of ours, complete in every field.
func wantOwn(t testing.TB, got reply, status int, kind string, code evenkeel.Code) {
	t.Helper()
	if got.StatusCode != status {
		t.Errorf("got status %d, want %d: %s", got.StatusCode, status, got.body)
	}
	var e struct {
		Type  string
		Error struct {
			Type, Message string
			Details       struct {
				ErrorCode string `json:"error_code"`
			}
		}
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(got.body, &e); err != nil {
		t.Fatalf("got body %q: %v", got.body, err)
	}
	if e.Type != "error" || e.Error.Type != kind || e.Error.Details.ErrorCode != string(code) || e.Error.Message == "" {
		t.Errorf("got body %s, want an error of type %s with code %s and a message", got.body, kind, code)
	}
	if reason := got.Header.Get(evenkeel.HeaderReason); reason != string(code) {
		t.Errorf("got evenkeel-reason %q, want %q", reason, code)
	}
	id := got.Header.Get(evenkeel.HeaderID)
	if len(id) != len("ek_")+16 || got.Header.Get(evenkeel.HeaderAttempts) == "" || got.Header.Get(evenkeel.HeaderQueued) == "" {
		t.Errorf("got headers %v, want evenkeel-id, -attempts and -queued-ms", got.Header)
	}
	if e.RequestID == "" || e.RequestID != got.Header.Get("Request-Id") {
		t.Errorf("got request_id %q and header %q, want the same in both", e.RequestID, got.Header.Get("Request-Id"))
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("got content type %q, want application/json", ct)
	}
}

// soon fails the test unless ch is ready within patience.
func soon[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened for %v", what, patience)
	}
	return v
}

func TestNew_namesAllMistakes(t *testing.T) {
	up := &url.URL{Scheme: "https", Host: "api.anthropic.com"}
	sum := strings.Repeat("0a", 32)
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"nothing is set", func(c *Config) { *c = Config{} }, []string{"Config.Transport", "Config.Upstream"}},
		{"no such scheme", func(c *Config) { c.Upstream = &url.URL{Scheme: "ftp", Host: "x"} }, []string{`"ftp"`}},
		{"no host", func(c *Config) { c.Upstream = &url.URL{Scheme: "http"} }, []string{"no host"}},
		{"password in the URL", func(c *Config) { c.Upstream = &url.URL{Scheme: "http", Host: "x", User: url.User("a")} }, []string{"password"}},
		{"query", func(c *Config) { c.Upstream = &url.URL{Scheme: "http", Host: "x", RawQuery: "a"} }, []string{"query"}},
		{"key with its line end", func(c *Config) { c.APIKey = "sk-1\n" }, []string{"Config.APIKey"}},
		{"host is a URL", func(c *Config) { c.Hosts = []string{"http://gateway/"} }, []string{"Config.Hosts"}},
		{"origin with a path", func(c *Config) { c.Origins = []string{"https://app.example/"} }, []string{"Config.Origins"}},
		{"origin with a wildcard", func(c *Config) { c.Origins = []string{"https://*.example"} }, []string{"Config.Origins"}},
		{"client without a name", func(c *Config) { c.Clients = []Client{{TokenSHA256: sum}} }, []string{"Clients[0].Name"}},
		{"token instead of its hash", func(c *Config) { c.Clients = []Client{{Name: "a", TokenSHA256: "tok-123"}} }, []string{"Clients[0].TokenSHA256"}},
		{"two with one token", func(c *Config) { c.Clients = []Client{{Name: "a", TokenSHA256: sum}, {Name: "b", TokenSHA256: sum}} }, []string{"Clients[1].TokenSHA256"}},
		{"no such class", func(c *Config) { c.Clients = []Client{{Name: "a", TokenSHA256: sum, Priority: "high"}} }, []string{`"high"`}},
		{"wildcard in the middle", func(c *Config) { c.Clients = []Client{{Name: "a", TokenSHA256: sum, Paths: []string{"/v1/*/x"}}} }, []string{"Paths"}},
		{"negative bounds", func(c *Config) { c.MaxHeader, c.Timeouts.Body, c.Drain.Delay = -1, -1, -1 }, []string{"MaxHeader", "Timeouts.Body", "Drain.Delay"}},
	} {
		cfg := Config{Transport: http.DefaultTransport, Upstream: up}
		c.change(&cfg)
		_, err := New(cfg)
		if err == nil {
			t.Errorf("%s: got no error", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want it to name %s", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "tok-123") || strings.Contains(err.Error(), "sk-1") {
			t.Errorf("%s: %q tells a credential", c.name, err)
		}
	}
}

func TestReconfigure_leavesCallsInFlightAlone(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 1)
	old := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "old")
	})
	fresh := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "new") })
	g := start(t, old, nil)
	answer := make(chan reply, 1)
	req := g.request(t, "GET", "/v1/files", "")
	go func() {
		resp, err := caller.Do(req)
		if err != nil {
			close(answer)
			return
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answer <- reply{resp, b}
	}()
	soon(t, "call arrives", arrived)
	if err := g.Reconfigure(Config{Transport: transport(t), Upstream: fresh}); err != nil {
		t.Fatal(err)
	}
	if got := do(t, g.request(t, "GET", "/v1/files", "")); string(got.body) != "new" {
		t.Errorf("got %q after the change, want new", got.body)
	}
	if err := g.Reconfigure(Config{}); err == nil {
		t.Error("got no error for an empty configuration")
	}
	if got := do(t, g.request(t, "GET", "/v1/files", "")); string(got.body) != "new" {
		t.Errorf("got %q after a change that failed, want new", got.body)
	}
	close(release)
	if got := soon(t, "first call ends", answer); got.Response == nil || string(got.body) != "old" {
		t.Errorf("got %q for the call in flight, want old", got.body)
	}
}

// exposedListener is a listener that says it can be reached from elsewhere.
type exposedListener struct{ net.Listener }

func (exposedListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 4290} }

func TestServe_refusesToLendTheKeyToANetwork(t *testing.T) {
	up := &url.URL{Scheme: "https", Host: "api.anthropic.com"}
	g, err := New(Config{Transport: http.DefaultTransport, Upstream: up, APIKey: "sk-ant-0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	if _, ok := errors.AsType[*OpenError](g.Serve(t.Context(), exposedListener{l})); !ok {
		t.Error("got no OpenError with a key, no clients and a public listener")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestReconfigure_refusesToLendTheKeyToANetwork(t *testing.T) {
	up := upstream(t, func(http.ResponseWriter, *http.Request) {})
	g, err := New(Config{Transport: http.DefaultTransport, Upstream: up})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	l := listen(t)
	go func() { done <- g.Serve(ctx, exposedListener{l}) }()
	r := &running{Gateway: g, addr: l.Addr().String()}
	do(t, r.request(t, "GET", "/", "")) // it serves
	_, open := errors.AsType[*OpenError](g.Reconfigure(Config{Transport: http.DefaultTransport, Upstream: up, APIKey: "sk-ant-0123456789abcdef"}))
	if !open {
		t.Error("got no OpenError for a key that appears while others can call")
	}
	stop()
	if err := soon(t, "Serve returns", done); err != nil {
		t.Error(err)
	}
}

func TestServe_refusesToCallItself(t *testing.T) {
	l := listen(t)
	up, err := url.Parse("http://localhost:" + fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{Transport: http.DefaultTransport, Upstream: up})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "circles") {
		t.Errorf("got %v, want an error about going round in circles", err)
	}
}

func TestSecret_showsItsEndOnly(t *testing.T) {
	const s = Secret("sk-ant-api03-0123456789-wxyz")
	asJSON, err := json.Marshal(map[string]Secret{"key": s})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{APIKey: s}
	texts := []string{string(asJSON), s.LogValue().String(), s.String(), s.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%t"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, cfg), fmt.Sprintf(verb, &cfg))
	}
	for _, text := range texts {
		if strings.Contains(text, "0123") || strings.Contains(text, "sk-ant") || bytes.Contains([]byte(text), fmt.Appendf(nil, "%x", "0123")) {
			t.Errorf("%q tells the secret", text)
		}
	}
	if got, want := s.String(), "…wxyz"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Secret("short").String(); strings.ContainsAny(got, "short") {
		t.Errorf("got %q for a short secret, want none of it", got)
	}
	if got := Secret("").String(); got != "" {
		t.Errorf("got %q for no secret, want nothing", got)
	}
}
