package breaker

import (
	"testing"
	"time"
)

func TestBreaker_trips(t *testing.T) {
	for _, c := range []struct {
		why   string
		cfg   Config
		steps []step
	}{
		{"20 of 100 is not more than 20 %; one more is", Config{}, []step{
			{0, "80 good", "", Closed},
			{1, "20 fail", "", Closed},
			{1, "1 fail", "", Open},
		}},
		{"29 of 100 is not more than 29 %, whatever 0.29 is in binary", Config{ErrorRate: 0.29}, []step{
			{0, "71 good", "", Closed},
			{1, "29 fail", "", Closed},
			{1, "1 fail", "", Open},
		}},
		{"nineteen calls prove nothing, however bad", Config{}, []step{
			{0, "19 fail", "", Closed},
			{1, "1 fail", "", Open},
		}},
		{"failures older than the window are forgotten", Config{}, []step{
			{0, "19 fail", "", Closed},
			{61, "19 fail", "", Closed},
			{62, "1 fail", "", Open},
		}},
		{"the window is a minute and not two", Config{}, []step{
			{0, "10 fail", "", Closed},
			{54, "9 fail", "", Closed},
			{54.5, "1 fail", "", Open},
		}},
		{"a call counts when it ends: three minutes after it began", Config{}, []step{
			{0, "ask slow", "pass", Closed},
			{180, "19 fail", "", Closed},
			{181, "fail slow", "", Open},
		}},
		{"a call that goes on after a failed attempt counts as nothing", Config{}, []step{
			{0, "19 fail", "", Closed},
			{0, "ask a", "pass", Closed},
			{1, "retry a", "", Closed},
			{2, "fail a", "", Open}, // no further attempt followed
		}},
		{"a call counts once, however often it is reported", Config{}, []step{
			{0, "18 fail", "", Closed},
			{0, "ask a", "pass", Closed},
			{1, "fail a", "", Closed},
			{1, "fail a", "", Closed},
			{1, "fail a", "", Closed},
		}},
		{"what says nothing is not in the rate", Config{}, []step{
			{0, "19 fail", "", Closed},
			{0, "ask a", "pass", Closed},
			{1, "ignore a", "", Closed},
			{1, "1 fail", "", Open},
		}},
		{"a call that gives up between two attempts is a failure", Config{}, []step{
			{0, "19 fail", "", Closed},
			{0, "count", "", Open},
		}},
		{"the zero ticket is nobody's", Config{}, []step{
			{0, "19 fail", "", Closed},
			{0, "ask a", "pass", Closed},
			{0, "1 fail", "", Open},
			{1, "ask held", "hold 30", Open},
			{1, "good held", "", Open},
			{2, "fail held", "", Open},
		}},
		{"a clock that steps back counts into the newest step", Config{}, []step{
			{90, "19 fail", "", Closed},
			{10, "1 fail", "", Open},
		}},
		{"a clock that steps back behind the beginning does no harm", Config{}, []step{
			{0, "19 fail", "", Closed},
			{-500, "1 fail", "", Open},
		}},
		{"off is off", Config{Off: true}, []step{
			{0, "1000 fail", "", Closed},
			{1, "count", "", Closed},
			{1, "ask a", "pass", Closed},
			{9, "early a", "", Closed},
			{9, "fail a", "", Closed},
		}},
	} {
		t.Run(c.why, func(t *testing.T) { play(t, c.cfg, c.steps) })
	}
}

func TestBreaker_countsEarly(t *testing.T) {
	for _, c := range []struct {
		why   string
		steps []step
	}{
		{"calls in flight for five seconds outweigh quick failures", []step{
			{0, "ask a", "pass", Closed},
			{0, "ask b", "pass", Closed},
			{5, "early a", "", Closed},
			{5, "early b", "", Closed},
			{5, "14 good", "", Closed},
			{6, "4 fail", "", Closed}, // 4 of 20
			{6, "1 fail", "", Open},
		}},
		{"an early good that fails is one failure, not one of each", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{5, "16 good", "", Closed},
			{6, "3 fail", "", Closed}, // 3 of 20
			{7, "fail a", "", Closed}, // 4 of 20
			{7, "1 fail", "", Open},   // 5 of 21
		}},
		{"booked early, it is not booked again at its end", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{6, "early a", "", Closed},
			{7, "good a", "", Closed},
			{8, "good a", "", Closed},
			{8, "14 good", "", Closed},
			{9, "4 fail", "", Closed}, // 4 of 19
			{9, "1 fail", "", Open},   // 5 of 20
		}},
		{"a failure after the early good has left the window still counts", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{180, "19 fail", "", Closed},
			{181, "fail a", "", Open}, // 20 of 20
		}},
		{"a caller who leaves takes the early good along", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{6, "ignore a", "", Closed},
			{6, "15 good", "", Closed},
			{6, "4 fail", "", Closed}, // 4 of 19
			{6, "1 fail", "", Open},
		}},
		{"so does an attempt that fails and is tried again", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{6, "retry a", "", Closed},
			{6, "19 fail", "", Closed},
			{6, "1 fail", "", Open},
		}},
		{"an early good of before the trip is not taken from what follows", []step{
			{0, "ask a", "pass", Closed},
			{5, "early a", "", Closed},
			{5, "19 fail", "", Open}, // of 20
			{35, "ask p", "probe", Open},
			{35, "good p", "", HalfOpen},
			{35, "ask q", "probe", HalfOpen},
			{35, "good q", "", HalfOpen},
			{35, "ask r", "probe", HalfOpen},
			{35, "good r", "", HalfOpen},
			{35, "ask s", "probe", HalfOpen},
			{35, "good s", "", Closed},
			{36, "fail a", "", Closed},
			{36, "16 good", "", Closed},
			{36, "4 fail", "", Closed}, // 4 of 20
			{36, "1 fail", "", Open},
		}},
	} {
		t.Run(c.why, func(t *testing.T) { play(t, Config{}, c.steps) })
	}
}

// tripped is the beginning of most time lines: open from second 0.
func tripped(more ...step) []step {
	return append([]step{{0, "20 fail", "", Open}}, more...)
}

func TestBreaker_whileOpen(t *testing.T) {
	for _, c := range []struct {
		why   string
		cfg   Config
		steps []step
	}{
		{"the first probe comes 30 s after the trip, then one per 30 s", Config{}, tripped(
			step{0, "ask a", "hold 30", Open},
			step{29.9, "ask a", "hold 30", Open},
			step{30, "ask a", "probe", Open},
			step{30, "ask b", "hold 60", Open},
			step{59, "ask b", "hold 60", Open},
			step{60, "ask b", "probe", Open}, // whether or not the first was heard of
			step{61, "ask c", "hold 90", Open},
		)},
		{"only a messages call probes", Config{}, tripped(
			step{30, "other a", "hold 31", Open},
			step{30, "ask b", "probe", Open},
			step{30, "other a", "hold 60", Open},
		)},
		{"a bad probe leaves it open until the next", Config{}, tripped(
			step{31, "ask a", "probe", Open},
			step{32, "retry a", "", Open},
			step{32, "ask b", "hold 61", Open},
			step{61, "ask b", "probe", Open},
			step{62, "fail b", "", Open},
			step{62, "ask c", "hold 91", Open},
		)},
		{"a probe that says nothing passes its turn on at once", Config{}, tripped(
			step{30, "ask a", "probe", Open},
			step{33, "ask b", "hold 60", Open},
			step{34, "ignore a", "", Open},
			step{34, "ask b", "probe", Open},
			step{34, "ask c", "hold 64", Open},
		)},
		{"a lost probe has no turn to pass on", Config{Lease: 10 * time.Second}, tripped(
			step{30, "ask a", "probe", Open},
			step{45, "ignore a", "", Open},
			step{45, "ask b", "hold 60", Open},
		)},
		{"a probe is good at its first content", Config{}, tripped(
			step{30, "ask a", "probe", Open},
			step{34, "content a", "", HalfOpen},
			step{40, "fail a", "", HalfOpen},
		)},
		{"five seconds in flight do not make a probe good", Config{}, tripped(
			step{30, "ask a", "probe", Open},
			step{35, "early a", "", Open},
		)},
		{"half-open after five minutes, probes or not, for anybody", Config{}, tripped(
			step{299.9, "other a", "hold 300", Open},
			step{300, "look", "", HalfOpen},
			step{300, "other a", "probe", HalfOpen},
			step{300, "other b", "probe", HalfOpen},
			step{300, "ask c", "probe", HalfOpen},
			step{300, "ask d", "hold 301", HalfOpen},
		)},
		{"without probes nothing passes for five minutes", Config{ProbeEvery: -1}, tripped(
			step{0, "ask a", "hold 300", Open},
			step{150, "ask a", "hold 300", Open},
			step{300, "ask a", "probe", HalfOpen},
			step{301, "fail a", "", Open},
			step{301, "ask b", "hold 601", Open},
			step{601, "ask b", "probe", HalfOpen},
		)},
		{"results of calls sent before the trip are dropped", Config{}, []step{
			{0, "ask old1", "pass", Closed},
			{0, "ask old2", "pass", Closed},
			{0, "ask old3", "pass", Closed},
			{0, "ask old4", "pass", Closed},
			{0, "20 fail", "", Open},
			{1, "good old1", "", Open},
			{1, "content old1", "", Open},
			{30, "ask p", "probe", Open},
			{31, "good p", "", HalfOpen},
			{32, "fail old2", "", HalfOpen},
			{33, "good old3", "", HalfOpen},
			{34, "good old4", "", HalfOpen},
		}},
		{"who gives up while it is open is not counted", Config{}, tripped(
			step{1, "count", "", Open},
			step{300, "count", "", HalfOpen},
		)},
		{"never more probes out than Probes, however long they take", Config{Probes: 2, Lease: 10 * time.Minute}, tripped(
			step{30, "ask a", "probe", Open},
			step{60, "ask b", "probe", Open},
			step{90, "ask c", "hold 300", Open},
			step{100, "fail a", "", Open},
			step{100, "ask c", "probe", Open},
		)},
	} {
		t.Run(c.why, func(t *testing.T) { play(t, c.cfg, c.steps) })
	}
}

// recovering is half-open from second 30, by a good probe.
func recovering(more ...step) []step {
	return append(tripped(
		step{30, "ask first", "probe", Open},
		step{30, "good first", "", HalfOpen},
	), more...)
}

func TestBreaker_whileHalfOpen(t *testing.T) {
	for _, c := range []struct {
		why   string
		cfg   Config
		steps []step
	}{
		{"three at once, and three good close it; the first does not count", Config{}, recovering(
			step{30, "ask a", "probe", HalfOpen},
			step{30, "ask b", "probe", HalfOpen},
			step{30, "ask c", "probe", HalfOpen},
			step{30, "ask d", "hold 31", HalfOpen},
			step{30, "other e", "hold 31", HalfOpen},
			step{33, "content a", "", HalfOpen},
			step{33, "ask d", "probe", HalfOpen},
			step{34, "content b", "", HalfOpen},
			step{34, "good a", "", HalfOpen}, // counted at its content
			step{35, "good c", "", Closed},
			step{36, "fail d", "", Closed}, // of an earlier epoch
		)},
		{"one bad probe opens it; the five minutes go on", Config{}, recovering(
			step{30, "ask a", "probe", HalfOpen},
			step{30, "ask b", "probe", HalfOpen},
			step{31, "good a", "", HalfOpen},
			step{32, "retry b", "", Open},
			step{32, "ask c", "hold 62", Open},
			step{62, "ask c", "probe", Open},
			step{300, "look", "", HalfOpen},
		)},
		{"good ones before a bad one do not add up", Config{}, recovering(
			step{31, "ask a", "probe", HalfOpen}, step{31, "good a", "", HalfOpen},
			step{31, "ask b", "probe", HalfOpen}, step{31, "good b", "", HalfOpen},
			step{31, "ask c", "probe", HalfOpen}, step{31, "fail c", "", Open},
			step{61, "ask d", "probe", Open}, step{61, "good d", "", HalfOpen},
			step{61, "ask e", "probe", HalfOpen}, step{61, "good e", "", HalfOpen},
		)},
		{"a bad probe after five minutes begins the next five", Config{}, tripped(
			step{300, "ask a", "probe", HalfOpen},
			step{310, "fail a", "", Open},
			step{310, "ask b", "hold 340", Open},
			step{609, "look", "", Open},
			step{610, "look", "", HalfOpen},
		)},
		{"a probe that says nothing gives its place back", Config{Probes: 1}, recovering(
			step{31, "ask a", "probe", HalfOpen},
			step{31, "ask b", "hold 32", HalfOpen},
			step{31.5, "ignore a", "", HalfOpen},
			step{31.5, "ask b", "probe", HalfOpen},
		)},
		{"lost probes never wedge it", Config{}, recovering(
			step{31, "ask a", "probe", HalfOpen},
			step{31, "ask b", "probe", HalfOpen},
			step{31, "ask c", "probe", HalfOpen},
			step{90.5, "ask d", "hold 91", HalfOpen},
			step{91, "ask d", "probe", HalfOpen},
			step{91, "ask e", "probe", HalfOpen},
			step{91, "ask f", "probe", HalfOpen},
			step{91, "ask g", "hold 92", HalfOpen},
			step{92, "good d", "", HalfOpen},
			step{92, "good e", "", HalfOpen},
			step{92, "good f", "", Closed},
		)},
		{"an answer slower than the lease is an answer", Config{Probes: 1}, recovering(
			step{31, "ask a", "probe", HalfOpen},
			step{95, "ask b", "probe", HalfOpen},
			step{100, "good a", "", Closed},
			step{101, "fail b", "", Closed},
		)},
		{"and so is a failure", Config{Probes: 1}, recovering(
			step{31, "ask a", "probe", HalfOpen},
			step{160, "fail a", "", Open},
		)},
		{"other calls wait for the probes until the five minutes are over", Config{}, recovering(
			step{31, "other a", "hold 32", HalfOpen},
			step{299, "other a", "hold 300", HalfOpen},
			step{300, "other a", "probe", HalfOpen},
		)},
		{"a probe of the open time does not count among the three", Config{}, tripped(
			step{30, "ask a", "probe", Open},
			step{60, "ask b", "probe", Open},
			step{61, "good b", "", HalfOpen},
			step{62, "ask c", "probe", HalfOpen},
			step{62, "ask d", "probe", HalfOpen},
			step{62, "ask e", "probe", HalfOpen}, // nor does it hold a place
			step{63, "good a", "", HalfOpen},
			step{63, "good c", "", HalfOpen},
			step{63, "good d", "", HalfOpen},
			step{63, "good e", "", Closed},
		)},
	} {
		t.Run(c.why, func(t *testing.T) { play(t, c.cfg, c.steps) })
	}
}

func TestBreaker_closesWithAnEmptyWindow(t *testing.T) {
	b := closedAgain(Config{Ramp: -1})
	if errors, calls := b.Rate(at(30)); errors != 0 || calls != 0 {
		t.Errorf("after closing %d of %d calls have failed, want 0 of 0", errors, calls)
	}
	p := player{b, map[string]*Ticket{}, 0.5}
	p.do(at(31), "19 fail")
	if got := b.State(at(31)); got != Closed {
		t.Errorf("19 failures after closing: %v, want closed", got)
	}
}

func TestBreaker_nextProbe(t *testing.T) {
	b := New(Config{})
	if got := b.NextProbe(at(7)); !got.Equal(at(7)) {
		t.Errorf("closed: next probe at %v, want now", got)
	}
	trip(b, start)
	for _, c := range []struct{ now, want float64 }{{0, 30}, {29, 30}, {45, 45}, {299, 299}, {300, 300}, {400, 400}} {
		if got := b.NextProbe(at(c.now)); !got.Equal(at(c.want)) {
			t.Errorf("next probe at %vs = %vs, want %vs", c.now, got.Sub(start).Seconds(), c.want)
		}
	}
	b.Admit(at(400), true, false, 0)
	if got := b.NextProbe(at(400)); !got.Equal(at(400)) {
		t.Errorf("half-open with places left: next probe in %v, want now", got.Sub(at(400)))
	}
}

func TestBreaker_changedAndWakes(t *testing.T) {
	b := New(Config{})
	trip(b, start)
	changed, wakes := b.Changed(), b.Wakes()
	expect := func(what string, transitions, wake uint64) {
		t.Helper()
		if got := b.Changed() - changed; got != transitions {
			t.Errorf("%s: Changed grew by %d, want %d", what, got, transitions)
		}
		if got := b.Wakes() - wakes; (got > 0) != (wake > 0) {
			t.Errorf("%s: Wakes grew by %d, want %d", what, got, wake)
		}
		changed, wakes = b.Changed(), b.Wakes()
	}
	if changed != 1 {
		t.Errorf("Changed after the trip = %d, want 1", changed)
	}
	probe := b.Admit(at(30), true, false, 0).Ticket
	expect("a probe is sent", 0, 0)
	b.Report(at(31), &probe, Ignored)
	expect("its place is free again", 0, 1)
	probe = b.Admit(at(31), true, false, 0).Ticket
	b.Content(at(32), &probe)
	expect("it was good", 1, 1)
	probe = b.Admit(at(33), true, false, 0).Ticket
	b.Report(at(34), &probe, Good)
	expect("the first of three", 0, 1)
	b.State(at(35))
	expect("time passes", 0, 0)
}

func TestBreaker_zeroValueIsReady(t *testing.T) {
	var b Breaker
	d := b.Admit(start, true, false, 0.99)
	if !d.OK || d.Ticket.Probe {
		t.Errorf("first call on the zero value: %+v, want it to pass", d)
	}
	var none Ticket
	var fresh Breaker
	for range 100 {
		fresh.Report(start, &none, Failure)
		none = Ticket{}
	}
	if errors, calls := fresh.Rate(start); errors != 0 || calls != 0 {
		t.Errorf("reports on zero tickets: %d of %d, want none booked", errors, calls)
	}
}

func TestState_String(t *testing.T) {
	for s, want := range map[State]string{Closed: "closed", Open: "open", HalfOpen: "half-open"} {
		if got := s.String(); got != want {
			t.Errorf("State(%d) = %q, want %q", s, got, want)
		}
	}
}

func trip(b *Breaker, now time.Time) {
	for b.State(now) == Closed {
		t := b.AdmitSlot(now, true).Ticket
		b.Report(now, &t, Failure)
	}
}

// closedAgain has tripped at second 0 and closed at second 30.
func closedAgain(cfg Config) *Breaker {
	b := New(cfg)
	trip(b, start)
	for b.State(at(30)) != Closed {
		t := b.Admit(at(30), true, false, 0).Ticket
		b.Report(at(30), &t, Good)
	}
	return b
}

func BenchmarkAdmitReport(b *testing.B) {
	for _, c := range []struct {
		name string
		r    Result
	}{{"result=good", Good}, {"result=ignored", Ignored}} {
		b.Run(c.name, func(b *testing.B) {
			br, now := New(Config{}), start
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Millisecond)
				d := br.Admit(now, true, false, 0.5)
				br.Report(now, &d.Ticket, c.r)
			}
		})
	}
}

func TestAdmitReportDoesNotAllocate(t *testing.T) {
	b, now := New(Config{}), start
	got := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		d := b.Admit(now, true, false, 0.5)
		b.Early(now, &d.Ticket)
		b.Report(now, &d.Ticket, Good)
	})
	if got != 0 {
		t.Errorf("a call on a closed breaker allocates %v times, want 0", got)
	}
}
