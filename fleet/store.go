package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Store is one process's door to the limits, pauses, breaker and budget that
// the fleet shares. It is safe for concurrent use. See the package comment.
type Store struct {
	o        Options
	client   redis.UniversalClient
	owned    bool // the client is ours to close
	cluster  bool
	shared   engine
	alone    *memory
	keys     keyspace
	begun    time.Time
	wakes    chan Wake
	stop     context.CancelFunc
	stopped  sync.WaitGroup
	left     sync.Once
	greeted  chan struct{} // closed when the store has been looked for
	hashes   hashes
	instance string

	mu      sync.Mutex // guards all below; nothing is waited for under it
	memos   map[string]*memo
	open    map[ID]*opened
	owners  map[string]*guard
	server  guard
	held    map[string]time.Time // see heldUntil
	heldAll time.Time
	pending []*settlement // ends that the store has not heard of
	counts  counts
	warned  []string
}

// opened is a reservation of this process.
type opened struct {
	req    *Request
	at     time.Time
	local  bool // granted by this process's share
	mirror bool // and that holds it too
}

// Bounds of what is remembered, so that made-up names fill no memory.
const (
	maxMemos   = 10_000
	maxOpen    = 200_000
	maxPending = 20_000
	openFor    = time.Hour // what a reservation is kept for in the store
)

// New opens a store. It does not wait for it: a store that is not there yet is
// one that has gone. The caller closes it.
func New(o Options) (*Store, error) {
	owned := o.Client == nil
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	keys := keyspace{o.Prefix}
	s := newStoreOver(o, newScripted(o.Client, o.Policy.filled(), keys))
	s.client, s.owned, s.keys = o.Client, owned, keys
	_, s.cluster = o.Client.(*redis.ClusterClient)
	s.hashes.init(o.Salt)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.stopped.Go(func() { s.attend(ctx) })
	s.stopped.Go(func() { s.listen(ctx) })
	return s, nil
}

// newStoreOver is a store on what answers its questions. Nothing goes on behind
// the calls yet.
func newStoreOver(o Options, shared engine) *Store {
	return &Store{
		o: o, instance: o.Instance, begun: time.Now().Add(-time.Hour), shared: shared, alone: newMemory(o.Policy.filled()),
		wakes: make(chan Wake, 64), memos: map[string]*memo{}, open: map[ID]*opened{}, owners: map[string]*guard{},
		held: map[string]time.Time{}, greeted: make(chan struct{}),
	}
}

// Close ends what goes on behind the calls, waits for it, and takes its leave of
// the store: of who ends without, that believes for 15 s that it lives.
func (s *Store) Close() error {
	s.stop()
	s.left.Do(s.signOff)
	var err error
	if s.owned {
		err = s.client.Close()
	}
	s.stopped.Wait()
	return err
}

// ramp is how long the load takes to return after a breaker has closed.
func (s *Store) ramp() time.Duration { return duration(s.alone.p.ramp) }

// since is the clock of this process's own share.
func (s *Store) since(now time.Time) float64 { return micros(now.Sub(s.begun)) }

// Acquire asks for everything that one attempt needs, in one round trip. It
// answers within [Options.Timeout] whatever the store does: if that does not
// answer, with Reply.Local, out of this process's share. An error is the
// caller's own: ctx has ended.
func (s *Store) Acquire(ctx context.Context, r Request) (Reply, error) {
	now := time.Now()
	id := newID(now)
	m, ask := s.remember(now, &r)
	if !ask {
		return s.acquireAlone(ctx, now, m, &r, id)
	}
	mirror, refusal := s.mirror(ctx, now, m, &r, id)
	if refusal != nil {
		return *refusal, nil
	}
	reply, err := s.ask(ctx, r.Owner, func(ctx context.Context) (Reply, error) {
		return s.acquire(ctx, m, &acquisition{Request: &r, id: id, instance: s.instance, touch: s.touch(now, m)})
	})
	if mirror != nil && reply.ID == "" {
		s.settleMirror(ctx, now, mirror, id, Outcome{Charge: Refunded})
	}
	if err == nil {
		s.note(now, m, &reply, &opened{req: &r, at: now, mirror: mirror != nil})
		return reply, nil
	}
	s.untouch(m)
	if ctx.Err() != nil {
		err = ctx.Err()
	} else {
		reply, err = s.acquireAlone(ctx, now, m, &r, id)
	}
	// It may have been granted there, or will be when a frozen server wakes. It
	// is in this process's account now, if anywhere.
	s.postpone(&settlement{mode: atEnd, req: &r, id: id, Outcome: &Outcome{Charge: Refunded}})
	return reply, err
}

// acquire asks the store, and once more if it has forgotten a group.
func (s *Store) acquire(ctx context.Context, m *memo, a *acquisition) (Reply, error) {
	r, err := s.shared.acquire(ctx, 0, a)
	if err != nil || r.Reason != missing {
		return r, err
	}
	s.mu.Lock()
	a.hints = m.hints(a.Request, s.sharers())
	s.mu.Unlock()
	a.touch = true
	return s.shared.acquire(ctx, 0, a)
}

// sharers is how many processes there are at least, as far as has been heard of
// any owner. Whose a credential is is new to all of them at about the same time.
func (s *Store) sharers() int {
	most := float64(s.o.ExpectedInstances)
	for _, m := range s.memos {
		most = max(most, m.live)
	}
	return int(most)
}

// acquireAlone asks this process's share.
func (s *Store) acquireAlone(ctx context.Context, now time.Time, m *memo, r *Request, id ID) (Reply, error) {
	scaled, n := s.goAlone(now, m, r)
	reply, err := s.alone.acquire(ctx, s.since(now), &acquisition{Request: scaled, id: id, instance: s.instance, hints: none(r)})
	reply.Local, reply.Live = true, int(n)
	s.note(now, m, &reply, &opened{req: r, at: now, local: true})
	return reply, err
}

// mirror asks this process's share before the store is asked, while others may
// not have told yet what they have used. It returns the request to the share,
// if that grants it, or else a refusal; and neither as a rule.
func (s *Store) mirror(ctx context.Context, now time.Time, m *memo, r *Request, id ID) (granted *Request, refusal *Reply) {
	s.mu.Lock()
	if !now.Before(s.heldUntil(m.owner)) {
		s.mu.Unlock()
		return nil, nil
	}
	s.beginShare(now, m, r) // calls that come only now do not know more than others
	share, state := *m.scaled(r), m.state
	s.mu.Unlock()
	// Limits only: of breaker and budget the store knows all. The lane is one of
	// its own, which nothing ever opens.
	share.Lane, share.Price, share.Placed = "", 0, true
	reply, err := s.alone.acquire(ctx, s.since(now), &acquisition{Request: &share, id: id, instance: s.instance, hints: none(r), mirror: true})
	if err != nil || reply.ID != "" {
		return &share, nil
	}
	reply.State, reply.Local = state, true
	return nil, &reply
}

// settleMirror corrects what the share holds of an attempt of the store's.
func (s *Store) settleMirror(ctx context.Context, now time.Time, share *Request, id ID, out Outcome) {
	own := *share
	own.Lane = ""
	t := &settlement{mode: atEnd, req: &own, id: id, Outcome: &Outcome{Charge: out.Charge, Actual: out.Actual}}
	_, _ = s.alone.settle(ctx, s.since(now), t) // memory does not fail
}

// goAlone starts this process's share of what a request asks for, if it has
// not begun, and returns the request to it, and how many shares there are.
func (s *Store) goAlone(now time.Time, m *memo, r *Request) (scaled *Request, n float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginShare(now, m, r)
	m.alone = now
	s.counts.local++
	return m.scaled(r), m.n
}

// beginShare begins a share, and again after every answer of the store: until
// then others had all that refilled. It is called under mu.
func (s *Store) beginShare(now time.Time, m *memo, r *Request) {
	if m.local && (!m.at.After(m.begun) || now.Before(s.heldUntil(m.owner))) {
		return
	}
	m.local, m.account, m.begun, m.n = true, true, now, m.shares(s.o.ExpectedInstances)
	s.alone.startShare(s.since(now), s.since(m.at), now, m.scaled(r), m)
}

// heldUntil is until when an owner's calls need their share's consent as well
// as the store's. It is called under mu.
func (s *Store) heldUntil(owner string) time.Time {
	if at := s.held[owner]; at.After(s.heldAll) {
		return at
	}
	return s.heldAll
}

// shareOf is a request to the share, whether that goes on or not.
func (s *Store) shareOf(m *memo, r *Request) *Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.n == 0 { // a memo that was swept
		m.n = m.shares(s.o.ExpectedInstances)
	}
	return m.scaled(r)
}

// none are hints that say nothing.
func none(r *Request) [][]hint {
	all := make([][]hint, len(r.Groups))
	for i, g := range r.Groups {
		all[i] = make([]hint, len(g.Buckets))
	}
	return all
}

// Content tells that a probe has brought its first content, or its whole
// answer: it is good from here on. Other attempts need not tell.
func (s *Store) Content(ctx context.Context, id ID) { s.end(ctx, atContent, id, Outcome{}) }

// Settle tells how an attempt has ended. It counts once per ID, however often
// it is told. What the store does not hear now it is told when it is back.
func (s *Store) Settle(ctx context.Context, id ID, out Outcome) (Reply, error) {
	return s.end(ctx, atEnd, id, out), nil
}

// Leave tells how a call has ended that holds no reservation.
func (s *Store) Leave(ctx context.Context, e Ending) {
	r := &Request{Owner: e.Owner, Lane: e.Lane, Groups: []Group{{Name: e.Group}}}
	t := &settlement{mode: atLeave, req: r, id: "-", Outcome: &Outcome{
		Failure: e.GaveUp, Counted: e.Counted, Price: e.Price, Purse: e.Purse,
	}}
	if e.Last {
		t.flow = e.Class.flow(s.instance)
	}
	now := time.Now()
	m, ask := s.remember(now, r)
	if ask {
		if _, err := s.ask(ctx, e.Owner, func(ctx context.Context) (Reply, error) { return s.shared.settle(ctx, 0, t) }); err == nil {
			return
		}
	}
	t.req, _ = s.goAlone(now, m, r)
	_, _ = s.alone.settle(ctx, s.since(now), t) // memory does not fail
}

func (s *Store) end(ctx context.Context, mode settleMode, id ID, out Outcome) Reply {
	now := time.Now()
	s.mu.Lock()
	o := s.open[id]
	if mode == atEnd {
		delete(s.open, id)
	}
	s.mu.Unlock()
	if o == nil {
		return Reply{}
	}
	t := &settlement{mode: mode, req: o.req, id: id, Outcome: &out}
	m, ask := s.remember(now, o.req)
	if o.local {
		return s.endAlone(ctx, now, m, o, t)
	}
	if o.mirror && mode == atEnd {
		s.settleMirror(ctx, now, s.shareOf(m, o.req), id, out)
	}
	if ask {
		reply, err := s.ask(ctx, o.req.Owner, func(ctx context.Context) (Reply, error) { return s.shared.settle(ctx, 0, t) })
		if err == nil {
			s.note(now, m, &reply, o)
			return reply
		}
	}
	if mode == atEnd { // the store has granted it, and will want to know
		later := out
		later.Retry = false // it is paid here, below
		s.postpone(&settlement{mode: mode, req: o.req, id: id, Outcome: &later})
	}
	return s.endAlone(ctx, now, m, o, t)
}

// endAlone tells this process's share how an attempt has ended: one of its
// own, whether the store is back or not, or one of which the store cannot hear
// now.
func (s *Store) endAlone(ctx context.Context, now time.Time, m *memo, o *opened, t *settlement) Reply {
	var scaled *Request
	if o.local {
		scaled = s.shareOf(m, o.req)
	} else {
		scaled, _ = s.goAlone(now, m, o.req)
		s.alone.adopt(s.since(now), t.id, scaled)
	}
	t = &settlement{mode: t.mode, req: scaled, id: t.id, Outcome: t.Outcome}
	reply, _ := s.alone.settle(ctx, s.since(now), t) // memory does not fail
	reply.Local = true
	return reply
}

// Learn tells what the headers of an answer have shown, and what its first
// event has told of its cost. Any process's answers correct the levels of all.
func (s *Store) Learn(ctx context.Context, id ID, l Lesson) (Reply, error) {
	now := time.Now()
	s.mu.Lock()
	o := s.open[id]
	s.mu.Unlock()
	if o == nil {
		return Reply{}, nil
	}
	m, ask := s.remember(now, o.req)
	if ask {
		reply, err := s.ask(ctx, o.req.Owner, func(ctx context.Context) (Reply, error) {
			return s.shared.learn(ctx, 0, &lesson{Request: o.req, id: id, Lesson: &l})
		})
		if err == nil {
			s.note(now, m, &reply, o)
			return reply, nil
		}
		if ctx.Err() != nil {
			return Reply{}, ctx.Err()
		}
	}
	scaled, n := s.goAlone(now, m, o.req)
	part := l
	part.Views = make([][]View, len(l.Views))
	for i, vs := range l.Views {
		part.Views[i] = make([]View, len(vs))
		for j, v := range vs {
			v.Limit *= localShare / n
			v.Remaining /= n
			v.Low, v.High = v.Low/localShare, v.High/localShare
			part.Views[i][j] = v
		}
	}
	reply, err := s.alone.learn(ctx, s.since(now), &lesson{Request: scaled, id: id, Lesson: &part})
	reply.Local = true
	return reply, err
}

// ask asks the store, for no longer than it may take, and weighs its errors.
func (s *Store) ask(ctx context.Context, owner string, f func(context.Context) (Reply, error)) (Reply, error) {
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := f(within)
	if until, ok := ctx.Deadline(); err != nil && (ctx.Err() != nil || ok && !time.Now().Before(until)) {
		return r, err // the caller has left: that says nothing
	}
	s.weigh(ctx, time.Now(), owner, err)
	return r, err
}

// remember finds the memo of a request, and says whether the store is to be
// asked.
func (s *Store) remember(now time.Time, r *Request) (m *memo, ask bool) {
	key := memoKey(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	m = s.memos[key]
	if m == nil {
		m = &memo{key: key, owner: r.Owner, req: r}
		if len(s.memos) < maxMemos {
			s.memos[key] = m
		}
	}
	m.used = now
	o := s.owners[r.Owner]
	return m, !s.server.down && (o == nil || !o.down)
}

// touch says whether an acquire is to tell the store that this process lives and
// its keys are in use.
func (s *Store) touch(now time.Time, m *memo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(m.renewed) < beatEvery*time.Microsecond && now.Unix()/3600 == m.renewed.Unix()/3600 {
		return false // reservations of this hour have a key, and it expires
	}
	m.touched, m.renewed = now, now
	return true
}

// untouch has the next tell again that this process lives: the store may not
// have heard of it.
func (s *Store) untouch(m *memo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.touched, m.renewed = time.Time{}, time.Time{}
}

// note remembers what a reply has told.
func (s *Store) note(now time.Time, m *memo, reply *Reply, o *opened) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reply.Local && len(reply.Groups) == len(o.req.Groups) {
		s.heed(m, reply.State)
		m.req, m.at, m.state, m.known = o.req, now, reply.State, true
		m.count(now, reply.Live)
	}
	if reply.ID != "" && len(s.open) < maxOpen {
		s.open[reply.ID] = o
	}
}

// heed tells those who wait that a breaker has moved since this process last
// heard of it, whoever moved it: what is told by message can be lost.
func (s *Store) heed(m *memo, fresh State) {
	if m.known && fresh.Epoch != m.state.Epoch {
		s.wake(Wake{Owner: clean(m.owner), Lane: clean(m.req.Lane), State: fresh.Breaker, Epoch: fresh.Epoch})
	}
}

// postpone keeps an end for a store that does not answer.
func (s *Store) postpone(t *settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) < maxPending {
		s.pending = append(s.pending, t)
		return
	}
	s.counts.lost++
}
