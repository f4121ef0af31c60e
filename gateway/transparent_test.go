package gateway

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel"
)

// seen is a request as it reached upstream.
type seen struct {
	method, target, host string
	header               http.Header
	body                 string
	trailer              http.Header
}

// recorder is an upstream that remembers the last request.
func recorder(t testing.TB) (*url.URL, func() seen) {
	last := make(chan seen, 1)
	u := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		last <- seen{r.Method, r.RequestURI, r.Host, r.Header.Clone(), string(b), r.Trailer.Clone()}
		w.WriteHeader(http.StatusNoContent)
	})
	return u, func() seen {
		t.Helper()
		return soon(t, "request reaches upstream", last)
	}
}

func TestGateway_passesTargetsByteForByte(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, nil)
	prefixed := start(t, &url.URL{Scheme: up.Scheme, Host: up.Host, Path: "/anthropic/"}, nil)
	for _, target := range []string{
		"/v1/messages?beta=true",
		"/v1/models?limit=1000",
		"/",
		"/?",
		"//",
		"//v1//messages/",
		"/v1/files/a%2Fb%2fc",
		"/v1/%6dessages/../x/./y",
		"/v1/models/claude%20x;v=1",
		"/v1/{a}|b\"<>^`\\",
		"/v1/\u00e4\u00f6",
		"/x?a=1&a=2&b=%zz&c;d&&e=%2f%2F",
		"/x?q={\"a\":1}",
		"/x?" + strings.Repeat("a=b&", 4000),
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "PATCH", "PROPFIND", "HEAD", "OPTIONS"} {
			raw := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
			g.raw(t, method, raw)
			if got := last(); got.target != target || got.method != method || got.body != "{}" {
				t.Errorf("sent %s %s, upstream got %s %s %q", method, target, got.method, got.target, got.body)
			}
		}
		prefixed.raw(t, "GET", "GET "+target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if got, want := last().target, "/anthropic"+target; got != want {
			t.Errorf("below a path: upstream got %s, want %s", got, want)
		}
	}
}

func TestGateway_passesRequestHeaders(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, nil)
	g.raw(t, "POST", strings.Join([]string{
		"POST /v1/messages?beta=true HTTP/1.1", "Host: localhost", "Content-Length: 2",
		"Anthropic-Version: 2026-10-21", "anthropic-beta: a,b", "anthropic-beta: c", "X-Unknown: 1", "X-Unknown: 2",
		"X-Api-Key: sk-1", "Authorization: Bearer sk-2", "X-Stainless-Lang: python", "Cookie: a=b",
		"X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Forwarded-Proto: https", "Via: 1.1 proxy",
		"Connection: keep-alive, X-Hop, Upgrade, HTTP2-Settings", "X-Hop: 1", "Keep-Alive: timeout=5", "Te: trailers",
		"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Proxy-Authorization: Basic x", "Expect: 100-continue",
		evenkeel.HeaderTag + ": chat", "", "{}",
	}, "\r\n"))
	got := last()
	want := http.Header{
		"Anthropic-Version": {"2026-10-21"}, "Anthropic-Beta": {"a,b", "c"}, "X-Unknown": {"1", "2"},
		"X-Api-Key": {"sk-1"}, "Authorization": {"Bearer sk-2"}, "X-Stainless-Lang": {"python"}, "Cookie": {"a=b"},
		"X-Forwarded-For": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"}, "X-Forwarded-Proto": {"https"}, "Via": {"1.1 proxy"},
		"Te": {"trailers"}, "Content-Length": {"2"}, "Accept-Encoding": {"identity"},
	}
	for name, values := range want {
		if !slices.Equal(got.header[name], values) {
			t.Errorf("upstream got %s: %q, want %q", name, got.header[name], values)
		}
	}
	for name, values := range got.header {
		if _, ok := want[name]; !ok {
			t.Errorf("upstream got %s: %q, which was not sent or is hop-by-hop", name, values)
		}
	}
	if got.host != up.Host {
		t.Errorf("upstream was addressed as %q, want %q", got.host, up.Host)
	}
}

func TestGateway_passesRequestTrailers(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, nil)
	g.raw(t, "POST", "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: abc\r\n\r\n")
	if got := last(); got.body != "{}" || got.trailer.Get("X-Sum") != "abc" {
		t.Errorf("upstream got %q with trailer %v, want {} with X-Sum: abc", got.body, got.trailer)
	}
}

func TestGateway_passesAnswers(t *testing.T) {
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	_, _ = z.Write([]byte(`{"a":1}`))
	_ = z.Close()
	for _, c := range []struct {
		name   string
		method string
		status int
		header http.Header
		body   string
	}{
		{"unknown and duplicate fields", "GET", 200, http.Header{
			"X-New": {"1", "2"}, "Request-Id": {"req_1"}, "Date": {"Mon, 01 Jan 2024 00:00:00 GMT"}, "Set-Cookie": {"a=1", "b=2"},
			"Anthropic-Ratelimit-Requests-Remaining": {"7"}, "Server": {"cloudflare"},
		}, "hello"},
		{"an error, with spaces nobody else would write", "POST", 400, http.Header{"Content-Type": {"application/json"}, "X-Should-Retry": {"false"}}, "{ \"type\" :\"error\" }\n"},
		{"413 of the edge, without a top-level type", "POST", 413, http.Header{"Content-Type": {"application/json"}}, `{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`},
		{"no content type: none is guessed", "GET", 200, http.Header{}, "<html>"},
		{"compressed although nobody asked", "GET", 200, http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"application/json"}}, compressed.String()},
		{"redirect: for the caller to follow", "GET", 307, http.Header{"Location": {"https://elsewhere.example/"}}, ""},
		{"nothing changed", "GET", 304, http.Header{"Etag": {`"x"`}}, ""},
		{"HEAD: the length of what is not sent", "HEAD", 200, http.Header{"Content-Length": {"123"}, "Content-Type": {"text/plain"}}, ""},
		{"probe of Claude Code, unknown to upstream", "HEAD", 404, http.Header{"Content-Length": {"9"}}, ""},
	} {
		up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		g := start(t, up, nil)
		got := do(t, g.request(t, c.method, "/api/hello", ""))
		if got.StatusCode != c.status || string(got.body) != c.body {
			t.Errorf("%s: got %d %q, want %d %q", c.name, got.StatusCode, got.body, c.status, c.body)
		}
		for name, values := range c.header {
			if !slices.Equal(got.Header[name], values) {
				t.Errorf("%s: got %s: %q, want %q", c.name, name, got.Header[name], values)
			}
		}
		for name := range got.Header {
			_, sent := c.header[name]
			if !sent && !strings.HasPrefix(name, "Evenkeel-") && name != "Date" && name != "Content-Length" {
				t.Errorf("%s: got %s: %q, which upstream did not send", c.name, name, got.Header[name])
			}
		}
		if got.Header.Get(evenkeel.HeaderID) == "" {
			t.Errorf("%s: got no evenkeel-id", c.name)
		}
	}
}

func TestGateway_passesEarlyHintsAndTrailers(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "abc")
	})
	g := start(t, up, nil)
	var hint string
	req := g.request(t, "GET", "/v1/files", "")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hint = fmt.Sprint(code, h.Get("Link"))
			return nil
		},
	}))
	got := do(t, req)
	if hint != "103</a>; rel=preload" {
		t.Errorf("got early hint %q, want the one of upstream", hint)
	}
	if string(got.body) != "body" || got.Trailer.Get("X-Sum") != "abc" || got.Header.Get("Link") != "" {
		t.Errorf("got %q, header %v, trailer %v; want body with trailer X-Sum: abc", got.body, got.Header, got.Trailer)
	}
}

func TestGateway_flushesEachEvent(t *testing.T) {
	next := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range streamed {
			_, _ = io.WriteString(w, e)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	g := start(t, up, nil)
	resp, err := caller.Do(g.request(t, "POST", "/v1/messages?beta=true", `{"model":"m","max_tokens":9,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	for _, want := range streamed {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(body, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q before the next event is sent", got, err, want)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v after the last event, want a clean end", rest, err)
	}
}

// streamed is a message as the API streams it.
var streamed = []string{
	"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":1}}}\n\n" +
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
	"event: ping\ndata: {\"type\": \"ping\"}\n\n",
	": a comment\n\n",
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
	"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
}

// pattern is n bytes that are not all the same.
type pattern struct{ at, n int64 }

// patternBytes repeats itself after 251 bytes, a prime: a block that is lost or
// doubled shows.
var patternBytes = func() (b [64 << 10]byte) {
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.n-p.at)]
	n := copy(b, patternBytes[p.at%251:])
	p.at += int64(n)
	return n, nil
}

func TestGateway_passesLargeBodies(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int64
		chunked bool
	}{
		{"one that is kept", 1 << 20, false},
		{"one beyond what is kept", 40 << 20, false},
		{"one beyond what is kept, of unknown length", 40 << 20, true},
	} {
		var sum [sha256.Size]byte
		up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			sum = [sha256.Size]byte(h.Sum(nil))
			_, _ = fmt.Fprint(w, n, err)
		})
		g := start(t, up, nil)
		req := g.request(t, "POST", "/v1/files", "")
		req.Body, req.ContentLength = io.NopCloser(&pattern{n: c.size}), c.size
		if c.chunked {
			req.ContentLength = -1
		}
		got := do(t, req)
		want := sha256.New()
		_, _ = io.Copy(want, &pattern{n: c.size})
		if string(got.body) != fmt.Sprint(c.size, nil) || !bytes.Equal(sum[:], want.Sum(nil)) {
			t.Errorf("%s: upstream got %s, want %d bytes unchanged", c.name, got.body, c.size)
		}
	}
}

// A body beyond what is kept is not held back until it is whole.
func TestGateway_streamsUploads(t *testing.T) {
	const size, first = 64 << 20, 40 << 20
	arrived := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, first/2)
		close(arrived)
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n+first/2)
	})
	g := start(t, up, nil)
	rest, feed := io.Pipe()
	go func() {
		_, _ = io.Copy(feed, &pattern{n: first})
		<-arrived
		_, _ = io.Copy(feed, &pattern{n: size - first})
		_ = feed.Close()
	}()
	req := g.request(t, "POST", "/v1/files", "")
	req.Body, req.ContentLength = rest, size
	if got := do(t, req); string(got.body) != fmt.Sprint(size) {
		t.Errorf("upstream got %s bytes, want %d", got.body, size)
	}
}

func TestGateway_passesCompressedBodies(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, nil)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(`{"model":"m","max_tokens":1,"messages":[]}`))
	_ = z.Close()
	do(t, g.request(t, "POST", "/v1/messages", b.String(), "Content-Encoding", "gzip"))
	if got := last(); got.body != b.String() || got.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("upstream got %q as %q, want the bytes the caller sent", got.body, got.header.Get("Content-Encoding"))
	}
}

func TestGateway_answersPipelinedRequestsInOrder(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	g := start(t, up, nil)
	conn := g.dial(t)
	var all strings.Builder
	for i := range 5 {
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", i)
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for i := range 5 {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); string(got.body) != fmt.Sprint("/", i) {
			t.Errorf("got %q, want /%d", got.body, i)
		}
	}
}

func TestGateway_keepsConnections(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	g := start(t, up, nil)
	for i := range 10 {
		reused := false
		req := g.request(t, "POST", "/v1/messages", `{"model":"m"}`)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
		}))
		if do(t, req); i > 0 && !reused {
			t.Fatalf("call %d needed a connection of its own", i)
		}
	}
}
