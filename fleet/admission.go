package fleet

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// Admission is the [call.Admission] of one process of a fleet. Who goes next
// here, and how many fly at once, is decided here, in a [call.Memory]; whether
// it may is asked of a [Store]: one round trip before an attempt, and one after
// it that nobody waits for unless a retry is to be paid. It is safe for
// concurrent use.
//
//	Memory ─ a turn ─► Store ─┬─ granted ────────────► sent
//	   ▲                      ├─ booked ahead ─ wait ► sent
//	   └──────── wait ────────┴─ denied
type Admission struct {
	memory *call.Memory
	store  *Store
	log    *slog.Logger
	errand sync.WaitGroup
	ears   sync.WaitGroup
	stop   context.CancelFunc
	ctx    context.Context // ends with Close
	whole  context.Context // of errands: the store's own timeout bounds each

	mu       sync.Mutex                  // guards all below; nothing is waited for under it
	closed   bool                        // no more errands
	attempts map[uint64]*attempt         // by ticket
	booked   map[call.ID]*attempt        // granted, and not to be sent yet
	places   map[call.ID]time.Time       // in the ramp of the fleet
	lanes    map[laneName]*laneView      // as last told
	owners   map[string]*ownerView       // by hash of the credential
	lessons  map[lessonName]lessonTaught // the last that was told
}

type (
	laneName   struct{ owner, lane string }
	lessonName struct{ owner, group string }
)

// laneView is what is known of a lane of the fleet.
type laneView struct {
	need   call.Need // of one who asked
	state  State
	at     time.Time // when state was true
	closed time.Time // when its breaker last closed, as far as is known
	logged uint64    // the epoch up to which moves have been logged
}

// ownerView is what is known of whose a credential is.
type ownerView struct {
	organization string
	asked        time.Time
	alone        bool // attempts have gone out while that was not known
}

// Bounds of what is remembered.
const (
	askAgain = 5 * time.Second // whose a credential is, if nobody knew
	mostSeen = maxMemos
)

// NewAdmission returns an Admission over a store. The store stays the caller's
// to close, after the Admission. Of m, the limits of the retry budget and of
// the breaker are those of the store's Policy, which must say the same in all
// processes.
func NewAdmission(s *Store, m call.MemoryConfig) *Admission {
	m.Shared = true
	ctx, stop := context.WithCancel(context.Background())
	a := &Admission{
		memory: call.NewMemory(m), store: s, log: s.o.Log,
		ctx: ctx, whole: context.WithoutCancel(ctx), stop: stop,
		attempts: map[uint64]*attempt{}, booked: map[call.ID]*attempt{}, places: map[call.ID]time.Time{},
		lanes: map[laneName]*laneView{}, owners: map[string]*ownerView{}, lessons: map[lessonName]lessonTaught{},
	}
	a.ears.Go(a.listen)
	return a
}

// Configure changes what is decided in this process; see [call.Memory.Configure].
func (a *Admission) Configure(m call.MemoryConfig) {
	m.Shared = true
	a.memory.Configure(m)
}

// Close waits for what is still to be told to the store, for as long as that
// answers. Attempts under way may go on; how they end is not told any more.
func (a *Admission) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.errand.Wait()
	a.ears.Wait()
	return nil
}

// later runs an errand behind the caller's back, unless it is closed.
func (a *Admission) later(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.errand.Go(f)
	}
	return !a.closed
}

// Hash returns what stands for a credential in all processes.
func (a *Admission) Hash(ctx context.Context, credential string) string {
	return a.store.Hash(ctx, credential)
}

// Admit implements [call.Admission]. It asks the store, and waits for it for no
// longer than [Options.Timeout].
func (a *Admission) Admit(ctx context.Context, now time.Time, need call.Need) call.Decision {
	if d, ok := a.redeem(now, need.Call); ok {
		return d
	}
	a.whose(ctx, now, need)
	d := a.memory.Admit(ctx, now, need)
	if d.Ticket.ID == 0 {
		a.tint(&d.State, need)
		return d
	}
	claim, _ := a.memory.Claim(now, d.Ticket)
	t := &attempt{ticket: d.Ticket, need: need, claim: claim, req: a.request(now, need, claim)}
	began := time.Now()
	reply, err := a.store.Acquire(ctx, *t.req)
	now = now.Add(time.Since(began))
	if err != nil { // the caller has left, and will say so
		a.memory.Drop(now, d.Ticket)
		return call.Decision{Hold: call.Hold{Reason: call.HoldTurn, Until: now.Add(time.Millisecond)}, State: d.State}
	}
	a.note(now, t, &reply, true)
	if reply.ID == "" {
		d = a.memory.Deny(now, t.ticket, a.denial(now, t, &reply))
	} else {
		d = a.grant(now, t, &reply)
	}
	d.State.Breaker, d.State.Moved = reply.Breaker.String(), reply.Moved
	return d
}

// grant keeps what the store has granted.
func (a *Admission) grant(now time.Time, t *attempt, reply *Reply) call.Decision {
	t.id, t.at = reply.ID, now.Add(reply.Wait)
	t.ticket.Probe = t.ticket.Probe || reply.Probe
	if !t.need.Paid && !reply.Probe && !t.req.Waited && !t.req.Placed {
		t.price = t.need.Price
	}
	a.memory.Pass(now, t.ticket, reply.Wait > 0, t.news(reply))
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.places, t.need.Call)
	a.attempts[t.ticket.ID] = t
	if reply.Wait <= 0 {
		return call.Decision{Ticket: t.ticket}
	}
	a.booked[t.need.Call] = t
	return call.Decision{Hold: call.Hold{Reason: call.HoldLimit, Until: t.at}}
}

// redeem lets a call go that has been booked ahead.
func (a *Admission) redeem(now time.Time, id call.ID) (call.Decision, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.booked[id]
	if t == nil {
		return call.Decision{}, false
	}
	if now.Before(t.at) {
		return call.Decision{Hold: call.Hold{Reason: call.HoldLimit, Until: t.at}}, true
	}
	delete(a.booked, id)
	return call.Decision{Ticket: t.ticket}, true
}

// denial says in the words of package call why the store does not let an
// attempt go.
func (a *Admission) denial(now time.Time, t *attempt, reply *Reply) call.Denial {
	d := call.Denial{Until: now.Add(reply.Wait), News: t.news(reply)}
	if n := reply.Group; n >= 0 && n < len(t.claim.Parts) && (reply.Reason == ByLimit || reply.Reason == ByPause) {
		of := t.claim.Parts[n].Of
		d.Own = of == "workspace" || of == "client"
	}
	if reply.Wait < 0 {
		d.Until = now.Add(time.Hour) // never, as things are: the call's own deadline ends it
	}
	switch reply.Reason {
	case ByPause:
		d.Reason = call.HoldPause
	case ByBreaker:
		d.Reason = call.HoldBreaker
	case ByRamp:
		d.Reason = call.HoldRamp
		a.mu.Lock()
		a.places[t.need.Call] = d.Until
		a.mu.Unlock()
	case ByBudget:
		d.Reason = call.HoldBudget
	default:
		if d.Reason = call.HoldLimit; reply.Reason == ByTurn {
			d.Reason = call.HoldTurn
		}
		if soon := now.Add(lookAgain); reply.Kind >= Output && d.Until.After(soon) {
			d.Until, d.Sooner = soon, true // answers that run need less and less, and no event tells
		}
	}
	return d
}

// lookAgain is how often somebody looks whether a bucket of output lasts by
// now. A guess.
const lookAgain = time.Second

// horizons are how far ahead calls may book, by class.
var horizons = [...]time.Duration{call.Normal: time.Second, call.Interactive: time.Second, call.Batch: 0}

// request says in the store's words what an attempt needs.
func (a *Admission) request(now time.Time, need call.Need, claim limit.Claim) *Request {
	r := &Request{
		Owner: ownerOf(need.Scope, claim.Organization), Lane: laneOf(need.Key), Groups: groupsOf(claim),
		Class: Class(need.Class), Horizon: horizons[min(int(need.Class), len(horizons)-1)],
		Price: need.Price, Purse: purseOf(need), Paid: need.Paid, Repeat: need.Repeat,
	}
	r.Random = random()
	if len(r.Groups) == 0 {
		r.Groups = []Group{{Name: groupOf(need)}}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.owners[need.Scope]; o != nil {
		o.alone = o.alone || claim.Organization == ""
		r.Follows = o.alone && claim.Organization != ""
	}
	if at, ok := a.places[need.Call]; ok {
		r.Placed = !now.Before(at)
	}
	if l := a.lanes[laneName{r.Owner, r.Lane}]; l != nil {
		r.Waited = l.state.Breaker != Closed || need.Arrived.Before(l.closed)
	}
	return r
}

// whose finds out whose a credential is, if another process knows.
func (a *Admission) whose(ctx context.Context, now time.Time, need call.Need) {
	scope := need.Scope
	if scope == "" {
		return
	}
	a.mu.Lock()
	o := a.owners[scope]
	if o == nil {
		if len(a.owners) >= mostSeen {
			clear(a.owners) // they are asked again
		}
		o = &ownerView{}
		a.owners[scope] = o
	}
	ask := o.organization == "" && now.Sub(o.asked) >= askAgain
	if ask {
		o.asked = now
	}
	a.mu.Unlock()
	if !ask {
		return
	}
	who, answered := a.store.whose(ctx, scope)
	switch {
	case who.organization != "":
		a.owns(scope, who.organization)
		a.memory.Belongs(now, scope, who.organization, who.workspace, need.Caller.Own)
	case !answered: // the next call asks: what is counted under the credential others do not see
		a.mu.Lock()
		o.asked = time.Time{}
		a.mu.Unlock()
	}
}

func (a *Admission) owns(scope, organization string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.owners[scope]; o != nil {
		o.organization = organization
	}
}

func (a *Admission) organization(scope string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.owners[scope]; o != nil {
		return o.organization
	}
	return ""
}

// tint shows the breaker of the fleet where that is not closed.
func (a *Admission) tint(s *call.State, need call.Need) {
	owner := ownerOf(need.Scope, a.organization(need.Scope))
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lanes[laneName{owner, laneOf(need.Key)}]; l != nil && l.state.Breaker != Closed {
		s.Breaker = l.state.Breaker.String()
	}
}

// note remembers what a reply has told. heard says that the call will hear of it,
// and a move of the breaker is logged with that.
func (a *Admission) note(now time.Time, t *attempt, reply *Reply, heard bool) {
	name := laneName{t.req.Owner, t.req.Lane}
	a.mu.Lock()
	l := a.lanes[name]
	if l == nil {
		if len(a.lanes) >= mostSeen {
			clear(a.lanes)
		}
		l = &laneView{}
		a.lanes[name] = l
	}
	l.need = t.need
	l.state, l.at = reply.State, now
	if reply.Ramp > 0 {
		l.closed = now.Add(reply.Ramp - a.store.ramp())
	}
	news := !reply.Local && l.news(reply.Epoch, reply.Breaker) && !(heard && reply.Moved)
	a.mu.Unlock()
	if news {
		a.tellMoved(t.need.Key, reply.Breaker)
	}
}

// listen has those who wait ask again when a breaker has moved.
func (a *Admission) listen() {
	for {
		select {
		case <-a.ctx.Done():
			return
		case w := <-a.store.Wakes():
			a.heed(time.Now(), w)
		}
	}
}

func (a *Admission) heed(now time.Time, w Wake) {
	if w.All {
		a.memory.RouseAll(now)
		return
	}
	a.mu.Lock()
	l := a.lanes[laneName{w.Owner, w.Lane}]
	if l == nil {
		a.mu.Unlock()
		return
	}
	need := l.need
	if w.Budget != (Budget{}) {
		a.mu.Unlock()
		a.memory.Afford(need, classify.UpstreamPurse, int(w.Budget.Lane))
		a.memory.Afford(need, classify.ScopePurse, int(w.Budget.Scope))
		return
	}
	if w.Epoch > l.state.Epoch {
		l.state.Breaker, l.state.Epoch, l.state.NextProbe, l.at = w.State, w.Epoch, 0, now
	}
	news := l.news(w.Epoch, w.State)
	if w.State == Closed {
		l.closed = now
	}
	a.mu.Unlock()
	if news {
		a.tellMoved(need.Key, w.State)
	}
	a.memory.Rouse(now, need.Key, w.State == Closed)
}

// news says whether a state of the breaker is one that has not been logged.
func (l *laneView) news(epoch uint64, s BreakerState) bool {
	news := epoch > l.logged && (l.logged > 0 || s != Closed)
	l.logged = max(l.logged, epoch)
	return news
}

// tellMoved logs that a breaker has moved that none of our own calls is told of:
// another process moved it, or an end that nobody waited for.
func (a *Admission) tellMoved(k call.Key, s BreakerState) {
	level := slog.LevelInfo
	if s == Open {
		level = slog.LevelWarn
	}
	a.log.LogAttrs(a.ctx, level, "breaker moved", slog.String("state", s.String()), slog.String("model", k.Model),
		slog.String("path", k.Path.String()), slog.String("upstream", k.Upstream))
}

// ownerOf names whose limits count.
func ownerOf(scope, organization string) string {
	return clean(cmp.Or(organization, scope, "nobody"))
}

func laneOf(k call.Key) string { return laneNamed(k.Upstream, k.Path.String(), k.Model) }

func laneNamed(upstream, path, model string) string {
	lane := upstream + "/" + path
	if model != "" {
		lane += "/" + model
	}
	return clean(lane)
}

// groupOf names the first group of an attempt of which nothing is known but what
// it needs.
func groupOf(n call.Need) string {
	if n.Key.Path != claude.Messages {
		return n.Key.Path.String()
	}
	return nameOf(&limit.Part{Of: "organization", Class: claude.ModelClass(n.Key.Model), Fast: n.Fast})
}
