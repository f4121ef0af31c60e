package fleet

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// place is somewhere the scripts run.
type place struct {
	name    string
	client  redis.UniversalClient
	version string
}

// everywhere runs a test on everything that runs the scripts: miniredis, and
// Redis and Valkey, single, behind Sentinels and as a Cluster.
func everywhere(t *testing.T, test func(t *testing.T, p place)) {
	t.Run("miniredis", func(t *testing.T) { test(t, inMiniredis(t)) })
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind)+" single", func(t *testing.T) { test(t, single(t, kind)) })
		t.Run(string(kind)+" sentinel", func(t *testing.T) { test(t, watched(t, servertest.Sentinel(t, kind))) })
		t.Run(string(kind)+" cluster", func(t *testing.T) { test(t, clustered(t, servertest.Cluster(t, kind))) })
	}
}

func inMiniredis(t testing.TB) place {
	m := miniredis.RunT(t)
	return connected(t, "miniredis", "miniredis", &redis.UniversalOptions{Addrs: []string{m.Addr()}})
}

func single(t testing.TB, kind servertest.Kind) place {
	s := servertest.Single(t, kind)
	return connected(t, string(kind)+" single", s.Version(), &redis.UniversalOptions{Addrs: []string{s.Addr}})
}

func watched(t testing.TB, w *servertest.Watched) place {
	return connected(t, string(w.Master.Kind)+" sentinel", w.Master.Version(),
		&redis.UniversalOptions{Addrs: w.Addrs(), MasterName: servertest.MasterName})
}

func clustered(t testing.TB, nodes []*servertest.Server) place {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr)
	}
	return connected(t, string(nodes[0].Kind)+" cluster", nodes[0].Version(), &redis.UniversalOptions{Addrs: addrs, IsClusterMode: true})
}

// connected connects patiently: here it is the scripts that are tested, not how
// long they may take.
func connected(t testing.TB, name, version string, o *redis.UniversalOptions) place {
	o.Protocol, o.DisableIdentity, o.ContextTimeoutEnabled = 2, true, true
	c := redis.NewUniversalClient(o)
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for c.Ping(ctx).Err() != nil && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond) // Sentinels and Clusters take a moment to be found
	}
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	ran(name + " (" + version + ")")
	return place{name, c, version}
}

// ran notes where the scripts have run, for the report at the end.
var (
	ranMu  sync.Mutex
	places = map[string]bool{}
)

func ran(name string) {
	ranMu.Lock()
	defer ranMu.Unlock()
	places[name] = true
}

func (p place) engine(policy policy) engine {
	return asking{newScripted(p.client, policy, keyspace{"test"})}
}

// asking asks as a Store does: with what it knows of groups only when it is told
// that they are not there. So attempts may go the fast way.
type asking struct{ engine }

func (e asking) acquire(ctx context.Context, now float64, a *acquisition) (Reply, error) {
	brief := *a
	brief.hints = nil
	r, err := e.engine.acquire(ctx, now, &brief)
	if err != nil || r.Reason != missing || a.hints == nil {
		return r, err
	}
	return e.engine.acquire(ctx, now, a)
}

var owners struct {
	sync.Mutex
	n int
}

// newOwner is a name that no test has used yet, so that tests may share servers.
func newOwner() string {
	owners.Lock()
	defer owners.Unlock()
	owners.n++
	return fmt.Sprintf("org%d", owners.n)
}
