package fleet

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestStore_failover: Sentinels replace a master that is killed, and the store
// follows without being told.
func TestStore_failover(t *testing.T) {
	for _, kind := range servertest.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := servertest.Sentinel(t, kind)
			var url strings.Builder
			url.WriteString("redis://" + w.Sentinels[0].Addr + "?master_name=" + servertest.MasterName)
			for _, a := range w.Addrs()[1:] {
				url.WriteString("&addr=" + a)
			}
			s := newStore(t, Options{URL: url.String(), ExpectedInstances: 2, Timeout: 200 * time.Millisecond})
			warm(t, s, "o")
			w.Master.Kill()
			eventually(t, s, "o", isLocal)
			eventually(t, s, "o", isShared)
			if got := w.Replica.Do("role"); !strings.Contains(got, "master") {
				t.Errorf("the replica is %s, want master", got)
			}
		})
	}
}

// TestStore_cluster: a master that is killed takes its owners into the local
// share, and no others; slots that move are followed, from half-way on too.
func TestStore_cluster(t *testing.T) {
	nodes := servertest.Cluster(t, servertest.Redis)
	url := "redis://" + nodes[0].Addr + "?addr=" + nodes[1].Addr + "&addr=" + nodes[2].Addr
	s := newStore(t, Options{URL: url, ExpectedInstances: 2, Timeout: 200 * time.Millisecond})
	byNode := map[int]string{} // an owner of each master
	for i := 0; len(byNode) < 3; i++ {
		owner := fmt.Sprint("o", i)
		byNode[atoi(t, nodes[0].Do("cluster", "keyslot", "{"+owner+"}"))*3/16384] = owner
	}
	for _, owner := range byNode {
		warm(t, s, owner)
	}
	moveSlot(t, s, nodes, byNode[1], func() {
		if r := mustAcquire(t, s, simple(byNode[1])); !r.Local && r.ID == "" {
			t.Errorf("half-way the reply is %+v, want a grant of either", r)
		}
	})
	eventually(t, s, byNode[1], isShared)
	nodes[0].Kill()
	eventually(t, s, byNode[0], isLocal)
	for _, n := range []int{1, 2} {
		if r := mustAcquire(t, s, simple(byNode[n])); r.Local {
			t.Errorf("owner of node %d has fallen back too: %+v", n, s.Health())
		}
	}
	eventually(t, s, byNode[0], isShared) // its replica has taken over
}

// moveSlot moves an owner's slot from the second node to the third, key by key.
func moveSlot(t *testing.T, s *Store, nodes []*servertest.Server, owner string, halfWay func()) {
	t.Helper()
	from, to := nodes[1], nodes[2]
	slot := from.Do("cluster", "keyslot", "{"+owner+"}")
	_, port, _ := net.SplitHostPort(to.Addr)
	to.Do("cluster", "setslot", slot, "importing", from.Do("cluster", "myid"))
	from.Do("cluster", "setslot", slot, "migrating", to.Do("cluster", "myid"))
	c := from.Client()
	defer c.Close()
	keys := c.ClusterGetKeysInSlot(t.Context(), atoi(t, slot), 100).Val()
	if len(keys) < 3 {
		t.Fatalf("slot %s holds %q, want live, group and reservations", slot, keys)
	}
	for i, k := range keys {
		from.Do("migrate", "127.0.0.1", port, k, 0, 5000)
		if i == len(keys)/2 {
			halfWay()
		}
	}
	for _, n := range []*servertest.Server{to, from, nodes[0]} {
		n.Do("cluster", "setslot", slot, "node", to.Do("cluster", "myid"))
	}
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
