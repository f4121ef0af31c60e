package call

import (
	"cmp"
	"slices"
	"time"

	"github.com/evenkeel-dev/evenkeel/breaker"
	"github.com/evenkeel-dev/evenkeel/classify"
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

// groupOf names those who draw on the same buckets: calls for one organisation,
// or as long as that is not known with one credential, and class of models.
func (m *Memory) groupOf(k scopeKey) string {
	s, ok := m.scopes.get(k)
	if ok && s.group != "" && s.groupFor == s.organization {
		return s.group
	}
	who := "credential " + k.credential
	if ok && s.organization != "" {
		who = "organization " + s.organization
	}
	group := who + "\n" + k.class
	if k.fast {
		group += "\nfast"
	}
	if ok {
		s.group, s.groupFor = group, s.organization
	}
	return group
}

// belongs notes whose a credential is. Who waits under the credential alone
// waits with the organisation's others from now on: in a line of their own they
// would have a turn for each of all the others'.
func (m *Memory) belongs(now time.Time, k scopeKey, organization string) {
	s := m.scope(k)
	if s.organization == organization {
		return
	}
	old := m.groupOf(k)
	s.organization = organization
	var moved []*holding
	for _, h := range m.held {
		if h.entered && h.group == old && h.grant.book == 0 {
			moved = append(moved, h)
		}
	}
	slices.SortFunc(moved, func(a, b *holding) int { return cmp.Compare(a.need.Call, b.need.Call) })
	for _, h := range moved {
		m.queue.Remove(uint64(h.need.Call))
		m.exit(h)
		if !m.line(now, h) {
			h.rouse()
		}
	}
	if len(moved) > 0 {
		m.pump(now, moved[0].group)
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
	h.limits = m.limitsOf(n)
	cost := m.book.Share(now, h.limits).Seconds()
	if cost <= 0 {
		cost = 1 // where no bucket is scarce, calls are
	}
	item := queue.Item{
		ID: uint64(n.Call), Group: h.group, Lane: h.lane.name, Flow: n.Caller.Flow, Class: queue.Class(n.Class),
		Weight: n.Caller.Weight, Cost: cost, Bytes: n.Cost.Bytes, Arrived: n.Arrived, Deadline: n.Deadline,
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
	h.lane.waiting[n.Call] = h
	h.lane.groups[h.group]++
	return true
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
	out := m.queue.Next(now, group, func(t queue.Turn) queue.Answer { return m.try(now, t) })
	for _, left := range m.queue.Left() {
		if h := m.held[ID(left.ID)]; h != nil {
			h.gone = left.Reason
			h.rouse()
		}
	}
	if h := m.held[ID(out.Who)]; h != nil && h.until.After(out.At) {
		h.until = out.At
		h.rouse()
	}
	return out
}

// pumpLane does so for a group, and for all others that wait for a lane in
// which something has become free.
func (m *Memory) pumpLane(now time.Time, l *lane, group string) {
	m.pump(now, group)
	for other := range l.groups {
		if other != group {
			m.pump(now, other)
		}
	}
}

// news pumps for a lane whose breaker has moved, or has a place for a probe
// again.
func (m *Memory) news(now time.Time, l *lane) {
	if l.breaker.Wakes() == l.woken {
		return
	}
	l.woken = l.breaker.Wakes()
	m.ramps(now, l)
	for group := range l.groups {
		m.pump(now, group)
	}
}

// block is what those in a group, or in a lane, were last told to wait for.
type block struct {
	why   HoldReason
	until time.Time // before which none of them can go; zero if that depends on the call
}

// try takes everything that the call whose turn it is needs, or nothing.
func (m *Memory) try(now time.Time, t queue.Turn) queue.Answer {
	h := m.held[ID(t.ID)]
	l := h.lane
	m.ramps(now, l)
	if wait, why := l.closedBefore(now); wait > 0 {
		l.held = block{why, now.Add(wait)}
		return queue.Answer{Wait: wait, Floor: wait, Blocks: queue.OneLane}
	}
	if l.breaker.State(now) == breaker.Closed && !l.slots.Room(now) { // probes are few enough
		l.held = block{why: HoldSlot}
		return queue.Answer{Wait: l.slots.Wait(now), Blocks: queue.OneLane}
	}
	h.limits.Spare = t.Spare
	a := m.book.Acquire(now, h.limits)
	if a.ID == 0 {
		return m.scarce(now, h, a)
	}
	ticket, free, ok := l.pass(now)
	if !ok { // the breaker has just moved
		m.book.Settle(now, a.ID, limit.End{Outcome: limit.Refunded})
		return queue.Answer{Wait: time.Millisecond, Blocks: queue.OneLane}
	}
	h.grant = grant{book: a.ID, slot: l.slots.Start(now), ticket: ticket, free: free}
	l.inFlight++
	l.held = block{}
	delete(m.lines, h.group)
	h.rouse()
	return queue.Answer{OK: true}
}

// scarce is the answer to a call that the limits do not let go.
func (m *Memory) scarce(now time.Time, h *holding, a limit.Answer) queue.Answer {
	out := queue.Answer{Wait: a.Wait}
	why := block{why: HoldLimit}
	switch a.Reason {
	case limit.Paused:
		out.Floor = a.Wait
		why = block{HoldPause, now.Add(a.Wait)}
	case limit.Unknown:
		why.why = HoldLearn
	case limit.TooLarge:
		return queue.Answer{Never: true}
	}
	m.lines[h.group] = &why
	return out
}

// undo gives back what a turn has taken that is not used.
func (m *Memory) undo(now time.Time, h *holding) {
	g := &h.grant
	m.book.Settle(now, g.book, limit.End{Outcome: limit.Refunded})
	h.lane.slots.End(now, g.slot, concurrency.Other)
	h.lane.breaker.Report(now, &g.ticket, breaker.Ignored)
	h.lane.inFlight--
	*g = grant{}
}

// told is what holds a call back, as far as is known.
func (m *Memory) told(h *holding) (l block) {
	if h.lane.held.why != HoldNone {
		return h.lane.held
	}
	if g := m.lines[h.group]; g != nil {
		return *g
	}
	return block{why: HoldTurn}
}

// hold tells a call that has no turn why, and until when.
func (m *Memory) hold(now time.Time, h *holding, out queue.Outlook) Decision {
	l := m.told(h)
	h.reason, h.until = l.why, l.until
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

// refuse ends the wait of a call that the queue has let go, or that can never pass.
func (m *Memory) refuse(now time.Time, h *holding) Decision {
	hold := Hold{Reason: HoldQueue, Refuse: true}
	switch {
	case h.gone == queue.Refused:
		hold.Reason = HoldSize
	case h.gone == queue.TooLate || h.gone == queue.WaitedOut:
		l := m.told(h)
		hold.Reason, hold.Until = l.why, l.until
		fallthrough
	default:
		if calls, backlog := m.queue.Backlog(h.group); calls > 0 && hold.Until.IsZero() {
			hold.Until = now.Add(min(backlog, time.Minute))
		}
	}
	m.forget(h)
	return Decision{Hold: hold, State: m.state(now, h.lane)}
}

// settle corrects limits, concurrency and what was fair by the end of an attempt.
func (m *Memory) settle(now time.Time, f *flight, end End) {
	f.lane.inFlight--
	f.lane.slots.End(now, f.grant.slot, capacity(end.Verdict))
	e := endOf(end)
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

// endOf says in the words of package limit how an attempt has ended.
func endOf(end End) limit.End {
	v := end.Verdict
	e := limit.End{Usage: end.Usage, RetryAfter: v.RetryAfter, Rejected: v.Known.Type == claude.Authentication}
	switch v.Settle {
	case classify.Refund:
		e.Outcome = limit.Refunded
	case classify.Empty, classify.Ramp:
		e.Outcome, e.Ramp = limit.Refused, v.Settle == classify.Ramp
	case classify.Settle:
		switch {
		case !end.Usage.Known():
			e.Outcome = limit.Kept
		case v.Health == classify.Good:
			e.Outcome = limit.Settled
		default:
			e.Outcome = limit.Broken
		}
	default:
		e.Outcome = limit.Kept
	}
	if v.Pause != classify.PauseNone && v.RetryAfter > 0 {
		e.Outcome, e.Credential = limit.Refused, v.Pause == classify.PauseCredential
	}
	return e
}
