package fleet

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options configure a [Store]. URL or Client is needed, and nothing else.
type Options struct {
	// URL says where the store is:
	//
	//	redis://user:password@host:6379/0          one server
	//	rediss://…                                 the same over TLS
	//	unix:///run/redis.sock?db=0                the same over a socket
	//	redis://host:7000?addr=host:7001&addr=…    a Cluster; ?cluster=true with a single address
	//	redis://host:26379?addr=…&master_name=m    Sentinels, which know the master;
	//	                                           &sentinel_username=…&sentinel_password=… for themselves
	//
	// valkey:// and valkeys:// are the same. The user is an ACL user.
	URL string

	// Client is used instead of URL, and is not closed. It must not retry, which
	// would run scripts twice, and must heed deadlines: one that does not waits five
	// seconds for a server that is frozen. See [ClientOptions].
	Client redis.UniversalClient

	// TLS is used with rediss://; nil means the system's roots.
	TLS *tls.Config

	Timeout           time.Duration // of one operation; 0 means 50 ms
	Prefix            string        // of all keys; "" means "evenkeel"
	Instance          string        // names this process, uniquely; "" draws a name
	Salt              []byte        // of the hashes of credentials; nil keeps one in the store
	ExpectedInstances int           // how many processes share the limits, if the store cannot tell; 0 means 1
	Policy            Policy        // the same in all processes
	Log               *slog.Logger  // when the store goes and comes back; nil discards
}

const (
	defaultTimeout = 50 * time.Millisecond
	// dialTimeout may be longer than an operation: connecting goes on behind
	// one that has given up, and serves the next.
	dialTimeout = time.Second
)

func (o Options) filled() (Options, error) {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	o.Prefix = clean(cmp.Or(o.Prefix, "evenkeel"))
	o.ExpectedInstances = max(o.ExpectedInstances, 1)
	if o.Instance == "" {
		host, _ := os.Hostname() // only to be readable
		o.Instance = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
	}
	o.Instance = clean(o.Instance)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Client != nil {
		return o, usable(o.Client)
	}
	c, err := ClientOptions(o.URL)
	if err != nil {
		return o, err
	}
	if c.TLSConfig != nil && o.TLS != nil {
		c.TLSConfig = o.TLS
	}
	c.PoolTimeout = o.Timeout
	o.Client = redis.NewUniversalClient(c)
	return o, nil
}

// usable says what keeps a client from being used, of the kinds that can be asked.
func usable(c redis.UniversalClient) error {
	heeds, retries := true, 0
	switch c := c.(type) {
	case *redis.Client:
		heeds, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
	case *redis.ClusterClient:
		heeds, retries = c.Options().ContextTimeoutEnabled, c.Options().MaxRetries
	}
	switch {
	case !heeds:
		return errors.New("fleet: Options.Client does not heed deadlines: set ContextTimeoutEnabled, as ClientOptions does")
	case retries > 0:
		return errors.New("fleet: Options.Client retries: set MaxRetries to -1, as ClientOptions does")
	}
	return nil
}

// ClientOptions are the settings of a client for the store at an URL; see
// [Options]. Each of them was seen to matter: without ContextTimeoutEnabled an
// operation with 50 ms to go waits five seconds for a server that hangs, and
// retries would charge what was charged already.
func ClientOptions(rawURL string) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Protocol: 2, DisableIdentity: true, // older servers and proxies know neither; nothing here needs them
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout,
		ReadTimeout: dialTimeout, WriteTimeout: dialTimeout,
		PoolSize: 64, MinIdleConns: 2, ConnMaxIdleTime: 5 * time.Minute,
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// What url.Parse says shows the password.
		if !strings.Contains(rawURL, "://") {
			return nil, errors.New("fleet: the store's URL has no scheme, want redis://HOST:PORT")
		}
		if strings.Contains(err.Error(), "invalid port") && !strings.Contains(rawURL, "@") {
			return nil, errors.New("fleet: the store's URL has a port that is no number")
		}
		return nil, errors.New("fleet: the store's URL cannot be read: in user and password, % / # ? @ and : are written %25 %2F %23 %3F %40 and %3A, and a port is a number")
	}
	switch u.Scheme {
	case "redis", "valkey":
	case "rediss", "valkeys":
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	case "unix":
		if u.Path == "" {
			return nil, errors.New("fleet: the store's URL names no socket: want unix:///path/of/socket")
		}
	default:
		return nil, fmt.Errorf("fleet: the store's URL begins with %q, want redis://, rediss://, valkey://, valkeys:// or unix://", u.Scheme)
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if u.Scheme == "unix" {
		o.Addrs = []string{u.Path}
	} else {
		o.Addrs = []string{withPort(u.Host)}
		if path := strings.Trim(u.Path, "/"); path != "" {
			if err := setDB(o, path); err != nil {
				return nil, err
			}
		}
	}
	return o, readQuery(o, u.Query())
}

func readQuery(o *redis.UniversalOptions, q url.Values) error {
	for name, values := range q {
		switch name {
		case "addr":
			for _, a := range values {
				o.Addrs = append(o.Addrs, withPort(a))
			}
		case "master_name":
			o.MasterName = values[0]
		case "sentinel_username":
			o.SentinelUsername = values[0]
		case "sentinel_password":
			o.SentinelPassword = values[0]
		case "cluster":
			is, err := strconv.ParseBool(values[0])
			if err != nil {
				return fmt.Errorf("fleet: cluster=%q in the store's URL, want true or false", values[0])
			}
			o.IsClusterMode = is
		case "db":
			if err := setDB(o, values[0]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("fleet: the store's URL has %q, want addr, master_name, sentinel_username, sentinel_password, cluster or db", name)
		}
	}
	if o.DB != 0 && (o.IsClusterMode || len(o.Addrs) > 1 && o.MasterName == "") {
		return errors.New("fleet: a Cluster has no database but 0")
	}
	return nil
}

func setDB(o *redis.UniversalOptions, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("fleet: database %q in the store's URL, want a number", text)
	}
	o.DB = n
	return nil
}

func withPort(host string) string {
	if host == "" {
		return "localhost:6379"
	}
	if i := strings.LastIndexByte(host, ':'); i < 0 || i < strings.LastIndexByte(host, ']') {
		return host + ":6379"
	}
	return host
}
