package scenario

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func read(t *testing.T, file string, flags ...Flag) *Scenario {
	t.Helper()
	s, err := parse("s.yaml", []byte(file), flags)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return s
}

func TestParse_everyKey(t *testing.T) {
	s := read(t, `version: 1
seed: 18446744073709551615
profile: flaky-streams
answers: {first_token: 600ms, token_time: 20ms, tokens: 2k, spread: 0.7, ping_every: 1s}
limits:
  - {models: opus-4, organization: acme, workspace: prod-*, fast: true, rpm: 60, itpm: 30k, otpm: 8k, cache_reads: true, burst: 10s}
  - {models: claude-haiku-*, otpm: 2M}
ramp: {start: 10k, step: 20k}
spend_cap: 0.50
capacity:
  - {models: claude-opus-*, slots: 8, queue: 16, queue_time: 5s, refusal: 100ms, first_token: 2s, token_time: 30ms}
batches: {time: 1m}
`)
	want := sim.Config{
		Seed: 18446744073709551615, FirstToken: 600 * time.Millisecond, TokenTime: 20 * time.Millisecond, PingEvery: time.Second,
		OutputTokens: 2000, OutputSpread: 0.7,
		Limits: []sim.Limit{
			{
				Models: "opus-4", Organization: "acme", Workspace: "prod-*", Fast: true,
				RPM: 60, ITPM: 30_000, OTPM: 8_000, CacheReads: true, Burst: 10 * time.Second,
			},
			{Models: "claude-haiku-*", OTPM: 2_000_000},
		},
		Ramp: sim.Ramp{Start: 10_000, Step: 20_000}, SpendCap: 0.5,
		Capacity: []sim.Capacity{{
			Models: "claude-opus-*", Slots: 8, Queue: 16, QueueTime: 5 * time.Second, Refusal: 100 * time.Millisecond,
			FirstToken: 2 * time.Second, TokenTime: 30 * time.Millisecond,
		}},
		BatchTime: time.Minute,
	}
	if !reflect.DeepEqual(s.Config, want) {
		t.Errorf("got  %+v\nwant %+v", s.Config, want)
	}
	if s.Profile != "flaky-streams" || s.File != "s.yaml" {
		t.Errorf("profile %q of file %q, want flaky-streams of s.yaml", s.Profile, s.File)
	}
}

func TestParse_nothingIsTheDefaults(t *testing.T) {
	for name, file := range map[string]string{
		"an empty file":                  "",
		"comments only":                  "# nothing here\n",
		"a version and nothing else":     "version: 1\n",
		"sections with every line out":   "answers:\nlimits:\ntimeline:\nkeys:\n",
		"empty flow mappings and a list": "answers: {}\nlimits: []\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := read(t, file).Config, (sim.Config{Seed: 1}); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// A file has as many mistakes as it has, and each names its place.
func TestParse_mistakes(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		want       []string // place, code and text; then, after a bar, what to do
	}{
		{
			"all at once, in the order of the file",
			"version: 2\nsede: 7\nanswers:\n  tokens: many\n  spread: 9\nlimits:\n  - {rpm: 0, itmp: 5k}\n",
			[]string{
				`s.yaml:1:10 EK-SCENARIO-VALUE version is "2", want 1`,
				`s.yaml:2:1 EK-SCENARIO-KEY unknown key "sede"|did you mean "seed"?`,
				`s.yaml:4:11 EK-SCENARIO-VALUE answers.tokens is "many", want a count such as 60, 400k or 2M`,
				`s.yaml:5:11 EK-SCENARIO-VALUE answers.spread is "9", want 0 to 3`,
				`s.yaml:7:11 EK-SCENARIO-VALUE limits[0].rpm is "0", want 1 to 1000M|leave the key out for no bound`,
				`s.yaml:7:14 EK-SCENARIO-KEY unknown key "itmp" under limits[0]|did you mean "itpm"?`,
			},
		},
		{
			"names that are nearly right",
			"profile: strom\nlimits:\n  - {models: claude-opsu-4-8, rpm: 1}\n  - {models: opus4, rpm: 1}\n",
			[]string{
				`s.yaml:1:10 EK-SCENARIO-VALUE profile is "strom", want one of calm, storm, brownout, outage, limits, flaky-streams|did you mean "storm"?`,
				`s.yaml:3:14 EK-SCENARIO-VALUE limits[0].models is "claude-opsu-4-8", want a model, a class of models such as opus-4, or a pattern that matches one|did you mean "claude-opus-4-8"?`,
				`s.yaml:4:14 EK-SCENARIO-VALUE limits[1].models is "opus4", want a model, a class of models such as opus-4, or a pattern that matches one|did you mean "opus-4"?`,
			},
		},
		{
			"times and shares that cannot be",
			"answers: {first_token: -1s, token_time: 20, ping_every: 0s}\nspend_cap: -1\nbatches: {time: soon}\nlimits: [{rpm: 1, burst: 0s, fast: yes}]\n",
			[]string{
				`s.yaml:1:24 EK-SCENARIO-VALUE answers.first_token is "-1s", want 0s or more`,
				`s.yaml:1:41 EK-SCENARIO-VALUE answers.token_time is "20", want a duration such as 30s, 5m or 250ms`,
				`s.yaml:1:57 EK-SCENARIO-VALUE answers.ping_every is "0s", want more than 0s|leave the key out for the default`,
				`s.yaml:2:12 EK-SCENARIO-VALUE spend_cap is "-1", want US dollars such as 25 or 0.50`,
				`s.yaml:3:17 EK-SCENARIO-VALUE batches.time is "soon", want a duration such as 30s, 5m or 250ms`,
				`s.yaml:4:26 EK-SCENARIO-VALUE limits[0].burst is "0s", want more than 0s|leave the key out for the default`,
				`s.yaml:4:36 EK-SCENARIO-VALUE limits[0].fast is "yes", want true or false`,
			},
		},
		{
			"entries that do nothing",
			"limits: [{models: opus-4}]\ncapacity:\n  - models: opus-4\n  - {queue: 3}\nkeys: [{workspace: w}, {key: a}, {key: a}]\n",
			[]string{
				`s.yaml:1:10 EK-SCENARIO-VALUE limits[0] limits nothing|set rpm, itpm or otpm`,
				`s.yaml:3:5 EK-SCENARIO-VALUE capacity[0] sets nothing|set slots, first_token or token_time`,
				`s.yaml:4:5 EK-SCENARIO-VALUE capacity[1] has a queue or a refusal and no slots: nobody will ever wait|set slots`,
				`s.yaml:5:8 EK-SCENARIO-VALUE keys[0] has no key|key: sk-test-1`,
				`s.yaml:5:34 EK-SCENARIO-VALUE keys[2] has a key that is in the list already|a key belongs to one workspace`,
			},
		},
		{
			"a timeline of other shapes",
			"timeline: [hang, {}, ~, {on: x, at: hang}]\n",
			[]string{
				`s.yaml:1:12 EK-SCENARIO-VALUE timeline[0] is a single value, want at: and a line of the story|- at: hang`,
				`s.yaml:1:18 EK-SCENARIO-VALUE timeline[1] does not say what happens|at: 10s overload 60% for 20s`,
				`s.yaml:1:22 EK-SCENARIO-VALUE timeline[2] does not say what happens|at: 10s overload 60% for 20s`,
				`s.yaml:1:26 EK-SCENARIO-KEY unknown key "on" under timeline[3]|known here: at`,
			},
		},
		{
			"another shape than is wanted",
			"answers: fast\nlimits: {rpm: 1}\nseed: [1]\nspend_cap:\nramp: {start: 1, start: 2}\n",
			[]string{
				`s.yaml:1:10 EK-SCENARIO-VALUE answers has a single value, want keys below it`,
				`s.yaml:2:9 EK-SCENARIO-VALUE limits has keys below it, want a list`,
				`s.yaml:3:7 EK-SCENARIO-VALUE seed has a list, want a single value`,
				`s.yaml:4:11 EK-SCENARIO-VALUE spend_cap has no value|give it one, or take the line out`,
				`s.yaml:5:18 EK-SCENARIO-KEY key "start" appears twice under ramp|keep one of them`,
			},
		},
		{
			"a word where the file should be",
			"overload\n",
			[]string{`s.yaml:1:1 EK-SCENARIO-VALUE the file has a single value, want keys below it`},
		},
		{
			"anchors make one place mean two",
			"limits: [&a {rpm: 1}, *a]\n",
			[]string{
				`s.yaml:1:10 EK-SCENARIO-SYNTAX anchors and aliases are not read here|write the value out`,
				`s.yaml:1:23 EK-SCENARIO-SYNTAX anchors and aliases are not read here|write the value out`,
			},
		},
		{
			"a pattern that is none",
			"limits: [{organization: 'a[', rpm: 1}]\n",
			[]string{`s.yaml:1:25 EK-SCENARIO-VALUE limits[0].organization is "a[", want a pattern such as claude-opus-*|a [ begins a set of characters and needs its ]`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse("s.yaml", []byte(tc.file), nil)
			if got := told(err); !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			if got := ekerr.Exit(err); got != 10 {
				t.Errorf("exit code %d, want 10", got)
			}
		})
	}
}

// A mistake in a line of the story is told at its word, wherever YAML lets the
// line stand.
func TestParse_storyMistakes(t *testing.T) {
	for _, tc := range []struct {
		name, line string // the value of at
		want       string // place
	}{
		{"a plain value", "10s overlaod 60%", "s.yaml:2:13"},
		{"single quotes", "'10s overlaod 60%'", "s.yaml:2:14"},
		{"double quotes", `"10s overlaod 60%"`, "s.yaml:2:14"},
		{"characters, not bytes", "hang on é overlaod", "s.yaml:2:19"},
		{"after an escape the value is the place", `"10\x73 overlaod 60%"`, "s.yaml:2:9"},
		{"after a doubled quote too", `'hang on it''s overlaod'`, "s.yaml:2:9"},
		{"folded", ">-\n     10s overlaod", "s.yaml:2:9"},
		{"a word too many at the end", "hang overload", "s.yaml:2:14"},
		{"a word that is missing at the end", "10s", "s.yaml:2:12"},
		{"nothing but a comment", "'# later'", "s.yaml:2:10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse("s.yaml", []byte("timeline:\n  - at: "+tc.line+"\n"), nil)
			list := ekerr.All(err)
			if len(list) != 1 || list[0].Code != ekerr.Story || list[0].At != tc.want {
				t.Errorf("got %v, want EK-STORY at %s", told(err), tc.want)
			}
			if got := ekerr.Exit(err); got != 10 {
				t.Errorf("exit code %d, want 10", got)
			}
		})
	}
}

func TestParse_timeline(t *testing.T) {
	s := read(t, "capacity: [{slots: 8}]\ntimeline:\n  - at: 10s overload 60% for 20s on claude-opus-*\n  - {at: slots 50% for 1m named brownout}\n",
		Flag{"story", "timeline", "hang once"}, Flag{"story", "timeline", "504 1%"})
	var got []string
	for _, rule := range s.Faults {
		got = append(got, rule.Story())
	}
	want := []string{"hang once", "timeout 1%", "10s overload 60% for 20s on claude-opus-*", "slots 50% for 1m named brownout"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A condition is a share of something. Where there is nothing it would have no
// effect, which nobody would notice.
func TestParse_conditionsOfNothing(t *testing.T) {
	const file = "timeline:\n  - at: slots 50%\n  - at: others 90%\n"
	_, err := parse("s.yaml", []byte(file), nil)
	want := []string{
		"s.yaml:2:9 EK-STORY there are no slots to take a share of|capacity: [{slots: 8}]",
		"s.yaml:3:9 EK-STORY there are no limits that others could take a share of|limits: [{rpm: 60}]",
	}
	if got := told(err); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	read(t, file, Flag{"slots", "capacity", "slots=8"}, Flag{"limits", "limits", "rpm=60"})
}

// told is what a user reads of err, one string a mistake.
func told(err error) []string {
	var all []string
	for _, e := range ekerr.All(err) {
		text := e.At + " " + string(e.Code) + " " + e.What
		if e.Why != "" {
			text += "\n" + e.Why
		}
		if len(e.Do) > 0 {
			text += "|" + strings.Join(e.Do, "|")
		}
		all = append(all, text)
	}
	return all
}

func TestParse_notYAML(t *testing.T) {
	for name, file := range map[string]string{
		"a bracket that stays open": "limits: [{rpm: 1}\nseed: 7\n",
		"a tab":                     "answers:\n\ttokens: 1\n",
		"two documents":             "seed: 1\n---\nseed: 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("s.yaml", []byte(file), nil)
			list := ekerr.All(err)
			if len(list) != 1 || list[0].Code != ekerr.ScenarioSyntax || !strings.HasPrefix(list[0].At, "s.yaml:") {
				t.Errorf("got %v, want one EK-SCENARIO-SYNTAX with its place", told(err))
			}
		})
	}
}

// Keys decide whose limits are used; the default is an organisation per key.
func TestParse_keys(t *testing.T) {
	s := read(t, "keys:\n  - {key: a, organization: acme, workspace: prod}\n  - {key: b}\n")
	if want := []string{"a", "b"}; !slices.Equal(s.Keys, want) {
		t.Errorf("keys %v, want %v", s.Keys, want)
	}
	for key, want := range map[string][2]string{"a": {"acme", "prod"}, "b": {"org-2", ""}, "c": {}} {
		if got := [2]string{s.Organization(key), s.Workspace(key)}; got != want {
			t.Errorf("key %s belongs to %q, want %q", key, got, want)
		}
	}
}

func TestLoad_flagsWin(t *testing.T) {
	s := read(t, "seed: 7\nprofile: storm\nanswers: {tokens: 10, first_token: 1s}\nlimits: [{rpm: 1}, {itpm: 2}]\n",
		Flag{"seed", "seed", "9"}, Flag{"profile", "profile", "calm"}, Flag{"output-tokens", "answers.tokens", "20"},
		Flag{"limits", "limits", "rpm=60, models=opus-4"}, Flag{"limits", "limits", "otpm=8k"}, Flag{"slots", "capacity", "slots=3"},
	)
	want := sim.Config{
		Seed: 9, OutputTokens: 20, FirstToken: time.Second,
		Limits: []sim.Limit{{Models: "opus-4", RPM: 60}, {OTPM: 8000}}, Capacity: []sim.Capacity{{Slots: 3}},
	}
	if !reflect.DeepEqual(s.Config, want) || s.Profile != "calm" {
		t.Errorf("got  %+v, profile %s\nwant %+v, profile calm", s.Config, s.Profile, want)
	}
}

func TestLoad_badFlags(t *testing.T) {
	_, err := Load("",
		Flag{"spread", "answers.spread", "-1"}, Flag{"limits", "limits", "rpm"}, Flag{"limits", "limits", "itmp=60"},
		Flag{"slots", "capacity", "slots=no"}, Flag{"profile", "profile", "strom"})
	want := []string{
		` EK-USAGE --spread is "-1", want 0 to 3`,
		`--limits EK-USAGE "rpm" is not a key and a value|--limits rpm=60,itpm=10k,models=opus-4`,
		` EK-USAGE unknown key "itmp" under --limits|did you mean "itpm"?`,
		` EK-USAGE --slots is "no", want a count such as 60, 400k or 2M`,
		` EK-USAGE --profile is "strom", want one of calm, storm, brownout, outage, limits, flaky-streams|did you mean "storm"?`,
	}
	if got := told(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := ekerr.Exit(err); got != 2 {
		t.Errorf("exit code %d, want 2", got)
	}
}

func TestLoad_noFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if list := ekerr.All(err); len(list) != 1 || list[0].Code != ekerr.ScenarioFile {
		t.Errorf("got %v, want EK-SCENARIO-FILE", told(err))
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); ekerr.Exit(err) != 10 || !strings.Contains(ekerr.All(err)[0].Why, "larger than 1MB") {
		t.Errorf("got %v, want an error about its size", told(err))
	}
}

// The examples in the repository are what people begin with.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../../examples/scenarios/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		if _, err := Load(file); err != nil {
			t.Errorf("%s: %v", file, told(err))
		}
	}
}
