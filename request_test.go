package evenkeel_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/evenkeel-dev/evenkeel"
)

// upstream answers with the given statuses in turn, and keeps what it was sent.
type upstream struct {
	statuses []int
	bodies   []string
	headers  []http.Header
	lengths  []int64
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	var b []byte
	if r.Body != nil {
		b, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	u.bodies = append(u.bodies, string(b))
	u.headers = append(u.headers, r.Header.Clone())
	u.lengths = append(u.lengths, r.ContentLength)
	if t := httptrace.ContextClientTrace(r.Context()); t != nil && t.Got1xxResponse != nil {
		_ = t.Got1xxResponse(103, textproto.MIMEHeader{"X-Attempt": {string(rune('0' + len(u.bodies)))}})
	}
	status := u.statuses[min(len(u.bodies), len(u.statuses))-1]
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2}, nil
}

// tracked is a request body that cannot be rewound and tells how it was used.
type tracked struct {
	io.Reader
	closed int
}

func (b *tracked) Close() error { b.closed++; return nil }

func TestTransport_bodies(t *testing.T) {
	big := strings.Repeat("x", 300<<10)
	tests := []struct {
		name     string
		body     string
		rewinds  bool
		length   int64 // announced; -1 for unknown
		memory   evenkeel.Memory
		attempts int
	}{
		{"GetBody is used", plainBody, true, int64(len(plainBody)), evenkeel.Memory{}, 2},
		{"without it the body is kept", plainBody, false, int64(len(plainBody)), evenkeel.Memory{}, 2},
		{"of unknown length too", plainBody, false, -1, evenkeel.Memory{}, 2},
		{"in several steps", big, false, -1, evenkeel.Memory{}, 2},
		{"an empty one", "", false, -1, evenkeel.Memory{}, 2},
		{"announced as too large: once", big, false, int64(len(big)), evenkeel.Memory{Body: 100 << 10}, 1},
		{"found to be too large: once, whole", big, false, -1, evenkeel.Memory{Body: 100 << 10}, 1},
		{"no memory left: once, whole", big, false, -1, evenkeel.Memory{Bodies: 100 << 10}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up := &upstream{statuses: []int{529, 200}}
				tr := newTransport(t, evenkeel.Config{Base: up, Memory: tt.memory})
				req := newRequest(t, "POST", endpoint, tt.body)
				b := &tracked{Reader: strings.NewReader(tt.body)}
				if !tt.rewinds {
					req.Body, req.GetBody = b, nil
				}
				req.ContentLength = tt.length
				mustSend(t, tr, req)
				if len(up.bodies) != tt.attempts {
					t.Fatalf("%d attempts, want %d", len(up.bodies), tt.attempts)
				}
				for i, got := range up.bodies {
					if got != tt.body {
						t.Errorf("attempt %d was sent %d bytes, want %d", i+1, len(got), len(tt.body))
					}
				}
				if !tt.rewinds && b.closed == 0 {
					t.Error("the caller's body was not closed")
				}
				if got := tr.Snapshot().Bodies; got != 0 {
					t.Errorf("%d bytes are still counted as kept", got)
				}
			})
		})
	}
}

func TestTransport_bodyThatBreaksIsTheCallersFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &upstream{statuses: []int{200}}
		req := newRequest(t, "POST", endpoint, plainBody)
		req.Body, req.GetBody = io.NopCloser(failing{errors.New("half a body")}), nil
		_, err := send(t, newTransport(t, evenkeel.Config{Base: up}), req)
		if e, ok := errors.AsType[*evenkeel.Error](err); !ok || e.Code != evenkeel.CodeBody || e.Status != 400 {
			t.Errorf("got %v, want EK-BODY with status 400", err)
		}
		if len(up.bodies) != 0 {
			t.Error("something was sent before the body had arrived")
		}
	})
}

func TestTransport_requestIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := strings.Join([]string{"anthropic", "Odd"}, "-") // not canonical, and passed as it is
		up := &upstream{statuses: []int{529, 200}}
		tr := newTransport(t, evenkeel.Config{Base: up})
		req := newRequest(t, "POST", endpoint+"?beta=true", plainBody)
		req.Header.Set(evenkeel.HeaderPriority, "interactive")
		req.Header.Set(evenkeel.HeaderTag, "route-1")
		req.Header[odd] = []string{"a", "b"}
		req.Header.Set("Accept-Encoding", "gzip")
		before := req.Header.Clone()
		mustSend(t, tr, req)
		for name, values := range before {
			if strings.Join(req.Header[name], "|") != strings.Join(values, "|") {
				t.Errorf("the caller's header %s was changed to %q", name, req.Header[name])
			}
		}
		for i, h := range up.headers {
			if h.Get(evenkeel.HeaderPriority) != "" || h.Get(evenkeel.HeaderTag) != "" {
				t.Errorf("attempt %d carries our own fields upstream", i+1)
			}
			if h.Get("Accept-Encoding") != "identity" || strings.Join(h[odd], "|") != "a|b" {
				t.Errorf("attempt %d: accept-encoding %q, unknown field %q", i+1, h.Get("Accept-Encoding"), h[odd])
			}
		}
	})
}

func TestTransport_earlyHintsComeFromTheAttemptThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			got = append(got, h.Get("X-Attempt"))
			return nil
		}}
		req := newRequest(t, "POST", endpoint, plainBody)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
		mustSend(t, newTransport(t, evenkeel.Config{Base: &upstream{statuses: []int{529, 529, 200}}}), req)
		if strings.Join(got, " ") != "3" {
			t.Errorf("early hints of attempts %v were passed on, want those of 3", got)
		}
	})
}

func TestTransport_describesWhatItSends(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, plainBody)
	_ = z.Close()
	tests := []struct {
		name, body, encoding, model string
	}{
		{"as it is", plainBody, "", "claude-haiku-5-5"},
		{"compressed: decoded for this only", zipped.String(), "gzip", "claude-haiku-5-5"},
		{"compressed and broken: unknown, and passed", zipped.String()[:20], "gzip", ""},
		{"an encoding we cannot read: unknown, and passed", "\x28\xb5\x2f\xfd", "zstd", ""},
		{"not JSON: unknown, and passed", "hello", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				up, seen := &upstream{statuses: []int{200}}, &recorder{}
				req := newRequest(t, "POST", endpoint, tt.body)
				if tt.encoding != "" {
					req.Header.Set("Content-Encoding", tt.encoding)
				}
				mustSend(t, newTransport(t, evenkeel.Config{Base: up, Observer: seen}), req)
				if up.bodies[0] != tt.body {
					t.Error("the body was changed on its way")
				}
				if got := seen.events[0].Model; got != tt.model {
					t.Errorf("model %q, want %q", got, tt.model)
				}
			})
		})
	}
}

func TestTransport_headersThatCannotBeRead(t *testing.T) {
	for field, value := range map[string]string{
		evenkeel.HeaderPriority: "urgent", evenkeel.HeaderMaxWait: "soon",
		evenkeel.HeaderDeadline: "-2m", evenkeel.HeaderTag: "Not A Tag",
	} {
		up := &upstream{statuses: []int{200}}
		req := newRequest(t, "POST", endpoint, plainBody)
		req.Header.Set(field, value)
		_, err := send(t, newTransport(t, evenkeel.Config{Base: up}), req)
		e, ok := errors.AsType[*evenkeel.Error](err)
		if !ok || e.Code != evenkeel.CodeBadHeader || e.Status != 400 || len(up.bodies) != 0 {
			t.Errorf("%s: %s gave %v, want EK-HEADER before anything is sent", field, value, err)
		}
		if err != nil && strings.Contains(err.Error(), value) {
			t.Errorf("the error repeats what the caller wrote: %v", err)
		}
	}
}

func TestNew_namesEveryMistake(t *testing.T) {
	_, err := evenkeel.New(evenkeel.Config{MaxAttempts: -1, LongestWait: -1, Breaker: evenkeel.Breaker{ErrorRate: 2}})
	if err == nil {
		t.Fatal("an unusable Config was accepted")
	}
	for _, field := range []string{"MaxAttempts", "LongestWait", "Breaker.ErrorRate"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

func TestTransport_reconfigureKeepsCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &upstream{statuses: []int{529, 200}}, &upstream{statuses: []int{200}}
		tr := newTransport(t, evenkeel.Config{Base: first})
		done := make(chan answer)
		go func() { done <- mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody)) }()
		synctest.Wait() // it waits between its two attempts
		if err := tr.Reconfigure(evenkeel.Config{Base: second, MaxAttempts: -1}); err == nil {
			t.Error("a broken configuration was accepted")
		}
		if err := tr.Reconfigure(evenkeel.Config{Base: second}); err != nil {
			t.Fatal(err)
		}
		if a := <-done; a.StatusCode != 200 || len(first.bodies) != 2 {
			t.Errorf("the call under way got %d after %d attempts on its own base", a.StatusCode, len(first.bodies))
		}
		mustSend(t, tr, newRequest(t, "POST", endpoint, plainBody))
		if len(second.bodies) != 1 {
			t.Error("the next call did not use the new base")
		}
	})
}
