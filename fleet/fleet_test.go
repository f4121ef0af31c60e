package fleet

import (
	"context"
	"io"
	"net"
	"slices"
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
			f := startFleet(t, fleetSize, proxy.addr())
			time.Sleep(3 * time.Second)
			lost := time.Now()
			tt.lose(server, proxy)
			time.Sleep(5 * time.Second)
			back := time.Now()
			tt.mend(server, proxy)
			time.Sleep(10 * time.Second)
			f.stop()
			f.judge(t, lost, back)
		})
	}
}

// perSecond is what the fleet may send. It is low, so that the processes of
// the test do not fight for the processor.
const perSecond = 40.0

// fleetSize is how many processes share the store.
const fleetSize = 8

// swarm is a fleet that takes all it gets.
type swarm struct {
	mu     sync.Mutex
	sent   []sending
	heard  []sending // answers of the store, grants or not
	back   bool      // the store is
	missed bool      // one has not noticed that it was lost
	hungry bool      // it takes all it gets
	begun  time.Time
	slow   time.Duration // the longest that Acquire took
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// sending is an attempt that was granted, some time between two moments.
type sending struct {
	asked, told time.Time
	by          *Store
	local       bool // granted by the share
}

func startFleet(t *testing.T, n int, addr string) *swarm {
	ctx, cancel := context.WithCancel(t.Context())
	f := &swarm{cancel: cancel, begun: time.Now()}
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
	f.mu.Lock()
	f.hungry = true
	f.mu.Unlock()
	for ctx.Err() == nil {
		if wait, granted := f.once(ctx, s); !granted {
			pause(ctx, min(wait, 200*time.Millisecond))
		}
	}
}

// takeSome sends up to n, until it is refused.
func (f *swarm) takeSome(ctx context.Context, s *Store, n int) {
	for range n {
		if _, granted := f.once(ctx, s); !granted {
			return
		}
	}
}

// once asks for one attempt, and sends and ends it.
func (f *swarm) once(ctx context.Context, s *Store) (wait time.Duration, granted bool) {
	r := Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Requests, Cost: 1, Cap: perSecond * 60}}}}}
	begin := time.Now()
	got, err := s.Acquire(ctx, r)
	if err != nil {
		return 0, false
	}
	one := sending{begin, time.Now(), s, got.Local}
	f.mu.Lock()
	f.slow = max(f.slow, one.told.Sub(begin))
	if got.ID != "" {
		f.sent = append(f.sent, one)
	}
	if !got.Local {
		f.heard = append(f.heard, one)
	}
	f.mu.Unlock()
	if got.ID != "" {
		_, _ = s.Settle(ctx, got.ID, Outcome{Charge: Kept, Succeeded: true})
	}
	return got.Wait, got.ID != ""
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (f *swarm) stop() {
	f.cancel()
	f.all.Wait()
}

func (f *swarm) judge(t *testing.T, lost, back time.Time) {
	t.Helper()
	late := lags.since(f.begun)
	if most := 2*defaultTimeout + late; f.slow > most {
		t.Errorf("an Acquire took %v, want at most %v", f.slow, most)
	}
	// One of each process was on its way, and until the next bill a share may
	// grant what others have of the store.
	worst, over := f.worst()
	unbilled := localShare * perSecond * (attendEvery + defaultTimeout + late).Seconds()
	if most := fleetSize + unbilled; worst > most {
		t.Errorf("in a window of %v %.0f more were sent than burst and rate, want at most %.0f more", over, worst, most)
	}
	// Who is kept from running cannot send: of five seconds so much is missing.
	ran := 1 - min(1, late.Seconds()/5)
	if share := f.share(lost, back); share < 0.7*ran {
		t.Errorf("while the store was lost %.0f %% of the limit were used, want %.0f", 100*share, 70*ran)
	}
	if share := f.share(back.Add(5*time.Second), back.Add(10*time.Second)); share < 0.9*ran {
		t.Errorf("five seconds after it was back %.0f %% of the limit are used, want %.0f", 100*share, 90*ran)
	}
	t.Logf("longest Acquire %v, machine late by %v, largest excess %.1f, share while lost %.2f, after %.2f", f.slow, late, worst,
		f.share(lost, back), f.share(back.Add(5*time.Second), back.Add(10*time.Second)))
}

// worst is by how much the fullest window exceeds what a full bucket holds and
// what refills. A grant falls some time between question and answer: it is in
// a window if both are, so a slow machine makes windows longer, not fuller.
func (f *swarm) worst() (excess float64, over time.Duration) {
	var asked, told []time.Time
	for _, one := range f.sent {
		asked, told = append(asked, one.asked), append(told, one.told)
	}
	slices.SortFunc(asked, time.Time.Compare)
	slices.SortFunc(told, time.Time.Compare)
	if len(asked) == 0 {
		return 0, 0
	}
	// In a window are those answered by its end, less those asked before it
	// began. The best beginning for an end is the best so far.
	since := func(t time.Time) float64 { return perSecond * t.Sub(asked[0]).Seconds() }
	begins, least, from := 0, 0.0, asked[0]
	for i, to := range told {
		for ; begins < len(asked) && !asked[begins].After(to); begins++ {
			if now := float64(begins) - since(asked[begins]); now < least {
				least, from = now, asked[begins]
			}
		}
		if e := float64(i+1) - since(to) - least - 10*perSecond; e > excess {
			excess, over = e, to.Sub(from)
		}
	}
	return excess, over
}

// share is how much of the limit was used in a time.
func (f *swarm) share(from, to time.Time) float64 {
	n := 0.0
	for _, one := range f.sent {
		if at := one.told; !at.Before(from) && at.Before(to) {
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
