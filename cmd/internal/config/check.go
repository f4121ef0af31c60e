package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/fleet"
)

var (
	clientName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	modelID    = regexp.MustCompile(`^[A-Za-z0-9._:@/-]{1,128}$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// check tells what is wrong with values that were right one by one. What only
// matters where a gateway listens is told if one will.
func (r *Resolved) check(listens bool) ekerr.List {
	var errs ekerr.List
	fail := func(path string, e *ekerr.Error) {
		if o := r.Origin(path); o != DefaultOrigin {
			e.At = string(o)
		}
		errs = append(errs, e)
	}
	value := func(path, format string, args ...any) *ekerr.Error {
		return ekerr.New(ekerr.ConfigValue, "%s "+format, append([]any{path}, args...)...)
	}
	r.checkAddresses(fail, value)
	r.checkUpstream(fail, value)
	if listens {
		r.checkListening(fail, value)
	}
	r.checkNumbers(fail, value)
	r.checkFallback(fail, value)
	r.checkClients(fail, value)
	r.checkStore(fail, value)
	return errs
}

type (
	failFunc  = func(path string, e *ekerr.Error)
	valueFunc = func(path, format string, args ...any) *ekerr.Error
)

func (r *Resolved) checkAddresses(fail failFunc, value valueFunc) {
	for _, a := range []struct{ path, addr string }{{"listen", r.Listen}, {"admin", r.Admin}} {
		if err := checkAddress(a.addr); err != nil {
			fail(a.path, value(a.path, "is %q: %v", clip(a.addr), err))
		}
	}
}

func (r *Resolved) checkListening(fail failFunc, value valueFunc) {
	if _, port, err := net.SplitHostPort(r.Listen); err == nil && r.Listen == r.Admin && port != "0" {
		fail("admin", value("admin", "is the address of listen, %s", r.Admin).
			Hint("the gateway and its admin port are two servers: give them two ports"))
	}
	if r.Upstream.APIKey != "" && len(r.Clients) == 0 && !Loopback(r.Listen) {
		fail("listen", ekerr.New(ekerr.ConfigOpen, "%s is open to the network, with your upstream.api_key and no clients", r.Listen).
			Because("anyone who reaches the port could spend your money").
			Hint("list who may call under clients, or listen on 127.0.0.1"))
	}
	u, err := ParseUpstream(r.Upstream.URL)
	if err != nil {
		return // told already
	}
	for _, addr := range []string{r.Listen, r.Admin} {
		if PointsAt(u, addr) {
			fail("upstream.url", LoopError(u, addr))
		}
	}
}

func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want host:port, such as 127.0.0.1:4290")
	}
	if n, err := net.LookupPort("tcp", port); err != nil || port == "" || n > 65535 {
		return fmt.Errorf("want a port from 0 to 65535; 0 takes a free one")
	}
	if strings.ContainsAny(host, " /@?#") {
		return fmt.Errorf("want a host name or an IP address before the port")
	}
	return nil
}

// Loopback tells whether an address can be reached from this machine only. A
// name other than localhost may point anywhere.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (r *Resolved) checkUpstream(fail failFunc, value valueFunc) {
	if _, err := ParseUpstream(r.Upstream.URL); err != nil {
		fail("upstream.url", value("upstream.url", "%v", err).Hint("such as %s", DefaultUpstream))
	}
}

// LoopError reports an upstream that is the gateway itself, listening at addr.
func LoopError(u *url.URL, addr string) *ekerr.Error {
	return ekerr.New(ekerr.ConfigLoop, "upstream.url %s is this gateway, at %s", u.Redacted(), addr).
		Because("every call would come back to where it is").
		Hint("the API is %s", DefaultUpstream)
}

// ParseUpstream reads the URL of an upstream: http or https, a host, no
// credentials, nothing after the path. The error does not repeat a password.
func ParseUpstream(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is no URL")
	case u.User != nil:
		return nil, fmt.Errorf("holds a user name or password; credentials belong in upstream.api_key")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("is %q: want http:// or https:// and a host", clip(text))
	case u.Hostname() == "":
		return nil, fmt.Errorf("is %q: it names no host", clip(text))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("has a query or a fragment; want no more than a scheme, a host and a path")
	}
	if p := u.Port(); p != "" {
		if n, err := net.LookupPort("tcp", p); err != nil || n == 0 {
			return nil, fmt.Errorf("is %q: no such port", clip(text))
		}
	}
	return u, nil
}

// PointsAt tells whether u names the address that a server of ours listens on.
// It compares names and literal addresses and asks no resolver.
func PointsAt(u *url.URL, addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return false
	}
	uport := u.Port()
	if uport == "" {
		uport = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if uport != port {
		return false
	}
	if strings.EqualFold(host, u.Hostname()) {
		return true
	}
	if !ours(u.Hostname()) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified() || Loopback(addr)
}

// ours tells whether host names this machine: localhost, a loopback or
// unspecified address, or an address of one of its interfaces.
func ours(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip = ip.Unmap(); ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.String() == ip.String() {
			return true
		}
	}
	return false
}

func (r *Resolved) checkNumbers(fail failFunc, value valueFunc) {
	if r.Retry.Base > r.Retry.Max {
		fail("retry.base", value("retry.base", "is %v, longer than retry.max, which is %v", r.Retry.Base, r.Retry.Max))
	}
	if r.Retry.Max > r.Retry.LongestWait {
		fail("retry.max", value("retry.max", "is %v, longer than retry.longest_wait, which is %v", r.Retry.Max, r.Retry.LongestWait).
			Because("such a wait would not be taken: the call would end instead").
			Hint("raise retry.longest_wait as well"))
	}
	if r.Memory.Body > r.Memory.Bodies {
		fail("memory.body", value("memory.body", "is %v, larger than memory.bodies, which is %v", r.Memory.Body, r.Memory.Bodies))
	}
	if r.Upstream.StreamPlain && r.Retry.MaxAttempts == 1 {
		fail("upstream.stream_plain", value("upstream.stream_plain", "is true, and retry.max_attempts is 1").
			Because("an answer that cannot be assembled is asked for again, plain").
			Hint("retry: {max_attempts: 2}, or more"))
	}
	if r.Concurrency.Mode == "fixed" && r.Concurrency.Max == 0 {
		fail("concurrency.mode", value("concurrency.mode", "is fixed, and concurrency.max is 0, which is no bound").
			Hint("concurrency: {mode: fixed, max: 50}"))
	}
	if r.Breaker.ProbeEvery > r.Breaker.OpenFor {
		fail("breaker.probe_every", value("breaker.probe_every", "is %v, longer than breaker.open_for, which is %v", r.Breaker.ProbeEvery, r.Breaker.OpenFor).
			Hint("probe_every: 0 makes no probes while the breaker is open"))
	}
}

func (r *Resolved) checkFallback(fail failFunc, value valueFunc) {
	for i, f := range r.Fallback {
		at := fmt.Sprintf("fallback[%d]", i)
		if _, err := path.Match(f.From, ""); err != nil || f.From == "" {
			fail(at, value(at+".from", "is %q: want a model, a class of models or a glob", clip(f.From)).
				Hint("fallback: [{from: claude-opus-*, to: claude-sonnet-5-5}]"))
		}
		switch {
		case !modelID.MatchString(f.To):
			fail(at, value(at+".to", "is %q: want the id of a model", clip(f.To)))
		case f.To == f.From:
			fail(at, value(at+".to", "is %q, which is from", clip(f.To)))
		}
	}
}

func (r *Resolved) checkClients(fail failFunc, value valueFunc) {
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, c := range r.Clients {
		path := fmt.Sprintf("clients[%d]", i)
		switch {
		case !clientName.MatchString(c.Name):
			fail(path, value(path+".name", "is %q: want 1 to 64 letters, digits, dots, dashes or underscores", clip(c.Name)))
		case names[c.Name]:
			fail(path+".name", value(path+".name", "is %q, which another client has", c.Name))
		}
		switch {
		case !sha256Hex.MatchString(c.TokenSHA256):
			fail(path, value(path+".token_sha256", "is not 64 lower-case hexadecimal digits").
				Hint("printf %%s \"$TOKEN\" | sha256sum"))
		case tokens[c.TokenSHA256]:
			fail(path+".token_sha256", value(path+".token_sha256", "is another client's as well").
				Because("a token says who calls"))
		}
		names[c.Name], tokens[c.TokenSHA256] = true, true
		for j, p := range c.Paths {
			if !strings.HasPrefix(p, "/") {
				at := fmt.Sprintf("%s.paths[%d]", path, j)
				fail(at, value(at, "is %q: a path begins with /", clip(p)))
			}
		}
	}
}

// checkStore wants to know where a store is that is shared.
func (r *Resolved) checkStore(fail failFunc, value valueFunc) {
	if r.Store.Redis.URL != "" {
		if _, err := fleet.ClientOptions(string(r.Store.Redis.URL)); err != nil {
			fail("store.redis.url", value("store.redis.url", "cannot be used: %s", strings.TrimPrefix(err.Error(), "fleet: ")))
		}
	}
	if r.Store.Kind == "redis" && r.Store.Redis.URL == "" && !r.unread[r.Origin("store.redis.url")] {
		fail("store.kind", value("store.kind", "is redis, and store.redis.url is not set").
			Hint("store: {kind: redis, redis: {url: 'redis://localhost:6379'}}"))
	}
}
