package gateway

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/observe"
)

// Config configures a [Gateway]. Transport and Upstream are required; every
// other field has a default that is safe on a machine of one's own.
type Config struct {
	// Transport makes the calls: a *evenkeel.Transport. It reads a request
	// body to its end before it sends anything, which a gateway depends on;
	// see docs/decisions/0002-read-the-body-first.md.
	Transport http.RoundTripper

	// State is shown on the admin port. nil shows an empty one.
	State func() observe.Snapshot

	// Upstream is where every call goes, whatever it asks for: scheme, host,
	// and optionally a path that is put in front of every path.
	Upstream *url.URL

	// APIKey replaces whatever credential a caller sends. Empty passes each
	// caller's own through as it came.
	APIKey Secret

	// Hosts are names, without a port, that a request may be addressed to,
	// besides localhost, loopback addresses and the address it came in on.
	Hosts []string

	// Origins are the web pages that may call from a browser, as
	// "https://app.example". None by default.
	Origins []string

	// Clients are who may call. None means everyone who can connect, which
	// [Gateway.Serve] allows with an APIKey on loopback listeners only.
	//
	// Without an APIKey a client's token is also what is sent upstream: the
	// list then says whose keys may pass.
	Clients []Client

	// MaxWait is the longest evenkeel-max-wait that an interactive client
	// may ask for; more is lowered to it. It is the MaxWait of the
	// Transport's queue. 0 means 30 s. Without Clients it is not applied.
	MaxWait time.Duration

	// MaxHeader bounds the request line and header in bytes. 0 means 128 KiB,
	// the limit of the API's own edge (“Limits”, developers.cloudflare.com):
	// what is refused here would be refused there.
	MaxHeader int

	Timeouts Timeouts
	Drain    Drain

	// Log receives one line per reason and second for refused calls, with a
	// count. A handler that is stuck delays no call. nil discards.
	Log *slog.Logger
}

// Client is one of those who may call.
type Client struct {
	Name        string   // in logs; required and unique
	TokenSHA256 string   // of its token, in hex; the token itself is stored nowhere
	Priority    string   // class of its calls, and the highest it may ask for: interactive, normal, batch; "" means normal
	Weight      int      // its share among clients of one class that wait, for a queue that shares; 0 means 1
	Paths       []string // it may use; see DefaultPaths. Empty: those with an APIKey, all without
}

// DefaultPaths are what a client may use with our key unless its Paths say
// otherwise. An entry is one path, or everything below it where it ends in /*.
// Batches and files are not among them: they belong to the whole
// organisation, so one client could read what another has sent.
var DefaultPaths = []string{"/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/*"}

// Timeouts bounds what slow callers may hold. There is no limit on a call as
// a whole: a stream that flows may flow for hours. Zero fields have the
// defaults named.
type Timeouts struct {
	Header time.Duration // from the first byte of a request to the end of its header; 0 means 10 s (guess)
	Body   time.Duration // in which a request body must bring 1 KiB more, or end; 0 means 30 s (guess)
	Write  time.Duration // in which a caller must take what is written to it, 32 KiB at most; 0 means 120 s
	Idle   time.Duration // between two requests of a connection; 0 means 180 s (guess: longer than the clients' own)
}

// Drain says how a gateway goes away.
type Drain struct {
	Delay time.Duration // unready, but still taking calls, until balancers have noticed; 0 means none
	Grace time.Duration // for calls that are open, queued or waiting then; 0 means 10 min, negative none
}

const (
	defaultMaxWait   = 30 * time.Second
	defaultMaxHeader = 128 << 10
	defaultHeader    = 10 * time.Second
	defaultBody      = 30 * time.Second
	defaultWrite     = 120 * time.Second
	defaultIdle      = 180 * time.Second
	defaultGrace     = 10 * time.Minute
)

// prepare checks cfg and fills its defaults.
func prepare(cfg Config) (*settings, error) {
	s := &settings{Config: cfg, hosts: map[string]bool{}, origins: map[string]bool{}}
	err := errors.Join(s.useTransport(), s.useUpstream(), s.useKey(), s.useHosts(), s.useOrigins(), s.useClients(), s.useBounds())
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return s, nil
}

func (s *settings) useTransport() error {
	if s.Transport == nil {
		return errors.New("Config.Transport is nil, want an *evenkeel.Transport")
	}
	return nil
}

func (s *settings) useUpstream() error {
	u := s.Upstream
	switch {
	case u == nil:
		return errors.New("Config.Upstream is nil, want a URL such as https://api.anthropic.com")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("Config.Upstream has scheme %q, want http or https", u.Scheme)
	case u.Hostname() == "":
		return errors.New("Config.Upstream has no host")
	case u.User != nil:
		return errors.New("Config.Upstream holds a user name or password, want them in Config.APIKey or nowhere")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("Config.Upstream has a query or fragment, want scheme, host and path only")
	}
	copied := *u
	s.Upstream = &copied
	s.prefix = strings.TrimRight(u.EscapedPath(), "/")
	if s.prefix != "" && s.prefix[0] != '/' {
		return errors.New("Config.Upstream has a path that does not begin with a slash")
	}
	return nil
}

func (s *settings) useKey() error {
	for _, b := range []byte(s.APIKey) {
		if b <= ' ' || b >= 0x7f {
			return errors.New("Config.APIKey holds a space or another character that no key has: is it cut out of a file with its line end?")
		}
	}
	return nil
}

func (s *settings) useHosts() error {
	var errs []error
	for _, h := range s.Hosts {
		name := hostname(h)
		if name == "" || strings.ContainsAny(h, "/*@ ") {
			errs = append(errs, fmt.Errorf("Config.Hosts: %q is not a host name, want it without scheme and path", h))
		}
		s.hosts[name] = true
	}
	return errors.Join(errs...)
}

func (s *settings) useOrigins() error {
	var errs []error
	for _, o := range s.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(o, "*") {
			errs = append(errs, fmt.Errorf("Config.Origins: %q is not an origin, want scheme://host[:port] without a slash at its end", o))
		}
		s.origins[strings.ToLower(o)] = true
	}
	return errors.Join(errs...)
}

func (s *settings) useClients() error {
	var errs []error
	names, tokens := map[string]bool{}, map[string]bool{}
	for i, c := range s.Clients {
		at := fmt.Sprintf("Config.Clients[%d]", i)
		if c.Name == "" || names[c.Name] {
			errs = append(errs, fmt.Errorf("%s.Name is %q, want a name that no other client has", at, c.Name))
		}
		names[c.Name] = true
		sum, err := hex.DecodeString(c.TokenSHA256)
		switch {
		case err != nil || len(sum) != 32:
			// The value is not repeated: it may be the token itself.
			errs = append(errs, fmt.Errorf("%s.TokenSHA256 is not a SHA-256 in hex (64 digits), as printed by: printf %%s \"$TOKEN\" | sha256sum", at))
			continue
		case tokens[string(sum)]:
			errs = append(errs, fmt.Errorf("%s.TokenSHA256 is that of another client too", at))
		}
		tokens[string(sum)] = true
		class, ok := classOf(c.Priority)
		if c.Priority != "" && !ok {
			errs = append(errs, fmt.Errorf("%s.Priority is %q, want interactive, normal or batch", at, c.Priority))
		}
		if c.Weight < 0 {
			errs = append(errs, fmt.Errorf("%s.Weight is %d, want 0 or more", at, c.Weight))
		}
		for _, p := range c.Paths {
			if !strings.HasPrefix(p, "/") || strings.Contains(strings.TrimSuffix(p, "/*"), "*") {
				errs = append(errs, fmt.Errorf("%s.Paths: %q is not a path, want /v1/models, or /v1/models/* for all below it", at, p))
			}
		}
		s.clients = append(s.clients, client{name: c.Name, sum: [32]byte(sum), class: class, weight: c.Weight, paths: c.Paths})
	}
	return errors.Join(errs...)
}

func (s *settings) useBounds() error {
	var errs []error
	bound := func(name string, d *time.Duration, def time.Duration) {
		if *d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v, want 0 or more", name, *d))
		}
		if *d == 0 {
			*d = def
		}
	}
	bound("Config.MaxWait", &s.MaxWait, defaultMaxWait)
	bound("Config.Timeouts.Header", &s.Timeouts.Header, defaultHeader)
	bound("Config.Timeouts.Body", &s.Timeouts.Body, defaultBody)
	bound("Config.Timeouts.Write", &s.Timeouts.Write, defaultWrite)
	bound("Config.Timeouts.Idle", &s.Timeouts.Idle, defaultIdle)
	bound("Config.Drain.Delay", &s.Drain.Delay, 0)
	if s.Drain.Grace == 0 {
		s.Drain.Grace = defaultGrace
	}
	s.Drain.Grace = max(s.Drain.Grace, 0)
	if s.MaxHeader < 0 {
		errs = append(errs, fmt.Errorf("Config.MaxHeader is %d, want 0 or more bytes", s.MaxHeader))
	}
	if s.MaxHeader == 0 {
		s.MaxHeader = defaultMaxHeader
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.State == nil {
		s.State = func() observe.Snapshot { return observe.Snapshot{Time: time.Now()} }
	}
	return errors.Join(errs...)
}
