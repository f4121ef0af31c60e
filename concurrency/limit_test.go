package concurrency

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// fill starts n attempts.
func fill(l *Limit, now time.Time, n int) (slots []Slot) {
	for range n {
		slots = append(slots, l.Start(now))
	}
	return slots
}

// end ends attempts.
func end(l *Limit, now time.Time, slots []Slot, how Outcome) {
	for _, s := range slots {
		l.End(now, s, how)
	}
}

// overload brings a limit into a trial: of 100 attempts at the epoch 20 are
// being served at 100 ms.
func overload(l *Limit) (served []Slot) {
	slots := fill(l, epoch, 100)
	end(l, at(refusal), slots[20:], Overloaded)
	return slots[:20]
}

// tight has nothing go in spite of the limit, which is a question of its own: as
// if that had shown that it is our load.
func tight(l *Limit) { l.leaks.last, l.leaks.ours = at(time.Hour), true }

func TestLimit_noneWhileHealthy(t *testing.T) {
	l := New(Config{})
	for i := range 10_000 {
		now := at(time.Duration(i) * 10 * time.Millisecond)
		if !l.Room(now) {
			t.Fatalf("no room for attempt %d of an API that answers", i)
		}
		how := Served
		if i%12 == 0 {
			how = Overloaded // 8 %
		}
		defer func(s Slot) { l.End(now.Add(time.Second), s, how) }(l.Start(now))
	}
}

func TestLimit_begins(t *testing.T) {
	for _, tt := range []struct {
		why        string
		good, bad  int
		over       time.Duration // in which they come
		wantsTrial bool
	}{
		{"more than a tenth", 70, 30, time.Second, true},
		{"a tenth", 90, 10, time.Second, false},
		{"too few to mean anything", 5, 14, time.Second, false},
		{"too few in ten seconds", 30, 30, time.Minute, false},
	} {
		t.Run(tt.why, func(t *testing.T) {
			l := New(Config{})
			fill(l, epoch, 50)
			l.Room(at(5 * time.Second)) // they are accepted, longer than ten seconds before what follows
			n := tt.good + tt.bad
			for i := range n {
				now := at(20*time.Second + tt.over*time.Duration(i)/time.Duration(n))
				how := Served
				if (i+1)*tt.bad/n > i*tt.bad/n {
					how = Overloaded
				}
				l.End(now, l.Start(now), how)
			}
			if got := !l.began.IsZero(); got != tt.wantsTrial {
				t.Errorf("a trial: %v, want %v", got, tt.wantsTrial)
			}
		})
	}
}

// TestLimit_refusalsComeFirst: a refusal takes a tenth of a second and an answer
// twenty. Of six hundred that start together the first to end are refusals, and
// they say nothing.
func TestLimit_refusalsComeFirst(t *testing.T) {
	l := New(Config{})
	slots := fill(l, epoch, 600)
	end(l, at(refusal), slots[:30], Overloaded)
	if !l.began.IsZero() {
		t.Errorf("a trial, though 570 of 600 attempts have not been refused: %+v", l.State(at(refusal)))
	}
}

func TestLimit_cut(t *testing.T) {
	l := New(Config{})
	served := overload(l)
	tight(l)
	s := l.State(at(refusal))
	if s.InFlight != 20 || s.Limit != 20 || !s.Trial || !s.Since.Equal(at(refusal)) {
		t.Errorf("got %+v, want a trial at the 20 that are being served", s)
	}
	if l.Room(at(refusal)) {
		t.Error("room for more than is being served")
	}
	l.End(at(5*time.Second), served[0], Served)
	if !l.Room(at(5 * time.Second)) {
		t.Error("no room in the place of one that was answered")
	}
	l.End(at(5*time.Second+refusal), l.Start(at(5*time.Second)), Overloaded)
	if l.Room(at(5*time.Second + refusal)) {
		t.Error("the place of one that was refused is given again at once")
	}
}

// TestLimit_search: after a level that was too much, more is tried after
// fifteen acceptances, and then in steps of 1, 3, 9, …
func TestLimit_search(t *testing.T) {
	l := New(Config{})
	served := overload(l)
	tight(l)
	now := at(time.Second)
	var limits []int
	for step := range 25 {
		now = now.Add(500 * time.Millisecond) // longer than acceptance takes
		l.End(now, served[0], Served)
		served = served[1:]
		for l.Room(now) {
			served = append(served, l.Start(now))
		}
		if got := l.State(now).Limit; step < 14 && got != 20 {
			t.Fatalf("after %d acceptances the limit is %d, want 20", step+1, got)
		} else if len(limits) == 0 || got != limits[len(limits)-1] {
			limits = append(limits, got)
		}
	}
	want := []int{20, 21, 24, 33, 60}
	for i := range want {
		if i >= len(limits) || limits[i] != want[i] {
			t.Fatalf("limits %v, want %v …", limits, want)
		}
	}
}

// TestLimit_notOurLoad: when the share of errors stays, the limit goes, and no
// other comes for a minute, unless it gets much worse.
func TestLimit_notOurLoad(t *testing.T) {
	l := New(Config{})
	trials, was := []time.Duration(nil), false
	play := func(from, to time.Duration, every int) {
		for now := from; now < to; now += 100 * time.Millisecond {
			if !l.Room(at(now)) {
				continue
			}
			how := Served
			if int(now/(100*time.Millisecond))%every == 0 {
				how = Overloaded
			}
			l.End(at(now+50*time.Millisecond), l.Start(at(now)), how)
			if is := l.limit > 0; is != was {
				if was = is; is {
					trials = append(trials, now)
				}
			}
		}
	}
	play(10*time.Second, 70*time.Second, 6)
	if len(trials) == 0 || l.limit > 0 {
		t.Fatalf("trials at %v, limit %d; want one that has failed", trials, l.limit)
	}
	if len(trials) > 1 {
		t.Errorf("trials at %v, want a minute between", trials)
	}
	play(70*time.Second, 75*time.Second, 2)
	if len(trials) == 1 {
		t.Error("half of all attempts meet overload, where a sixth did, and there is no trial")
	}
}

func TestLimit_ends(t *testing.T) {
	t.Run("a minute without overload while the limit grew", func(t *testing.T) {
		l := New(Config{})
		out := overload(l)
		tight(l)
		var gone time.Duration
		for now := time.Second; now < 2*time.Minute && gone == 0; now += 500 * time.Millisecond {
			l.End(at(now), out[0], Served)
			out = out[1:]
			for len(out) < 1000 && l.Room(at(now)) { // there is always more to do
				out = append(out, l.Start(at(now)))
			}
			if l.limit == 0 {
				gone = now
			}
		}
		if gone < quiet || gone > quiet+15*time.Second { // once its last growth is accepted
			t.Errorf("gone after %v, want %v and a little", gone, quiet)
		}
	})
	t.Run("a minute in which nobody was held back", func(t *testing.T) {
		l := New(Config{})
		served := overload(l)
		tight(l)
		l.Room(at(10 * time.Second)) // somebody is held back
		end(l, at(11*time.Second), served, Served)
		for _, tt := range []struct {
			at   time.Duration
			want bool
		}{{69 * time.Second, true}, {71 * time.Second, false}} {
			if got := l.State(at(tt.at)).Limit > 0; got != tt.want {
				t.Errorf("at %v there is a limit: %v, want %v", tt.at, got, tt.want)
			}
		}
	})
}

func TestLimit_fixed(t *testing.T) {
	l := New(Config{Max: 3, Fixed: true})
	slots := fill(l, epoch, 3)
	if l.Room(epoch) {
		t.Error("room for a fourth")
	}
	l.End(at(1), slots[0], Other)
	l.End(at(1), Slot{}, Served) // none
	if !l.Room(at(1)) || l.State(at(1)).Limit != 3 {
		t.Error("no room for a third")
	}
	l = New(Config{Fixed: true})
	overload(l)
	if !l.Room(at(time.Second)) || l.State(at(time.Second)).Limit != 0 {
		t.Error("fixed, and something was learned")
	}
	l = New(Config{Max: 10})
	overload(l)
	if got := l.State(at(time.Second)).Limit; got != 10 {
		t.Errorf("limit %d, want the lower one, 10", got)
	}
	l.Configure(Config{Fixed: true})
	if !l.Room(at(time.Second)) {
		t.Error("what was learned is in force after a change to fixed")
	}
}

// TestLimit_randomHistories: whatever comes, the counts are right, the limit is
// never below one while there is one, and once everything is over and quiet
// there is none.
func TestLimit_randomHistories(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		l := New(Config{})
		now := epoch
		var out []Slot
		mood := 0.0
		for range 5000 {
			switch r.IntN(20) {
			case 0:
				mood = r.Float64() * r.Float64()
			case 1:
				now = now.Add(time.Duration(r.ExpFloat64() * float64(10*time.Second)))
			case 2:
				now = now.Add(-time.Millisecond) // clocks do that
			default:
				now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
			}
			if r.IntN(2) == 0 && l.Room(now) {
				out = append(out, l.Start(now))
			} else if len(out) > 0 {
				i := r.IntN(len(out))
				how := Served
				switch x := r.Float64(); {
				case x < mood:
					how = Overloaded
				case x > 0.95:
					how = Other
				}
				l.End(now, out[i], how)
				out[i] = out[len(out)-1]
				out = out[:len(out)-1]
			}
			s := l.State(now)
			sum := 0
			for _, n := range l.young.ring {
				if n < 0 {
					t.Fatalf("seed %d: %d young attempts", seed, n)
				}
				sum += int(n)
			}
			if s.InFlight != len(out) || s.Limit < 0 || sum != l.young.n || sum > len(out) {
				t.Fatalf("seed %d: %+v with %d in flight, %d young, %d counted", seed, s, len(out), sum, l.young.n)
			}
			if len(out) == 0 && !l.Room(now) {
				t.Fatalf("seed %d: nothing in flight, and no room: %+v", seed, s)
			}
		}
		end(l, now, out, Served)
		if s := l.State(now.Add(10 * time.Minute)); s.InFlight != 0 || s.Limit != 0 {
			t.Errorf("seed %d: %+v at the end, want nothing", seed, s)
		}
	}
}

// TestLimit_costs: fixed memory, and no allocation.
func TestLimit_costs(t *testing.T) {
	if size := unsafe.Sizeof(Limit{}); size > 4096 {
		t.Errorf("a Limit takes %d bytes, want at most 4 KB", size)
	}
	l := New(Config{})
	now := epoch
	if got := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		l.Room(now)
		l.End(now, l.Start(now), Overloaded)
	}); got != 0 {
		t.Errorf("an attempt allocates %v times, want 0", got)
	}
}

func BenchmarkLimit(b *testing.B) {
	l := New(Config{})
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		if l.Room(now) {
			l.End(now, l.Start(now), Served)
		}
	}
}

func TestMedian(t *testing.T) {
	var m median
	if m.value() != 0 {
		t.Error("a median of nothing")
	}
	for _, d := range []time.Duration{0, time.Microsecond, time.Millisecond, 90 * time.Millisecond, 20 * time.Second, time.Hour, 1000 * time.Hour} {
		var m median
		for range 300 {
			m.add(d)
		}
		got := m.value()
		if least, most := d, max(d+d/7, 2*time.Millisecond); (got < least || got > most) && d < 10*time.Minute {
			t.Errorf("median of %v is %v", d, got)
		}
	}
	for range 1000 {
		m.add(time.Minute)
	}
	for range 600 {
		m.add(time.Second)
	}
	if got := m.value(); got > 2*time.Second {
		t.Errorf("six hundred answers later the median is still %v, want about a second", got)
	}
}
