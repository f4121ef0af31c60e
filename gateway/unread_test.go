package gateway

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// lockedBuffer is a log's writer that a test reads while others write.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// only lets nobody in but c.
func only(c Client) func(*Config) { return func(cfg *Config) { cfg.Clients = []Client{c} } }

// An answer that is given before the request body was read leaves a
// connection that works, or closes it in a way the caller can see.
func TestGateway_answersBeforeTheBody(t *testing.T) {
	const small, large = 100, 8 << 20
	for _, c := range []struct {
		name   string
		change func(*Config)
		header string
		status int
		kind   string
		code   evenkeel.Code
	}{
		{"a header that cannot be read", nil, "Evenkeel-Deadline: soon", 400, "invalid_request_error", evenkeel.CodeBadHeader},
		{"no token", only(Client{Name: "a", TokenSHA256: strings.Repeat("0a", 32)}), "X-A: b", 401, "authentication_error", CodeClient},
		{"a foreign page", nil, "Origin: https://evil.example", 403, "permission_error", CodeOrigin},
		{"a foreign host, which ends the connection", nil, "Host: evil.example", 403, "permission_error", CodeHost},
	} {
		for _, sent := range []struct {
			name string
			size int
			body string
		}{
			{"nothing is read", small, "Content-Length: " + strconv.Itoa(small) + "\r\n\r\n" + strings.Repeat("a", small)},
			{"chunked", small, "Transfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("a", small) + "\r\n0\r\n\r\n"},
			{"a large upload", large, "Content-Length: " + strconv.Itoa(large) + "\r\n\r\n" + strings.Repeat("a", large)},
		} {
			t.Run(c.name+"/"+sent.name, func(t *testing.T) {
				toUpstream, calls := counter(t)
				var out lockedBuffer
				g := start(t, nil, func(cfg *Config) {
					toUpstream(cfg)
					if c.change != nil {
						c.change(cfg)
					}
					cfg.Log = slog.New(slog.NewTextHandler(&out, nil))
				})
				conn := g.dial(t)
				answers := bufio.NewReader(conn)
				host := "Host: localhost\r\n"
				if strings.HasPrefix(c.header, "Host:") {
					host = ""
				}
				for i := range 3 {
					if _, err := io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\n"+host+c.header+"\r\n"+sent.body); err != nil {
						t.Fatalf("request %d: %v", i+1, err)
					}
					resp, err := http.ReadResponse(answers, nil)
					if err != nil {
						t.Fatalf("request %d: %v", i+1, err)
					}
					got := read(t, resp)
					wantOwn(t, got, c.status, c.kind, c.code)
					if !got.Close {
						continue
					}
					if c.code != CodeHost {
						t.Errorf("request %d: the connection closes, want it to serve another", i+1)
					}
					if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
						t.Errorf("request %d: got %q, %v after the answer; want the end", i+1, rest, err)
					}
					break
				}
				g.stop()
				if err := soon(t, "Serve returns", g.done); err != nil || calls.Load() > 0 || strings.Contains(out.String(), "panic") {
					t.Errorf("got %v, %d requests upstream, log %s", err, calls.Load(), out.String())
				}
			})
		}
	}
}

// Nobody waits for a body that is not needed: a caller without a token could
// hold a connection with it for ever.
func TestGateway_doesNotWaitForBodiesItRefuses(t *testing.T) {
	for _, c := range []struct{ name, header, body string }{
		{"it does not come", "X-A: b", ""},
		{"it stops", "X-A: b", "half"},
		{"it waits to be told to continue", "Expect: 100-continue", ""},
		{"a header that cannot be read", "Evenkeel-Deadline: soon", "half"},
	} {
		t.Run(c.name, func(t *testing.T) {
			toUpstream, calls := counter(t)
			g := start(t, nil, func(cfg *Config) {
				toUpstream(cfg)
				if !strings.HasPrefix(c.header, "Evenkeel") {
					only(Client{Name: "a", TokenSHA256: strings.Repeat("0a", 32)})(cfg)
				}
			})
			conn := g.dial(t)
			begun := time.Now()
			if _, err := io.WriteString(conn, "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"+c.header+"\r\n\r\n"+c.body); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(conn)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); !got.Close || got.StatusCode >= 500 || got.StatusCode < 400 {
				t.Errorf("got %d, close %v; want a refusal that closes the connection", got.StatusCode, got.Close)
			}
			if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
				t.Errorf("got %q, %v after the answer; want the end", rest, err)
			}
			if took := time.Since(begun); took > 10*time.Second || calls.Load() > 0 {
				t.Errorf("took %v and %d requests upstream, want about a second and none", took, calls.Load())
			}
		})
	}
}

// Upstream may answer before it has taken a body that is passed on unbuffered.
// What is left of it is nobody's next request.
func TestGateway_closesAfterAnAnswerToHalfARequest(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "too large")
	})
	var out lockedBuffer
	g := start(t, up, func(c *Config) {
		tr, err := evenkeel.New(evenkeel.Config{Memory: evenkeel.Memory{Body: 1 << 10}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Close() })
		c.Transport, c.Log = tr, slog.New(slog.NewTextHandler(&out, nil))
	})
	const size = 1 << 20
	conn := g.dial(t)
	if _, err := io.WriteString(conn, "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"+strings.Repeat("a", size/2)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, resp); got.StatusCode != 413 || string(got.body) != "too large" || !got.Close {
		t.Errorf("got %d %q, close %v; want upstream's answer, and the end of the connection", got.StatusCode, got.body, got.Close)
	}
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v after the answer; want the end", rest, err)
	}
	g.stop()
	if err := soon(t, "Serve returns", g.done); err != nil || strings.Contains(out.String(), "panic") {
		t.Errorf("got %v, log %s", err, out.String())
	}
}
