package sim_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// statuses returns the statuses of n calls, one a second.
func statuses(t *testing.T, api *sim.API, n int, c call) []int {
	t.Helper()
	var got []int
	for range n {
		got = append(got, do(t, api, "https://api.test", c).status)
		time.Sleep(time.Second)
	}
	return got
}

func TestRate_isDrawnFromTheSeed(t *testing.T) {
	const calls = 800
	run := func(seed uint64, rate float64) (failed int, which string) {
		api := sim.New(sim.Config{Seed: seed, Faults: []sim.Rule{{Fault: sim.Fault{Status: 529}, Rate: rate}}})
		for range calls {
			if do(t, api, "https://api.test", call{}).status == 529 {
				failed++
				which += "x"
			} else {
				which += "."
			}
		}
		return failed, which
	}
	for _, rate := range []float64{0, 0.01, 0.3, 1} {
		failed, which := run(7, rate)
		if got := float64(failed) / calls; got < rate-0.05 || got > rate+0.05 || rate == 0 && got > 0 || rate == 1 && got < 1 {
			t.Errorf("rate %v: %v failed", rate, got)
		}
		if _, again := run(7, rate); again != which {
			t.Errorf("rate %v: the same seed strikes other attempts", rate)
		}
		if _, other := run(8, rate); rate == 0.3 && other == which {
			t.Error("another seed strikes the same attempts")
		}
	}
}

func TestRule_scope(t *testing.T) {
	count := call{path: "/v1/messages/count_tokens"}
	haiku := call{body: strings.Replace(plainCall, "opus", "haiku", 1)}
	for _, c := range []struct {
		name string
		rule sim.Rule
		call call
		want int
	}{
		{"its model", sim.Rule{Models: "claude-opus-*"}, call{}, 529},
		{"another model", sim.Rule{Models: "claude-opus-*"}, haiku, 200},
		{"no model named", sim.Rule{Models: "claude-*"}, call{method: "GET", path: "/v1/models"}, 200},
		{"a glob that is none", sim.Rule{Models: "["}, call{}, 200},
		{"its path", sim.Rule{Path: "count_tokens"}, count, 529},
		{"another path", sim.Rule{Path: "count_tokens"}, call{}, 200},
	} {
		c.rule.Fault, c.rule.Rate = sim.Fault{Status: 529}, 1
		if got := do(t, sim.New(sim.Config{Faults: []sim.Rule{c.rule}}), "https://api.test", c.call).status; got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRule_time(t *testing.T) {
	for _, c := range []struct {
		name string
		rule sim.Rule
		want []int
	}{
		{"from the start for ever", sim.Rule{}, []int{529, 529, 529, 529, 529, 529}},
		{"for a time", sim.Rule{From: time.Second, Until: 3 * time.Second}, []int{200, 529, 529, 200, 200, 200}},
		{"again and again", sim.Rule{From: time.Second, Until: 2 * time.Second, Every: 3 * time.Second}, []int{200, 529, 200, 200, 529, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.rule.Fault, c.rule.Rate = sim.Fault{Status: 529}, 1
				api := sim.New(sim.Config{})
				time.Sleep(time.Hour) // times count from SetFaults
				api.SetFaults(c.rule)
				if got := statuses(t, api, 6, call{}); !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
				api.ClearFaults()
				if got := statuses(t, api, 1, call{}); got[0] != 200 {
					t.Errorf("cleared, got %v", got)
				}
			})
		})
	}
}

func TestRules_firstThatStrikesWins(t *testing.T) {
	api := sim.New(sim.Config{Faults: []sim.Rule{
		{Fault: sim.Fault{Status: 500}, Rate: 0},
		{Fault: sim.Fault{Status: 503, Header: map[string]string{"retry-after": "7"}}, Rate: 1},
		{Fault: sim.Fault{Status: 529}, Rate: 1},
	}})
	r := do(t, api, "https://api.test", call{})
	if r.status != 503 || r.header.Get("Retry-After") != "7" {
		t.Errorf("got %d %v, want 503 with its header", r.status, r.header)
	}
}

func TestRule_JSON(t *testing.T) {
	text := `{"kind":"reset_after","events":3,"rate":0.5,"models":"claude-*","path":"messages","after":"1s","pace":"5ms","from":"2s","until":"1m0s","every":"2m0s"}`
	var r sim.Rule
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	want := sim.Rule{
		Fault: sim.Fault{Kind: sim.ResetAfter, Events: 3, After: time.Second, Pace: 5 * time.Millisecond}, Rate: 0.5, Models: "claude-*", Path: "messages",
		From: 2 * time.Second, Until: time.Minute, Every: 2 * time.Minute,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back sim.Rule
	if err := json.Unmarshal(out, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%s reads back as %+v (%v)", out, back, err)
	}
	if err := json.Unmarshal([]byte(`{"status":529}`), &back); err != nil || back.Rate != 1 {
		t.Errorf("without a rate got %v (%v), want 1", back.Rate, err)
	}
	for _, bad := range []string{`{"statos":529}`, `{"status":529,"until":"soon"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestRule_Validate(t *testing.T) {
	ok := sim.Fault{Status: 529}
	for _, c := range []struct {
		rule sim.Rule
		want string // in the error; empty for none
	}{
		{sim.Rule{Fault: ok, Rate: 1}, ""},
		{sim.Rule{Fault: sim.Fault{Kind: "explode"}}, "explode"},
		{sim.Rule{}, "kind"},
		{sim.Rule{Fault: sim.Fault{Status: 42}}, "42"},
		{sim.Rule{Fault: ok, Rate: 1.5}, "rate"},
		{sim.Rule{Fault: ok, Models: "["}, "models"},
		{sim.Rule{Fault: ok, Path: "/v1/messages"}, "path"},
		{sim.Rule{Fault: ok, From: 2, Until: 1}, "until"},
		{sim.Rule{Fault: sim.Fault{Kind: "rest_after"}}, `did you mean "reset_after"?`},
		{sim.Rule{Fault: ok, Path: "batch"}, `did you mean "batches"?`},
		{sim.Rule{Fault: ok, Rate: math.NaN()}, "rate"},
		{sim.Rule{Fault: ok, Rate: -0.1}, "rate"},
		{sim.Rule{Fault: ok, Times: -1}, "times"},
		{sim.Rule{Fault: ok, Name: "a/b"}, "name"},
		{sim.Rule{Fault: ok, Organization: "["}, "organization"},
		{sim.Rule{Fault: ok, Until: 9000 * time.Hour}, "until"},
		{sim.Rule{Fault: ok, From: 3, Every: 2}, "every"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Hang, Events: 3}}, "hang has no events"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.HalfEvent, Bytes: 3}}, "half_event has no bytes"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.ResetAfter, Bytes: 3, Events: 1}}, "one of them"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.ResetAfter, Bytes: -3}}, "bytes"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.HugeEvent, Size: 1 << 30}}, "size"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.SlowBytes, Pace: -1}}, "pace"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Gzip, Status: 42}}, "42"},
		{sim.Rule{Fault: sim.Fault{Status: 429, Header: map[string]string{"a b": "c"}}}, "header"},
		{sim.Rule{Fault: sim.Fault{Status: 429, Header: map[string]string{"a": "b\r\nc: d"}}}, "header"},
		{sim.Rule{Fault: sim.Fault{Status: 429, Header: map[string]string{"a": "b", "A": "c"}}}, "twice"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Slots, Factor: 0}}, ""},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Slots, Factor: 1.1}}, "factor"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Others, Factor: -0.1}}, "factor"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Slowdown, Factor: 10}}, ""},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Slowdown}}, "factor"},
		{sim.Rule{Fault: sim.Fault{Kind: sim.Hang, Factor: 0.5}}, "hang has no factor"},
	} {
		err := c.rule.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want something about %q", c.rule, err, c.want)
		}
	}
}

func TestRule_Validate_tellsAllAtOnce(t *testing.T) {
	err := sim.Rule{Fault: sim.Fault{Kind: sim.Hang, Events: 1, Size: 1}, Rate: 2, Times: -1, Path: "x"}.Validate()
	for _, want := range []string{"events", "size", "rate", "times", "path"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %s too", err, want)
		}
	}
}

func TestProfiles(t *testing.T) {
	for _, name := range sim.Profiles() {
		rules, err := sim.Profile(name)
		if err != nil {
			t.Error(err)
		}
		for i, r := range rules {
			if err := r.Validate(); err != nil || r.Rate == 0 {
				t.Errorf("%s[%d]: rate %v, %v", name, i, r.Rate, err)
			}
		}
	}
	if _, err := sim.Profile("sunny"); err == nil || !strings.Contains(err.Error(), "flaky-streams") {
		t.Errorf("got %v, want the names there are", err)
	}
}
