package queue

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// turns gives n turns, none in the blocked lanes, and returns who got them.
func turns(q *Queue, now time.Time, group string, n int, blocked ...string) (ids []uint64) {
	q.Next(now, group, func(t Turn) Answer {
		switch {
		case slices.Contains(blocked, t.Lane):
			return Answer{Blocks: OneLane}
		case len(ids) == n:
			return Answer{}
		}
		ids = append(ids, t.ID)
		return Answer{OK: true}
	})
	return ids
}

func TestQueue_order(t *testing.T) {
	const s = time.Second
	call := func(id uint64, class Class, flow string, cost float64, arrived time.Duration) Item {
		return Item{ID: id, Group: "g", Lane: "l", Flow: flow, Class: class, Cost: cost, Arrived: at(arrived)}
	}
	for _, tt := range []struct {
		why   string
		items []Item
		want  []uint64
	}{
		{"the first to arrive goes first", []Item{call(1, Normal, "a", 1, 0), call(2, Normal, "a", 1, s)}, []uint64{1, 2}},
		{"a retry goes by the arrival of its call", []Item{call(1, Normal, "a", 1, 5*s), call(2, Normal, "a", 1, s)}, []uint64{2, 1}},
		{"a retry of another flow is not ahead of its turn", []Item{
			call(1, Normal, "a", 1, 5*s), call(2, Normal, "b", 1, s), call(3, Normal, "b", 1, s), call(4, Normal, "a", 1, 5*s),
		}, []uint64{2, 1, 3, 4}},
		{"interactive before normal before batch", []Item{
			call(1, Batch, "a", 1, 0), call(2, Normal, "a", 1, 0), call(3, Interactive, "a", 1, 0),
		}, []uint64{3, 2, 1}},
		{"flows take turns, however many calls each has", []Item{
			call(1, Normal, "a", 1, 0), call(2, Normal, "a", 1, 0), call(3, Normal, "a", 1, 0), call(4, Normal, "b", 1, s), call(5, Normal, "b", 1, s),
		}, []uint64{1, 4, 2, 5, 3}},
		{"a large call is paid for by those behind it", []Item{
			call(1, Normal, "a", 3, 0), call(2, Normal, "a", 1, 0), call(3, Normal, "b", 1, s), call(4, Normal, "b", 1, s), call(5, Normal, "b", 1, s),
		}, []uint64{1, 3, 4, 5, 2}},
		{"what costs nothing is not served for ever", []Item{
			call(1, Normal, "a", 0, 0), call(2, Normal, "a", math.NaN(), s), call(3, Normal, "b", -1, 2*s),
		}, []uint64{1, 3, 2}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			q := New(Config{})
			for _, it := range tt.items {
				if why := q.Push(at(10*s), it); why != None {
					t.Fatal(why)
				}
			}
			if got := turns(q, at(10*s), "g", len(tt.items)); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if why := q.broken(); why != "" {
				t.Error(why)
			}
		})
	}
}

func TestQueue_blocksNoOthers(t *testing.T) {
	q := New(Config{})
	for i, lane := range []string{"down", "down", "up", "up"} {
		q.Push(at(0), Item{ID: uint64(i + 1), Group: "g", Lane: lane, Cost: 1, Arrived: at(0)})
	}
	q.Push(at(0), Item{ID: 9, Group: "other", Cost: 1})

	asked := map[uint64]int{}
	q.Next(at(0), "g", func(t Turn) Answer {
		asked[t.ID]++
		return Answer{OK: t.Lane == "up", Blocks: OneLane}
	})
	if got, want := fmt.Sprint(asked), "map[1:1 3:1 4:1]"; got != want {
		t.Errorf("asked for %v, want %v: one of the lane that is down, both of the other, none of another group", got, want)
	}
	for id, want := range map[uint64]bool{1: false, 3: true, 4: true, 9: false} {
		if _, got := q.Take(id); got != want {
			t.Errorf("call %d has a turn: %v, want %v", id, got, want)
		}
	}

	q.Push(at(0), Item{ID: 3, Group: "g", Lane: "up", Cost: 0.1, Arrived: at(0)})
	clear(asked)
	q.Next(at(0), "g", func(t Turn) Answer { asked[t.ID]++; return Answer{Wait: time.Second} })
	if len(asked) != 1 {
		t.Errorf("asked for %v, want one: a bucket that is too low for the first is kept for it", asked)
	}
}

func TestQueue_leavesWhenTooLate(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		why    string
		class  Class
		due    time.Duration // 0: none
		answer Answer
		ask    time.Duration // when Next is asked
		want   Reason        // of call 2
	}{
		{"it waits while it can", Normal, 10 * s, Answer{}, 9 * s, None},
		{"its deadline has passed", Normal, 10 * s, Answer{}, 10 * s, TooLate},
		{"no deadline", Normal, 0, Answer{}, 1000 * s, None},
		{"interactive calls wait for half a minute", Interactive, 0, Answer{}, 29 * s, None},
		{"and no longer", Interactive, 0, Answer{}, 30 * s, WaitedOut},
		{"a deadline before that is a deadline", Interactive, 10 * s, Answer{}, 10 * s, TooLate},
		{"a pause ends after the deadline", Normal, 10 * s, Answer{Wait: 10 * s, Floor: 10 * s}, 0, TooLate},
		{"a pause ends before the deadline", Normal, 10 * s, Answer{Wait: 9 * s, Floor: 9 * s}, 0, None},
		{"a lane is shut for longer", Normal, 10 * s, Answer{Floor: 20 * s, Blocks: OneLane}, 0, TooLate},
		{"a bucket is too low for the first, and says nothing of others", Normal, 10 * s, Answer{Wait: 20 * s}, 0, None},
		{"a pause outlasts what interactive calls wait", Interactive, 0, Answer{Floor: 31 * s}, 0, WaitedOut},
	} {
		t.Run(tt.why, func(t *testing.T) {
			q := New(Config{})
			it := Item{ID: 2, Group: "g", Lane: "l", Class: tt.class, Arrived: at(s)}
			if tt.due > 0 {
				it.Deadline = at(tt.due)
			}
			q.Push(at(0), Item{ID: 1, Group: "g", Lane: "l", Class: tt.class, Cost: 9, Deadline: at(5000 * s)})
			if tt.class == Interactive {
				q.Remove(1) // it would wait out itself
			}
			if why := q.Push(at(0), it); why != None {
				t.Fatal(why)
			}
			q.Next(at(tt.ask), "g", func(Turn) Answer { return tt.answer })
			var got Reason
			for _, l := range q.Left() {
				if l.ID == 2 {
					got = l.Reason
				}
			}
			if got != tt.want || q.Waits(2) != (got == None) {
				t.Errorf("got %v (waits %v), want %v", got, q.Waits(2), tt.want)
			}
		})
	}
}

func TestQueue_ownWaitTooLong(t *testing.T) {
	q := New(Config{})
	q.Push(at(0), Item{ID: 1, Group: "g", Arrived: at(0), Deadline: at(time.Second)})
	q.Push(at(0), Item{ID: 2, Group: "g", Arrived: at(1)})
	var asked []uint64
	out := q.Next(at(0), "g", func(t Turn) Answer {
		asked = append(asked, t.ID)
		return Answer{Wait: 2 * time.Second}
	})
	if left := q.Left(); len(left) != 1 || left[0] != (Left{1, TooLate}) {
		t.Errorf("left: %v, want call 1, whose wait does not fit", left)
	}
	if want := (Outlook{Who: 2, At: at(2 * time.Second)}); out != want || !slices.Equal(asked, []uint64{1, 2}) {
		t.Errorf("asked for %v, outlook %v, want %v", asked, out, want)
	}
	if why := q.Push(at(time.Minute), Item{ID: 3, Group: "g", Deadline: at(time.Minute)}); why != TooLate || q.Waits(3) {
		t.Errorf("pushed at its deadline: %v, want %v", why, TooLate)
	}
}

func TestQueue_neverGoes(t *testing.T) {
	q := New(Config{})
	for id := range uint64(3) {
		q.Push(at(0), Item{ID: id + 1, Group: "g", Arrived: at(time.Duration(id))})
	}
	q.Next(at(0), "g", func(t Turn) Answer { return Answer{Never: t.ID == 1, OK: t.ID == 2} })
	if got, want := fmt.Sprint(q.Left()), fmt.Sprint([]Left{{1, Refused}}); got != want || !q.Waits(3) {
		t.Errorf("left: %v, want %v, and the others as before", got, want)
	}
	if _, ok := q.Take(2); !ok {
		t.Error("one that can never go holds back those behind it")
	}
}

func TestQueue_reasons(t *testing.T) {
	seen := map[string]bool{}
	for r := None; r <= Refused; r++ {
		if seen[r.String()] || (r == None) != (r.String() == "") {
			t.Errorf("reason %d is spelled %q", r, r)
		}
		seen[r.String()] = true
	}
}

func TestQueue_outlook(t *testing.T) {
	q := New(Config{})
	for i, lane := range []string{"a", "b", "c"} {
		q.Push(at(0), Item{ID: uint64(i + 1), Group: "g", Lane: lane, Arrived: at(time.Duration(i))})
	}
	waits := map[string]time.Duration{"a": 0, "b": 7 * time.Second, "c": 3 * time.Second}
	try := func(t Turn) Answer { return Answer{Wait: waits[t.Lane], Blocks: OneLane} }
	if got, want := q.Next(at(0), "g", try), (Outlook{3, at(3 * time.Second)}); got != want {
		t.Errorf("got %v, want %v: the earliest of the lanes", got, want)
	}
	q.Remove(3)
	if got, want := q.Next(at(0), "g", try), (Outlook{2, at(7 * time.Second)}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	q.Remove(2)
	if got := q.Next(at(0), "g", try); got != (Outlook{}) {
		t.Errorf("got %v, want none: nobody knows how long", got)
	}
}

// TestQueue_outlookOfTheOneWhoLeaves: the one who was to come back leaves
// because of a pause that another call has met. Then that one has to.
func TestQueue_outlookOfTheOneWhoLeaves(t *testing.T) {
	q := New(Config{})
	q.Push(at(0), Item{ID: 1, Group: "g", Lane: "a", Arrived: at(0), Deadline: at(8 * time.Second)})
	q.Push(at(0), Item{ID: 2, Group: "g", Lane: "b", Arrived: at(1)})
	out := q.Next(at(0), "g", func(t Turn) Answer {
		if t.Lane == "a" {
			return Answer{Wait: 5 * time.Second, Blocks: OneLane}
		}
		return Answer{Floor: 10 * time.Second}
	})
	if want := (Outlook{2, at(10 * time.Second)}); out != want || q.Waits(1) {
		t.Errorf("got %v, want %v, and call 1 gone: it cannot start before the pause is over", out, want)
	}
}

func TestQueue_turnNotTaken(t *testing.T) {
	q := New(Config{})
	q.Push(at(0), Item{ID: 1, Group: "g", Flow: "a", Cost: 5})
	turns(q, at(0), "g", 1)
	if !q.Waits(1) || q.Len() != 1 {
		t.Error("a call with a turn is not gone before it comes")
	}
	if !q.Remove(1) {
		t.Error("Remove does not say that the call had a turn")
	}
	if q.Remove(1) || q.Len() != 0 {
		t.Error("removed twice")
	}
	// Its flow has paid nothing: beside another it is not behind.
	q.Push(at(0), Item{ID: 2, Group: "g", Flow: "b", Cost: 1, Arrived: at(1)})
	q.Push(at(0), Item{ID: 3, Group: "g", Flow: "a", Cost: 1, Arrived: at(0)})
	if got := turns(q, at(0), "g", 2); !slices.Equal(got, []uint64{3, 2}) {
		t.Errorf("got %v, want [3 2]: the turn that nobody took is charged", got)
	}
	if _, ok := q.Take(7); ok {
		t.Error("a turn for a call that is not there")
	}
}

func TestQueue_late(t *testing.T) {
	const s = time.Second
	q := New(Config{MaxWait: -1})
	q.Push(at(0), Item{ID: 1, Group: "g", Flow: "a", Class: Normal, Cost: 1, Arrived: at(0)})
	q.Push(at(0), Item{ID: 2, Group: "g", Flow: "a", Class: Batch, Cost: 1, Arrived: at(0)})
	q.Push(at(0), Item{ID: 3, Group: "g", Flow: "a", Class: Batch, Cost: 1, Arrived: at(1), Deadline: at(100 * s)})
	q.Push(at(0), Item{ID: 4, Group: "g", Flow: "a", Class: Interactive, Cost: 1, Arrived: at(1), Deadline: at(100 * s)})
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{79 * s, 0}, {80 * s, 1}, {99 * s, 1}} {
		q.Next(at(step.at), "g", func(Turn) Answer { return Answer{} })
		if got := q.Snapshot(); got.Late != step.want || got.Waiting != [classes]int{1, 1, 2} {
			t.Errorf("at %v: %d late, waiting %v, want %d of 1, 1 and 2", step.at, got.Late, got.Waiting, step.want)
		}
		if why := q.broken(); why != "" {
			t.Error(why)
		}
	}
	if got := turns(q, at(99*s), "g", 4); !slices.Equal(got, []uint64{4, 1, 3, 2}) {
		t.Errorf("got %v, want [4 1 3 2]: a late call before others of its class, not before higher ones", got)
	}
	if c, ok := q.Take(3); !ok || c.Class != late {
		t.Errorf("charged to class %d (turn %v), want that of late calls", c.Class, ok)
	}
}

func TestQueue_makesRoom(t *testing.T) {
	type push struct {
		flow  string
		class Class
		bytes int64
		want  Reason
		out   string // ids that have to leave
	}
	for _, tt := range []struct {
		why    string
		depth  int
		pushes []push
	}{
		{"a flood of one class is turned away", 2, []push{
			{"a", Normal, 0, None, ""}, {"a", Normal, 0, None, ""}, {"a", Normal, 0, Full, ""},
		}},
		{"the youngest of the lowest class goes", 3, []push{
			{"a", Normal, 0, None, ""},
			{"b", Batch, 0, None, ""},
			{"b", Batch, 0, None, ""},
			{"a", Interactive, 0, None, "3"},
			{"a", Normal, 0, None, "2"},
			{"a", Normal, 0, Full, ""},
			{"a", Interactive, 0, None, "5"},
		}},
		{"a lower class makes nobody leave", 1, []push{{"a", Normal, 0, None, ""}, {"b", Batch, 0, Full, ""}}},
		{"a flow with fewer calls is let in, until it has as many", 4, []push{
			{"a", Normal, 0, None, ""},
			{"a", Normal, 0, None, ""},
			{"a", Normal, 0, None, ""},
			{"a", Normal, 0, None, ""},
			{"b", Normal, 0, None, "4"},
			{"b", Normal, 0, None, "3"},
			{"b", Normal, 0, Full, ""},
			{"a", Normal, 0, Full, ""},
		}},
		{"nobody makes room for one who would have as many", 5, []push{
			{"a", Normal, 0, None, ""},
			{"a", Normal, 0, None, ""},
			{"a", Normal, 0, None, ""},
			{"b", Normal, 0, None, ""},
			{"b", Normal, 0, None, ""},
			{"b", Normal, 0, Full, ""},
		}},
		{"bytes count", 9, []push{
			{"a", Normal, 60, None, ""}, {"a", Normal, 60, Full, ""}, {"b", Batch, 30, None, ""}, {"a", Normal, 40, None, "3"}, {"a", Interactive, 101, Full, ""},
		}},
		{"nobody leaves in vain", 9, []push{{"a", Normal, 80, None, ""}, {"b", Batch, 20, None, ""}, {"c", Normal, 30, Full, ""}}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			q := New(Config{Depth: tt.depth, Bytes: 100})
			for i, p := range tt.pushes {
				it := Item{ID: uint64(i + 1), Group: "g", Flow: p.flow, Class: p.class, Bytes: p.bytes, Arrived: at(time.Duration(i))}
				why := q.Push(at(0), it)
				var out []string
				for _, l := range q.Left() {
					out = append(out, fmt.Sprint(l.ID))
					if l.Reason != Crowded {
						t.Errorf("%d left: %v, want %v", l.ID, l.Reason, Crowded)
					}
				}
				if got := strings.Join(out, " "); why != p.want || got != p.out {
					t.Errorf("push %d: %q, and %q left; want %q and %q", i+1, why, got, p.want, p.out)
				}
				if why := q.broken(); why != "" {
					t.Fatal(why)
				}
			}
		})
	}
}

func TestQueue_spare(t *testing.T) {
	q := New(Config{MaxWait: -1})
	spare := map[uint64]bool{}
	ask := func(now time.Duration, blocked string) {
		clear(spare)
		q.Next(at(now), "g", func(turn Turn) Answer {
			spare[turn.ID] = turn.Spare
			if turn.Lane == blocked {
				return Answer{Blocks: OneLane}
			}
			return Answer{}
		})
	}
	q.Push(at(0), Item{ID: 1, Group: "g", Lane: "l", Class: Batch})
	if ask(0, ""); spare[1] {
		t.Error("nothing is kept for interactive calls where there are none")
	}
	q.Push(at(0), Item{ID: 2, Group: "g", Lane: "other", Class: Interactive})
	if ask(0, "other"); spare[2] || !spare[1] {
		t.Errorf("got %v: interactive has none above it; batch uses what is left by one that cannot go", spare)
	}
	q.Correct(Charge{Group: "g", Class: Interactive, Weight: 1}, 8*(credit+1)) // it has used so much that batch is next
	if ask(0, ""); spare[1] {
		t.Error("batch is owed its share while interactive waits, and that is not spare")
	}
	q.Remove(2)
	if ask(time.Minute, ""); !spare[1] {
		t.Error("an interactive call may come again")
	}
	if ask(lately, ""); spare[1] {
		t.Error("interactive calls are no longer expected")
	}
}

func TestQueue_forgets(t *testing.T) {
	q := New(Config{})
	for i := range 20_000 {
		name := fmt.Sprint(i)
		it := Item{ID: uint64(i + 1), Group: name, Lane: name, Flow: name, Cost: 1}
		if i%2 == 0 {
			it.Group = "g"
		}
		if why := q.Push(at(0), it); why != None {
			t.Fatal(why)
		}
		turns(q, at(0), it.Group, 1)
		q.Take(it.ID)
	}
	g := q.groups["g"]
	if n, most := len(q.groups), 2*keep+2; n > most {
		t.Errorf("%d groups are kept, want at most %d", n, most)
	}
	if len(g.lanes) > 2*keep+2 || len(g.flows) > 2*keep+2 {
		t.Errorf("%d lanes and %d flows are kept", len(g.lanes), len(g.flows))
	}
}

func TestDominant(t *testing.T) {
	for _, tt := range []struct {
		why       string
		cost, per []float64
		want      float64
	}{
		{"the scarcest bucket", []float64{1, 2000, 500}, []float64{10, 4000, 250}, 2},
		{"no rate, no limit", []float64{1, 2000}, []float64{10, 0}, 0.1},
		{"nothing limits it", []float64{1, 2000}, nil, 0},
	} {
		if got := Dominant(tt.cost, tt.per); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestQueue_snapshot(t *testing.T) {
	q := New(Config{})
	q.Push(at(0), Item{ID: 1, Group: "g", Class: Batch, Bytes: 10, Cost: 2, Arrived: at(5)})
	q.Push(at(0), Item{ID: 2, Group: "g", Class: Batch, Bytes: 20, Cost: 1, Arrived: at(3)})
	q.Push(at(0), Item{ID: 3, Group: "h", Bytes: 5, Cost: 1})
	if calls, cost := q.Backlog("g"); calls != 2 || cost != 3*time.Second {
		t.Errorf("backlog %d, %v, want 2, 3s", calls, cost)
	}
	if calls, _ := q.Backlog("nobody"); calls != 0 {
		t.Error("a backlog of nobody's")
	}
	turns(q, at(9), "h", 1)
	got := q.Snapshot()
	want := Snapshot{Calls: 3, Bytes: 35, Waiting: [classes]int{Batch: 2}, Oldest: [classes]time.Time{Batch: at(3)}, Groups: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestQueue_expired(t *testing.T) {
	q := New(Config{})
	for i := range 10 {
		q.Push(at(0), Item{ID: uint64(i + 1), Group: fmt.Sprint(i % 3), Deadline: at(time.Duration(i+1) * time.Second)})
	}
	q.Expired(at(4 * time.Second))
	if got := len(q.Left()); got != 4 || q.Len() != 6 {
		t.Errorf("%d left and %d wait, want 4 and 6", got, q.Len())
	}
}
