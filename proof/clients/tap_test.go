package clients

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// tap passes bytes between a client and the gateway and changes none. It
// counts the messages requests that the client makes, so that a client which
// retries on its own is seen even if it does not say so in a header.
type tap struct {
	addr string

	mu    sync.Mutex // guards all below
	posts int
	conns map[net.Conn]struct{}
}

// requestLine begins every messages request; no body of these tests has it.
var requestLine = []byte("POST /v1/messages")

func startTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String(), conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.pass(client, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.hangUp()
		running.Wait()
	})
	return p
}

// pass carries one connection until either side ends it. An end is passed on
// as it is, half-closed or not, because clients tell them apart.
func (p *tap) pass(client net.Conn, to string) {
	defer p.keep(client)()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer p.keep(server)()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(io.MultiWriter(&counter{tap: p}, server), client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

// keep remembers c until the returned function closes it.
func (p *tap) keep(c net.Conn) (forget func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		_ = c.Close()
	}
}

// hangUp closes every connection, so that no client's idle one outlives the test.
func (p *tap) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// requests returns the messages requests seen so far.
func (p *tap) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posts
}

// counter finds request lines in what one connection carries, however it is cut.
type counter struct {
	tap  *tap
	tail []byte
}

func (c *counter) Write(b []byte) (int, error) {
	seen := append(c.tail, b...)
	n := bytes.Count(seen, requestLine)
	if at := bytes.LastIndex(seen, requestLine); at >= 0 {
		seen = seen[at+len(requestLine):]
	}
	c.tail = bytes.Clone(seen[max(0, len(seen)-len(requestLine)+1):])
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.tap.posts += n
	return len(b), nil
}
