package fleet

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestConformance draws histories and plays each in memory and on a server:
// every reply has to be the same. Memory is the plain reading of the rules;
// the scripts are the fast one.
func TestConformance(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		rapid.Check(t, func(t *rapid.T) {
			policy := drawPolicy(t)
			h := newHistory(t)
			model, server := newMemory(policy), p.engine(policy)
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				play := h.draw()
				h.note(agree(t, h.what, play, model, server))
			}
		})
	})
}

// shape is which groups the requests of a history have. A group always has
// the same kinds.
type shape []Group

func drawShape(t *rapid.T) shape {
	s := shape{{Name: "org/opus", Buckets: []Bucket{{Kind: Requests}, {Kind: Input}, {Kind: Output}}}}
	if rapid.Bool().Draw(t, "workspace") {
		s = append(s, Group{Name: "wrk/opus", Buckets: []Bucket{{Kind: Requests}, {Kind: Tokens}}})
	}
	if rapid.Bool().Draw(t, "client") {
		s = append(s, Group{Name: "client", Buckets: []Bucket{{Kind: Requests}, {Kind: Output}}})
	}
	if rapid.IntRange(0, 3).Draw(t, "no limits") == 0 {
		s[len(s)-1].Buckets = nil
	}
	return s
}

func drawPolicy(t *rapid.T) policy {
	return Policy{
		BreakerOff: rapid.IntRange(0, 9).Draw(t, "off") == 0,
		MinCalls:   rapid.IntRange(1, 5).Draw(t, "min calls"),
		Probes:     rapid.IntRange(1, 3).Draw(t, "probes"),
		Window:     rapid.SampledFrom([]time.Duration{time.Minute, 12 * time.Second}).Draw(t, "window"),
		ProbeEvery: rapid.SampledFrom([]time.Duration{30 * time.Second, 2 * time.Second, -1}).Draw(t, "probe every"),
		Ramp:       rapid.SampledFrom([]time.Duration{30 * time.Second, -1}).Draw(t, "ramp"),
		Budget:     rapid.SampledFrom([]int{500, 12, -1}).Draw(t, "budget"),
		Floor:      rapid.SampledFrom([]time.Duration{10 * time.Second, -1}).Draw(t, "floor"),
	}.filled()
}

// history draws one step after the other. In a calm one little is unusual: limits
// do not change, and hold nobody back for long, so that most attempts go the fast
// way.
type history struct {
	t      *rapid.T
	calm   bool
	owner  string
	now    float64
	shape  shape
	issued []ID
	asked  map[ID]*Request
	last   *acquisition
	what   string

	bills int
}

func newHistory(t *rapid.T) *history {
	h := &history{t: t, owner: newOwner(), now: dawn, calm: rapid.Bool().Draw(t, "calm"), shape: drawShape(t)}
	for _, g := range h.shape {
		for j := range g.Buckets {
			g.Buckets[j].Cap = float64(rapid.SampledFrom([]int{0, 6000, 60_000}).Draw(t, "cap of all"))
		}
	}
	return h
}

// seldom is true in one of n draws, and of far more in a calm history.
func (h *history) seldom(n int, name string) bool {
	if h.calm {
		n *= 10
	}
	return rapid.IntRange(0, n-1).Draw(h.t, name) == n/2
}

func (h *history) pass() float64 {
	t := h.t
	if h.calm && !h.seldom(1, "long") {
		return float64(rapid.Int64Range(0, 1_500_000).Draw(t, "pass"))
	}
	return float64(rapid.OneOf(rapid.Int64Range(0, 3_000_000), rapid.Int64Range(0, 70_000_000), rapid.Just(int64(-500_000)),
		rapid.Just(int64(-90_000_000))).Draw(t, "pass"))
}

func (h *history) draw() func(engine) (Reply, error) {
	t := h.t
	h.now += h.pass()
	now := h.now
	switch rapid.IntRange(0, 9).Draw(t, "op") {
	case 0, 1, 2, 3, 4:
		a := h.acquisition()
		hints := h.hints(a.Request)
		h.what = fmt.Sprintf("acquire %s %+v", a.id, *a.Request)
		h.last = a
		return func(e engine) (Reply, error) {
			r, err := e.acquire(t.Context(), now, a)
			if r.Reason == missing {
				again := *a
				again.hints = hints
				return e.acquire(t.Context(), now, &again)
			}
			return r, err
		}
	case 5, 6, 7:
		s := h.settlement()
		h.what = fmt.Sprintf("%s %s %+v", s.mode, s.id, *s.Outcome)
		return func(e engine) (Reply, error) { return e.settle(t.Context(), now, s) }
	case 8:
		l := h.lesson()
		h.what = fmt.Sprintf("learn %s %+v", l.id, *l.Lesson)
		return func(e engine) (Reply, error) { return e.learn(t.Context(), now, l) }
	default:
		g := &glimpse{Request: h.request(), instance: "b"}
		h.what = "look"
		if rapid.Bool().Draw(t, "charge") {
			g.bill = h.bill(g.Request)
		}
		return func(e engine) (Reply, error) { return e.look(t.Context(), now, g) }
	}
}

// bill draws what a process has used: of a share that began before the group
// was born, or after; now and then one that has been told already.
func (h *history) bill(r *Request) *bill {
	t := h.t
	h.bills += rapid.IntRange(0, 1).Draw(t, "new bill")
	b := &bill{id: ID(fmt.Sprintf("c%s%d", h.owner, h.bills))}
	ran := float64(rapid.SampledFrom([]int{0, 2, 200}).Draw(t, "ran")) * second
	for _, g := range r.Groups {
		var all []entry
		for range g.Buckets {
			all = append(all, entry{
				used: float64(rapid.IntRange(-20, 50).Draw(t, "used")), left: float64(rapid.IntRange(-5, 5).Draw(t, "left")),
				rate: float64(rapid.IntRange(0, 3).Draw(t, "share")), ran: ran,
			})
		}
		b.entries = append(b.entries, all)
	}
	return b
}

func (h *history) note(r Reply) {
	if r.ID != "" && h.last != nil {
		h.asked[r.ID] = h.last.Request
	}
}

func (h *history) request() *Request {
	t := h.t
	r := &Request{Owner: h.owner, Lane: "up/messages/opus", Horizon: rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "horizon")}
	for _, g := range h.shape {
		n := Group{Name: g.Name, Pace: rapid.SampledFrom([]float64{0, 50, 80, 800.0 / 13}).Draw(t, "pace")}
		for _, b := range g.Buckets {
			if !h.calm {
				b.Cap = float64(rapid.SampledFrom([]int{0, 600, 60}).Draw(t, "cap"))
			}
			b.Cost = 1
			if b.Kind != Requests {
				b.Cost = float64(rapid.IntRange(0, 400).Draw(t, "cost")) / rapid.SampledFrom([]float64{1, 1, 7}).Draw(t, "parts")
			}
			b.Keep = float64(rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "keep"))
			n.Buckets = append(n.Buckets, b)
		}
		r.Groups = append(r.Groups, n)
	}
	return r
}

func (h *history) acquisition() *acquisition {
	t := h.t
	if h.asked == nil {
		h.asked = map[ID]*Request{}
	}
	r := h.request()
	r.Class = h.class()
	r.Waited, r.Placed = rapid.Bool().Draw(t, "waited"), rapid.IntRange(0, 3).Draw(t, "placed") == 0
	r.NoProbe = rapid.IntRange(0, 3).Draw(t, "no probe") == 0
	r.Random = rapid.Float64Range(0, 0.999).Draw(t, "random")
	r.Repeat = rapid.IntRange(0, 5).Draw(t, "repeat") == 0
	if h.seldom(3, "retry") {
		r.Price, r.Purse = 5, Purse(rapid.IntRange(0, 1).Draw(t, "purse"))
		r.Paid = rapid.Bool().Draw(t, "paid")
	}
	id := ID(fmt.Sprintf("r%d", len(h.issued)))
	if len(h.issued) > 0 && rapid.IntRange(0, 19).Draw(t, "same") == 0 {
		id = h.issued[len(h.issued)-1] // sent twice
		if h.last != nil {
			return h.last
		}
	}
	h.issued = append(h.issued, id)
	return &acquisition{Request: r, id: id, instance: h.instance(), touch: h.seldom(2, "touch")}
}

func (h *history) class() Class { return Class(rapid.IntRange(0, 2).Draw(h.t, "class")) }

func (h *history) instance() string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(h.t, "instance")
}

// hints remembers nothing, or something.
func (h *history) hints(r *Request) [][]hint {
	t := h.t
	known := rapid.IntRange(0, 2).Draw(t, "hints")
	var all [][]hint
	for _, g := range r.Groups {
		var hs []hint
		for range g.Buckets {
			switch known {
			case 0:
				hs = append(hs, hint{})
			case 1:
				hs = append(hs, hint{limit: 600, depth: 20})
			default:
				hs = append(hs, hint{limit: 600, depth: 60, level: 7, levelled: true})
			}
		}
		all = append(all, hs)
	}
	return all
}

// someone is a reservation: open, settled, refused or never heard of.
func (h *history) someone() (ID, *Request) {
	id := ID("never")
	if len(h.issued) > 0 {
		id = rapid.SampledFrom(h.issued).Draw(h.t, "id")
	}
	if r := h.asked[id]; r != nil {
		return id, r
	}
	return id, h.request()
}

func (h *history) settlement() *settlement {
	t := h.t
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	id, r := h.someone()
	s := &settlement{mode: atEnd, id: id, req: r, Outcome: &Outcome{Charge: Charge(rapid.IntRange(0, 3).Draw(t, "charge"))}}
	switch rapid.IntRange(0, 7).Draw(t, "mode") {
	case 0:
		s.mode = atContent
	case 1:
		s.mode, s.id = atLeave, "-"
	}
	actual := Amounts{Input: float64(rapid.IntRange(-1, 500).Draw(t, "in")), Output: float64(rapid.IntRange(-1, 500).Draw(t, "out")), Tokens: -1}
	s.Actual = []Amounts{actual}
	switch end := rapid.IntRange(0, 2).Draw(t, "end"); {
	case end == 1 && (!h.calm || h.seldom(1, "failure")):
		s.Failure = true
	case end < 2:
		s.Succeeded = true
	}
	if s.mode == atLeave && flag("quit") {
		s.flow = h.class().flow(h.instance())
	}
	s.Continues, s.Counted, s.Lost, s.Retry = flag("continues"), flag("counted"), flag("lost"), flag("retry")
	if s.Retry || s.mode == atLeave {
		s.Price, s.Purse = 5, Purse(rapid.IntRange(0, 1).Draw(t, "next purse"))
	}
	if h.seldom(6, "429") {
		s.Pause = time.Duration(rapid.IntRange(0, 7200).Draw(t, "pause")) * time.Second
		s.Empty = Kind(rapid.IntRange(0, 4).Draw(t, "empty"))
	}
	return s
}

func (h *history) lesson() *lesson {
	t := h.t
	id, r := h.someone()
	l := &Lesson{Refused: rapid.Bool().Draw(t, "refused"), Age: time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * 100 * time.Millisecond}
	for _, g := range r.Groups {
		var vs []View
		for range g.Buckets {
			v := View{}
			if rapid.IntRange(0, 2).Draw(t, "shown") > 0 {
				v.Limit = float64(rapid.SampledFrom([]int{600, 1200, 300, 100_000}).Draw(t, "limit"))
				v.Remaining = float64(rapid.IntRange(0, int(v.Limit)).Draw(t, "remaining"))
				if rapid.Bool().Draw(t, "dated") {
					v.Low = float64(rapid.IntRange(0, 30).Draw(t, "low"))
					v.High = v.Low + float64(rapid.IntRange(1, 40).Draw(t, "wide"))
				}
			}
			v.Early = rapid.IntRange(0, 3).Draw(t, "early") == 0
			v.Late = !v.Early && rapid.Bool().Draw(t, "late")
			if rapid.IntRange(0, 2).Draw(t, "known") == 0 {
				v.Actual, v.Known = float64(rapid.IntRange(0, 500).Draw(t, "actual")), true
			}
			vs = append(vs, v)
		}
		l.Views = append(l.Views, vs)
	}
	if h.seldom(10, "paused") {
		l.Pause = 3 * time.Second
	}
	return &lesson{Request: r, id: id, Lesson: l}
}

// differ says how two replies differ, but for what rounding may do.
func differ(got, want Reply) string {
	var bad []string
	eq := func(name string, g, w any) {
		if g != w {
			bad = append(bad, fmt.Sprintf("%s is %v, want %v", name, g, w))
		}
	}
	near := func(name string, g, w float64) {
		if math.Abs(g-w) > 1e-6*max(1, math.Abs(g), math.Abs(w)) {
			bad = append(bad, fmt.Sprintf("%s is %v, want %v", name, g, w))
		}
	}
	soon := func(name string, g, w time.Duration) {
		if (g - w).Abs() > 2*time.Microsecond {
			bad = append(bad, fmt.Sprintf("%s is %v, want %v", name, g, w))
		}
	}
	eq("ID", got.ID, want.ID)
	eq("Reason", got.Reason, want.Reason)
	soon("Wait", got.Wait, want.Wait)
	eq("Group", got.Group, want.Group)
	eq("Kind", got.Kind, want.Kind)
	eq("Probe", got.Probe, want.Probe)
	eq("Known", got.Known, want.Known)
	eq("Paid", got.Paid, want.Paid)
	eq("Counted", got.Counted, want.Counted)
	eq("Breaker", got.Breaker, want.Breaker)
	eq("Epoch", got.Epoch, want.Epoch)
	eq("Moved", got.Moved, want.Moved)
	soon("NextProbe", got.NextProbe, want.NextProbe)
	soon("Ramp", got.Ramp, want.Ramp)
	near("Budget", got.Budget, want.Budget)
	eq("Live", got.Live, want.Live)
	eq("groups", len(got.Groups), len(want.Groups))
	if len(bad) > 0 {
		return strings.Join(bad, "; ")
	}
	for i, g := range got.Groups {
		w := want.Groups[i]
		near("born", g.born, w.born)
		soon("Paused", g.Paused, w.Paused)
		soon("Wary", g.Wary, w.Wary)
		near("scope budget", g.Budget, w.Budget)
		for j, b := range g.Buckets {
			v := w.Buckets[j]
			eq("kind", b.Kind, v.Kind)
			name := fmt.Sprintf("%d %s", i, b.Kind)
			near(name+" level", b.Level, v.Level)
			near(name+" limit", b.Limit, v.Limit)
			near(name+" cap", b.Cap, v.Cap)
			near(name+" depth", b.Depth, v.Depth)
		}
	}
	return strings.Join(bad, "; ")
}

// agree plays a step on both engines, and wants the same of them.
func agree(t *rapid.T, what string, play func(engine) (Reply, error), model, server engine) Reply {
	t.Helper()
	want, err := play(model)
	if err != nil {
		t.Fatal(err)
	}
	got, err := play(server)
	if err != nil {
		t.Fatal(err)
	}
	if diff := differ(got, want); diff != "" {
		t.Fatalf("%s: %s\ngot  %+v\nwant %+v", what, diff, got, want)
	}
	return want
}
