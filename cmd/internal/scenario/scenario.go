// Package scenario reads files that say how a simulated API behaves: how fast
// it answers, what it allows, how much it can do, and what goes wrong when.
//
//	version: 1
//	seed: 7
//	answers: {first_token: 600ms, token_time: 20ms, tokens: 200, spread: 0.7}
//	limits:
//	  - {models: opus-4, rpm: 60, itpm: 30k, otpm: 8k}
//	capacity:
//	  - {models: claude-opus-*, slots: 8, queue: 16, queue_time: 5s}
//	timeline:
//	  - at: 10s overload 60% for 20s on claude-opus-*
//
// It is YAML, and strict: a key that does not exist, a model that no pattern
// can mean, a line of the timeline that is not understood are errors, each with
// its line and column, and all are told at once. The lines of the timeline are
// those of [sim.ParseStory].
package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// maxFile bounds a scenario. A timeline of ten thousand lines takes 600 kB.
const maxFile = 1 << 20

// A Scenario is what a file and the flags over it say. What they do not say is
// zero, but for the seed, which is 1, and the profile, which is calm.
type Scenario struct {
	// Config is what they set; its Faults are what the flags tell, then the
	// timeline.
	sim.Config

	// Profile names what happens besides; its rules are not among the Faults.
	Profile string

	// File is where it was read; "" if there is no file.
	File string
}

// Load reads a file, and flags over it; a name that is "" reads the flags
// alone. The error is an [ekerr.List] of everything that is wrong.
func Load(name string, flags ...Flag) (*Scenario, error) {
	if name == "" {
		return parse("", nil, flags)
	}
	data, err := readFile(name)
	if err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return nil, ekerr.List{ekerr.Wrap(ekerr.ScenarioFile, err, "cannot read %s", name)}
	}
	return parse(filepath.Clean(name), data, flags)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %v", config.Size(maxFile))
	}
	return data, err
}

// parse is Load once the file has been read.
func parse(name string, data []byte, flags []Flag) (*Scenario, error) {
	r := newReader(name, data)
	s := Scenario{Config: sim.Config{Seed: 1}, Profile: "calm", File: name}
	if root := r.root(data); root != nil {
		r.section(s.keys(r))(root, "")
	}
	s.apply(r, flags)
	s.check(r)
	if len(r.errs) > 0 {
		return nil, r.errs
	}
	return &s, nil
}

// keys are the keys of a file.
func (s *Scenario) keys(r *reader) map[string]take {
	return map[string]take{
		"version":  r.version,
		"seed":     r.seed(&s.Seed),
		"profile":  r.oneOf(&s.Profile, sim.Profiles()),
		"keys":     s.accounts(r),
		"answers":  r.section(s.answers(r)),
		"limits":   list(r, &s.Limits, r.limit),
		"capacity": list(r, &s.Capacity, r.capacity),
		"ramp": r.section(map[string]take{
			"start": r.count(&s.Ramp.Start, 1),
			"step":  r.count(&s.Ramp.Step, 1),
		}),
		"spend_cap": r.number(&s.SpendCap, 0.01, 1e9, "US dollars such as 25 or 0.50"),
		"batches":   r.section(map[string]take{"time": r.duration(&s.BatchTime, 0)}),
		"timeline":  s.timeline(r),
	}
}

func (s *Scenario) answers(r *reader) map[string]take {
	return map[string]take{
		"first_token": r.duration(&s.FirstToken, 0),
		"token_time":  r.duration(&s.TokenTime, 0),
		"tokens":      r.count(&s.OutputTokens, 1),
		"spread":      r.number(&s.OutputSpread, 0, maxSpread, "0 to 3"),
		"ping_every":  r.duration(&s.PingEvery, 1),
	}
}

// limit are the keys of an entry of limits.
func (r *reader) limit(l *sim.Limit) entry {
	return entry{
		keys: map[string]take{
			"models":       r.models(&l.Models),
			"organization": r.glob(&l.Organization),
			"workspace":    r.glob(&l.Workspace),
			"fast":         r.boolean(&l.Fast),
			"rpm":          r.count(&l.RPM, 1),
			"itpm":         r.count(&l.ITPM, 1),
			"otpm":         r.count(&l.OTPM, 1),
			"cache_reads":  r.boolean(&l.CacheReads),
			"burst":        r.duration(&l.Burst, 1),
		},
		check: func(n *yaml.Node, path string) {
			if cmp.Or(l.RPM, l.ITPM, l.OTPM) == 0 {
				r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s limits nothing", path).Hint("set rpm, itpm or otpm"))
			}
		},
	}
}

// capacity are the keys of an entry of capacity.
func (r *reader) capacity(c *sim.Capacity) entry {
	return entry{
		keys: map[string]take{
			"models":      r.models(&c.Models),
			"slots":       r.count(&c.Slots, 1),
			"queue":       r.count(&c.Queue, 0),
			"queue_time":  r.duration(&c.QueueTime, 0),
			"refusal":     r.duration(&c.Refusal, 0),
			"first_token": r.duration(&c.FirstToken, 1),
			"token_time":  r.duration(&c.TokenTime, 1),
		},
		check: func(n *yaml.Node, path string) {
			if *c == (sim.Capacity{Models: c.Models}) {
				r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s sets nothing", path).Hint("set slots, first_token or token_time"))
			}
			if c.Slots == 0 && (c.Queue > 0 || c.QueueTime > 0 || c.Refusal > 0) {
				r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s has a queue or a refusal and no slots: nobody will ever wait", path).Hint("set slots"))
			}
		},
	}
}
