package fleet

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/evenkeel-dev/evenkeel/call"
	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

// attempt is one that the store has let go.
type attempt struct {
	ticket call.Ticket
	need   call.Need
	claim  limit.Claim
	req    *Request
	id     ID
	at     time.Time // when it may be sent

	price int // that the store has charged when it let it go

	mu      sync.Mutex
	todo    []chore // to be told to the store, in order
	telling bool
	hurry   time.Time // when somebody waits: until when he lets be told what nobody waits for
}

// chore is something to be told to the store.
type chore struct {
	do      func(context.Context)
	awaited bool
}

// by does it until then at most. It is a deadline, for a client that waits for a
// server does not notice that it is told to stop.
func (c chore) by(ctx context.Context, until time.Time) {
	ctx, stop := context.WithDeadline(ctx, until)
	defer stop()
	c.do(ctx)
}

// tell has the store told behind the caller's back: of one attempt in order, and
// one thing at a time. It reports whether it will be.
func (a *Admission) tell(t *attempt, f func(context.Context)) bool {
	return a.queue(t, chore{do: f})
}

func (a *Admission) queue(t *attempt, c chore) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.todo = append(t.todo, c); t.telling {
		return true
	}
	t.telling = a.later(func() {
		for c, hurry, more := t.next(); more; c, hurry, more = t.next() {
			if c.awaited || hurry.IsZero() {
				c.do(a.whole)
			} else if time.Now().Before(hurry) {
				c.by(a.whole, hurry)
			}
		}
	})
	if !t.telling {
		t.todo = nil
	}
	return t.telling
}

// next is what is to be told next, and by when; false if that is all.
func (t *attempt) next() (c chore, hurry time.Time, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.telling = len(t.todo) > 0; !t.telling {
		return c, hurry, false
	}
	c, t.todo = t.todo[0], t.todo[1:]
	return c, t.hurry, true
}

// await is tell, and waits for it: for twice the store's timeout at most, of which
// what is told before has one.
func (a *Admission) await(t *attempt, f func(context.Context)) bool {
	done := make(chan struct{})
	t.mu.Lock()
	t.hurry = time.Now().Add(a.store.o.Timeout)
	t.mu.Unlock()
	if !a.queue(t, chore{awaited: true, do: func(ctx context.Context) {
		defer close(done)
		f(ctx)
	}}) {
		return false
	}
	<-done
	t.mu.Lock()
	t.hurry = time.Time{}
	t.mu.Unlock()
	return true
}

func (a *Admission) attempt(t call.Ticket) *attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attempts[t.ID]
}

// lessonTaught is the last that was told of a group, and the levels that the
// store made of it.
type lessonTaught struct {
	at     time.Time
	limits [Tokens + 1]float64
	levels [Tokens + 1]float64
	heard  bool
}

// lessonEvery is how often answers tell the store what they show, of each group
// and process: a level of a fifth of a second ago is as good, and each is a
// round trip. Limits that have changed, refusals, and what shows far more than
// the store has made of the last are told at once: in a burst only those who came
// last know that all of it has been seen.
const lessonEvery = 200 * time.Millisecond

// news says whether what an answer shows is worth telling.
func (a *Admission) news(now time.Time, t *attempt, views [][]View) bool {
	worth := false
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, g := range t.req.Groups {
		if i >= len(views) {
			break
		}
		name := lessonName{t.req.Owner, g.Name}
		last, known := a.lessons[name]
		next := lessonTaught{at: now}
		for j, v := range views[i] {
			next.limits[g.Buckets[j].Kind] = v.Limit
		}
		if known && now.Sub(last.at) < lessonEvery && next.limits == last.limits && !last.tooLow(g, views[i]) {
			continue
		}
		next.levels, next.heard = last.levels, last.heard
		if len(a.lessons) >= mostSeen {
			clear(a.lessons)
		}
		a.lessons[name] = next
		worth = true
	}
	return worth
}

// tooLow says whether an answer shows more than is left by what the store has
// made of the last: by more than a hundredth of what a minute allows.
func (l *lessonTaught) tooLow(g Group, views []View) bool {
	for j, v := range views {
		if k := g.Buckets[j].Kind; l.heard && k != Output && v.Limit > 0 && v.Remaining > l.levels[k]+1+v.Limit/100 {
			return true
		}
	}
	return false
}

// taught remembers what the store has made of a lesson. Levels that have risen
// by much are a reason to ask again for those who wait for them.
func (a *Admission) taught(now time.Time, t *attempt, reply *Reply) {
	risen := false
	a.mu.Lock()
	for i, g := range reply.Groups {
		if i >= len(t.req.Groups) {
			break
		}
		name := lessonName{t.req.Owner, t.req.Groups[i].Name}
		last, known := a.lessons[name]
		if !known {
			continue
		}
		for _, b := range g.Buckets {
			risen = risen || last.heard && b.Level > max(0, last.levels[b.Kind]+1+b.Limit/100)
			last.levels[b.Kind] = b.Level
		}
		last.heard = true
		a.lessons[name] = last
	}
	a.mu.Unlock()
	if risen {
		a.memory.RouseAll(now)
	}
}

// Answered implements [call.Admission].
func (a *Admission) Answered(ctx context.Context, now time.Time, t call.Ticket, r limit.Response) {
	shown, ok := a.memory.AnsweredShared(now, t, r)
	at := a.attempt(t)
	if at == nil || !ok {
		return
	}
	scope := at.need.Scope
	if r.Organization != "" && scope != "" && r.Status != http.StatusUnauthorized && a.organization(scope) != r.Organization {
		a.owns(scope, r.Organization)
		a.tell(at, func(ctx context.Context) { a.store.SetOrganization(ctx, scope, r.Organization, r.Workspace) })
	}
	views, any := at.views(shown)
	refused := r.Status == http.StatusTooManyRequests
	if !any || !a.news(now, at, views) && !refused {
		return
	}
	began := time.Now()
	a.tell(at, func(ctx context.Context) {
		l := Lesson{Refused: refused, Age: time.Since(began), Views: views}
		if reply, err := a.store.Learn(ctx, at.id, l); err == nil && reply.Known {
			a.note(time.Now(), at, &reply, false)
			a.taught(time.Now(), at, &reply)
		}
	})
}

// Content implements [call.Admission].
func (a *Admission) Content(ctx context.Context, now time.Time, t call.Ticket, used claude.Usage) {
	a.memory.Content(ctx, now, t, used)
	at := a.attempt(t)
	if at == nil {
		return
	}
	if t.Probe || at.ticket.Probe {
		a.tell(at, func(ctx context.Context) { a.store.Content(ctx, at.id) })
	}
	if used.Input+used.CacheWrite+used.CacheRead == 0 {
		return
	}
	views, far := at.actual(used)
	if far {
		a.tell(at, func(ctx context.Context) { _, _ = a.store.Learn(ctx, at.id, Lesson{Views: views}) }) // Settle tells it again
	}
}

// actual is what an attempt is known to cost of input; far if that is so far
// from what was reserved that it should not wait until the end.
func (t *attempt) actual(used claude.Usage) (views [][]View, far bool) {
	for i := range t.claim.Parts {
		p := &t.claim.Parts[i]
		n := p.Counts(used)
		var vs []View
		for _, k := range kindsOf(p) {
			v := View{}
			if k == limit.Input {
				v.Actual, v.Known = n[k], true
				off := n[k] - p.Asks[k].Cost
				far = far || max(off, -off) > 0.02*p.Asks[k].Cost+100
			}
			vs = append(vs, v)
		}
		views = append(views, vs)
	}
	return views, far
}

// Settle implements [call.Admission]. It waits for the store only where a
// retry is to be paid for.
func (a *Admission) Settle(ctx context.Context, now time.Time, t call.Ticket, end call.End) call.Settled {
	a.mu.Lock()
	at := a.attempts[t.ID]
	delete(a.attempts, t.ID)
	a.mu.Unlock()
	if at == nil { // told before; or it never was
		return call.Settled{}
	}
	out, moved := at.outcome(end), false
	tell := func(ctx context.Context) {
		reply, _ := a.store.Settle(ctx, at.id, out) // it is told later if the store does not answer
		if reply.Known {
			a.note(time.Now(), at, &reply, end.Retry)
			a.afford(at, &reply)
		}
		if end.Retry {
			end.Told = &call.Settled{Paid: reply.Paid, Counted: reply.Counted}
			moved = reply.Moved
		}
	}
	switch {
	case !end.Retry:
		a.tell(at, tell)
	case !a.await(at, tell):
		end.Told = &call.Settled{}
	}
	s := a.memory.Settle(ctx, now, t, end)
	a.tint(&s.State, at.need)
	s.State.Moved = s.State.Moved || moved
	return s
}

// afford has those ask again who wait for what an end may have brought in.
func (a *Admission) afford(t *attempt, reply *Reply) {
	a.memory.Afford(t.need, classify.UpstreamPurse, int(reply.Budget))
	if len(reply.Groups) > 0 {
		a.memory.Afford(t.need, classify.ScopePurse, int(reply.Groups[0].Budget))
	}
}

// outcome says in the store's words how an attempt has ended.
func (t *attempt) outcome(end call.End) Outcome {
	e := call.LimitEnd(end)
	out := Outcome{
		Succeeded: end.Call == call.Succeeded, Failure: end.Verdict.Health == classify.Failure,
		Continues: end.Call == call.Continues, Counted: t.need.Counted,
		Lost:  end.Verdict.Reason == classify.ConnectionLost || end.Verdict.Reason == classify.StreamCut,
		Retry: end.Retry, Price: end.Verdict.Price,
	}
	if end.Verdict.Purse == classify.ScopePurse {
		out.Purse = ScopePurse
	}
	switch e.Outcome {
	case limit.Kept:
		out.Charge = Kept
	case limit.Settled:
		out.Charge = Settled
	case limit.Broken:
		out.Charge = Broken
	case limit.Refunded:
		out.Charge = Refunded
	case limit.Refused:
		out.Charge = Refunded
		if !e.Credential {
			out.Pause = e.RetryAfter
		}
	}
	if e.Outcome != limit.Settled && e.Outcome != limit.Broken {
		return out
	}
	for i := range t.claim.Parts {
		n := t.claim.Parts[i].Counts(end.Usage)
		out.Actual = append(out.Actual, Amounts{Requests: n[limit.Requests], Input: n[limit.Input], Output: n[limit.Output], Tokens: n[limit.Tokens]})
	}
	return out
}

// Leave implements [call.Admission].
func (a *Admission) Leave(now time.Time, need call.Need, end call.CallEnd) {
	a.mu.Lock()
	at := a.booked[need.Call]
	delete(a.booked, need.Call)
	delete(a.places, need.Call)
	if at != nil {
		delete(a.attempts, at.ticket.ID)
	}
	a.mu.Unlock()
	if at != nil {
		a.tell(at, func(ctx context.Context) { _, _ = a.store.Settle(ctx, at.id, Outcome{Charge: Refunded}) })
		a.memory.Drop(now, at.ticket)
	}
	a.memory.Leave(now, need, end)
	gaveUp := end == call.GaveUp && !need.Counted
	last := a.memory.Last(need)
	price := 0
	switch {
	case need.Paid:
		price = need.Price
	case at != nil:
		price = at.price
	}
	if !gaveUp && !last && price == 0 {
		return
	}
	e := Ending{
		Last: last, Class: Class(need.Class),
		Owner: ownerOf(need.Scope, a.organization(need.Scope)), Lane: laneOf(need.Key), Group: groupOf(need),
		Purse: purseOf(need), Price: price, GaveUp: end == call.GaveUp, Counted: need.Counted,
	}
	a.later(func() { a.store.Leave(a.whole, e) })
}
