package fleet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wake tells that a breaker has moved. It is no more than a hint to those who
// wait, to ask again sooner: messages can be lost.
type Wake struct {
	Owner, Lane string
	State       BreakerState
	Epoch       uint64
	All         bool // messages may have been missed, or the store has come back: whoever waits asks again
}

// Wakes is where breakers tell that they have moved. Who does not read misses
// the oldest.
func (s *Store) Wakes() <-chan Wake { return s.wakes }

func (s *Store) wake(w Wake) {
	for {
		select {
		case s.wakes <- w:
			return
		default:
		}
		select {
		case <-s.wakes:
		default:
		}
	}
}

// listen subscribes to the wake-ups.
func (s *Store) listen(ctx context.Context) {
	sub := s.client.Subscribe(ctx, s.keys.channel())
	defer sub.Close()
	messages := sub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(10 * time.Second))
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			switch m := m.(type) {
			case *redis.Subscription:
				s.wake(Wake{All: true}) // while it was away it heard nothing
			case *redis.Message:
				if w, ok := parseWake(m.Payload); ok {
					s.wake(w)
				}
			}
		}
	}
}

// parseWake reads “prefix:1:{owner}:lane:name state epoch”.
func parseWake(text string) (w Wake, ok bool) {
	words := strings.Split(text, " ")
	if len(words) != 3 {
		return w, false
	}
	_, rest, ok1 := strings.Cut(words[0], "{")
	owner, lane, ok2 := strings.Cut(rest, "}:lane:")
	states := []string{"closed", "open", "half-open"}
	at := slices.Index(states, words[1])
	f := &fields{rest: words[2]}
	epoch := f.num()
	if !ok1 || !ok2 || at < 0 || f.bad {
		return w, false
	}
	return Wake{Owner: owner, Lane: lane, State: BreakerState(at), Epoch: uint64(epoch)}, true
}

// attend does what goes on behind the calls: it looks whether a store that has
// gone is back, tells it what it has missed, and that this process lives.
func (s *Store) attend(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	inspect := time.Now()
	s.greet(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if s.hashes.unsure() {
			s.fetchSalt(ctx)
		}
		s.revive(ctx, now)
		s.beat(ctx, now)
		s.deliver(ctx, now)
		s.sweep(now)
		if !now.Before(inspect) {
			inspect = now.Add(time.Minute)
			s.inspect(ctx)
		}
	}
}

// greet connects, with more patience than a call has, so that the first calls
// find a connection.
func (s *Store) greet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	_ = s.client.Ping(ctx).Err() // whether it answers is found out by those who ask
}

// revive looks at what is down, and is due.
func (s *Store) revive(ctx context.Context, now time.Time) {
	s.mu.Lock()
	server := s.server.due(now)
	var due []string
	for name, g := range s.owners {
		if g.due(now) {
			due = append(due, name)
		}
	}
	s.mu.Unlock()
	if server {
		s.reviveOne(ctx, now, &s.server, "")
	}
	for _, name := range due {
		s.mu.Lock()
		g := s.owners[name]
		s.mu.Unlock()
		if g != nil {
			s.reviveOne(ctx, now, g, name)
		}
	}
}

// reviveOne looks once. owner is "" for the server: then it is enough to see
// that scripts run and write.
func (s *Store) reviveOne(ctx context.Context, now time.Time, g *guard, owner string) {
	memos := s.memosOf(owner)
	if len(memos) == 0 {
		memos = []*memo{{owner: "-", req: &Request{Owner: "-", Lane: "-", Groups: []Group{{Name: "-"}}}}}
	}
	// Of the server, an error about somebody's key is an answer.
	if err := s.look(ctx, memos[0], "", nil); err != nil && (owner != "" || !causeOf(err).ofKeys()) {
		s.mu.Lock()
		g.retry = now.Add(retryEvery)
		s.mu.Unlock()
		s.weigh(ctx, now, memos[0].owner, err)
		return
	}
	// What was used meanwhile is charged before anybody asks the store again.
	// The charge has an ID: told twice, it counts once.
	done := map[string]bool{}
	for _, m := range memos {
		s.mu.Lock()
		var used [][]float64
		if m.local {
			used = s.alone.usedShare(s.since(now), now, m, done)
		}
		s.mu.Unlock()
		if used == nil {
			continue
		}
		if err := s.look(ctx, m, g.charge(m), used); err != nil && !causeOf(err).ofKeys() {
			s.mu.Lock()
			g.retry = now.Add(retryEvery / 5)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Lock()
	downFor := time.Since(g.since)
	for _, m := range memos {
		if m.local {
			s.alone.forget(m.owner)
			m.local = false
		}
	}
	if owner == "" {
		s.server.up()
	} else {
		delete(s.owners, owner)
	}
	s.mu.Unlock()
	s.o.Log.LogAttrs(ctx, slog.LevelInfo, "store answers again", slog.Duration("down_for", downFor))
	s.wake(Wake{All: true})
}

// memosOf lists what is remembered of an owner, or of all.
func (s *Store) memosOf(owner string) (list []*memo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.memos {
		if owner == "" || m.owner == owner {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b *memo) int { return b.used.Compare(a.used) })
	return list
}

// look asks for the state of what a memo is about, and with an ID charges what
// was used.
func (s *Store) look(ctx context.Context, m *memo, charge ID, used [][]float64) error {
	s.mu.Lock()
	req, state, known := m.req, m.state, m.known
	s.mu.Unlock()
	g := &glimpse{Request: req, instance: s.instance, id: charge, used: used}
	g.charge = charge != "" && known && len(state.Groups) == len(req.Groups)
	for _, v := range state.Groups {
		g.born = append(g.born, v.born)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	reply, err := s.shared.look(ctx, 0, g)
	if err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.touched = now
	for i := range reply.Groups {
		if reply.Groups[i].born == 0 {
			return nil // forgotten: what is remembered is worth more
		}
	}
	if known && !m.local {
		m.at, m.state = now, reply.State
	}
	return nil
}

// beat tells that this process lives, where its calls do not.
func (s *Store) beat(ctx context.Context, now time.Time) {
	var idle []*memo
	s.mu.Lock()
	for _, m := range s.memos {
		g := s.owners[m.owner]
		if !s.server.down && (g == nil || !g.down) && m.known &&
			now.Sub(m.touched) >= beatEvery*time.Microsecond && now.Sub(m.used) < 10*time.Minute {
			idle = append(idle, m)
		}
	}
	s.mu.Unlock()
	for _, m := range idle {
		if err := s.look(ctx, m, "", nil); err != nil {
			s.weigh(ctx, now, m.owner, err)
			return
		}
	}
}

// deliver tells the store of ends that it has missed.
func (s *Store) deliver(ctx context.Context, now time.Time) {
	s.mu.Lock()
	if s.server.down || len(s.pending) == 0 {
		s.mu.Unlock()
		return
	}
	batch := s.pending
	s.pending = nil
	s.mu.Unlock()
	for i, t := range batch {
		within, cancel := context.WithTimeout(ctx, s.o.Timeout)
		_, err := s.shared.settle(within, 0, t)
		cancel()
		if err != nil {
			s.weigh(ctx, now, t.req.Owner, err)
			s.mu.Lock()
			s.pending = append(batch[i:], s.pending...)
			if over := len(s.pending) - maxPending; over > 0 {
				s.pending = s.pending[over:]
				s.counts.lost += over
			}
			s.mu.Unlock()
			return
		}
	}
}

// sweep forgets what nobody will ask for any more.
func (s *Store) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.counts.swept.Add(time.Minute)) {
		return
	}
	s.counts.swept = now
	for id, o := range s.open {
		if now.Sub(o.at) > openFor {
			delete(s.open, id)
		}
	}
	for key, m := range s.memos {
		if now.Sub(m.used) > openFor && !m.local {
			delete(s.memos, key)
		}
	}
}
