package fleet

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wake tells that a breaker has moved, or that there is more for retries than this
// process had heard of. It is no more than a hint to those who wait, to ask again
// sooner: messages can be lost.
type Wake struct {
	Owner, Lane string
	State       BreakerState
	Epoch       uint64
	Budget      Budget // more than nothing: this is about that, and not about the breaker
	All         bool   // messages may have been missed, or the store has come back: whoever waits asks again
}

// Budget is how many tokens there are for retries: of a lane, and of the first group
// of its requests, for those of 429s.
type Budget struct{ Lane, Scope float64 }

// moreThan says what there is more of than there was.
func (s *State) moreThan(was *State) (b Budget, more bool) {
	if s.Budget > was.Budget {
		b.Lane = s.Budget
	}
	if len(s.Groups) > 0 && len(was.Groups) > 0 && s.Groups[0].Budget > was.Groups[0].Budget {
		b.Scope = s.Groups[0].Budget
	}
	return b, b != Budget{}
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

// parseWake reads “prefix:2:{owner}:lane:name state epoch”.
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

// attendEvery is how often it is looked whether anything is due.
const attendEvery = 250 * time.Millisecond

// attend does what goes on behind the calls: it looks whether a store that has
// gone is back, tells it what it has missed, and that this process lives.
func (s *Store) attend(ctx context.Context) {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	inspect := time.Now()
	s.greet(ctx)
	close(s.greeted)
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
		s.round(ctx, now)
		if !now.Before(inspect) {
			inspect = now.Add(time.Minute)
			s.inspect(ctx)
		}
	}
}

// round looks, tells and forgets once.
func (s *Store) round(ctx context.Context, now time.Time) {
	late := s.late() // before the bills: what is refunded there has to be in one
	s.revive(ctx, now)
	s.reconcile(ctx, now)
	s.beat(ctx, now)
	s.deliver(ctx, now, late)
	s.sweep(now)
}

// greet connects, with more patience than a call has, so that the first calls
// find a connection.
func (s *Store) greet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	if err := s.client.Ping(ctx).Err(); err != nil {
		s.weigh(ctx, time.Now(), "", err)
		s.mu.Lock()
		s.server.told, s.server.toldAt = causeOf(err), time.Now() // once is enough
		s.mu.Unlock()
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "store does not answer", slog.String("cause", string(causeOf(err))),
			slog.String("error", err.Error()))
		return // whether calls go on alone is found out by those who ask
	}
	if l, ok := s.shared.(interface{ load(context.Context) }); ok {
		l.load(ctx)
	}
}

// Ready waits until the store has been looked for, and found or not. It is for
// those who have a moment before their first call: a process that starts with
// its share starts with little.
func (s *Store) Ready(ctx context.Context) {
	select {
	case <-s.greeted:
	case <-ctx.Done():
	}
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
	if err := s.look(ctx, memos[0], nil); err != nil && (owner != "" || !causeOf(err).ofKeys()) {
		s.mu.Lock()
		g.retry = now.Add(retryEvery)
		s.mu.Unlock()
		s.weigh(ctx, now, memos[0].owner, err)
		return
	}
	// What was used meanwhile is charged before anybody asks the store again.
	if !s.reckon(ctx, now, memos, true) {
		s.mu.Lock()
		g.retry = now.Add(retryEvery / 2)
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	downFor := time.Since(g.since)
	if until := time.Now().Add(settleFor); owner == "" {
		s.server.up()
		s.heldAll = until
	} else {
		delete(s.owners, owner)
		s.held[owner] = until
	}
	s.mu.Unlock()
	s.o.Log.LogAttrs(ctx, slog.LevelInfo, "store answers again", slog.Int64("down_ms", downFor.Milliseconds()))
	s.wake(Wake{All: true})
}

// reconcile tells the store what was granted without it, where it is asked
// again, or still; and ends the shares that are needed no more.
func (s *Store) reconcile(ctx context.Context, now time.Time) {
	for owner, memos := range s.owing() {
		if !s.reckon(ctx, now, memos, false) {
			continue
		}
		s.mu.Lock()
		ends := !now.Before(s.heldUntil(owner))
		for _, m := range memos {
			ends = ends && now.Sub(m.alone) >= quiet
		}
		if ends {
			closed := s.alone.endShare(s.since(now), owner)
			for _, m := range memos {
				m.local, m.account = false, !closed
			}
		}
		s.mu.Unlock()
	}
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

// look asks for the state of what a memo is about, and tells a bill.
func (s *Store) look(ctx context.Context, m *memo, b *bill) error {
	s.mu.Lock()
	req := m.req
	s.mu.Unlock()
	g := &glimpse{Request: req, instance: s.instance, bill: b}
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
	m.count(now, reply.Live)
	for i := range reply.Groups {
		if reply.Groups[i].born == 0 {
			return nil // forgotten: what is remembered is worth more
		}
	}
	if m.known && !m.local {
		s.heed(m, reply.State)
		// Nobody here may have asked for a while: those who wait for a retry to be
		// paid for do not.
		if b, more := reply.moreThan(&m.state); more {
			s.wake(Wake{Owner: clean(m.owner), Lane: clean(req.Lane), Budget: b})
		}
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
		if err := s.look(ctx, m, nil); err != nil {
			s.weigh(ctx, now, m.owner, err)
			return
		}
	}
}

// signOff says that this process does not live any more, if the store is there,
// and takes no longer than a call may.
func (s *Store) signOff() {
	if s.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Timeout)
	defer cancel()
	done := make(chan struct{})
	go func() { // a client that is not ours may have more patience
		defer close(done)
		s.stopped.Wait() // or what goes on behind the calls says that it lives after all
		pipe := s.client.Pipeline()
		for _, owner := range s.present(time.Now()) {
			pipe.ZRem(ctx, s.keys.live(owner), s.instance)
		}
		_, _ = pipe.Exec(ctx) // else it is found out when its last sign of life is old
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// present are the owners of whom the store still believes that this process has
// calls.
func (s *Store) present(now time.Time) (owners []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.memos {
		if now.Sub(m.touched) < 3*beatEvery*time.Microsecond && !s.server.down && !slices.Contains(owners, m.owner) {
			owners = append(owners, m.owner)
		}
	}
	return owners
}

// late takes the ends that the store has missed.
func (s *Store) late() (batch []*settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, s.pending = s.pending, nil
	return batch
}

// deliver tells the store of ends that it has missed, or keeps them.
func (s *Store) deliver(ctx context.Context, now time.Time, batch []*settlement) {
	s.mu.Lock()
	if s.server.down {
		s.pending = append(batch, s.pending...)
		batch = nil
	}
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
	maps.DeleteFunc(s.held, func(_ string, until time.Time) bool { return now.After(until) })
	for key, m := range s.memos {
		if now.Sub(m.used) > openFor && !m.account {
			delete(s.memos, key)
		}
	}
}
