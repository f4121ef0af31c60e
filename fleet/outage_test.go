package fleet

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rehearsal is a store that fails on schedule, in virtual time: the rules in
// plain Go behind a network that answers late, not at all, or with an error.
type rehearsal struct {
	mu      sync.Mutex
	m       *memory
	state   string   // "", "killed", "frozen" or "slow"
	waiting []func() // questions that lie in the sockets of a frozen server
	hiccups float64  // the part of all answers that is lost on the way
	deaf    string   // a process that gets no answer to its looks
	random  *rand.Rand
}

func (r *rehearsal) set(state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == "killed" {
		r.m = newMemory(r.m.p)
	}
	r.state = state
	if state == "" {
		for _, f := range r.waiting {
			f()
		}
		r.waiting = nil
	}
}

// pass brings a question to the server, and its answer back if that comes in
// time.
func (r *rehearsal) pass(ctx context.Context, ask func(engine, float64) (Reply, error)) (Reply, error) {
	time.Sleep(100 * time.Microsecond)
	r.mu.Lock()
	run := func() (Reply, error) { return ask(r.m, float64(time.Now().UnixMicro())) }
	lost := r.random.Float64() < r.hiccups
	switch r.state {
	case "killed":
		r.mu.Unlock()
		return Reply{}, io.EOF
	case "frozen":
		r.waiting = append(r.waiting, func() { _, _ = run() })
	default:
		reply, err := run()
		if r.state == "" && !lost {
			r.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
			return reply, err
		}
	}
	r.mu.Unlock()
	<-ctx.Done()
	return Reply{}, ctx.Err()
}

func (r *rehearsal) acquire(ctx context.Context, _ float64, a *acquisition) (Reply, error) {
	return r.pass(ctx, func(e engine, now float64) (Reply, error) { return e.acquire(ctx, now, a) })
}

func (r *rehearsal) settle(ctx context.Context, _ float64, t *settlement) (Reply, error) {
	return r.pass(ctx, func(e engine, now float64) (Reply, error) { return e.settle(ctx, now, t) })
}

func (r *rehearsal) learn(ctx context.Context, _ float64, l *lesson) (Reply, error) {
	return r.pass(ctx, func(e engine, now float64) (Reply, error) { return e.learn(ctx, now, l) })
}

func (r *rehearsal) look(ctx context.Context, _ float64, g *glimpse) (Reply, error) {
	r.mu.Lock()
	deaf := r.deaf == g.instance
	r.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return Reply{}, ctx.Err()
	}
	return r.pass(ctx, func(e engine, now float64) (Reply, error) { return e.look(ctx, now, g) })
}

// store is a process of the rehearsal. It attends to itself every 250 ms, as
// all do, but each at its own moment.
func (r *rehearsal) store(ctx context.Context, all *sync.WaitGroup, name string, offset time.Duration) *Store {
	s := newStoreOver(Options{Instance: name, Timeout: defaultTimeout, ExpectedInstances: 1, Log: slog.New(slog.DiscardHandler)}, r)
	all.Go(func() {
		time.Sleep(offset)
		for ctx.Err() == nil {
			s.round(ctx, time.Now())
			time.Sleep(attendEvery)
		}
	})
	return s
}

// TestOutage_rehearsed lets eight processes take all they get, one attempt or
// five at a time, through outages of every kind and many lengths, in virtual
// time. What was admitted in any window is at most what a full bucket holds and
// what refills, and what each process had on its way.
//
// That is all that may be more. A process turns to its share at the level that
// it has last heard of, by the number of processes; all of them have heard of
// less than one attempt, or they would have taken it. And one whose answer is
// lost grants what the store may not have, until the bill has come.
func TestOutage_rehearsed(t *testing.T) {
	each(t, (*swarm).take, func(f *swarm, o outage, _ time.Time) float64 {
		n := float64(o.workers * f.size)
		if o.hiccups > 0 {
			n += f.unbilledMost(0)
		}
		return n
	})
}

// TestOutage_rehearsedInBursts lets them take some at once, now and then, and
// much when the store is back: all that it should not have. The levels they
// have heard of are older then, and not empty: what the others took of the
// store since is granted again, by the number of processes. And who has not
// noticed the outage may take what the others have not billed yet.
func TestOutage_rehearsedInBursts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 3))
	each(t, func(f *swarm, ctx context.Context, s *Store) {
		for ctx.Err() == nil {
			f.mu.Lock()
			rest, n := time.Duration(random.IntN(2500))*time.Millisecond, random.IntN(20)
			if f.back {
				n *= 20
			}
			f.mu.Unlock()
			f.takeSome(ctx, s, n)
			pause(ctx, rest)
		}
	}, func(f *swarm, o outage, lost time.Time) float64 {
		return float64(o.workers*f.size) + f.unheard(lost) + f.unbilled(lost)
	})
}

// TestOutage_rehearsedLateReturn: a process that finds the store seconds after
// the others is not waited for. What it has granted by its share until then is
// on top of what they take, and no more than that.
func TestOutage_rehearsedLateReturn(t *testing.T) {
	for _, workers := range []int{1, 5} {
		// Looks that are lost for as long as that are all that the others wait for.
		o := outage{state: "frozen", lasts: 5 * time.Second, deaf: settleFor + 2*time.Second, workers: workers}
		t.Run(o.String(), func(t *testing.T) {
			for seed := range uint64(rehearsals) {
				rehearse(t, o, seed, (*swarm).take, func(f *swarm, _ outage, lost time.Time) float64 {
					return float64(workers*f.size) + f.apart(lost)
				})
			}
		})
	}
}

// each rehearses every kind of outage.
func each(t *testing.T, take taking, most mosting) {
	for _, o := range outages() {
		t.Run(o.String(), func(t *testing.T) {
			sum, n := 0.0, 0
			for seed := range uint64(rehearsals) {
				if share, told := rehearse(t, o, seed, take, most); told {
					sum, n = sum+share, n+1
				}
			}
			if n >= 10 && sum < 0.70*float64(n) {
				t.Errorf("while the store was lost %.1f %% of the limit were used on average, want 70", 100*sum/float64(n))
			}
		})
	}
}

type (
	taking func(*swarm, context.Context, *Store)
	// mosting is how much more than the limit a window may have, by what was sent.
	mosting func(f *swarm, o outage, lost time.Time) float64
)

// outage is what happens to the store.
type outage struct {
	state   string
	lasts   time.Duration
	hiccups float64       // before and after it
	deaf    time.Duration // how much longer it lasts for one process
	workers int           // attempts that each process has under way
}

// fleetSize is how many processes rehearse.
const fleetSize = 8

func outages() (all []outage) {
	for _, state := range []string{"killed", "frozen", "slow"} {
		for _, lasts := range []time.Duration{60 * time.Millisecond, 700 * time.Millisecond, 5 * time.Second, 25 * time.Second} {
			for _, workers := range []int{1, 5} {
				for _, hiccups := range []float64{0, 0.02} {
					if rehearsals == 1 && workers > 1 && (hiccups == 0 || lasts > 5*time.Second) {
						continue // five at a time take five times as long to play
					}
					all = append(all, outage{state: state, lasts: lasts, hiccups: hiccups, workers: workers})
				}
			}
		}
	}
	return all
}

func (o outage) String() string {
	return fmt.Sprintf("%s for %v, %g of answers lost besides, %d at a time", o.state, o.lasts, o.hiccups, o.workers)
}

// rehearse plays an outage, and tells which share of the limit was used while the
// store was lost, if that was for long and all was wanted.
func rehearse(t *testing.T, o outage, seed uint64, take taking, most mosting) (share float64, told bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := &rehearsal{m: newMemory(Policy{}.filled()), random: rand.New(rand.NewPCG(seed, 2))}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		f := &swarm{size: fleetSize, cancel: cancel}
		var stores []*Store
		for i := range fleetSize {
			s := r.store(ctx, &all, fmt.Sprint(i), time.Duration(random.IntN(250))*time.Millisecond)
			stores = append(stores, s)
			for range o.workers {
				f.all.Go(func() { take(f, ctx, s) })
			}
		}
		time.Sleep(3*time.Second + time.Duration(random.IntN(1000))*time.Millisecond)
		r.mu.Lock()
		r.hiccups = o.hiccups
		r.mu.Unlock()
		time.Sleep(2 * time.Second)
		lost, debt := time.Now(), r.debt()
		r.set(o.state)
		if o.deaf > 0 {
			r.deafen("0")
		}
		time.Sleep(o.lasts)
		back := time.Now()
		r.set("")
		f.mu.Lock()
		for _, s := range stores {
			s.mu.Lock()
			f.missed = f.missed || !s.server.down && s.server.errors < errorsToDoubt
			s.mu.Unlock()
		}
		f.back = true
		f.mu.Unlock()
		time.Sleep(o.deaf)
		r.deafen("")
		time.Sleep(12*time.Second - o.deaf)
		f.stop()
		all.Wait()
		worst, over := f.worst()
		if limit := most(f, o, lost); worst > limit {
			t.Errorf("seed %d: in a window of %v %.1f more were sent than burst and rate, want at most %.1f", seed, over, worst, limit)
		}
		if f.slow > defaultTimeout+time.Millisecond {
			t.Errorf("seed %d: an Acquire took %v, want at most %v", seed, f.slow, defaultTimeout)
		}
		if !f.hungry {
			return
		}
		// What was granted on top before, for answers that were lost, is not granted again.
		want := 0.70
		switch { // a share that begins because of a single answer begins with little
		case o.hiccups > 0 && o.lasts < 10*time.Second:
			want = 0.55 // 0.60 was seen, once in a hundred times; make prove asks for 0.70 on average
		case o.hiccups > 0:
			want = 0.65
		}
		share, told = f.share(lost, back)+debt/f.perSecond()/o.lasts.Seconds(), o.lasts >= 5*time.Second
		if told && share < want {
			t.Errorf("seed %d: while the store was lost %.1f %% of the limit were used, want %.0f", seed, 100*share, 100*want)
		}
		if share := f.share(back.Add(5*time.Second), back.Add(12*time.Second)); o.deaf == 0 && share < 0.9 {
			t.Errorf("seed %d: five seconds after it was back %.0f %% of the limit are used, want all", seed, 100*share)
		}
	})
	return share, told
}

func (r *rehearsal) deafen(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaf = name
}

// debt is what the store has granted, or been billed, of what is yet to refill.
func (r *rehearsal) debt() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, -r.m.owners["o"].groups["g"].buckets[Requests].level)
}

// apart is what the first process was granted by its share, from when the store
// was lost until the process had found it again.
func (f *swarm) apart(lost time.Time) (sum float64) {
	for _, one := range f.sent {
		if one.local && one.by.instance == "0" && one.told.After(lost) {
			sum++
		}
	}
	return sum
}

// unbilled is what was granted by shares in an outage, if a process has not
// noticed that: it is not held when the store is back.
func (f *swarm) unbilled(lost time.Time) (sum float64) {
	for _, one := range f.sent {
		if f.missed && one.local && one.told.After(lost) {
			sum++
		}
	}
	return sum
}

// unheard is how much was granted, by the number of processes, that each had
// not heard of when the store was lost.
func (f *swarm) unheard(lost time.Time) (sum float64) {
	heard := map[*Store]time.Time{}
	for _, one := range f.heard {
		if at := one.told; at.Before(lost) {
			heard[one.by] = at
		}
	}
	for _, at := range heard {
		for _, one := range f.sent {
			if one.told.After(at) && one.told.Before(lost) {
				sum++
			}
		}
	}
	return sum / float64(f.size)
}

// TestOutage_countsOnce: what a frozen server was asked it does when it wakes,
// and this process has granted it by then. It is charged once, neither never
// nor twice, and for a process that has come back as for one that never went.
func TestOutage_countsOnce(t *testing.T) {
	for _, errors := range []int{errorsToTrip - 2, errorsToTrip + 2} {
		t.Run(fmt.Sprintf("%d calls", errors), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rehearsal{m: newMemory(Policy{}.filled()), random: rand.New(rand.NewPCG(1, 1))}
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				s := r.store(ctx, &all, "0", 0)
				const cost, size = 100, 1000
				ask := func(cost float64) Reply {
					got, err := s.Acquire(ctx, Request{Owner: "o", Lane: "l", Groups: []Group{{Name: "g", Buckets: []Bucket{
						{Kind: Input, Cost: cost, Cap: size * 6},
					}}}})
					if err != nil {
						t.Fatal(err)
					}
					return got
				}
				ask(0)
				r.set("frozen")
				begin, granted := time.Now(), 0.0
				for range errors {
					if ask(cost).ID != "" {
						granted += cost
					}
				}
				r.set("")
				time.Sleep(2 * time.Second)
				level, refilled := ask(0).Groups[0].Buckets[0].Level, size/10*time.Since(begin).Seconds()
				if least := size - granted; level < least || level > least+refilled {
					t.Errorf("of %d %v were granted, and the level is %v: want at least %v, and at most %v, for what has refilled",
						size, granted, level, least, least+refilled)
				}
				cancel()
				all.Wait()
			})
		})
	}
}
