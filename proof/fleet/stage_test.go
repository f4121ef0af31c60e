package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
	"github.com/evenkeel-dev/evenkeel/proof/internal/binary"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// stage is an API, a store, and gateways between the two and their callers.
type stage struct {
	api   *sim.Server
	redis *servertest.Server
	wire  *wire // to redis
	nodes []*node
	start time.Time
}

// node is one gateway, as a process.
type node struct {
	url, admin string
	cmd        *exec.Cmd
	ended      chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

// Write keeps what the process says.
func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(p)
}

func (n *node) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.String()
}

func newStage(t *testing.T, nodes int, cfg sim.Config, settings ...string) *stage {
	t.Helper()
	s := &stage{redis: servertest.Single(t, servertest.Redis), api: sim.NewServer(cfg)}
	s.wire = newWire(t, s.redis.Addr)
	t.Cleanup(s.api.Close)
	settings = append([]string{
		"EVENKEEL_STORE_KIND=redis", "EVENKEEL_STORE_REDIS_URL=redis://" + s.wire.addr, "EVENKEEL_UPSTREAM_URL=" + s.api.URL,
		"EVENKEEL_DRAIN_DELAY=0s", "EVENKEEL_DRAIN_GRACE=1s",
	}, settings...)
	for range nodes {
		s.nodes = append(s.nodes, startNode(t, settings))
	}
	s.start = time.Now()
	return s
}

func startNode(t *testing.T, settings []string) *node {
	t.Helper()
	front, admin := servertest.FreeAddr(t), servertest.FreeAddr(t)
	n := &node{url: "http://" + front, admin: "http://" + admin, ended: make(chan struct{})}
	n.cmd = exec.Command(binary.Plain(t), "serve", "--listen", front, "--admin", admin, "--log-level", "error", "--log-format", "json")
	n.cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}, settings...)
	n.cmd.Stdout, n.cmd.Stderr = n, n
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.ended)
		_ = n.cmd.Wait() // it is killed at the end
	}()
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill() // fails if it has ended, which is as good
		<-n.ended
	})
	deadline := time.After(30 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", front, time.Second)
		if err == nil {
			_ = c.Close()
			return n
		}
		select {
		case <-n.ended:
			t.Fatalf("ended before it was ready:\n%s", n.said())
		case <-deadline:
			t.Fatalf("not ready in 30 s:\n%s", n.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// load is what the callers of each gateway ask for.
type load struct {
	workers int
	until   time.Duration
	class   string
	node    int // 1 is the first; 0 is all of them
	body    func(worker, n int) string
	key     string
}

// outcome is one call, as its caller saw it.
type outcome struct {
	node        int
	began, took time.Duration
	status      int // 0 without an answer
	reason      string
}

// play has all callers ask until the time is over, and returns what they saw.
// What is under way then is hung up on.
func (s *stage) play(t *testing.T, loads ...load) []outcome {
	t.Helper()
	var mu sync.Mutex
	var all []outcome
	var wg sync.WaitGroup
	for _, l := range loads {
		ctx, cancel := context.WithDeadline(t.Context(), s.start.Add(l.until))
		defer cancel()
		for i, n := range s.nodes {
			if l.node > 0 && i != l.node-1 {
				continue
			}
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.workers}}
			defer client.CloseIdleConnections()
			for w := range l.workers {
				wg.Go(func() {
					for k := 0; ctx.Err() == nil; k++ {
						o := s.call(ctx, client, n, l, l.body(w, k))
						if o.node = i; ctx.Err() != nil {
							return
						}
						mu.Lock()
						all = append(all, o)
						mu.Unlock()
						if o.status != http.StatusOK {
							time.Sleep(100 * time.Millisecond)
						}
					}
				})
			}
		}
	}
	wg.Wait()
	return all
}

// introduce sends one call through each gateway, and has the time begin then.
func (s *stage) introduce(t *testing.T) {
	t.Helper()
	for i, n := range s.nodes {
		if o := s.call(t.Context(), http.DefaultClient, n, load{}, plain(20)(0, i)); o.status != http.StatusOK {
			t.Fatalf("the first call of gateway %d ended with %d %s", i, o.status, o.reason)
		}
	}
	s.start = time.Now()
}

func (s *stage) call(ctx context.Context, c *http.Client, n *node, l load, body string) outcome {
	o := outcome{began: time.Since(s.start)}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	key := l.key
	if key == "" {
		key = "sk-fleet"
	}
	r.Header.Set("X-Api-Key", key)
	r.Header.Set("Anthropic-Version", "2023-06-01")
	if l.class != "" {
		r.Header.Set("Evenkeel-Priority", l.class)
	}
	resp, err := c.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		o.status, o.reason = resp.StatusCode, resp.Header.Get("Evenkeel-Reason")
	}
	if err != nil {
		o.status = 0
	}
	o.took = time.Since(s.start) - o.began
	return o
}

const model = "claude-opus-4-8"

// plain is a call with about so many tokens of prompt.
func plain(tokens int) func(int, int) string {
	return func(int, int) string {
		return fmt.Sprintf(`{"model":%q,"max_tokens":1024,"messages":[{"role":"user","content":%q}]}`, model, strings.Repeat("harbor ", tokens))
	}
}

// state is what a gateway says of itself.
type state struct {
	Store struct {
		Local     bool
		Processes int
		Alone     int `json:"decided_alone"`
	}
	Breakers []struct{ Path, State string }
}

func (n *node) state(t *testing.T) (s state) {
	t.Helper()
	resp, err := http.Get(n.admin + "/api/v1/state")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}
