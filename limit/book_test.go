package limit_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/limit"
)

var begin = time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)

const model = "claude-opus-5-5"

// configured returns a book of our own key that has the given limits.
func configured(r limit.Rates) *limit.Book {
	return limit.NewBook(limit.Config{Models: map[string]limit.Rates{limit.ClassAny: r}})
}

func need(input, output int) limit.Need {
	return limit.Need{Credential: "hash", Own: true, Path: claude.Messages, Model: model, Input: input, Sure: input, Output: output}
}

// bucket finds a bucket in a snapshot; the zero Bucket if it is not limited.
func bucket(b *limit.Book, now time.Time, class string, k limit.Kind) limit.Bucket {
	for _, g := range b.Groups(now) {
		for _, u := range g.Buckets {
			if g.Class == class && u.Kind == k {
				return u
			}
		}
	}
	return limit.Bucket{}
}

// window makes headers of a bucket with a minute's depth.
func window(perMinute, remaining int64, now time.Time) claude.Window {
	full := float64(perMinute-remaining) / float64(perMinute) * 60
	return claude.Window{Limit: perMinute, Remaining: remaining, Reset: now.Add(time.Duration(math.Ceil(full)) * time.Second)}
}

func answered(now time.Time, l claude.RateLimits) limit.Response {
	return limit.Response{Status: http.StatusOK, At: now, Organization: "org", Limits: l}
}

// TestAcquire asks several attempts at once of 60 requests, 6,000 tokens of
// input and 600 of output a minute, of which ten seconds are held.
func TestAcquire(t *testing.T) {
	for _, tt := range []struct {
		why    string
		before []limit.Need
		need   limit.Need
		want   limit.Answer
	}{
		{"all is there", nil, need(1000, 100), limit.Answer{}},
		{"input is short of 500", []limit.Need{need(500, 0)}, need(1000, 0), limit.Answer{Reason: limit.Scarce, Wait: 5 * time.Second, Kind: limit.Input, Limit: 6000}},
		{"the bucket that takes longest names the wait", []limit.Need{need(100, 60)}, need(1000, 90), limit.Answer{Reason: limit.Scarce, Wait: 5 * time.Second, Kind: limit.Output, Limit: 600}},
		{"requests", slicesRepeat(need(0, 0), 10), need(0, 0), limit.Answer{Reason: limit.Scarce, Wait: time.Second, Kind: limit.Requests, Limit: 60}},
		{"larger than the bucket: let in when it is full", nil, need(3000, 0), limit.Answer{}},
		{"and those behind wait its debt out", []limit.Need{need(3000, 0)}, need(100, 0), limit.Answer{Reason: limit.Scarce, Wait: 21 * time.Second, Kind: limit.Input, Limit: 6000}},
		{"larger than a minute of it: can never pass", nil, need(6001, 0), limit.Answer{Reason: limit.TooLarge, Kind: limit.Input, Limit: 6000}},
		{"unless it is not sure", nil, limit.Need{Credential: "hash", Own: true, Path: claude.Messages, Model: model, Input: 6001}, limit.Answer{}},
		{"output may be any length: it counts as it comes", nil, need(0, 60_000), limit.Answer{}},
		{"paths without a limit pass", slicesRepeat(need(0, 0), 10), limit.Need{Credential: "hash", Own: true}, limit.Answer{}},
	} {
		b := configured(limit.Rates{RPM: 60, ITPM: 6000, OTPM: 600})
		for _, n := range tt.before {
			if a := b.Acquire(begin, n); a.ID == 0 {
				t.Fatalf("%s: held before: %+v", tt.why, a)
			}
		}
		look := b.Look(begin, tt.need)
		got := b.Acquire(begin, tt.need)
		if granted := got.ID != 0; granted != (tt.want.Reason == limit.Granted) {
			t.Errorf("%s: granted %v", tt.why, granted)
		}
		if got.ID = 0; got != tt.want || look != tt.want {
			t.Errorf("%s: got %+v, looked at %+v, want %+v", tt.why, got, look, tt.want)
		}
		if tt.want.Wait > 0 {
			if a := b.Acquire(begin.Add(tt.want.Wait-time.Millisecond), tt.need); a.ID != 0 {
				t.Errorf("%s: let in before its time", tt.why)
			}
			if a := b.Acquire(begin.Add(tt.want.Wait), tt.need); a.ID == 0 {
				t.Errorf("%s: held when its time has come: %+v", tt.why, a)
			}
		}
	}
}

func slicesRepeat(n limit.Need, times int) []limit.Need {
	list := make([]limit.Need, times)
	for i := range list {
		list[i] = n
	}
	return list
}

// TestSettle reserves 1,000 tokens of input and 100 of output, and looks at
// what is left of 10,000 and 1,000, and where it went.
func TestSettle(t *testing.T) {
	usage := claude.Usage{Input: 300, CacheWrite: 100, CacheRead: 9000, Output: 40}
	for _, tt := range []struct {
		why           string
		end           limit.End
		model         string
		input, output float64 // left
		settled       float64 // of input
	}{
		{"what it cost; cache reads do not count", limit.End{Outcome: limit.Settled, Usage: usage}, model, 9600, 960, 400},
		{"but of the one model whose cache reads count", limit.End{Outcome: limit.Settled, Usage: usage}, "claude-3-5-haiku-20241022", 600, 960, 9400},
		{"nothing is known: all of it stays", limit.End{Outcome: limit.Kept}, model, 9000, 900, 1000},
		{"it never counted", limit.End{Outcome: limit.Refunded}, model, 10_000, 1000, 0},
		{"a stream that broke off counts what it told", limit.End{Outcome: limit.Broken, Usage: usage}, model, 9600, 960, 400},
		{"more than was reserved", limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 2500, Output: 300}}, model, 7500, 700, 2500},
	} {
		b := configured(limit.Rates{RPM: 60, ITPM: 60_000, OTPM: 6000})
		n := need(1000, 100)
		n.Model = tt.model
		a := b.Acquire(begin, n)
		for range 2 { // twice is once
			b.Settle(begin, a.ID, tt.end)
		}
		class := claude.ModelClass(tt.model)
		in, out := bucket(b, begin, class, limit.Input), bucket(b, begin, class, limit.Output)
		if in.Level != tt.input || out.Level != tt.output {
			t.Errorf("%s: %v input and %v output are left, want %v and %v", tt.why, in.Level, out.Level, tt.input, tt.output)
		}
		if want := (limit.Ledger{Reserved: 1000, Settled: tt.settled, Refunded: 1000 - tt.settled}); in.Ledger != want {
			t.Errorf("%s: got %+v, want %+v", tt.why, in.Ledger, want)
		}
	}
}

func TestCorrect_whenAStreamBegins(t *testing.T) {
	b := configured(limit.Rates{ITPM: 60_000})
	a := b.Acquire(begin, need(1000, 0))
	b.Correct(begin, a.ID, claude.Usage{Input: 100, CacheRead: 900})
	if got, want := bucket(b, begin, "opus-5-5", limit.Input).Level, 9900.0; got != want {
		t.Errorf("%v are left after the first event, want %v", got, want)
	}
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 100, CacheRead: 900, Output: 5}})
	if got, want := bucket(b, begin, "opus-5-5", limit.Input).Level, 9900.0; got != want {
		t.Errorf("%v are left at the end, want %v: given back once", got, want)
	}
}

// TestOutput_countsAsItComes: answers of 600 tokens at 10 a second under a
// limit of 100 a second. Charged when they begin they would never fill it.
func TestOutput_countsAsItComes(t *testing.T) {
	b := configured(limit.Rates{OTPM: 6000})
	n := need(0, 600)
	n.Pace = 10
	type answer struct {
		id   limit.ID
		ends time.Time
	}
	var running []answer
	most := 0
	for at := time.Duration(0); at < 10*time.Minute; at += 100 * time.Millisecond {
		now := begin.Add(at)
		for ; len(running) > 0 && !now.Before(running[0].ends); running = running[1:] {
			b.Settle(now, running[0].id, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Output: 600}})
		}
		if a := b.Acquire(now, n); a.ID != 0 {
			running = append(running, answer{a.ID, now.Add(time.Minute)})
		}
		most = max(most, len(running))
		if level := bucket(b, now, "opus-5-5", limit.Output).Level; level < -16*600/4 { // what is promised at most, a quarter: see flow.go
			t.Fatalf("level %v after %v: more is produced than the limit allows", level, at)
		}
	}
	// Ten at a time use the limit; a bucket of a thousand lets some more in.
	if len(running) < 10 || most > 16 {
		t.Errorf("%d answers run, %d at most, want 10 and few more", len(running), most)
	}
}

// Output that was seen to be used up while others are known is not tried as
// long as what runs takes what they may leave, and then it is.
func TestOutput_whatRefillsUnseenIsNotBelieved(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	send := func(now time.Time) limit.Answer { // each takes 40 a second of 400
		n := need(10, 1200)
		n.Pace = 40
		return b.Acquire(now, n)
	}
	show := func(now time.Time, id limit.ID, left int64) {
		b.Observe(now, id, answered(now, claude.RateLimits{Output: window(24_000, left, now)}))
	}
	var ids []limit.ID
	for range 7 {
		ids = append(ids, send(begin).ID)
	}
	show(begin, ids[0], 24_000)
	now := begin.Add(time.Second)
	show(now, ids[1], 4000) // others have taken the rest
	show(now, ids[2], 0)
	now = now.Add(20 * time.Second) // 2400 would have refilled
	if a := send(now); a.ID != 0 || a.Wait <= 0 {
		t.Errorf("let in %v while seven take 280 of 400 a second and strangers the rest", a)
	}
	for _, id := range ids[:4] {
		b.Settle(now, id, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 10, Output: 600}})
	}
	now = now.Add(5 * time.Second)
	if a := send(now); a.ID == 0 {
		t.Errorf("not let in (%v, %v) though strangers who take 160 of 400 a second would leave something", a.Reason, a.Wait)
	}
}

func TestUnknown_startsSlowly(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	count := func(now time.Time) (n int, last limit.Answer, id limit.ID) {
		for {
			a := b.Acquire(now, need(10, 10))
			if a.ID == 0 {
				return n, a, id
			}
			id, n = a.ID, n+1
		}
	}
	n, held, id := count(begin)
	if n != 8 || held.Reason != limit.Unknown || held.Wait <= 0 {
		t.Fatalf("%d are let in, then %+v; want 8 and a wait", n, held)
	}
	if n, _, _ := count(begin.Add(time.Second)); n != 8 {
		t.Errorf("%d more after a second without a refusal, want 8", n)
	}
	// An answer that shows limits ends it.
	now := begin.Add(time.Second)
	b.Observe(now, id, answered(now, claude.RateLimits{Requests: window(60, 50, now)}))
	if n, held, _ := count(now); n < 35 || n > 50 || held.Reason != limit.Scarce {
		t.Errorf("%d more are let in once 50 of 60 are known to be left, then %+v", n, held)
	}
}

func TestUnknown_anUpstreamThatShowsNothingHasNoLimit(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	a := b.Acquire(begin, need(10, 10))
	b.Observe(begin, a.ID, limit.Response{Status: http.StatusInternalServerError})
	if open := b.Groups(begin)[0].Open; open != 16 {
		t.Errorf("after an error that shows nothing %d may fly, want 16", open)
	}
	b.Observe(begin, a.ID, limit.Response{Status: http.StatusOK})
	for i := range 1000 {
		if a := b.Acquire(begin, need(1e6, 1e6)); a.ID == 0 {
			t.Fatalf("attempt %d is held: %+v", i, a)
		}
	}
}

func TestObserve_levels(t *testing.T) {
	const perMinute = 60_000 // 1,000 a second
	for _, tt := range []struct {
		why       string
		remaining int64 // shown half a second after it was sent
		later     int   // charged by another attempt in the meantime, in transit
		want      float64
	}{
		{"others have used some: cut at once, and what was rounded with it", 30_000, 0, 29_500},
		{"what is on its way has not been seen", 30_000, 4000, 25_500},
		{"within rounding ours is more exact", 59_000, 0, 59_500},
	} {
		b := limit.NewBook(limit.Config{})
		first := b.Acquire(begin, need(0, 0))
		b.Observe(begin, first.ID, answered(begin, claude.RateLimits{Input: window(perMinute, perMinute, begin)}))
		sent := begin.Add(time.Minute)
		a := b.Acquire(sent, need(1000, 0)) // of a full bucket: 58,500 or more
		now := sent.Add(500 * time.Millisecond)
		if tt.later > 0 {
			b.Acquire(now.Add(-50*time.Millisecond), need(tt.later, 0))
		}
		b.Observe(now, a.ID, answered(now, claude.RateLimits{Input: window(perMinute, tt.remaining, now)}))
		if got := bucket(b, now, "opus-5-5", limit.Input).Level; math.Abs(got-tt.want) > 550 {
			t.Errorf("%s: level %v, want about %v", tt.why, got, tt.want)
		}
	}
}

// TestObserve_raises what was estimated too high, for settling it later would
// take until its answer ends; and does not give it back twice.
func TestObserve_raises(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	first := b.Acquire(begin, need(0, 0))
	b.Observe(begin, first.ID, answered(begin, claude.RateLimits{Input: window(60_000, 60_000, begin)}))
	a := b.Acquire(begin.Add(time.Second), need(50_000, 0))
	now := begin.Add(2 * time.Second)
	probe := b.Acquire(now, need(0, 0))
	now = now.Add(500 * time.Millisecond)
	b.Observe(now, probe.ID, answered(now, claude.RateLimits{Input: window(60_000, 55_000, now)}))
	raised := bucket(b, now, "opus-5-5", limit.Input).Level
	if raised < 53_000 || raised > 55_000 {
		t.Errorf("level %v, want about 54,500: the answer has shown 55,000", raised)
	}
	b.Settle(now, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 5000, CacheRead: 45_000}})
	if got := bucket(b, now, "opus-5-5", limit.Input).Level; got != raised {
		t.Errorf("level %v after it was settled, want %v: what was shown had it in already", got, raised)
	}
}

func TestObserve_depth(t *testing.T) {
	for _, tt := range []struct {
		why       string
		remaining int64
		full      time.Duration
		want      float64 // of 60 a minute
		within    float64
	}{
		{"a minute", 40, 20 * time.Second, 60, 2},
		{"ten seconds", 5, 5 * time.Second, 10, 2},
		{"what is left is there", 60, 0, 60, 0},
		{"never more than a minute", 60, 10 * time.Minute, 60, 0},
	} {
		b := limit.NewBook(limit.Config{})
		a := b.Acquire(begin, need(0, 0))
		b.Observe(begin, a.ID, answered(begin, claude.RateLimits{Requests: claude.Window{Limit: 60, Remaining: tt.remaining, Reset: begin.Add(tt.full)}}))
		if got := bucket(b, begin, "opus-5-5", limit.Requests).Burst; math.Abs(got-tt.want) > tt.within {
			t.Errorf("%s: the bucket holds %v, want %v", tt.why, got, tt.want)
		}
	}
}

// TestRefused: a 429 stops its group for as long as it said, empties the
// bucket it named, and leaves some headroom for a minute.
func TestRefused(t *testing.T) {
	b := configured(limit.Rates{RPM: 600, ITPM: 60_000})
	a := b.Acquire(begin, need(100, 0))
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Refused, RetryAfter: 7 * time.Second, Empty: limit.Input, IsEmpty: true})
	got := b.Acquire(begin, need(100, 0))
	if got.ID = 0; got.Reason != limit.Paused || got.Wait != 7*time.Second {
		t.Errorf("got %+v, want a pause of 7s", got)
	}
	u := bucket(b, begin, "opus-5-5", limit.Input)
	if u.Level != 0 || u.Headroom == 0 {
		t.Errorf("level %v, headroom %v, want an empty bucket with headroom", u.Level, u.Headroom)
	}
	if u := bucket(b, begin, "opus-5-5", limit.Requests); u.Level != u.Burst {
		t.Errorf("%v requests of %v are left: a refused one never counted", u.Level, u.Burst)
	}
	other := need(100, 0)
	other.Model = "claude-haiku-4-5"
	if a := b.Acquire(begin, other); a.ID == 0 {
		t.Errorf("another class is held: %+v", a)
	}
	if u := bucket(b, begin.Add(time.Minute), "opus-5-5", limit.Input); u.Headroom != 0 {
		t.Errorf("headroom %v after a minute, want none", u.Headroom)
	}
}

func TestRefused_aPlanStopsItsCredentialOnly(t *testing.T) {
	b := limit.NewBook(limit.Config{})
	a := b.Acquire(begin, need(1, 1))
	b.Settle(begin, a.ID, limit.End{Outcome: limit.Refused, RetryAfter: 5 * time.Hour, Credential: true})
	if got := b.Acquire(begin, need(1, 1)); got.Reason != limit.Paused || got.Wait != time.Hour {
		t.Errorf("got %+v, want a pause of an hour, after which somebody may look", got)
	}
	other := need(1, 1)
	other.Credential = "other"
	if got := b.Acquire(begin, other); got.ID == 0 {
		t.Errorf("another credential is held: %+v", got)
	}
}

// TestRamp: use grew too fast. What passed in the last minute passes again,
// and a little more with each minute.
func TestRamp(t *testing.T) {
	b := configured(limit.Rates{ITPM: 6_000_000})
	now := begin
	for range 60 { // 1,000 tokens a second
		a := b.Acquire(now, need(1000, 0))
		b.Settle(now, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 1000}})
		now = now.Add(time.Second)
	}
	a := b.Acquire(now, need(1000, 0))
	b.Settle(now, a.ID, limit.End{Outcome: limit.Refused, RetryAfter: time.Second, Ramp: true})
	perMinute := func(until time.Time) (n float64) {
		for ; now.Before(until); now = now.Add(100 * time.Millisecond) {
			if a := b.Acquire(now, need(100, 0)); a.ID != 0 {
				n += 100
				b.Settle(now, a.ID, limit.End{Outcome: limit.Settled, Usage: claude.Usage{Input: 100}})
			}
		}
		return n
	}
	first := perMinute(now.Add(time.Minute))
	second := perMinute(now.Add(time.Minute))
	if first < 50_000 || first > 70_000 || second < first || second > 1.3*first {
		t.Errorf("%v, then %v tokens a minute after a ramp limit at 60,000", first, second)
	}
	if u := bucket(b, now, "opus-5-5", limit.Input); !u.Ramp || u.Limit != 6_000_000 {
		t.Errorf("%+v, want the limit with a ramp", u)
	}
	if u := bucket(b, now.Add(30*time.Minute), "opus-5-5", limit.Input); u.Ramp {
		t.Errorf("still on the ramp half an hour later: %+v", u)
	}
}

func TestKinds_nameThemselves(t *testing.T) {
	got := fmt.Sprint(limit.Requests, limit.Input, limit.Output, limit.Tokens, limit.Headers, limit.API, limit.Configured, limit.Scarce, limit.Paused)
	if want := "requests input-tokens output-tokens tokens headers api config limit pause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
