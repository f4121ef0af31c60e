package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel"
)

// held is an upstream that begins to answer and goes on when told to.
func held(begun chan<- struct{}, release <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/quick":
			return
		case "/late":
			begun <- struct{}{}
			<-release
			return
		}
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		select {
		case <-release:
			_, _ = io.WriteString(w, "b")
		case <-r.Context().Done():
		}
	}
}

func TestServe_drains(t *testing.T) {
	begun, release := make(chan struct{}, 1), make(chan struct{})
	g := start(t, upstream(t, held(begun, release)), nil)
	fresh := g.dial(t) // as a client that connects ahead of need
	do(t, g.request(t, "GET", "/quick", ""))
	resp, err := caller.Do(g.request(t, "GET", "/held", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	soon(t, "call begins", begun)
	late, lateReq := make(chan bool, 1), g.request(t, "GET", "/late", "")
	go func() {
		resp, err := caller.Do(lateReq)
		if err == nil {
			_ = resp.Body.Close()
		}
		late <- err == nil && resp.StatusCode == 200 && resp.Close
	}()
	soon(t, "late call begins", begun)
	admin := g.Admin()
	if got := ask(admin, "GET", "/readyz"); got.StatusCode != 200 {
		t.Errorf("before: readyz is %d, want 200", got.StatusCode)
	}

	g.stop()
	for g.drain.ready() || !g.drain.refusing() {
		time.Sleep(time.Millisecond)
	}
	if got := ask(admin, "GET", "/readyz"); got.StatusCode != 503 {
		t.Errorf("draining: readyz is %d, want 503", got.StatusCode)
	}
	if got := ask(admin, "GET", "/healthz"); got.StatusCode != 200 {
		t.Errorf("draining: healthz is %d, want 200", got.StatusCode)
	}
	for _, name := range []string{"on an old connection", "on a new connection"} {
		got := do(t, g.request(t, "GET", "/quick", ""))
		wantOwn(t, got, 503, "api_error", evenkeel.CodeDraining)
		if got.Header.Get("Retry-After") != "1" || got.Header["X-Should-Retry"] != nil || !got.Close {
			t.Errorf("%s: got %v, want retry-after 1, no x-should-retry, and the connection closed", name, got.Header)
		}
	}
	select {
	case err := <-g.done:
		t.Fatalf("Serve returned %v while a call was open", err)
	default:
	}

	released := time.Now()
	close(release)
	if b, err := io.ReadAll(resp.Body); string(b) != "ab" || err != nil {
		t.Errorf("got %q, %v; want the open call to finish", b, err)
	}
	if !soon(t, "late call ends", late) {
		t.Error("the call without an answer yet: want a 200 that closes its connection")
	}
	if err := soon(t, "Serve returns", g.done); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if took := time.Since(released); took > time.Second {
		t.Errorf("Serve returned %v after the last call, want at once", took)
	}
	if _, err := net.Dial("tcp", g.addr); err == nil {
		t.Error("the address still answers")
	}
	_ = fresh.Close()
}

func TestConns_waitsForTheLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConns()
		one, two := new(net.TCPConn), new(net.TCPConn)
		for _, conn := range []net.Conn{one, two} {
			c.change(conn, http.StateNew)
			c.change(conn, http.StateActive)
		}
		go func() {
			time.Sleep(time.Second)
			c.change(one, http.StateIdle)
			time.Sleep(time.Second)
			c.change(two, http.StateClosed)
		}()
		begun := time.Now()
		c.wait(time.Minute)
		if got := time.Since(begun); got != 2*time.Second {
			t.Errorf("waited %v, want 2s", got)
		}
		c.wait(time.Minute)
		c.change(one, http.StateActive)
		c.wait(3 * time.Second)
		if got := time.Since(begun); got != 5*time.Second {
			t.Errorf("waited %v, want 5s: not at all with none active, then the limit", got)
		}
	})
}

// From the first moment of a drain every answer sends its caller elsewhere,
// even while new calls are still served.
func TestServe_takesCallsDuringDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 5 * time.Second
		begun, release := make(chan struct{}, 1), make(chan struct{})
		g := startPiped(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/late" {
				begun <- struct{}{}
				<-release
			}
			return &http.Response{StatusCode: 200, Header: http.Header{"Connection": {"keep-alive"}}, Body: http.NoBody, Request: r}, nil
		}), Drain{Delay: delay, Grace: time.Minute})
		if got := g.call(t, "GET", "/", ""); got.StatusCode != 200 || got.Close {
			t.Errorf("before: got %d, close %v; want 200 and the connection kept", got.StatusCode, got.Close)
		}
		late := make(chan reply, 1)
		go func() { late <- g.call(t, "GET", "/late", "") }()
		<-begun

		stopped := time.Now()
		g.stop()
		synctest.Wait()
		if got := ask(g.Admin(), "GET", "/readyz"); got.StatusCode != 503 {
			t.Errorf("readyz is %d, want 503", got.StatusCode)
		}
		for range 2 {
			if got := g.call(t, "GET", "/", ""); got.StatusCode != 200 || !got.Close {
				t.Errorf("during the delay: got %d, close %v; want 200 and the connection closed", got.StatusCode, got.Close)
			}
			time.Sleep(delay - time.Millisecond - time.Since(stopped))
		}
		if got := ask(g, "GET", "/", "Origin", "https://a.example"); got.StatusCode != 403 || got.Header.Get("Connection") != "close" {
			t.Errorf("a refusal: got %d %v, want 403 and the connection closed", got.StatusCode, got.Header)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		got := g.call(t, "GET", "/", "")
		wantOwn(t, got, 503, "api_error", evenkeel.CodeDraining)
		if !got.Close {
			t.Error("after the delay: want the connection closed")
		}
		close(release)
		if got := <-late; got.StatusCode != 200 || !got.Close {
			t.Errorf("the call that was open: got %d, close %v; want 200 and the connection closed", got.StatusCode, got.Close)
		}
		if err := <-g.done; err != nil {
			t.Error(err)
		}
		if took := time.Since(stopped); took != delay {
			t.Errorf("Serve returned after %v, want %v", took, delay)
		}
	})
}

func TestServe_cutsAfterGrace(t *testing.T) {
	begun := make(chan struct{}, 2)
	waiting := make(chan struct{}, 1)
	up := upstream(t, held(begun, nil))
	queued := roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/queued" {
			waiting <- struct{}{}
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		return caller.Transport.RoundTrip(r)
	})
	g := start(t, up, func(c *Config) { c.Transport, c.Drain = queued, Drain{Grace: 100 * time.Millisecond} })
	resp, err := caller.Do(g.request(t, "GET", "/held", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	soon(t, "call begins", begun)
	answer := make(chan reply, 1)
	req := g.request(t, "GET", "/queued", "")
	go func() {
		defer close(answer)
		if resp, err := caller.Do(req); err == nil {
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			answer <- reply{resp, b}
		}
	}()
	soon(t, "call waits", waiting)
	g.stop()
	cut, ok := errors.AsType[*CutError](soon(t, "Serve returns", g.done))
	if !ok || cut.Calls != 2 {
		t.Errorf("got %v, want a CutError with 2 calls", cut)
	}
	got := soon(t, "queued call ends", answer)
	if got.Response == nil {
		t.Fatal("the queued call got no answer")
	}
	wantOwn(t, got, 503, "api_error", evenkeel.CodeDraining)
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the stream that was cut looks whole: %q", b)
	}
}

func TestAdmin_drainsAndStays(t *testing.T) {
	begun, release := make(chan struct{}, 1), make(chan struct{})
	g := start(t, upstream(t, held(begun, release)), nil)
	resp, err := caller.Do(g.request(t, "GET", "/held", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	soon(t, "call begins", begun)
	over := make(chan reply, 1)
	go func() { over <- ask(g.Admin(), "POST", "/-/drain") }()
	for !g.drain.refusing() {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-over:
		t.Error("the drain is over while a call is open")
	default:
	}
	close(release)
	got := soon(t, "drain ends", over)
	var v struct {
		InFlight *int `json:"in_flight"`
	}
	if err := json.Unmarshal(got.body, &v); err != nil || v.InFlight == nil || *v.InFlight != 0 {
		t.Errorf("got %s, %v; want none in flight", got.body, err)
	}
	wantOwn(t, do(t, g.request(t, "GET", "/quick", "")), 503, "api_error", evenkeel.CodeDraining)
	select {
	case err := <-g.done:
		t.Errorf("Serve returned %v, want the process to go on until it is ended", err)
	default:
	}
}

// TestCutOff_claimsNothing: the API may have had what was cut, so a request
// with effects is not asked for again.
func TestCutOff_claimsNothing(t *testing.T) {
	for path, again := range map[string]bool{"/v1/messages": true, "/v1/messages/batches": false, "/v1/files": false} {
		no := cutOff(httptest.NewRequest(http.MethodPost, path, nil))
		if no.again != again || strings.Contains(no.message, "Nothing was sent") {
			t.Errorf("%s: again %v, want %v: %s", path, no.again, again, no.message)
		}
	}
}
