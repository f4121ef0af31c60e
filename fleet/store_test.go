package fleet

import (
	"context"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func on(s *servertest.Server) Options { return Options{URL: "redis://" + s.Addr, ExpectedInstances: 4} }

// patient is for tests of what the store answers, and not of when: on a busy
// machine that may be late.
func patient(s *servertest.Server) Options {
	o := on(s)
	o.Timeout = time.Second
	return o
}

// simple asks for one request and some input of a class with a limit of its own.
func simple(owner string) Request {
	return Request{Owner: owner, Lane: "api/messages/opus", Groups: []Group{{Name: "opus", Buckets: []Bucket{
		{Kind: Requests, Cost: 1, Cap: 600}, {Kind: Input, Cost: 100, Cap: 600_000},
	}}}}
}

func mustAcquire(t testing.TB, s *Store, r Request) Reply {
	t.Helper()
	start := time.Now()
	got, err := s.Acquire(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody is blocked for longer than 100 ms, or twice the time that it was given.
	if d, most := time.Since(start), 2*s.o.Timeout+lags.since(start); d > most {
		t.Errorf("Acquire took %v, want at most %v", d, most)
	}
	return got
}

// warm acquires until the store answers: connecting takes a moment.
func warm(t testing.TB, s *Store, owner string) Reply {
	t.Helper()
	r := eventually(t, s, owner, func(r Reply) bool { return !r.Local })
	return r
}

// eventually asks until a reply is as wanted.
func eventually(t testing.TB, s *Store, owner string, good func(Reply) bool) (r Reply) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if r = mustAcquire(t, s, simple(owner)); good(r) {
			return r
		}
		if r.ID != "" {
			_, _ = s.Settle(t.Context(), r.ID, Outcome{Charge: Refunded})
		}
	}
	t.Fatalf("never: last reply %+v, health %+v", r, s.Health())
	return r
}

func isLocal(r Reply) bool  { return r.Local }
func isShared(r Reply) bool { return !r.Local }

// goesLocal asks until the guard has tripped, and says for which reason.
func goesLocal(t *testing.T, s *Store, owner string, want Cause) {
	t.Helper()
	for range errorsToTrip + 1 {
		if r := mustAcquire(t, s, simple(owner)); !r.Local {
			t.Errorf("reply is of the store, want the local share: %+v", r)
		}
	}
	h := s.Health()
	for end := time.Now().Add(10 * time.Second); h.Cause != want && time.Now().Before(end); h = s.Health() {
		time.Sleep(50 * time.Millisecond) // a busy machine is too slow at first to be told why
	}
	if !h.Local && h.Owners == 0 || h.Cause != want {
		t.Errorf("health is %+v, want local for %q", h, want)
	}
	start := time.Now()
	mustAcquire(t, s, simple(owner))
	if d := time.Since(start); d > 20*time.Millisecond+lags.since(start) {
		t.Errorf("with the guard down Acquire took %v: it still asks the store", d)
	}
}

// TestStore_failures breaks a store in every way that was thought of. Each
// time calls go on, within the time they are given, for a reason that is told;
// and when it is mended the store is used again.
func TestStore_failures(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		break_ func(*servertest.Server)
		mend   func(*servertest.Server)
		want   Cause
	}{
		{"killed", nil, (*servertest.Server).Kill, (*servertest.Server).Start, CauseUnreachable},
		{"frozen", nil, (*servertest.Server).Freeze, (*servertest.Server).Thaw, CauseTimeout},
		{
			"paused", nil, func(s *servertest.Server) { s.Do("client", "pause", "100000", "all") },
			func(s *servertest.Server) { s.Kill(); s.Start() }, CauseTimeout,
		},
		{
			"a replica", nil, func(s *servertest.Server) { s.Do("replicaof", "127.0.0.1", "1") },
			func(s *servertest.Server) { s.Do("replicaof", "no", "one") }, CauseReadOnly,
		},
		{
			"out of memory", nil, func(s *servertest.Server) { s.Do("config", "set", "maxmemory", "1") },
			func(s *servertest.Server) { s.Do("config", "set", "maxmemory", "0") }, CauseFull,
		},
		{
			"another's key", nil, func(s *servertest.Server) { s.Do("set", "evenkeel:2:{o}:live", "x") },
			func(s *servertest.Server) { s.Do("del", "evenkeel:2:{o}:live") }, CauseType,
		},
		{
			"no rights", nil, func(s *servertest.Server) { s.Do("acl", "setuser", "default", "-evalsha", "-eval") },
			func(s *servertest.Server) { s.Do("acl", "setuser", "default", "+@all") }, CauseAuth,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := servertest.Single(t, servertest.Redis, tt.args...)
			s := newStore(t, on(server))
			warm(t, s, "o")
			if tt.name == "another's key" {
				server.Do("del", "evenkeel:2:{o}:live")
			}
			tt.break_(server)
			goesLocal(t, s, "o", tt.want)
			tt.mend(server)
			eventually(t, s, "o", isShared)
			if h := s.Health(); h.Local || h.Owners > 0 {
				t.Errorf("after it is back health is %+v, want shared", h)
			}
		})
	}
}

// TestStore_scriptFlush needs no local share: the script is sent again.
func TestStore_scriptFlush(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, patient(server))
	warm(t, s, "o")
	server.Do("script", "flush")
	if r := mustAcquire(t, s, simple("o")); r.Local || r.ID == "" {
		t.Errorf("after SCRIPT FLUSH the reply is %+v, want a grant of the store", r)
	}
}

// TestStore_password: a wrong one is told as such, and is in no error.
func TestStore_password(t *testing.T) {
	server := servertest.Single(t, servertest.Redis, "--requirepass", "right")
	s := newStore(t, Options{URL: "redis://:wrong-secret@" + server.Addr})
	goesLocal(t, s, "o", CauseAuth)
	if h := s.Health(); strings.Contains(h.Error, "wrong-secret") {
		t.Errorf("the error shows the password: %s", h.Error)
	}
	ok := newStore(t, Options{URL: "redis://:right@" + server.Addr})
	warm(t, ok, "o")
}

// TestStore_neverThere: nothing listens, or what listens says nothing, with
// TLS and without. It costs no call more than its time.
func TestStore_neverThere(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, url := range map[string]string{
		"nobody listens":       "redis://" + servertest.FreeAddr(t),
		"it says nothing":      "redis://" + silent.Addr().String(),
		"it says nothing, TLS": "rediss://" + silent.Addr().String(),
		"no Sentinel":          "redis://" + servertest.FreeAddr(t) + "?master_name=m",
		"no Cluster":           "redis://" + servertest.FreeAddr(t) + "?cluster=true",
		"no socket":            "unix:///nowhere/redis.sock",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Options{URL: url})
			for range errorsToTrip + 2 {
				if r := mustAcquire(t, s, simple("o")); !r.Local {
					t.Errorf("reply is %+v, want the local share", r)
				}
			}
			if h := s.Health(); h.Cause != CauseTimeout && h.Cause != CauseUnreachable {
				t.Errorf("health is %+v, want a timeout or unreachable", h)
			}
		})
	}
}

// TestStore_shareStartsWhereTheStoreWas: four processes fall back at a level
// that is low. None of them hands out more than a quarter of what was left.
func TestStore_shareStartsWhereTheStoreWas(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, patient(server))
	warm(t, s, "o")
	r := simple("o")
	r.Groups[0].Buckets[0] = Bucket{Kind: Requests, Cost: 1, Cap: 60} // 10 when full
	for mustAcquire(t, s, r).ID != "" {                               // empties it
		continue
	}
	server.Kill()
	granted := 0
	for range 30 {
		if mustAcquire(t, s, r).ID != "" {
			granted++
		}
	}
	if granted > 1 {
		t.Errorf("%d were granted locally right after the store was empty, want at most 1", granted)
	}
}

// TestStore_restartedEmpty: a store that has forgotten everything starts from
// what its processes remember, not from full buckets.
func TestStore_restartedEmpty(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, patient(server))
	warm(t, s, "o")
	r := simple("o")
	r.Groups[0].Buckets[0].Cap = 60
	for mustAcquire(t, s, r).ID != "" {
		continue
	}
	server.Do("flushall")
	if got := mustAcquire(t, s, r); got.ID != "" || got.Groups[0].Buckets[0].Level > 1 {
		t.Errorf("an emptied store grants %+v, want none: nothing was left", got)
	}
	// Who remembers nothing gets ten seconds of rate, not a minute.
	stranger := newStore(t, patient(server))
	warm(t, stranger, "other")
	r = simple("new")
	granted := 0
	for granted < 100 && mustAcquire(t, stranger, r).ID != "" {
		granted++
	}
	if granted > 101 {
		t.Errorf("%d were granted of a class that nobody remembers, want ten seconds of 600 a minute", granted)
	}
}

// TestStore_settlesLater: an end that the store did not hear is told when it
// is back, once.
func TestStore_settlesLater(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, patient(server))
	warm(t, s, "o")
	r := simple("o")
	r.Groups[0].Buckets[1] = Bucket{Kind: Input, Cost: 50_000, Cap: 600_000}
	got := mustAcquire(t, s, r)
	before := got.Groups[0].Buckets[1].Level
	server.Freeze()
	if _, err := s.Settle(t.Context(), got.ID, Outcome{Charge: Refunded}); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(); h.Pending != 1 {
		t.Errorf("%d ends are pending, want 1", h.Pending)
	}
	server.Thaw()
	eventually(t, s, "o", func(Reply) bool { return s.Health().Pending == 0 })
	after := eventually(t, s, "o", isShared).Groups[0].Buckets[1].Level
	if after < before+40_000 {
		t.Errorf("the level went from %.0f to %.0f, want 50,000 given back", before, after)
	}
}

// TestStore_wakes: a breaker that opens is heard of by everyone, at once.
func TestStore_wakes(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	o := patient(server)
	o.Policy.MinCalls = 1
	a, b := newStore(t, o), newStore(t, o)
	warm(t, a, "o")
	warm(t, b, "o")
	for w := range b.Wakes() { // subscribed
		if w.All {
			break
		}
	}
	got := mustAcquire(t, a, simple("o"))
	if _, err := a.Settle(t.Context(), got.ID, Outcome{Failure: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		select {
		case w := <-b.Wakes():
			if w.State == Open && w.Owner == "o" && w.Lane == "api/messages/opus" {
				if r := mustAcquire(t, b, simple("o")); r.Reason != ByBreaker {
					t.Errorf("the other process is told %v, want breaker", r.Reason)
				}
				return
			}
		case <-ctx.Done():
			t.Fatal("never woken")
		}
	}
}

// TestStore_evicting: a server that may throw limits away is warned of.
func TestStore_evicting(t *testing.T) {
	server := servertest.Single(t, servertest.Redis, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	s := newStore(t, patient(server))
	eventually(t, s, "o", func(Reply) bool { return len(s.Health().Warnings) > 0 })
}

// TestStore_keysExpire: nothing is left for ever but the salt.
func TestStore_keysExpire(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, patient(server))
	r := warm(t, s, "o")
	hash := s.Hash(t.Context(), "sk-secret")
	s.SetOrganization(t.Context(), hash, "org_1", "")
	paced := simple("o")
	paced.Groups[0].Name, paced.Groups[0].Pace = "paced", 10
	paced.Groups[0].Buckets = append(paced.Groups[0].Buckets, Bucket{Kind: Output, Cost: 100})
	mustAcquire(t, s, paced)
	_, _ = s.Settle(t.Context(), r.ID, Outcome{Succeeded: true})
	mustAcquire(t, s, simple("o"))
	c := server.Client()
	defer c.Close()
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) < 6 {
		t.Fatal(keys, err)
	}
	for _, k := range keys {
		if ttl := c.TTL(t.Context(), k).Val(); ttl < 0 && k != "evenkeel:2:salt" {
			t.Errorf("%s never expires", k)
		}
		if v := c.Dump(t.Context(), k).Val(); strings.Contains(k+v, "sk-secret") {
			t.Errorf("%s holds the credential", k)
		}
	}
}

// TestHash_isTheFleets: all processes hash alike, because the store keeps the
// salt; another fleet's hashes differ.
func TestHash_isTheFleets(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	a, b := newStore(t, patient(server)), newStore(t, patient(server))
	warm(t, a, "o")
	warm(t, b, "o")
	one, two := a.Hash(t.Context(), "key"), b.Hash(t.Context(), "key")
	if one != two || len(one) != 32 {
		t.Errorf("hashes are %q and %q, want the same 32 digits", one, two)
	}
	other := newStore(t, Options{URL: "redis://" + server.Addr, Salt: []byte("another")})
	if got := other.Hash(t.Context(), "key"); got == one {
		t.Error("another salt gives the same hash")
	}
	a.SetOrganization(t.Context(), one, "org_1", "wrkspc_2")
	if org, workspace, ok := b.Organization(t.Context(), one); org != "org_1" || workspace != "wrkspc_2" || !ok {
		t.Errorf("the other process hears of %q, %q, %v", org, workspace, ok)
	}
}

func TestClientOptions(t *testing.T) {
	tests := []struct {
		url, bad string
		check    func(*redis.UniversalOptions) bool
	}{
		{url: "redis://u:p@h:1/2", check: func(o *redis.UniversalOptions) bool {
			return o.Addrs[0] == "h:1" && o.Username == "u" && o.Password == "p" && o.DB == 2 && o.TLSConfig == nil
		}},
		{url: "valkeys://h", check: func(o *redis.UniversalOptions) bool { return o.Addrs[0] == "h:6379" && o.TLSConfig.ServerName == "h" }},
		{url: "redis://[::1]", check: func(o *redis.UniversalOptions) bool { return o.Addrs[0] == "[::1]:6379" }},
		{url: "unix:///a/b?db=3", check: func(o *redis.UniversalOptions) bool { return o.Addrs[0] == "/a/b" && o.DB == 3 }},
		{url: "redis://a:1?addr=b:2", check: func(o *redis.UniversalOptions) bool { return len(o.Addrs) == 2 && o.MasterName == "" }},
		{url: "redis://a:1?cluster=true", check: func(o *redis.UniversalOptions) bool { return o.IsClusterMode }},
		{url: "redis://a:1?addr=b:2&master_name=m&sentinel_password=s", check: func(o *redis.UniversalOptions) bool {
			return o.MasterName == "m" && o.SentinelPassword == "s"
		}},
		{url: "http://a", bad: "begins with"},
		{url: "", bad: "begins with"},
		{url: "redis://a/x", bad: "want a number"},
		{url: "redis://a?timeout=3", bad: `has "timeout"`},
		{url: "redis://a:1/1?addr=b:2", bad: "no database"},
		{url: "redis://u:secret@a:%zz", bad: "cannot be read"},
	}
	for _, tt := range tests {
		o, err := ClientOptions(tt.url)
		switch {
		case tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad)):
			t.Errorf("%s: error is %v, want %q", tt.url, err, tt.bad)
		case tt.bad == "" && (err != nil || !tt.check(o)):
			t.Errorf("%s: %v, %+v", tt.url, err, o)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error shows the password: %v", tt.url, err)
		}
	}
}

// TestACL_asDocumented gives a user the rights that docs/fleet.md lists, and
// no more: all of it works.
func TestACL_asDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "ACL SETUSER ")
	rule, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/fleet.md has no ACL SETUSER")
	}
	words := []any{"acl", "setuser"}
	for w := range strings.FieldsSeq(rule) {
		words = append(words, w)
	}
	for _, script := range []string{coreLua, resultsLua, lineLua, fastLua, acquireLua, settleLua, learnLua, lookLua} {
		for _, used := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(script, -1) {
			if right := "+" + strings.ToLower(used[1]); !slices.Contains(words, any(right)) {
				t.Errorf("a script uses %s, and docs/fleet.md does not list %s", used[1], right)
			}
		}
	}
	server := servertest.Single(t, servertest.Redis)
	server.Do(words...)
	o := Options{URL: "redis://evenkeel:PASSWORD@" + server.Addr, Policy: Policy{MinCalls: 1}, Timeout: time.Second}
	s := newStore(t, o)
	r := warm(t, s, "o")
	for w := range s.Wakes() {
		if w.All {
			break
		}
	}
	paced := simple("o")
	paced.Groups[0] = Group{Name: "paced", Pace: 50, Buckets: []Bucket{{Kind: Output, Cost: 500, Cap: 6000}}}
	p := mustAcquire(t, s, paced)
	if got, err := s.Learn(t.Context(), p.ID, Lesson{Views: [][]View{{{Limit: 6000, Remaining: 600}}}}); err != nil || got.Local {
		t.Errorf("learn: %+v, %v", got, err)
	}
	for got := p; got.ID != ""; got = mustAcquire(t, s, paced) { // until it has to wait
		continue
	}
	s.Quit(t.Context(), "o", paced.Lane, "paced", Normal)
	for _, id := range []ID{p.ID, r.ID} {
		if got, err := s.Settle(t.Context(), id, Outcome{Failure: true}); err != nil || got.Local || !got.Known {
			t.Errorf("settle: %+v, %v", got, err)
		}
	}
	if w := <-s.Wakes(); w.State != Open {
		t.Errorf("woken with %+v, want open", w)
	}
	s.Hash(t.Context(), "key")
	if s.hashes.unsure() {
		t.Error("the salt cannot be kept")
	}
	if h := s.Health(); h.Errors > 0 {
		t.Errorf("something is not allowed: %+v", h)
	}
}
