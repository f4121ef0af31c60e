package servertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is what Sentinels call the master.
const MasterName = "evenkeel"

// Watched is a master with a replica, and Sentinels that replace it.
type Watched struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// Sentinel starts a master, its replica and three Sentinels, which take a
// master for gone that has not answered for a second.
func Sentinel(tb testing.TB, kind Kind) *Watched {
	tb.Helper()
	w := &Watched{Master: Single(tb, kind, "--repl-diskless-sync-delay", "0")}
	w.Replica = Single(tb, kind, "--replicaof", fmt.Sprintf("127.0.0.1 %d", port(w.Master.Addr)))
	w.Replica.await(contains("master_link_status:up", "info", "replication"))
	for range 3 {
		s := prepare(tb, kind)
		s.configure(fmt.Sprintf(
			"port %d\nbind 127.0.0.1\nprotected-mode no\ndir %s\nlogfile %s\nsentinel monitor %s 127.0.0.1 %d 2\n"+
				"sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 5000\n",
			port(s.Addr), s.Dir, filepath.Join(s.Dir, "log"), MasterName, port(w.Master.Addr), MasterName, MasterName))
		w.Sentinels = append(w.Sentinels, s)
	}
	for _, s := range w.Sentinels { // until they know of each other, none can be elected
		s.await(contains("num-other-sentinels 2", "sentinel", "master", MasterName))
		s.await(contains("num-slaves 1", "sentinel", "master", MasterName))
	}
	return w
}

// configure starts a Sentinel, which wants a file that it can write.
func (s *Server) configure(text string) {
	s.tb.Helper()
	path := filepath.Join(s.Dir, "sentinel.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.tb.Fatal(err)
	}
	s.launch(path, "--sentinel")
	s.await(func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
}

// Addrs are those of the Sentinels.
func (w *Watched) Addrs() []string { return addrs(w.Sentinels) }

// Cluster starts three masters with a replica each, and waits until they
// agree that all is well.
func Cluster(tb testing.TB, kind Kind) []*Server {
	tb.Helper()
	var nodes []*Server
	for range 6 {
		bus := port(FreeAddr(tb))
		nodes = append(nodes, Single(tb, kind, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus),
			"--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf", "--repl-diskless-sync-delay", "0"))
	}
	const slots = 16384
	for i := range 3 {
		nodes[i].Do("cluster", "addslotsrange", i*slots/3, (i+1)*slots/3-1)
	}
	for _, n := range nodes[1:] {
		bus := strings.TrimSpace(n.option("cluster-port"))
		nodes[0].Do("cluster", "meet", "127.0.0.1", port(n.Addr), bus)
	}
	for _, n := range nodes {
		n.await(contains("cluster_known_nodes:6", "cluster", "info"))
	}
	for i := range 3 {
		master := nodes[i].Do("cluster", "myid")
		nodes[i+3].await(func(ctx context.Context, c *redis.Client) error {
			return c.Do(ctx, "cluster", "replicate", master).Err()
		})
	}
	for i, n := range nodes {
		n.await(contains("cluster_state:ok", "cluster", "info"))
		if i >= 3 {
			n.await(contains("master_link_status:up", "info", "replication"))
		}
	}
	return nodes
}

// Addrs are those of servers.
func addrs(servers []*Server) (list []string) {
	for _, s := range servers {
		list = append(list, s.Addr)
	}
	return list
}

// option is what the server was started with.
func (s *Server) option(name string) string {
	for i, a := range s.args {
		if a == "--"+name {
			return s.args[i+1]
		}
	}
	return ""
}

var errNotYet = errors.New("not yet")

// contains asks whether the answer to a command has some text in it.
func contains(text string, command ...any) func(context.Context, *redis.Client) error {
	return func(ctx context.Context, c *redis.Client) error {
		v, err := c.Do(ctx, command...).Result()
		if err != nil {
			return err
		}
		if !strings.Contains(flat(v), text) {
			return fmt.Errorf("%v: %w", command, errNotYet)
		}
		return nil
	}
}

// flat joins an answer by spaces.
func flat(v any) string {
	switch v := v.(type) {
	case []any:
		var words []string
		for _, x := range v {
			words = append(words, flat(x))
		}
		return strings.Join(words, " ")
	case map[any]any:
		var words []string
		for k, x := range v {
			words = append(words, flat(k)+" "+flat(x))
		}
		return strings.Join(words, " ")
	}
	return fmt.Sprint(v)
}
