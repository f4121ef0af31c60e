package call

import (
	"cmp"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/concurrency"
	"github.com/evenkeel-dev/evenkeel/limit"
	"github.com/evenkeel-dev/evenkeel/queue"
)

// scopeKey names who shares a purse for the retries of 429s, and a line in the
// queue until their organisation is known.
type scopeKey struct {
	credential string
	class      string // of models, or "/" and a path
	fast       bool
}

func scopeOf(n Need) scopeKey { return scopeKey{n.Scope, laneClass(n), n.Fast} }

// laneClass is the model class for messages. The other paths have request
// limits of their own and share nothing with any model.
func laneClass(n Need) string {
	if n.Key.Path == claude.Messages {
		return claude.ModelClass(n.Key.Model)
	}
	return "/" + n.Key.Path.String()
}

// owner is whose a credential is.
type owner struct {
	organization string
	since        time.Time
}

// settled is how long a credential is taken to be an organisation's at least:
// an upstream that uses many keys as one may name another in each answer, and
// it costs to have all who wait change their line.
const settled = time.Second

// groupOf names those who draw on the same buckets: calls for one organisation,
// or as long as that is not known with one credential, and class of models.
func (m *Memory) groupOf(k scopeKey) string {
	o, owned := m.owners.get(k.credential)
	s, ok := m.scopes.get(k)
	if !ok && owned {
		s, ok = m.scope(k), true // an answer has accepted it: it is not made up
	}
	who := "credential " + k.credential
	organization := ""
	if owned {
		organization = o.organization
		who = "organization " + organization
	}
	if ok && s.group != "" && s.groupFor == organization {
		return s.group
	}
	group := who + "\n" + k.class
	if k.fast {
		group += "\nfast"
	}
	if ok {
		s.group, s.groupFor = group, organization
	}
	return group
}

// belongs notes whose a credential is. Who waits under the credential alone
// waits with the organisation's others from now on: in a line of their own they
// would have a turn for each of all the others'.
func (m *Memory) belongs(now time.Time, credential, organization string) {
	o, ok := m.owners.get(credential)
	switch {
	case !ok:
		o = new(owner)
		m.owners.put(credential, o)
	case o.organization == organization || now.Sub(o.since) < settled:
		return
	}
	o.organization, o.since = organization, now
	var moved []*holding
	for _, h := range m.held {
		if h.need.Scope == credential && m.movable(h) {
			moved = append(moved, h)
		}
	}
	slices.SortFunc(moved, func(a, b *holding) int { return cmp.Compare(a.need.Call, b.need.Call) })
	var touched []string
	for _, h := range moved {
		touched = append(touched, h.group)
		m.move(now, h, h.lane)
		touched = append(touched, h.group)
	}
	slices.Sort(touched)
	for _, group := range slices.Compact(touched) {
		m.pump(now, group)
	}
}

// movable says that a call waits in the queue and has no turn.
func (m *Memory) movable(h *holding) bool {
	return h.entered && h.gone == queue.None && h.turn == nil
}

// move has a call that waits do so elsewhere, as long as it could before.
func (m *Memory) move(now time.Time, h *holding, to *lane) {
	m.queue.Remove(uint64(h.need.Call))
	m.exit(h)
	h.lane = to
	if !m.line(now, h) {
		h.rouse()
	}
}

// change lets a call wait for another lane: its own has been replaced, by a
// new configuration or because it was forgotten. A turn that it has stays good.
func (m *Memory) change(now time.Time, h *holding, to *lane) {
	switch {
	case h.turn != nil || h.gone != queue.None:
	case h.entered:
		m.move(now, h, to)
	default:
		h.lane, h.listed = to, false
	}
}

// enter lets a call wait in the queue, or refuses it where it may not.
func (m *Memory) enter(now time.Time, h *holding) (Decision, bool) {
	if !m.line(now, h) {
		return m.refuse(now, h), true
	}
	h.lane.place(now, false, m.cfg.Rand())
	return Decision{}, false
}

// line puts a call into the line of its group; false if there is no room.
func (m *Memory) line(now time.Time, h *holding) bool {
	n := h.need
	k := scopeOf(n)
	h.group = m.groupOf(k)
	h.strand = m.strandOf(n, h.lane)
	cost := m.book.Share(now, m.limitsOf(n)).Seconds()
	if cost <= 0 {
		cost = 1 // where no bucket is scarce, calls are
	}
	item := queue.Item{
		ID: uint64(n.Call), Group: h.group, Lane: h.strand, Flow: n.Caller.Flow, Class: queue.Class(n.Class),
		Weight: n.Caller.Weight, Cost: cost, Bytes: n.Cost.Bytes, Arrived: n.Arrived, Deadline: n.Deadline,
		Again: h.again,
	}
	if since := n.Cost.Since; !since.IsZero() && since.Before(item.Arrived) {
		item.Arrived = since
	}
	if why := m.queue.Push(now, item); why != queue.None {
		h.gone = why
		return false
	}
	m.ramps(now, h.lane)
	h.entered = true
	if m.cfg.Shared {
		m.gate(h.group, n.Class).waits++
	}
	m.fast = m.fast || n.Fast
	h.lane.waiting.enter(h.group)
	if h.poor { // it can pay now, and waits for something else
		h.poor = false
		m.poor--
	}
	return true
}

// strand is a lane of the queue: calls that have all in common which may hold
// back a part of a group.
type strand struct {
	scope, workspace, client string
	class                    Class // only where others keep the limits: they know classes apart
	name                     string
}

// strandOf names it. Beside the lane it is the credential, which may be told to
// pause alone, the workspace, and the client, as far as it has limits of its own.
func (m *Memory) strandOf(n Need, l *lane) string {
	s := strand{scope: n.Scope, workspace: n.Caller.Workspace}
	if m.cfg.Limits.Clients[n.Caller.Name] != nil {
		s.client = n.Caller.Name
	}
	if m.cfg.Shared {
		s.class = n.Class
	}
	if s.name = l.strand.name; s.name == "" || l.strand != s {
		s.name = l.name + "\n" + s.scope + "\n" + s.workspace + "\n" + s.client + "\n" + string('0'+rune(s.class))
		l.strand = s
	}
	return s.name
}

// limitsOf is what an attempt is expected to take of the limits.
func (m *Memory) limitsOf(n Need) limit.Need {
	out := limit.Need{
		Credential: n.Scope, Client: n.Caller.Name, Workspace: n.Caller.Workspace, Own: n.Caller.Own,
		Path: n.Key.Path, Model: n.Key.Model, Fast: n.Fast,
	}
	if n.Key.Path != claude.Messages {
		return out
	}
	e := m.predictor.Expect(routeOf(n))
	out.Input, out.Reads, out.Output, out.Pace, out.Sure = e.Input, e.Reads, e.Output, e.Pace, n.Cost.Sure
	if n.Cost.Reads > 0 {
		out.Input, out.Reads = max(n.Cost.Input-n.Cost.Reads, 0), n.Cost.Reads
	}
	return out
}

func routeOf(n Need) limit.Route {
	return limit.Route{Model: n.Key.Model, Tag: n.Cost.Tag, MaxTokens: n.Cost.MaxTokens, Input: n.Cost.Input}
}

// pump gives turns to calls of a group, and wakes those who got one, those who
// may wait no longer, and the one that must ask again.
func (m *Memory) pump(now time.Time, group string) queue.Outlook {
	m.lines[group].renew()
	out := m.queue.Next(now, group, func(t queue.Turn) queue.Answer { return m.try(now, t) })
	for _, left := range m.queue.Left() {
		if h := m.held[ID(left.ID)]; h != nil {
			h.gone, h.reason = left.Reason, m.missed(h)
			h.rouse()
		}
	}
	if h := m.held[ID(out.Who)]; h != nil && h.until.After(out.At) {
		h.until = out.At
		h.rouse()
	}
	return out
}

// pumpFor does so for the groups that draw on what an attempt has drawn on.
// Calls in fast mode have limits of their own, or share those of the others.
func (m *Memory) pumpFor(now time.Time, n Need) {
	k := scopeOf(n)
	m.pump(now, m.groupOf(k))
	if m.fast {
		k.fast = !k.fast
		m.pump(now, m.groupOf(k))
	}
}

// pumpLane does so for an attempt that has ended, and before that for all that wait for a lane in
// which something has become free, until somebody has been told again that
// nothing is.
func (m *Memory) pumpLane(now time.Time, l *lane, n Need) {
	if l.short {
		l.waiting.ask(func(g string) (served, stop bool) {
			l.short = false
			before := l.granted
			m.pump(now, g)
			return l.granted != before, l.short
		})
	}
	m.pumpFor(now, n)
}

// news pumps for a lane whose breaker has moved, or has a place for a probe
// again.
func (m *Memory) news(now time.Time, l *lane) {
	if l.breaker.Wakes() == l.woken {
		return
	}
	l.woken = l.breaker.Wakes()
	m.ramps(now, l)
	l.waiting.ask(func(g string) (served, stop bool) {
		m.pump(now, g)
		return true, false
	})
}

// try takes everything that the call whose turn it is needs, or nothing.
func (m *Memory) try(now time.Time, t queue.Turn) queue.Answer {
	h := m.held[ID(t.ID)]
	l := h.lane
	m.ramps(now, l)
	if wait, why := l.closedBefore(now); wait > 0 {
		m.blocks(h, queue.OneLane, block{why: why, until: now.Add(wait)})
		return queue.Answer{Wait: wait, Floor: wait, Blocks: queue.OneLane}
	}
	if m.cfg.Shared {
		if a, shut := m.shut(now, h); shut {
			return a
		}
	}
	if l.breaker.State(now) == breaker.Closed && !l.slots.Room(now) { // probes are few enough
		l.short = true
		m.blocks(h, queue.OneLane, block{why: HoldSlot})
		return queue.Answer{Wait: l.slots.Wait(now), Sooner: true, Blocks: queue.OneLane}
	}
	n := m.limitsOf(h.need)
	n.Spare = t.Spare
	a := m.book.Acquire(now, n)
	if a.ID == 0 {
		return m.scarce(now, h, a)
	}
	ticket, free, ok := l.pass(now)
	if !ok { // the breaker has just moved
		m.book.Settle(now, a.ID, limit.End{Outcome: limit.Refunded})
		return queue.Answer{Wait: time.Millisecond, Blocks: queue.OneLane}
	}
	h.turn = &flight{lane: l, grant: grant{book: a.ID, slot: l.slots.Start(now), ticket: ticket, free: free}}
	if m.cfg.Shared {
		h.turn.grant.gate, h.turn.grant.heard = m.asks(h), l.roused+m.roused
	}
	l.inFlight++
	l.granted++
	h.rouse()
	return queue.Answer{OK: true}
}

// scarce is the answer to a call that the limits do not let go.
func (m *Memory) scarce(now time.Time, h *holding, a limit.Answer) queue.Answer {
	out := queue.Answer{Wait: a.Wait}
	if a.Own {
		out.Blocks = queue.OneLane
	}
	why := block{why: HoldLimit, again: now.Add(a.Wait)}
	if a.Reason == limit.Scarce && a.Kind >= limit.Output && out.Wait > lookAgain {
		out.Wait, out.Sooner = lookAgain, true // answers that run need less and less
	}
	switch a.Reason {
	case limit.Paused:
		out.Floor = a.Wait
		why.why, why.until = HoldPause, why.again
	case limit.Unknown:
		why.why = HoldLearn
	case limit.TooLarge:
		return queue.Answer{Never: true}
	}
	m.blocks(h, out.Blocks, why)
	return out
}

// lookAgain is how often somebody looks whether a bucket of output lasts by
// now: no event tells. A guess.
const lookAgain = time.Second

// undo gives back what a turn has taken that is not used.
func (m *Memory) undo(now time.Time, h *holding) {
	g := &h.turn.grant
	m.book.Settle(now, g.book, limit.End{Outcome: limit.Refunded})
	h.lane.slots.End(now, g.slot, concurrency.Other)
	h.lane.breaker.Report(now, &g.ticket, breaker.Ignored)
	h.lane.inFlight--
	g.gate.answered()
	h.turn = nil
}

// hold tells a call that has no turn why, and until when.
func (m *Memory) hold(now time.Time, h *holding, out queue.Outlook) Decision {
	l := m.told(h)
	h.until = l.until
	if l.why != HoldTurn {
		h.reason = l.why
	}
	if l.why == HoldRamp {
		h.until = time.Time{} // its places are for one each; all would come for the same
	}
	if out.Who == uint64(h.need.Call) {
		h.until = out.At
	}
	if !h.until.After(now) {
		if h.until = m.queue.Latest(uint64(h.need.Call)); h.until.IsZero() {
			h.until = now.Add(time.Hour) // only news can help; to look once an hour costs nothing
		}
	}
	h.wake = make(chan struct{})
	return Decision{Hold: Hold{Reason: l.why, Until: h.until, Wake: h.wake}, State: m.state(now, h.lane)}
}

// refuse ends the wait of a call that the queue has let go, or that can never
// pass. It says when asking again may help, which is never sooner than those
// who still wait can be served.
func (m *Memory) refuse(now time.Time, h *holding) Decision {
	hold := Hold{Reason: HoldQueue, Refuse: true, Until: now.Add(soonAgain)}
	told := m.told(h)
	if h.gone == queue.TooLate || h.gone == queue.WaitedOut {
		hold.Reason = cmp.Or(h.reason, told.why)
	}
	shut, _ := h.lane.closedBefore(now)
	for _, at := range []time.Time{told.until, told.again, now.Add(shut)} {
		if at.After(hold.Until) {
			hold.Until = at
		}
	}
	if calls, backlog := m.queue.Backlog(h.group); calls > 0 {
		if at := now.Add(min(backlog, time.Minute)); at.After(hold.Until) {
			hold.Until = at
		}
	}
	if h.gone == queue.Refused {
		hold.Reason, hold.Until = HoldSize, time.Time{}
	}
	m.forget(h)
	if m.reopen(h) {
		m.pump(now, h.group)
	}
	return Decision{Hold: hold, State: m.state(now, h.lane)}
}

// soonAgain is when a caller who is refused may ask again if nothing better is
// known. A guess.
const soonAgain = time.Second

// settle corrects limits, concurrency and what was fair by the end of an attempt.
func (m *Memory) settle(now time.Time, f *flight, end End) {
	f.lane.inFlight--
	f.lane.slots.End(now, f.grant.slot, capacity(end.Verdict))
	e := LimitEnd(end)
	m.book.Settle(now, f.grant.book, e)
	real := m.limitsOf(f.need)
	switch u := end.Usage; {
	case e.Outcome == limit.Refunded || e.Outcome == limit.Refused:
		m.queue.Correct(f.charge, 0)
		return
	case !u.Known() || f.need.Key.Path != claude.Messages:
		return
	default:
		real.Input, real.Reads, real.Output, real.Pace = u.Input+u.CacheWrite, u.CacheRead, u.Output, 0
		if e.Outcome == limit.Settled {
			m.predictor.Learn(routeOf(f.need), limit.Past{
				Input: real.Input, Reads: real.Reads, Output: u.Output, Whole: true, Seconds: now.Sub(f.start).Seconds(),
			})
		}
	}
	if cost := m.book.Share(now, real).Seconds(); cost > 0 {
		m.queue.Correct(f.charge, cost)
	}
}
