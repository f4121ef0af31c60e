// Package queue says who goes next when calls have to wait.
//
// It is the one place where a call waits, whatever it waits for: a bucket, a
// pause, a probe, a slot. It does not know what those are. [Queue.Next] asks
// whoever does, on behalf of the call whose turn it is, and gives the turn to
// the first that gets all it needs.
//
// # The order
//
//	Group      those who draw on the same buckets; groups never wait for each other
//	 └ Class   interactive : normal : batch = 8 : 4 : 1
//	    └ Flow who calls; by weight
//	       └ the earliest arrival: a retry comes before new work
//
// Classes share a group, and flows a class, by start-time fair queueing (Goyal,
// Vin, Cheng, SIGCOMM 1996). Each has a counter, the one with the least is
// next, and a call moves it on by cost over weight. The cost is the call's
// dominant share ([Dominant]): an estimate at dispatch, put right by
// [Queue.Correct] when the real cost is known. A flow that was idle gets no
// credit: its counter is lifted to that of the one served last. A class gets
// some, towards those below it. One that waits is served at its share in the
// end, so batch has a floor: one thirteenth, or one fourteenth beside late calls.
//
// At four fifths of its wait budget a normal or batch call leaves its class for
// one of late calls, of weight 1, so that it does not miss its deadline behind
// others of its caller or class who have more time. A few late calls are served
// at once. Many are not, and some will miss it: ones with deadlines that cannot
// all be met must not get what others are owed, or a flood of batch calls with
// short deadlines would rule (see decision 0011).
//
// # Lanes
//
// Some of what calls need is shared by a few of a group only: the breaker and
// the concurrency limit of one model, a limit of one client. Those who share
// all of it are a lane. A call that is held by such a thing blocks its lane and
// no other ([Answer.Blocks]); flows in a blocked lane are not owed what others
// use meanwhile. Next asks for at most one call of each lane that is blocked,
// and costs O(lanes of the group + log waiters) per turn given.
//
// # Bounds
//
// Calls are bounded in number and bytes over all groups, and in time. When the
// queue is full it is not first come, first served: the youngest call of the
// lowest class below the newcomer's makes room, of the flow that has most of
// them; in the newcomer's own class a flow that has more than its own. So a
// flood keeps nobody out but itself. A call leaves as soon as its time is over,
// or as it is known that it cannot start in time, with a [Reason].
//
// # How it is wired
//
// For an Admission whose callers ask again (Admit) at a given time or when a
// channel is closed, and say when they never will (Leave):
//
//	Admit:  Take(id)                → has a turn: send, keep the Charge for Correct
//	        Push(now, item)         → unless it waits already (Waits); a reason refuses it
//	        pump(group)             → the turn may be its own: Take. Those that have left
//	                                  (also to make room, in another group) are refused
//	        else hold it: until At if Outlook.Who is this call, else until its
//	        deadline, with a channel
//	Settle: give back slot and tokens, Correct(charge, real), pump(group)
//	Leave:  Remove(id); if that reports a turn, give back what try took; pump(group)
//	pump:   Next(now, group, try)   → close the channels of those that got a turn;
//	        Left()                  → those of the ones that left, and remember why;
//	        Outlook.Who             → its channel too, if it is held beyond Outlook.At
//
// What holds back one call and no other, such as a budget that does not pay for
// its retry, is not waited for here: the call is pushed when it has that.
//
// try takes everything the call needs, or nothing. A turn is a promise: what
// try took belongs to that call until it comes (Take) or leaves (Remove, which
// also takes its charge back), so a caller that has gone between the two blocks
// nobody for longer than it takes to say so. Outlook.Who is what keeps a group
// going in which nothing ends: exactly one of its calls has to come back at
// Outlook.At, and when that one leaves, the pump in Leave names another. One that
// has left by the Queue's doing comes as well, since its channel is closed, and
// Leave follows.
//
// The package is pure: it takes the time as an argument, starts no goroutine,
// never sleeps, and has no lock. Nothing in it is safe for concurrent use;
// whoever owns a Queue serialises.
package queue

import "time"

// Config bounds a [Queue]. The zero value is the default.
type Config struct {
	Depth   int           // calls; 0 means 1,000
	Bytes   int64         // of the bodies they keep; 0 means 512 MB
	MaxWait time.Duration // of interactive calls; 0 means 30 s, less than 0 none
}

func (c Config) withDefaults() Config {
	if c.Depth <= 0 {
		c.Depth = 1000
	}
	if c.Bytes <= 0 {
		c.Bytes = 512 << 20
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second // what somebody at a terminal waits for; a guess
	}
	return c
}

// Class is the priority of a call.
type Class uint8

// The classes. Normal is the default.
const (
	Normal Class = iota
	Interactive
	Batch
	classes = iota
)

// late is the class of those that have moved out of theirs because their time
// runs out, and all the number of classes with it.
const (
	late Class = classes
	all        = classes + 1
)

// weights are the shares of the classes, by class. That of late ones is small:
// a single one is served at once, like any that has not been waiting, but a
// flood of them is not to take the place of those it was below.
var weights = [all]float64{Normal: 4, Interactive: 8, Batch: 1, late: 1}

// ranked are the classes, highest first; it decides where counters are equal.
var ranked = [all]Class{Interactive, Normal, late, Batch}

// aged is the part of its wait budget after which a call is late.
const aged = 0.8

// lateFlows are the flows among late calls: one for each class that they come
// from, with its weight. More would let a crowd of callers grow its share.
var lateFlows = [classes]string{Normal: "normal", Interactive: "interactive", Batch: "batch"}

// Item is one call that waits. Its names are kept while it does, and for a
// while after: build them once per key and not for each call.
type Item struct {
	ID       uint64 // not 0, and not in the queue yet
	Group    string // those who draw on the same buckets
	Lane     string // within the group, those who are held back together
	Flow     string // who calls: calls of one flow are one party in what is fair
	Class    Class
	Weight   float64   // of the flow among those of its class; 0 or less means 1
	Cost     float64   // seconds of the scarcest bucket: see [Dominant]
	Bytes    int64     // memory that it keeps while it waits
	Arrived  time.Time // of the call, however often it was tried since: earlier ones go first
	Deadline time.Time // from then on its start is of no use; zero for none
	Again    bool      // it had a turn, which has been taken back: it keeps the room that it had
}

// Turn is a call whose turn it would be, shown to the one who knows what it
// needs.
type Turn struct {
	ID          uint64
	Group, Lane string
	Cost        float64
	// Spare says that the call would use what is left over: no call of a
	// higher class could go now, but there was one within ten minutes, so that
	// another may come. A limiter that keeps a reserve for it asks for it of
	// these turns and no others: a call that is served at its class's share is
	// owed that, and where nobody is more urgent nothing is kept.
	Spare bool
}

// Answer is what a call gets when its turn would be.
type Answer struct {
	OK    bool // everything it needs has been taken for it
	Never bool // it can never go, as limits are now: it leaves

	// Wait is the time after which asking again may help. 0 means unknown: an
	// end of some attempt, or other news, will be followed by Next.
	Wait time.Duration

	// Sooner says that something else than time may let it go before Wait is
	// over, and most likely will: a place that somebody leaves. Then a call
	// stays until its own time is over. A bucket also gives back now and then,
	// but not so much that it is worth waiting for.
	Sooner bool

	// Floor is the time before which no call that is blocked along with this
	// one can start, whatever it costs: that of a pause or of an open breaker,
	// and never that of a bucket. Calls whose time is over by then leave now.
	Floor time.Duration

	Blocks Extent // whom this holds back
}

// Extent says whom that which holds a call back holds back with it.
type Extent uint8

// The extents.
const (
	Everyone Extent = iota // of the group: a bucket, a pause
	OneLane                // the call's lane alone: a breaker, a slot, a client's own limit
)

// Outlook is what Next leaves to do for a group.
type Outlook struct {
	Who uint64    // a waiting call; 0 if none waits, or only news will help
	At  time.Time // when somebody should call Next again, and Who should be the one
}

// Charge is what a turn has cost its flow and class, for [Queue.Correct].
type Charge struct {
	Group, Flow string // where the turn came: those of the call, or of late ones
	Class       Class
	Weight      float64
	Cost        float64
}

// Queue holds calls until their turn comes. Use [New]. It is not safe for
// concurrent use.
type Queue struct {
	cfg     Config
	entries map[uint64]*entry // waiting, or with a turn not yet taken
	groups  map[string]*group
	crowd   crowd
	left    []Left
	free    []*entry
	seq     uint64
	round   uint64 // of Next
	pushes  int    // since the last sweep
	bytes   int64
}

// entry is a call in the queue. Its names are those of where it stands: there may
// be ten thousand.
type entry struct {
	id      uint64
	cost    float64
	weight  float64 // of its caller's flow
	bytes   int64
	arrived time.Time
	end     time.Time // before which it must start; zero for none
	ages    time.Time // when it is late; zero for never, or if it is already
	seq     uint64
	strand  *strand // where it waits, or has waited when it has a turn
	holder  *holder
	at      [4]int32 // places in heaps, by the constants below
	class   Class    // its own, also among the late
	turn    bool     // it may go, and has not come yet
	capped  bool     // end is due to max-wait, not to the deadline
}

// Places of an entry.
const (
	inStrand = iota
	inEnds
	inAges
	inHolder
)

// New returns an empty Queue.
func New(cfg Config) *Queue {
	return &Queue{
		cfg:     cfg.withDefaults(),
		entries: make(map[uint64]*entry),
		groups:  make(map[string]*group),
		crowd:   crowd{holders: make(map[flowKey]*holder)},
	}
}

// Configure changes the bounds. Calls that wait already stay, under the bounds
// they came in with.
func (q *Queue) Configure(cfg Config) { q.cfg = cfg.withDefaults() }

// Push lets a call wait, or says why it may not. Those who had to make room
// for it are in [Queue.Left].
func (q *Queue) Push(now time.Time, it Item) Reason {
	if q.entries[it.ID] != nil {
		panic("queue: pushed a call that waits already")
	}
	if !it.Deadline.IsZero() && !now.Before(it.Deadline) {
		return TooLate
	}
	if it.Class >= classes {
		panic("queue: unknown class")
	}
	if !it.Again && !q.makeRoom(it) {
		return Full
	}
	q.sweep()
	e := q.entry()
	e.id, e.class, e.bytes, e.arrived, e.end = it.ID, it.Class, it.Bytes, it.Arrived, it.Deadline
	e.weight, e.cost = positive(it.Weight, 1), positive(it.Cost, leastCost)
	if last := now.Add(q.cfg.MaxWait); it.Class == Interactive && q.cfg.MaxWait > 0 && (e.end.IsZero() || last.Before(e.end)) {
		e.end, e.capped = last, true
	}
	q.seq++
	e.seq = q.seq
	q.entries[e.id] = e
	q.bytes += e.bytes
	g := q.group(it.Group)
	g.classes[e.class].seen = now
	own := flowKey{it.Class, it.Flow}
	g.enter(e, it.Lane, own)
	q.setAge(now, e)
	q.crowd.add(e, own)
	return None
}

// leastCost keeps a call that costs nothing from being served for ever.
const leastCost = 1e-6

// setAge decides when a call is late. Interactive ones never are: there is
// nothing above them.
func (q *Queue) setAge(now time.Time, e *entry) {
	if e.end.IsZero() || e.class == Interactive {
		return
	}
	e.ages = now.Add(time.Duration(aged * float64(e.end.Sub(now))))
	e.strand.lane.ages.push(e)
}

// Waits says whether a call is in the queue, with or without a turn.
func (q *Queue) Waits(id uint64) bool { return q.entries[id] != nil }

// Latest is the moment before which a call that waits has to start; zero if
// there is none.
func (q *Queue) Latest(id uint64) time.Time {
	if e := q.entries[id]; e != nil {
		return e.end
	}
	return time.Time{}
}

// Next gives turns to calls of the group, in order, until one whose turn it
// would be cannot go and nobody may pass it. It calls try for each; try must
// not call the Queue.
func (q *Queue) Next(now time.Time, group string, try func(Turn) Answer) Outlook {
	g := q.groups[group]
	if g == nil || g.waiting == 0 {
		return Outlook{}
	}
	q.age(now, g)
	g.each(func(l *lane) { q.expire(now, l) })
	var out Outlook
	q.round++
	for {
		s := g.pick(q.round)
		if s == nil {
			return out
		}
		e := s.items.top()
		a := try(Turn{ID: e.id, Group: group, Lane: s.lane.name, Cost: e.cost, Spare: g.spare(now, s.flow.key.class, q.round)})
		if a.OK {
			g.charge(s, e, q.round)
			q.give(e)
			continue
		}
		if a.Never {
			q.leave(e, Refused)
			continue
		}
		wait := max(a.Wait, a.Floor)
		at := now.Add(wait)
		if !e.end.IsZero() && !e.end.After(at) {
			if !a.Sooner {
				q.leave(e, e.tooLate())
				continue // those behind may still be in time
			}
			at = e.end
		}
		own := Outlook{}
		if wait > 0 {
			own = Outlook{Who: e.id, At: at}
		}
		if floor := now.Add(a.Floor); a.Blocks == OneLane {
			s.lane.block(g, q.round)
			q.expire(floor, s.lane)
			out = out.or(own)
		} else {
			g.each(func(l *lane) { q.expire(floor, l) })
			if q.entries[out.Who] == nil {
				out = Outlook{} // it was in another lane, and has just left
			}
			return out.or(own)
		}
	}
}

// or is the earlier of two outlooks that are any.
func (o Outlook) or(p Outlook) Outlook {
	if o.Who == 0 || p.Who != 0 && p.At.Before(o.At) {
		return p
	}
	return o
}

// give lets a call go: it waits no more, and has a turn until it comes.
func (q *Queue) give(e *entry) {
	q.exit(e)
	e.turn = true
}

// exit takes a call out of all places but the list of entries.
func (q *Queue) exit(e *entry) {
	e.strand.lane.group.exit(e)
	q.crowd.remove(e)
}

// Take is called when a call comes that may have a turn, and reports whether
// it has. The turn is gone with that.
func (q *Queue) Take(id uint64) (Charge, bool) {
	e := q.entries[id]
	if e == nil || !e.turn {
		return Charge{}, false
	}
	c := e.charge()
	q.drop(e)
	return c, true
}

// Remove takes out a call that will not come. turn says that it had one: what
// was taken for it must be given back, and others may go. A call that is not
// in the queue is ignored.
func (q *Queue) Remove(id uint64) (turn bool) {
	e := q.entries[id]
	if e == nil {
		return false
	}
	if e.turn {
		q.Correct(e.charge(), 0)
		q.drop(e)
		return true
	}
	q.exit(e)
	q.drop(e)
	return false
}

// charge is what the turn of e has cost.
func (e *entry) charge() Charge {
	key := e.strand.flow.key
	return Charge{Group: e.strand.lane.group.name, Flow: key.name, Class: key.class, Weight: e.share(), Cost: e.cost}
}

// Correct replaces the estimated cost of a turn by the real one. It does
// nothing if group or flow have been forgotten since.
func (q *Queue) Correct(c Charge, real float64) {
	if g := q.groups[c.Group]; g != nil {
		g.correct(c, max(real, 0)-c.Cost)
	}
}

func (q *Queue) drop(e *entry) {
	delete(q.entries, e.id)
	q.bytes -= e.bytes
	*e = entry{}
	if len(q.free) < 64 { // for the call that finds the queue empty, which is most of them
		q.free = append(q.free, e)
	}
}

func (q *Queue) entry() *entry {
	n := len(q.free)
	if n == 0 {
		return &entry{}
	}
	e := q.free[n-1]
	q.free = q.free[:n-1]
	return e
}

func positive(x, otherwise float64) float64 {
	if x > 0 { // false for NaN
		return x
	}
	return otherwise
}
