package evenkeel

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestBase_speaksHTTP2AndLeavesBodiesAlone: our own transport, against a
// server that would compress and speaks both protocols.
func TestBase_speaksHTTP2AndLeavesBodiesAlone(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.Header.Get("Accept-Encoding"))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	base := newBase(5 * time.Second)
	base.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	defer base.CloseIdleConnections()
	tr, err := New(Config{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || string(b) != "HTTP/2.0 identity" {
		t.Errorf("upstream saw %q (%v), want HTTP/2.0 and a wish for identity", b, err)
	}
	if base.HTTP2.SendPingTimeout != 15*time.Second || base.MaxIdleConnsPerHost != 256 {
		t.Errorf("pings after %v, %d idle connections per host", base.HTTP2.SendPingTimeout, base.MaxIdleConnsPerHost)
	}
}
