package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Header fields that a browser sets and a page cannot.
const (
	headerOrigin    = "Origin"
	headerFetchSite = "Sec-Fetch-Site"
)

// guard refuses what a web page could make a browser send here, and what asks
// for a way elsewhere. It reads nothing but the header.
func (s *settings) guard(r *http.Request) *refusal {
	switch {
	case r.Method == http.MethodConnect:
		return refuseConnect
	case r.RequestURI != "" && r.RequestURI[0] != '/':
		return refuseTarget
	case upgrades(r.Header):
		return refuseUpgrade
	case headerSize(r) > s.MaxHeader:
		return refuseHeaderSize(s.MaxHeader)
	case !s.knowsHost(r):
		return refuseHost
	case s.foreign(r):
		return refuseOrigin
	}
	return nil
}

// upgrades tells whether the caller insists on another protocol. An offer of
// cleartext HTTP/2 is none of these: Java's HTTP client makes it on every
// first request and lives well with being ignored (RFC 9110, section 7.8).
// It goes no further than here.
func upgrades(h http.Header) bool {
	for _, v := range h["Upgrade"] {
		for p := range strings.SplitSeq(v, ",") {
			if p = strings.TrimSpace(p); p != "" && !strings.EqualFold(p, "h2c") {
				return true
			}
		}
	}
	return false
}

// headerSize is what the request line and header took on the wire.
func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(" HTTP/1.1\r\n ") + len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

// knowsHost tells whether the request is addressed to us by a name that is
// ours. A page whose own name suddenly resolves to this machine still sends
// that name: without this check every web site could talk to us as if it were
// one of our own pages. An address cannot be rebound so, and a request
// without a name comes from no browser.
func (s *settings) knowsHost(r *http.Request) bool {
	name := hostname(r.Host)
	if name == "" || name == "localhost" || s.hosts[name] || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	return ip.IsLoopback() || ip.Unmap() == localAddr(r.Context())
}

// localAddr is the address the request came in on; the zero Addr if unknown.
func localAddr(ctx context.Context) netip.Addr {
	addr, ok := ctx.Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return addr.AddrPort().Addr().Unmap().WithZone("")
}

// hostname is a Host field without port, brackets, case and final dot.
func hostname(host string) string {
	switch {
	case strings.HasPrefix(host, "["):
		host, _, _ = strings.Cut(host[1:], "]")
	case strings.Count(host, ":") == 1:
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// foreign tells whether a browser sends this for a page that is not ours.
// Callers that are no browsers send none of these fields.
func (s *settings) foreign(r *http.Request) bool {
	origins := r.Header[headerOrigin]
	for _, o := range origins {
		if !s.knowsOrigin(r, o) {
			return true
		}
	}
	if len(origins) > 0 {
		return false
	}
	for _, site := range r.Header[headerFetchSite] {
		if strings.EqualFold(strings.TrimSpace(site), "cross-site") {
			return true
		}
	}
	return false
}

// knowsOrigin tells whether origin is configured, or the very page we served.
func (s *settings) knowsOrigin(r *http.Request, origin string) bool {
	if s.origins[strings.ToLower(origin)] {
		return true
	}
	scheme, host, ok := strings.Cut(origin, "://")
	return ok && (scheme == "http" || scheme == "https") && r.Host != "" && strings.EqualFold(host, r.Host)
}

// preflight tells whether a browser asks, for a page of Config.Origins, what
// that page may send. Such a question never carries a credential.
func (s *settings) preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" &&
		s.origins[strings.ToLower(r.Header.Get(headerOrigin))]
}
