// Package servertest starts real Redis and Valkey servers for tests: single,
// watched by Sentinels, or as a Cluster.
//
// Each server is a process of its own on a free port of the loopback, never
// 6379, with its files in a folder of the test. It ends with the test, or with
// the test's process, however that ends. Servers can be frozen, killed and
// started again, which is what they are for.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Kind is a program that speaks the protocol.
type Kind string

// The kinds.
const (
	Redis  Kind = "redis"
	Valkey Kind = "valkey"
)

// Kinds lists what is installed. Redis has to be; where Valkey is packaged
// scripts/setup installs it.
func Kinds() []Kind {
	kinds := []Kind{Redis}
	if _, err := Valkey.program(); err == nil {
		kinds = append(kinds, Valkey)
	}
	return kinds
}

// program finds the server. Debian's packages redis-tools and valkey-tools
// hold it under the name of the checker of dumps, which is the same program:
// by its first argument it is one or the other. So the package that would also
// start a service at boot need not be installed.
func (k Kind) program() (string, error) {
	if path, err := exec.LookPath(string(k) + "-server"); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(string(k) + "-check-rdb"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		path := filepath.Join(cache, "evenkeel-tools", string(k), "usr", "bin", string(k)+"-check-rdb")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s-server: run scripts/setup", k)
}

// Server is one process.
type Server struct {
	Addr string // host:port
	Kind Kind
	Dir  string // its files; log is among them

	tb   testing.TB
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

// Single starts one server. args are as in its configuration, such as
// "--requirepass", "x".
func Single(tb testing.TB, kind Kind, args ...string) *Server {
	tb.Helper()
	s := prepare(tb, kind, args...)
	s.Start()
	return s
}

func prepare(tb testing.TB, kind Kind, args ...string) *Server {
	tb.Helper()
	s := &Server{Addr: FreeAddr(tb), Kind: kind, Dir: tb.TempDir(), tb: tb}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.args = append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.Dir, "--logfile", filepath.Join(s.Dir, "log"),
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	tb.Cleanup(s.Kill)
	return s
}

// FreeAddr returns an address of the loopback that nobody listens on. It is below
// the ports that systems give to connections: one of those may be taken by the
// time a server asks for it.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	var err error
	for range 1000 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20_000+rand.IntN(12_000))); err == nil { //nolint:gosec // no secret
			defer l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatal(err)
	return ""
}

// Start starts the server, with nothing in it, and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	s.launch(s.args...)
	s.await(func(ctx context.Context, c *redis.Client) error {
		err := c.Ping(ctx).Err()
		if redis.HasErrorPrefix(err, "NOAUTH") {
			return nil
		}
		return err
	})
}

func (s *Server) launch(args ...string) {
	s.tb.Helper()
	program, err := s.Kind.program()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.cmd = &exec.Cmd{
		Path: program, Args: append([]string{string(s.Kind) + "-server"}, args...),
		Dir: s.Dir, SysProcAttr: attributes(),
	}
	if err := start(s.cmd); err != nil {
		s.tb.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) {
		defer close(done)
		_ = cmd.Wait() // it was killed: that is an error, and what we wanted
	}(s.cmd)
}

// await asks until the answer is no error.
func (s *Server) await(ask func(context.Context, *redis.Client) error) {
	s.tb.Helper()
	c := s.Client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := ask(ctx, c)
		if err == nil {
			return
		}
		select {
		case <-s.done:
			log, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			s.tb.Fatalf("%s on %s has ended:\n%s", s.Kind, s.Addr, log)
		case <-ctx.Done():
			s.tb.Fatalf("%s on %s: %v", s.Kind, s.Addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Client returns a client that is patient. The caller closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true, MaxRetries: -1})
}

// Do runs one command, and fails the test if that fails.
func (s *Server) Do(args ...any) string {
	s.tb.Helper()
	c := s.Client()
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.tb.Fatalf("%v on %s: %v", args, s.Addr, err)
	}
	return fmt.Sprint(v)
}

// Kill ends the process at once, and waits for that.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails if it has ended, which is as good
	<-s.done
	s.cmd = nil
}

// Freeze stops the process from running, and waits until it has; its connections
// stay open.
func (s *Server) Freeze() {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP)
	for range 1000 {
		if frozen(s.cmd.Process.Pid) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.tb.Fatalf("%s on %s does not stop", s.Kind, s.Addr)
}

// Thaw lets it run again.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatal(err)
	}
}

// Version is what the server says it is.
func (s *Server) Version() string {
	c := s.Client()
	defer c.Close()
	info := c.InfoMap(context.Background(), "server").Val()["Server"]
	if v := info["valkey_version"]; v != "" {
		return "valkey " + v
	}
	return "redis " + info["redis_version"]
}

func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}
