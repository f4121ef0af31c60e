package fleet

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestFleet_outages lets eight processes take all they get, while the store is
// lost for five seconds and comes back. Through all of it nobody waits for the
// store, no window has more than the limit allows, the outage costs less than
// a third of the volume, and all of it is used again soon after.
func TestFleet_outages(t *testing.T) {
	tests := []struct {
		name       string
		lose, mend func(*servertest.Server, *slowly)
	}{
		{"killed", func(s *servertest.Server, _ *slowly) { s.Kill() }, func(s *servertest.Server, _ *slowly) { s.Start() }},
		{"frozen", func(s *servertest.Server, _ *slowly) { s.Freeze() }, func(s *servertest.Server, _ *slowly) { s.Thaw() }},
		{"answers in 500 ms", func(_ *servertest.Server, p *slowly) { p.set(500 * time.Millisecond) }, func(_ *servertest.Server, p *slowly) { p.set(0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := servertest.Single(t, servertest.Redis)
			proxy := between(t, server.Addr)
			f := startFleet(t, 8, proxy.addr())
			time.Sleep(3 * time.Second)
			lost := time.Now()
			tt.lose(server, proxy)
			time.Sleep(5 * time.Second)
			back := time.Now()
			tt.mend(server, proxy)
			time.Sleep(12 * time.Second)
			f.stop()
			f.judge(t, lost, back)
		})
	}
}

// perSecond is what the fleet may send. It is low, so that the processes of
// the test do not fight for the processor.
const perSecond = 40.0

type swarm struct {
	mu     sync.Mutex
	sent   []time.Time
	slow   time.Duration // the longest that Acquire took
	cancel context.CancelFunc
	all    sync.WaitGroup
}

func startFleet(t *testing.T, n int, addr string) *swarm {
	ctx, cancel := context.WithCancel(t.Context())
	f := &swarm{cancel: cancel}
	var stores []*Store
	for range n {
		s := newStore(t, Options{URL: "redis://" + addr})
		warm(t, s, "o")
		stores = append(stores, s)
	}
	for _, s := range stores { // they know of each other by their signs of life alone
		eventually(t, s, "o", func(r Reply) bool { return !r.Local && r.Live == n })
	}
	for _, s := range stores {
		f.all.Go(func() { f.take(ctx, s) })
	}
	return f
}

// take sends whatever it may.
func (f *swarm) take(ctx context.Context, s *Store) {
	r := Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Requests, Cost: 1, Cap: perSecond * 60}}}}}
	for ctx.Err() == nil {
		begin := time.Now()
		got, err := s.Acquire(ctx, r)
		took := time.Since(begin)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.slow = max(f.slow, took)
		if got.ID != "" {
			f.sent = append(f.sent, time.Now())
		}
		f.mu.Unlock()
		if got.ID != "" {
			_, _ = s.Settle(ctx, got.ID, Outcome{Charge: Kept, Succeeded: true})
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(got.Wait, 200*time.Millisecond)):
		}
	}
}

func (f *swarm) stop() {
	f.cancel()
	f.all.Wait()
}

func (f *swarm) judge(t *testing.T, lost, back time.Time) {
	t.Helper()
	// 50 ms, what a machine adds that others use too, and an end that is told besides.
	if most := 250 * time.Millisecond; f.slow > most {
		t.Errorf("an Acquire took %v, want at most %v", f.slow, most)
	}
	worst, over := 0.0, time.Duration(0)
	for i, from := range f.sent {
		for j, to := range f.sent[i:] {
			if excess := float64(j+1) - 10*perSecond - perSecond*to.Sub(from).Seconds(); excess > worst {
				worst, over = excess, to.Sub(from)
			}
		}
	}
	if most := 0.05*10*perSecond + 8; worst > most {
		t.Errorf("in a window of %v %.0f more were sent than burst and rate, want at most %.0f more: one for each process and what is on its way",
			over, worst, most)
	}
	if share := f.share(lost, back); share < 0.7 {
		t.Errorf("while the store was lost %.0f %% of the limit were used, want 70", 100*share)
	}
	if share := f.share(back.Add(9*time.Second), back.Add(12*time.Second)); share < 0.9 {
		t.Errorf("nine seconds after it was back %.0f %% of the limit are used, want all", 100*share)
	}
	t.Logf("longest Acquire %v, largest excess %.1f, share while lost %.2f, after %.2f", f.slow, worst, f.share(lost, back),
		f.share(back.Add(9*time.Second), back.Add(12*time.Second)))
}

// share is how much of the limit was used in a time.
func (f *swarm) share(from, to time.Time) float64 {
	n := 0.0
	for _, at := range f.sent {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n / perSecond / to.Sub(from).Seconds()
}

// slowly is a connection to a server that can be made slow.
type slowly struct {
	l     net.Listener
	mu    sync.Mutex
	delay time.Duration
}

func between(t *testing.T, to string) *slowly {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &slowly{l: l}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(ctx, c, to) })
		}
	})
	return p
}

func (p *slowly) addr() string { return p.l.Addr().String() }

func (p *slowly) set(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// pass copies both ways until either end is gone.
func (p *slowly) pass(ctx context.Context, c net.Conn, to string) {
	defer c.Close()
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close(); _ = s.Close() })
	defer stop()
	go func() {
		defer s.Close()
		_, _ = io.Copy(s, c)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		d := p.delay
		p.mu.Unlock()
		time.Sleep(d)
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}
