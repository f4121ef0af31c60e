package fleet

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/evenkeel-dev/evenkeel/fleet/servertest"
)

// TestFleet_outages lets four processes take all they get, while the store is
// lost for five seconds and comes back. Through all of it nobody waits for the
// store, no window has more than the limit allows, the outage costs less than
// a third of the volume, and all of it is used again soon after.
//
// A machine that keeps the processes from running proves nothing either way, so
// only what was played on one that was in time is judged.
func TestFleet_outages(t *testing.T) {
	tests := []struct {
		name       string
		lose, mend func(*servertest.Server, *slowly)
	}{
		{"killed", func(s *servertest.Server, _ *slowly) { s.Kill() }, func(s *servertest.Server, _ *slowly) { s.Start() }},
		{"frozen", func(s *servertest.Server, _ *slowly) { s.Freeze() }, func(s *servertest.Server, _ *slowly) { s.Thaw() }},
		{"answers in 500 ms", func(_ *servertest.Server, p *slowly) { p.set(500 * time.Millisecond) }, func(_ *servertest.Server, p *slowly) { p.set(0) }},
	}
	// All of them at the same time: they wait more than they work.
	left := tests
	for range tries {
		var fleets []*swarm
		for range left {
			fleets = append(fleets, startFleet(t))
		}
		time.Sleep(3 * time.Second)
		for i, f := range fleets {
			f.lost = time.Now()
			left[i].lose(f.server, f.proxy)
		}
		time.Sleep(5 * time.Second)
		for i, f := range fleets {
			f.found = time.Now()
			left[i].mend(f.server, f.proxy)
		}
		time.Sleep(10 * time.Second)
		again := left[:0:0]
		for i, f := range fleets {
			f.stop()
			late := lags.worst(f.begun)
			if late > inTime {
				again = append(again, left[i])
			}
			t.Run(left[i].name, func(t *testing.T) {
				f.note(t, late)
				if late <= inTime {
					f.judge(t)
				}
			})
		}
		if left = again; len(left) == 0 {
			return
		}
	}
	t.Errorf("not proved: in each of %d tries this machine was late by more than %v", tries, inTime)
}

const (
	// inTime is how late a timer may be on a machine that shows how a fleet
	// behaves, and not how the machine does.
	inTime = 250 * time.Millisecond
	tries  = 3
)

// perProcess is what each process may send a second. It is low, so that the
// processes of a test do not fight for the processor.
const perProcess = 5.0

// swarm is a fleet that takes all it gets.
type swarm struct {
	size   int // processes that share the store
	mu     sync.Mutex
	sent   []sending
	heard  []sending // answers of the store, grants or not
	back   bool      // the store is
	missed bool      // one has not noticed that it was lost
	hungry bool      // it takes all it gets
	begun  time.Time
	slow   time.Duration // the longest that Acquire took
	cancel context.CancelFunc
	close  []func() error
	all    sync.WaitGroup

	server      *servertest.Server // of a fleet in real time, and what is in front of it
	proxy       *slowly
	lost, found time.Time
}

// sending is an attempt that was granted, some time between two moments.
type sending struct {
	asked, told time.Time
	by          *Store
	local       bool // granted by the share
}

// perSecond is what the fleet may send.
func (f *swarm) perSecond() float64 { return perProcess * float64(f.size) }

// unbilledMost is what shares may grant until the store hears of it, if that
// takes one attendance and one answer, and so much longer.
func (f *swarm) unbilledMost(late time.Duration) float64 {
	return localShare * f.perSecond() * (attendEvery + defaultTimeout + late).Seconds()
}

func startFleet(t *testing.T) *swarm {
	const n = 4
	ctx, cancel := context.WithCancel(t.Context())
	f := &swarm{size: n, cancel: cancel, server: servertest.Single(t, servertest.Redis)}
	f.proxy = between(t, f.server.Addr)
	var stores []*Store
	for range n {
		s, err := New(Options{URL: "redis://" + f.proxy.addr()})
		if err != nil {
			t.Fatal(err)
		}
		f.close = append(f.close, s.Close)
		warm(t, s, "o")
		stores = append(stores, s)
	}
	for _, s := range stores { // they know of each other by their signs of life alone
		eventually(t, s, "o", func(r Reply) bool { return !r.Local && r.Live == n })
	}
	f.begun = time.Now()
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
	r := Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{{Kind: Requests, Cost: 1, Cap: f.perSecond() * 60}}}}}
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
	for _, c := range f.close {
		_ = c()
	}
}

func (f *swarm) note(t *testing.T, late time.Duration) {
	t.Helper()
	worst, over := f.worst()
	t.Logf("machine late by %v, longest Acquire %v, largest excess %.1f in %v, share while lost %.2f, after %.2f", late, f.slow, worst, over,
		f.share(f.lost, f.found), f.share(f.found.Add(5*time.Second), f.found.Add(10*time.Second)))
}

func (f *swarm) judge(t *testing.T) {
	t.Helper()
	if most := 2*defaultTimeout + inTime; f.slow > most {
		t.Errorf("an Acquire took %v, want at most %v", f.slow, most)
	}
	// One of each process was on its way, and until the next bill a share may
	// grant what others have of the store.
	worst, over := f.worst()
	if most := float64(f.size) + f.unbilledMost(inTime); worst > most {
		t.Errorf("in a window of %v %.1f more were sent than burst and rate, want at most %.1f more", over, worst, most)
	}
	if share := f.share(f.lost, f.found); share < 0.70 {
		t.Errorf("while the store was lost %.0f %% of the limit were used, want 70", 100*share)
	}
	if share := f.share(f.found.Add(5*time.Second), f.found.Add(10*time.Second)); share < 0.90 {
		t.Errorf("five seconds after it was back %.0f %% of the limit are used, want 90", 100*share)
	}
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
	since := func(t time.Time) float64 { return f.perSecond() * t.Sub(asked[0]).Seconds() }
	begins, least, from := 0, 0.0, asked[0]
	for i, to := range told {
		for ; begins < len(asked) && !asked[begins].After(to); begins++ {
			if now := float64(begins) - since(asked[begins]); now < least {
				least, from = now, asked[begins]
			}
		}
		if e := float64(i+1) - since(to) - least - 10*f.perSecond(); e > excess {
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
	return n / f.perSecond() / to.Sub(from).Seconds()
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

// TestClose_takesItsLeave: who is stopped in order does not count among the
// living any more.
func TestClose_takesItsLeave(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	stays, goes := newStore(t, patient(server)), newStore(t, patient(server))
	warm(t, goes, "o")
	eventually(t, stays, "o", func(r Reply) bool { return r.Live == 2 })
	if err := goes.Close(); err != nil {
		t.Fatal(err)
	}
	if r := mustAcquire(t, stays, simple("o")); r.Local || r.Live != 1 {
		t.Errorf("one has gone: %+v, want 1 alive", r)
	}
}

// TestClose_inTime: a store that does not answer keeps nobody from ending.
func TestClose_inTime(t *testing.T) {
	server := servertest.Single(t, servertest.Redis)
	s := newStore(t, Options{URL: "redis://" + server.Addr, Timeout: 200 * time.Millisecond})
	warm(t, s, "o")
	server.Freeze()
	defer server.Thaw()
	start := time.Now()
	if err := s.Close(); err != nil || time.Since(start) > 3*time.Second {
		t.Errorf("it is closed after %v, with %v; want that soon", time.Since(start), err)
	}
}

// TestClient_usable: a client that would retry, or wait for longer than a call
// may, is not taken.
func TestClient_usable(t *testing.T) {
	for name, tt := range map[string]struct {
		client redis.UniversalClient
		bad    string
	}{
		"as it is made":            {redis.NewClient(&redis.Options{}), "ContextTimeoutEnabled"},
		"that retries":             {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), "MaxRetries"},
		"as it should be":          {redis.NewClient(&redis.Options{ContextTimeoutEnabled: true, MaxRetries: -1}), ""},
		"of a Cluster":             {redis.NewClusterClient(&redis.ClusterOptions{MaxRetries: -1}), "ContextTimeoutEnabled"},
		"of a Cluster, that tries": {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, MaxRetries: 2}), "MaxRetries"},
		"of a Cluster, in order":   {redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, MaxRetries: -1}), ""},
	} {
		_, err := Options{Client: tt.client}.filled()
		if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("a client %s: %v, want %q", name, err, tt.bad)
		}
		_ = tt.client.Close()
	}
}
