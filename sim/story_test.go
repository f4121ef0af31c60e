package sim_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/sim"
)

func TestParseStory(t *testing.T) {
	const s, m = time.Second, time.Minute
	status := func(n int) sim.Fault { return sim.Fault{Kind: sim.Status, Status: n} }
	with := func(f sim.Fault, header ...string) sim.Fault {
		f.Header = map[string]string{}
		for i := 0; i < len(header); i += 2 {
			f.Header[header[i]] = header[i+1]
		}
		return f
	}
	for text, want := range map[string]sim.Rule{
		"10s overload 60% for 20s on claude-opus-*": {Fault: status(529), Rate: 0.6, From: 10 * s, Until: 30 * s, Models: "claude-opus-*"},
		"0s 503 5%":                                   {Fault: status(503), Rate: 0.05},
		"503 0.05 # a comment":                        {Fault: status(503), Rate: 0.05},
		"1m hang 2% for 30s":                          {Fault: sim.Fault{Kind: sim.Hang}, Rate: 0.02, From: m, Until: m + 30*s},
		"for 30s 2% hang":                             {},
		"hang until 1m30s":                            {Fault: sim.Fault{Kind: sim.Hang}, Rate: 1, Until: 90 * s},
		"reset_after 200 bytes once":                  {Fault: sim.Fault{Kind: sim.ResetAfter, Bytes: 200}, Rate: 1, Times: 1},
		"reset_after after 200 bytes 3 times":         {Fault: sim.Fault{Kind: sim.ResetAfter, Bytes: 200}, Rate: 1, Times: 3},
		"reset_after:3":                               {Fault: sim.Fault{Kind: sim.ResetAfter, Events: 3}, Rate: 1},
		"stall_after 3 events with pings 10%":         {Fault: sim.Fault{Kind: sim.StallAfter, Events: 3, Pings: true}, Rate: 0.1},
		"30s slots 50% for 1m on opus-4":              {Fault: sim.Fault{Kind: sim.Slots, Factor: 0.5}, Rate: 1, From: 30 * s, Until: 90 * s, Models: "opus-4"},
		"slowdown 3x":                                 {Fault: sim.Fault{Kind: sim.Slowdown, Factor: 3}, Rate: 1},
		"slowdown 1.5x":                               {Fault: sim.Fault{Kind: sim.Slowdown, Factor: 1.5}, Rate: 1},
		"others 0.4":                                  {Fault: sim.Fault{Kind: sim.Others, Factor: 0.4}, Rate: 1},
		"error_event_at 4 events of api_error 5%":     {Fault: sim.Fault{Kind: sim.ErrorEventAt, Events: 4, Type: claude.API}, Rate: 0.05},
		"overload 100% every 5m for 30s":              {Fault: status(529), Rate: 1, Every: 5 * m, Until: 30 * s},
		"slow by 5s 50%":                              {Fault: sim.Fault{Kind: sim.Slow, After: 5 * s}, Rate: 0.5},
		"hang after 5s":                               {Fault: sim.Fault{Kind: sim.Hang, After: 5 * s}, Rate: 1},
		"slow_bytes 10ms apart":                       {Fault: sim.Fault{Kind: sim.SlowBytes, Pace: 10 * time.Millisecond}, Rate: 1},
		"huge_event 3MiB after 2 events":              {Fault: sim.Fault{Kind: sim.HugeEvent, Size: 3 << 20, Events: 2}, Rate: 1},
		"502 accepted":                                {Fault: sim.Fault{Kind: sim.Status, Status: 502, Accept: true}, Rate: 1},
		"529 in org acme-* path batches named storm1": {Fault: status(529), Rate: 1, Organization: "acme-*", Path: "batches", Name: "storm1"},
		"429:7": {Fault: with(status(429), "retry-after", "7"), Rate: 1},
		"429 with retry-after 7 and x-should-retry false": {Fault: with(status(429), "retry-after", "7", "x-should-retry", "false"), Rate: 1},
		`400 saying "too much" code x of "odd_error" body "<h\n>"`: {Fault: sim.Fault{
			Kind: sim.Status, Status: 400, Message: "too much", Code: "x", Type: "odd_error", Body: "<h\n>",
		}, Rate: 1},
		"gzip of 529": {Fault: sim.Fault{Kind: sim.Gzip, Status: 529}, Rate: 1},
	} {
		got, err := sim.ParseStory("\n# nothing\n" + text + "\r\n\n")
		if want.Kind == "" { // what is not to be understood
			if err == nil {
				t.Errorf("%s was understood as %+v", text, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, []sim.Rule{want}) {
			t.Errorf("%s:\ngot  %+v (%v)\nwant %+v", text, got, err, want)
		}
	}
}

func TestParseStory_saysWhereAndWhat(t *testing.T) {
	for text, want := range map[string]string{
		"10s overlod 60%":               `1:5: no failure is called "overlod": did you mean "overload"?`,
		"hang 150%":                     `1:6: a share is 0% to 100%, or 0.0 to 1.0, not 150%`,
		"hang -5%":                      `1:6: a share is 0% to 100%, or 0.0 to 1.0, not -5%`,
		"hang 1.5":                      `1:6: a share is 0% to 100%, or 0.0 to 1.0, not 1.5`,
		"-5s hang":                      `1:1: a time cannot be negative: -5s`,
		"10sec hang":                    `1:1: "10sec" is no time, want one such as 10s or 1m30s`,
		"hang for -1s":                  `1:10: a time cannot be negative: -1s`,
		"hang for 0s":                   `1:10: a time of nothing: 0s`,
		"hang for 9000h":                `1:10: 9000h is longer than a year`,
		"8000h hang for 8000h":          `1:16: that is more than a year from the start`,
		"1m hang until 30s":             `1:15: until 30s is not later than 1m0s, when it begins`,
		"1m hang every 30s":             `1:15: what begins anew every 30s must begin and end within that time`,
		"hang for 1m until 2m":          `1:13: end is said twice, first at column 6`,
		"hang 10ms apart":               `1:6: hang has no bytes that are apart`,
		"hang 3 events":                 `1:6: hang has no events`,
		"hang:3":                        `1:6: hang has no events, and no number`,
		"reset_after:x":                 `1:13: want a whole number after the colon`,
		"half_event 20 bytes":           `1:12: half_event has no bytes`,
		"reset_after with pings":        `1:18: reset_after has no pings`,
		"hang with retry-after 7":       `1:11: hang has no header`,
		"429 with retry-after":          `1:21: "retry-after" wants the value of the header after it`,
		"429 with a b and A c":          `1:18: header a is said twice, first at column 10`,
		`429 with "a b" c`:              `1:10: the header "a b" cannot be sent`,
		"429 of 529":                    `1:5: status is said twice, first at column 1`,
		"gzip of 42":                    `1:9: a status is 200 to 999, not 42`,
		"42":                            `1:1: a status is 200 to 999`,
		"hang fro 10s":                  `1:6: "fro" means nothing here: did you mean "for"?` + "\n" + `1:10: 10s of what? a time stands first in the line, after for, until, every, after or by, or before apart`,
		"hang 3 tmes":                   `1:6: 3 of what? want events, bytes or times after it: did you mean "times"?`,
		"hang 0 times":                  `1:6: what strikes 0 times never does`,
		"reset_after 0 bytes":           `1:13: after 0 bytes there is no body: say 0 events`,
		"error_event_at of api_eror":    `1:19: no type of error is called "api_eror" (quoted, it may be any): did you mean "api_error"?`,
		"hang path batchs":              `1:11: no path is called "batchs": did you mean "batches"?`,
		"hang on [":                     `1:9: "[" is no glob`,
		"hang in acme":                  `1:6: "in" wants "org" and a glob after it` + "\n" + `1:9: "acme" means nothing here`,
		"hang named a/b":                `1:12: "a/b" is no name, want up to 64 of A-Z a-z 0-9 . _ -`,
		"hang for":                      `1:9: "for" wants a time such as 30s after it`,
		"slots":                         `1:6: slots wants to know how much, such as 50%`,
		"slowdown 50%":                  `1:10: slowdown wants a factor such as 3x, not a share`,
		"slowdown 0x":                   `1:10: a factor is more than 0x, and at most 1000000x, not 0x`,
		"hang 3x":                       `1:6: hang has no factor such as 3x`,
		"huge_event 9000MiB":            `1:12: a size is 1B to 64MiB, not 9000MiB`,
		"10s":                           `1:4: a time, and nothing that happens then`,
		`hang "for"`:                    `1:6: a quoted word stands only after the word it belongs to`,
		`400 saying "too`:               `1:12: the quote does not end, or what is in it is no Go string`,
		`400 saying "a"b`:               `1:15: a space is missing after the quote`,
		"hang\n\n# x\n 503 6 times 7%7": `4:14: "7%7" means nothing here`,
		"hang 150% fro\nhagn":           "1:6: a share is 0% to 100%, or 0.0 to 1.0, not 150%\n1:11: \"fro\" means nothing here: did you mean \"for\"?\n2:1: no failure is called \"hagn\": did you mean \"hang\"?",
	} {
		rules, err := sim.ParseStory(text)
		if err == nil {
			t.Errorf("%q was understood as %+v", text, rules)
			continue
		}
		if err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %v", text, err, want)
		}
		if e, ok := errors.AsType[*sim.StoryError](err); !ok || e.Line == 0 || e.Column == 0 {
			t.Errorf("%q: the first error is %#v, want one with its place", text, e)
		}
	}
}

// tellable returns a random rule that is right.
func tellable(r *rand.Rand) sim.Rule {
	maybe := func() bool { return r.IntN(3) == 0 }
	text := func() string {
		if !maybe() {
			return ""
		}
		return []string{"and", "pings", "a b", `quote " and \`, "#x", "10s", "50%", "zeilen\num\tbruch", "ü", "\xff", "x"}[r.IntN(11)]
	}
	span := func() time.Duration {
		return time.Duration(1+r.Int64N(1<<uint(1+r.IntN(50)))) % (100 * 24 * time.Hour)
	}
	for {
		rule := sim.Rule{Rate: 1}
		f := &rule.Fault
		if maybe() {
			preset, err := sim.Preset(sim.Presets()[r.IntN(len(sim.Presets()))])
			if err != nil {
				panic(err)
			}
			*f = preset
		} else {
			f.Kind = sim.Kinds()[r.IntN(len(sim.Kinds()))]
		}
		switch {
		case f.Kind == sim.Slowdown:
			f.Factor = r.Float64() * 10
		case f.Kind == sim.Slots || f.Kind == sim.Others:
			f.Factor = []float64{0, 1, 0.07, r.Float64()}[r.IntN(4)]
		default:
			rule.Rate = []float64{0, 1, 0.07, 0.29, r.Float64(), r.Float64() * 1e-12}[r.IntN(6)]
		}
		set := []func(){
			func() { f.After = span() },
			func() { f.Events = r.IntN(1000) },
			func() { f.Bytes = r.Int64N(1 << 40) },
			func() { f.Size = 1 + r.IntN(1<<26) },
			func() { f.Pace = span() },
			func() { f.Pings = true },
			func() { f.Accept = true },
			func() { f.Status = 200 + r.IntN(800) },
			func() { f.Type = []claude.ErrorType{claude.API, "odd", claude.ErrorType(text())}[r.IntN(3)] },
			func() { f.Code = claude.ErrorCode(text()) },
			func() { f.Message = text() },
			func() { f.Body = text() },
			func() { f.Header = map[string]string{"pings": "and", "and": "a b", "x": ""} },
			func() { rule.Name = "storm-1" },
			func() { rule.Models = []string{"claude-*", "opus-4", "a b", "for"}[r.IntN(4)] },
			func() { rule.Path = "batches" },
			func() { rule.Organization = "acme-*" },
			func() { rule.Times = 1 + r.IntN(5) },
			func() { rule.From = span() },
			func() { rule.Until = rule.From + span() },
			func() { rule.Every = max(rule.From, rule.Until) + span() },
		}
		for range r.IntN(6) {
			set[r.IntN(len(set))]()
		}
		if f.Kind == sim.Status && f.Status == 0 {
			f.Status = 529
		}
		if f.Kind == sim.Expire {
			rule.Path = "batch_items"
		}
		if rule.Validate() == nil {
			return rule
		}
	}
}

func TestStory_readsBackAsTheSameRule(t *testing.T) {
	seen := map[sim.Kind]int{}
	for seed := range uint64(5_000) {
		rule := tellable(rand.New(rand.NewPCG(seed, 1)))
		seen[rule.Kind]++
		line := rule.Story()
		back, err := sim.ParseStory(line)
		if err != nil || !reflect.DeepEqual(back, []sim.Rule{rule}) {
			t.Fatalf("seed %d: %+v\nis told as %s\nand read as %+v (%v)", seed, rule, line, back, err)
		}
	}
	for _, kind := range sim.Kinds() {
		if seen[kind] < 20 {
			t.Errorf("%s was tried %d times, want 20", kind, seen[kind])
		}
	}
}

func TestStory_readsWell(t *testing.T) {
	for _, line := range []string{
		"10s overload 60% for 20s on claude-opus-*",
		"503 5%",
		"1m hang 2% for 30s",
		"30s slots 50% for 1m on opus-4",
		"slowdown 3x",
		"stall_after 3 events with pings 10%",
		"reset_after 200 bytes once",
		"429 with retry-after 7 and x-should-retry false",
		"overload every 5m for 30s",
		"slow by 5s 50%",
		"huge_event 3MiB",
		"502 accepted in org acme-* path batches named storm1",
		"spend_cap 3 times",
	} {
		rules, err := sim.ParseStory(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := rules[0].Story(); got != line {
			t.Errorf("%s is told as %s", line, got)
		}
	}
}

func FuzzParseStory(f *testing.F) {
	f.Add("10s overload 60% for 20s on claude-opus-*\n0s 503 5% # x\nreset_after 200 bytes once")
	f.Add("429 with retry-after 7 and x false saying \"a\\nb\" of 529")
	f.Add("slots 50% slowdown 3x 3MiB 10ms apart every 5m")
	for seed := range uint64(50) {
		f.Add(tellable(rand.New(rand.NewPCG(seed, 2))).Story())
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := sim.ParseStory(text)
		if err != nil {
			line, column := 0, 0
			for text := range strings.SplitSeq(err.Error(), "\n") {
				var l, c int
				if n, _ := fmt.Sscanf(text, "%d:%d:", &l, &c); n < 2 {
					continue // a problem that quotes a line
				}
				if l < line || l == line && c < column || c < 1 {
					t.Errorf("mistakes are out of order:\n%v", err)
				}
				line, column = l, c
			}
			return
		}
		for _, rule := range rules {
			if err := rule.Validate(); err != nil {
				t.Errorf("%q was understood as a rule that is wrong: %v", text, err)
			}
			back, err := sim.ParseStory(rule.Story())
			if err != nil || !reflect.DeepEqual(back, []sim.Rule{rule}) {
				t.Errorf("%+v is told as %s and read as %+v (%v)", rule, rule.Story(), back, err)
			}
		}
	})
}
