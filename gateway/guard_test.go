package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evenkeel-dev/evenkeel"
)

const ourKey = Secret("sk-ant-ours-0123456789abcdef")

// counter is an upstream that counts requests.
func counter(t testing.TB) (func(*Config), *atomic.Int64) {
	var n atomic.Int64
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = io.WriteString(w, "upstream")
	})
	return func(c *Config) { c.Upstream = up }, &n
}

func TestGateway_refuses(t *testing.T) {
	toUpstream, calls := counter(t)
	g := start(t, nil, func(c *Config) {
		toUpstream(c)
		c.Hosts = []string{"Gateway.Internal:4290"}
		c.Origins = []string{"https://app.example"}
	})
	port := g.addr[strings.LastIndexByte(g.addr, ':'):]
	const passes = evenkeel.Code("")
	head := func(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }
	get := func(lines ...string) string { return head(append([]string{"GET / HTTP/1.1"}, lines...)...) }
	for _, c := range []struct {
		name, request string
		status        int
		code          evenkeel.Code
	}{
		{"absolute form: we are no proxy", head("GET http://localhost/v1/models HTTP/1.1", "Host: localhost"), 400, CodeTarget},
		{"absolute form of elsewhere", head("GET http://evil.example/v1/models HTTP/1.1", "Host: localhost"), 400, CodeTarget},
		{"a host without a scheme", head("CONNECT api.anthropic.com:443 HTTP/1.1", "Host: api.anthropic.com:443"), 405, CodeTarget},
		{"CONNECT with a path", head("CONNECT /v1/messages HTTP/1.1", "Host: localhost"), 405, CodeTarget},
		{"asterisk form", head("OPTIONS * HTTP/1.1", "Host: localhost"), 400, CodeTarget},
		{"web socket", get("Host: localhost", "Connection: Upgrade", "Upgrade: websocket"), 400, CodeTarget},
		{"web socket behind an offer of HTTP/2", get("Host: localhost", "Connection: Upgrade", "Upgrade: h2c, websocket"), 400, CodeTarget},
		{"offer of HTTP/2, as Java makes it", get("Host: localhost", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), 200, passes},

		{"a name that was rebound to us", get("Host: evil.example"), 403, CodeHost},
		{"a name that was rebound to us, with our port", get("Host: evil.example" + port), 403, CodeHost},
		{"a name that begins as ours", get("Host: localhost.evil.example"), 403, CodeHost},
		{"a name that ends as ours", get("Host: evillocalhost"), 403, CodeHost},
		{"an address of another machine", get("Host: 10.1.2.3"), 403, CodeHost},
		{"the address that means any", get("Host: 0.0.0.0"), 403, CodeHost},
		{"a number that browsers read as an address", get("Host: 2130706433"), 403, CodeHost},
		{"localhost", get("Host: localhost" + port), 200, passes},
		{"localhost, spelled otherwise", get("Host: LOCALHOST."), 200, passes},
		{"below localhost", get("Host: gateway.localhost"), 200, passes},
		{"our address", get("Host: 127.0.0.1" + port), 200, passes},
		{"another loopback address", get("Host: 127.8.9.1"), 200, passes},
		{"loopback of IPv6", get("Host: [::1]" + port), 200, passes},
		{"configured", get("Host: gateway.internal:80"), 200, passes},
		{"no name, as old health checks ask", head("GET / HTTP/1.0"), 200, passes},

		{"foreign page", get("Host: localhost", "Origin: https://evil.example"), 403, CodeOrigin},
		{"foreign page of this machine", get("Host: localhost"+port, "Origin: http://localhost:3000"), 403, CodeOrigin},
		{"page without an origin", get("Host: localhost", "Origin: null"), 403, CodeOrigin},
		{"two origins, one of them allowed", get("Host: localhost", "Origin: https://app.example", "Origin: https://evil.example"), 403, CodeOrigin},
		{"image in a foreign page", get("Host: localhost", "Sec-Fetch-Site: cross-site"), 403, CodeOrigin},
		{"image in a foreign page, spelled otherwise", get("Host: localhost", "sec-fetch-site: Cross-Site"), 403, CodeOrigin},
		{"allowed page", get("Host: localhost", "Origin: https://app.example", "Sec-Fetch-Site: cross-site"), 200, passes},
		{"our own page", get("Host: localhost"+port, "Origin: http://localhost"+port, "Sec-Fetch-Site: same-origin"), 200, passes},
		{"typed into the address bar", get("Host: localhost", "Sec-Fetch-Site: none"), 200, passes},

		{"malformed priority", get("Host: localhost", "Evenkeel-Priority: urgent"), 400, evenkeel.CodeBadHeader},
		{"malformed wait", get("Host: localhost", "Evenkeel-Max-Wait: soon"), 400, evenkeel.CodeBadHeader},
		{"malformed deadline", get("Host: localhost", "Evenkeel-Deadline: -1s"), 400, evenkeel.CodeBadHeader},
		{"malformed tag", get("Host: localhost", "Evenkeel-Tag: Secret Project"), 400, evenkeel.CodeBadHeader},
	} {
		before := calls.Load()
		got := g.raw(t, "GET", c.request)
		reached := calls.Load() - before
		if c.code == passes {
			if got.StatusCode != c.status || reached != 1 {
				t.Errorf("%s: got %d and %d requests upstream, want %d and 1: %s", c.name, got.StatusCode, reached, c.status, got.body)
			}
			continue
		}
		kind := "invalid_request_error"
		if c.status == 403 {
			kind = "permission_error"
		}
		t.Run(c.name, func(t *testing.T) { wantOwn(t, got, c.status, kind, c.code) })
		if got.Header.Get("X-Should-Retry") != "false" || reached != 0 {
			t.Errorf("%s: got x-should-retry %q and %d requests upstream, want false and none", c.name, got.Header.Get("X-Should-Retry"), reached)
		}
	}
}

// A page may read a refusal only if it may call.
func TestGateway_tellsForeignPagesNothing(t *testing.T) {
	toUpstream, _ := counter(t)
	g := start(t, nil, toUpstream)
	for name, headers := range map[string][]string{
		"foreign page":                      {"Origin", "https://evil.example"},
		"foreign page under a rebound name": {"Origin", "http://evil.example", "Host", "evil.example"},
		"foreign page, another mistake":     {"Origin", "https://evil.example", "Upgrade", "websocket"},
	} {
		if got := do(t, g.request(t, "GET", "/", "", headers...)); got.Header["Access-Control-Allow-Origin"] != nil {
			t.Errorf("%s: got %v", name, got.Header)
		}
	}
}

func TestGateway_answersForTheAddressItListensOn(t *testing.T) {
	s, err := prepare(Config{Transport: http.DefaultTransport, Upstream: upstream(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, host, local string
		want              bool
	}{
		{"the address it came in on", "10.1.2.3:4290", "10.1.2.3:4290", true},
		{"the same behind another port", "10.1.2.3:80", "10.1.2.3:4290", true},
		{"another address", "10.1.2.4:4290", "10.1.2.3:4290", false},
		{"IPv6", "[2001:db8::1]:4290", "[2001:db8::1]:4290", true},
		{"IPv4 on a socket of IPv6", "10.1.2.3", "[::ffff:10.1.2.3]:4290", true},
		{"a name", "gateway", "10.1.2.3:4290", false},
	} {
		local, err := net.ResolveTCPAddr("tcp", c.local)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = c.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
		if got := s.knowsHost(r); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// hashed makes a client whose token is its name.
func hashed(c Client) Client {
	sum := sha256.Sum256([]byte(c.Name))
	c.TokenSHA256 = strings.ToUpper(hex.EncodeToString(sum[:]))
	return c
}

func TestGateway_asksForTokens(t *testing.T) {
	up, last := recorder(t)
	g := start(t, up, func(c *Config) {
		c.APIKey = ourKey
		c.Origins = []string{"https://app.example"}
		c.Clients = []Client{hashed(Client{Name: "tok-web"}), hashed(Client{Name: "tok-jobs", Paths: []string{"/v1/messages/*", "/v1/messages"}})}
	})
	for _, c := range []struct {
		name    string
		headers []string
		ok      bool
	}{
		{"key", []string{"x-api-key", "tok-web"}, true},
		{"bearer", []string{"Authorization", "Bearer tok-web"}, true},
		{"bearer, spelled otherwise", []string{"Authorization", "bearer tok-web"}, true},
		{"both, one of them for somebody else", []string{"x-api-key", "sk-ant-1", "Authorization", "Bearer tok-jobs"}, true},
		{"none", nil, false},
		{"empty", []string{"x-api-key", ""}, false},
		{"wrong", []string{"x-api-key", "tok-web2"}, false},
		{"the hash instead of the token", []string{"x-api-key", hashed(Client{Name: "tok-web"}).TokenSHA256}, false},
		{"our own key", []string{"x-api-key", string(ourKey)}, false},
		{"another scheme", []string{"Authorization", "Basic tok-web"}, false},
	} {
		got := do(t, g.request(t, "POST", "/v1/messages", "{}", c.headers...))
		if !c.ok {
			t.Run(c.name, func(t *testing.T) { wantOwn(t, got, 401, "authentication_error", CodeClient) })
			continue
		}
		if got.StatusCode != http.StatusNoContent {
			t.Errorf("%s: got %d, want it to pass: %s", c.name, got.StatusCode, got.body)
			continue
		}
		h := last().header
		if key, auth := h["X-Api-Key"], h["Authorization"]; len(key) != 1 || key[0] != string(ourKey) || auth != nil {
			t.Errorf("%s: upstream got x-api-key %q and authorization %q, want our key and nothing of the caller's", c.name, key, auth)
		}
	}

	got := do(t, g.request(t, "OPTIONS", "/v1/messages", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST"))
	if h := last().header; got.StatusCode != http.StatusNoContent || h.Get("X-Api-Key") != "" {
		t.Errorf("preflight: got %d and key %q upstream, want it to pass without", got.StatusCode, h.Get("X-Api-Key"))
	}
	got = do(t, g.request(t, "OPTIONS", "/v1/messages", "", "Access-Control-Request-Method", "POST"))
	wantOwn(t, got, 401, "authentication_error", CodeClient)
	got = do(t, g.request(t, "POST", "/v1/messages", "{}", "Origin", "https://app.example"))
	if got.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("got %v, want a refusal that the page may read", got.Header)
	}
}

// A token is checked before a byte of the body is read.
func TestGateway_refusesBeforeTheBody(t *testing.T) {
	toUpstream, _ := counter(t)
	g := start(t, nil, func(c *Config) {
		toUpstream(c)
		c.Clients = []Client{hashed(Client{Name: "tok-web"})}
	})
	got := g.raw(t, "POST", "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
	wantOwn(t, got, 401, "authentication_error", CodeClient)
	got = g.raw(t, "POST", "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	wantOwn(t, got, 401, "authentication_error", CodeClient)
}

func TestGateway_lendsItsKeyForSomePaths(t *testing.T) {
	toUpstream, _ := counter(t)
	alone := start(t, nil, func(c *Config) { toUpstream(c); c.APIKey = ourKey })
	shared := start(t, nil, func(c *Config) {
		toUpstream(c)
		c.APIKey = ourKey
		c.Clients = []Client{hashed(Client{Name: "narrow"}), hashed(Client{Name: "wide", Paths: []string{"/*"}})}
	})
	passing := start(t, nil, func(c *Config) { toUpstream(c) })
	for _, c := range []struct {
		target  string
		allowed bool
	}{
		{"/v1/messages?beta=true", true},
		{"/v1/messages/count_tokens", true},
		{"/v1/models", true},
		{"/v1/models/claude-opus-5-5", true},
		{"/v1/%6dessages", true},
		{"/v1/messages/batches", false},
		{"/v1/messages/batches/msgbatch_1/results", false},
		{"/v1/messages/", false},
		{"/v1/files", false},
		{"/v1/organizations/usage_report", false},
		{"/v1/MESSAGES/batches", false},
		{"//v1/messages/batches", false},
		{"/v1/models/../messages/batches", false},
		{"/v1/models/%2e%2e/messages/batches", false},
		{"/v1/models/..%2fmessages/batches", false},
		{"/v1/models/%252e%252e/messages/batches", false},
		{"/v1/models/..;/messages/batches", false},
		{"/v1/models/..\\messages\\batches", false},
		{"/v1/models//messages/batches", false},
		{"/v1/models/x/./y", false},
	} {
		ask := func(g *running, token string) reply {
			return g.raw(t, "GET", fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: %s\r\n\r\n", c.target, token))
		}
		for name, got := range map[string]reply{"everyone here": ask(alone, "any"), "a client": ask(shared, "narrow")} {
			if c.allowed && got.StatusCode != 200 {
				t.Errorf("%s, %s: got %d, want it to pass", name, c.target, got.StatusCode)
			}
			if !c.allowed {
				wantOwn(t, got, 403, "permission_error", CodePath)
			}
		}
		if got := ask(passing, "any"); got.StatusCode != 200 {
			t.Errorf("with a key of one's own, %s: got %d, want it to pass", c.target, got.StatusCode)
		}
	}
	for _, target := range []string{"/", "/v1/files", "/v1/messages/batches/msgbatch_1/results", "/api/hello"} {
		if got := do(t, shared.request(t, "GET", target, "", "x-api-key", "wide")); got.StatusCode != 200 {
			t.Errorf("with /*, %s: got %d, want it to pass", target, got.StatusCode)
		}
	}
}

func TestGateway_lowersWhatClientsAskFor(t *testing.T) {
	var got http.Header
	tr := roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header.Clone()
		return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}}, nil
	})
	g, err := New(Config{Transport: tr, Upstream: upstream(t, nil), Clients: []Client{
		hashed(Client{Name: "interactive", Priority: "interactive"}), hashed(Client{Name: "default"}), hashed(Client{Name: "batch", Priority: "batch"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ client, priority, maxWait, wantPriority, wantMaxWait string }{
		{"interactive", "", "", "interactive", ""},
		{"interactive", "batch", "", "batch", ""},
		{"interactive", "", "5m", "interactive", "30s"},
		{"interactive", "", "5s", "interactive", "5s"},
		{"interactive", "normal", "5m", "normal", "5m0s"},
		{"default", "", "", "normal", ""},
		{"default", "interactive", "5m", "normal", "5m0s"},
		{"default", "batch", "", "batch", ""},
		{"batch", "interactive", "", "batch", ""},
		{"batch", "", "1s", "batch", "1s"},
	} {
		r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader("{}"))
		r.Host = "localhost"
		r.Header.Set("X-Api-Key", c.client)
		if c.priority != "" {
			r.Header.Add(evenkeel.HeaderPriority, c.priority)
			r.Header.Add(evenkeel.HeaderPriority, "interactive") // a second one counts for nothing
		}
		if c.maxWait != "" {
			r.Header.Set(evenkeel.HeaderMaxWait, c.maxWait)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != 204 {
			t.Fatalf("%+v: got %d %s", c, w.Code, w.Body)
		}
		if p := got[evenkeel.HeaderPriority]; len(p) != 1 || p[0] != c.wantPriority || got.Get(evenkeel.HeaderMaxWait) != c.wantMaxWait {
			t.Errorf("%+v: got %q and %q", c, p, got.Get(evenkeel.HeaderMaxWait))
		}
	}
	r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader("{}"))
	r.Host = "localhost"
	r.Header.Set("X-Api-Key", "batch")
	r.Header.Set(evenkeel.HeaderPriority, "Interactive")
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	wantOwn(t, reply{w.Result(), w.Body.Bytes()}, 400, "invalid_request_error", evenkeel.CodeBadHeader)
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
