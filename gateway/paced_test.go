package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// paced is an upstream that streams an answer in small steps, as soon as it
// has read the request.
func paced(steps int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for range steps {
			_, _ = io.WriteString(w, streamed[0])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond) // the pace: what is tested needs an answer that is still on its way
		}
		_, _ = io.WriteString(w, streamed[len(streamed)-1])
	}
}

// hammer makes calls, so many at a time, and returns how many broke.
func hammer(t testing.TB, url string, workers, calls, size int) int64 {
	var broken atomic.Int64
	body := fmt.Sprintf(`{"model":"m","max_tokens":1,"stream":true,"x":%q}`, strings.Repeat("x", size))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls {
				resp, err := caller.Post(url, "application/json", strings.NewReader(body))
				if err != nil {
					broken.Add(1)
					continue
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.HasSuffix(b, []byte(streamed[len(streamed)-1])) {
					broken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return broken.Load()
}

// A plain ReverseProxy breaks some of these: see
// docs/decisions/0002-read-the-body-first.md.
func TestGateway_breaksNoPacedStream(t *testing.T) {
	const workers, calls = 64, 10
	g := start(t, upstream(t, paced(5)), nil)
	for _, size := range []int{100, 16 << 10} {
		if broken := hammer(t, "http://"+g.addr+"/v1/messages", workers, calls, size); broken > 0 {
			t.Errorf("%d of %d streams with a request of %d bytes broke, want none", broken, workers*calls, size)
		}
	}
}

// lateRead is a transport whose last Read of a request body, the one that
// finds its end, comes after the answer has begun. It happens by itself about
// once in a thousand calls; here it happens in each.
type lateRead struct {
	base    http.RoundTripper
	answers <-chan struct{} // receives when the caller has got the beginning of the answer
	read    chan<- error    // what that Read returned
}

func (l *lateRead) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Body = &lateBody{ReadCloser: r.Body, left: r.ContentLength, l: l}
	return l.base.RoundTrip(r)
}

type lateBody struct {
	io.ReadCloser
	left int64
	l    *lateRead
}

func (b *lateBody) Read(p []byte) (int, error) {
	if b.left > 0 {
		n, err := b.ReadCloser.Read(p)
		if b.left -= int64(n); err == io.EOF {
			err = nil
		}
		return n, err
	}
	<-b.l.answers
	n, err := b.ReadCloser.Read(p)
	b.l.read <- err
	return n, err
}

// When the transport is still reading, as it is with a body too large to be
// kept, the answer survives. The plain proxy is here to show that the test
// can fail; should it ever pass, the cure is no longer needed.
func TestGateway_survivesALateRead(t *testing.T) {
	next := make(chan struct{})
	up := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 2) // its end has not been sent yet
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = io.WriteString(w, "data: 2\n\n")
	})
	answers, late := make(chan struct{}), make(chan error, 1)
	tr := &lateRead{base: caller.Transport, answers: answers, read: late}
	plain := &running{addr: strings.TrimPrefix(upstream(t, (&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(up) }, Transport: tr, FlushInterval: -1, ErrorLog: quiet,
	}).ServeHTTP).String(), "http://")}
	g := start(t, up, func(c *Config) { c.Transport = tr })
	for _, c := range []struct {
		name string
		at   *running
		want string
		err  error // of the late Read
	}{
		{"gateway", g, "data: 1\n\ndata: 2\n\n", io.EOF},
		{"plain proxy", plain, "data: 1\n\n", http.ErrBodyReadAfterClose},
	} {
		resp, err := caller.Do(c.at.request(t, "POST", "/v1/files", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatal(err)
		}
		answers <- struct{}{}
		if err := soon(t, c.name+": last read", late); !errors.Is(err, c.err) {
			t.Errorf("%s: the late read got %v, want %v", c.name, err, c.err)
		}
		if c.at == plain {
			_, _ = io.Copy(io.Discard, resp.Body) // until it breaks: upstream has not been told to go on
		}
		next <- struct{}{}
		rest, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := string(got) + string(rest); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
