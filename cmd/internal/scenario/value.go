package scenario

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/config"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

const (
	// maxCount is beyond any limit that is sold, and far from overflow when
	// it is multiplied by a time.
	maxCount = 1_000_000_000

	// maxSpread makes one answer in forty 350 times the median: more is no
	// distribution of lengths, but a slip of the pen.
	maxSpread = 3
)

// bad reports that a value cannot be used, what is wanted, and what to do.
func (r *reader) bad(n *yaml.Node, path, want string, do ...string) {
	e := ekerr.New(ekerr.ScenarioValue, "%s is %q, want %s", path, clip(n.Value), want)
	e.Do = do
	r.fail(n, e)
}

// meant is what to do about a word that is nearly one of some others.
func meant(word string, known []string) []string {
	if near := config.Suggest(word, known); near != "" {
		return []string{fmt.Sprintf("did you mean %q?", near)}
	}
	return nil
}

func (r *reader) version(n *yaml.Node, path string) {
	if text, ok := r.scalar(n, path); ok && text != "1" {
		r.bad(n, path, "1")
	}
}

func (r *reader) seed(into *uint64) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		if !ok {
			return
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			r.bad(n, path, "a whole number, 0 or more")
			return
		}
		*into = seed
	}
}

// count reads a number such as 1000, 400k or 2M. Where zero would mean no
// bound, least is 1: who wants none leaves the key out.
func (r *reader) count(into *int, least int) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		if !ok {
			return
		}
		var c config.Count
		if err := c.UnmarshalText([]byte(text)); err != nil {
			r.bad(n, path, "a count such as 60, 400k or 2M")
			return
		}
		if int64(c) < int64(least) || c > maxCount {
			var do []string
			if c == 0 {
				do = []string{"leave the key out for no bound"}
			}
			r.bad(n, path, fmt.Sprintf("%d to %v", least, config.Count(maxCount)), do...)
			return
		}
		*into = int(c)
	}
}

func (r *reader) duration(into *time.Duration, least time.Duration) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		if !ok {
			return
		}
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			r.bad(n, path, "a duration such as 30s, 5m or 250ms")
		case d < least && least > 0:
			r.bad(n, path, "more than 0s", "leave the key out for the default")
		case d < least:
			r.bad(n, path, "0s or more")
		default:
			*into = d
		}
	}
}

func (r *reader) number(into *float64, least, most float64, want string) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		if !ok {
			return
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || f < least || f > most {
			r.bad(n, path, want)
			return
		}
		*into = f
	}
}

func (r *reader) boolean(into *bool) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		if !ok {
			return
		}
		if text != "true" && text != "false" {
			r.bad(n, path, "true or false")
			return
		}
		*into = text == "true"
	}
}

func (r *reader) text(into *string) take {
	return func(n *yaml.Node, path string) {
		if text, ok := r.scalar(n, path); ok {
			*into = text
		}
	}
}

func (r *reader) oneOf(into *string, choices []string) take {
	return func(n *yaml.Node, path string) {
		text, ok := r.scalar(n, path)
		switch {
		case !ok:
		case slices.Contains(choices, text):
			*into = text
		default:
			r.bad(n, path, "one of "+strings.Join(choices, ", "), meant(text, choices)...)
		}
	}
}

// glob reads a pattern as of [path.Match].
func (r *reader) glob(into *string) take {
	return func(n *yaml.Node, where string) {
		text, ok := r.scalar(n, where)
		if !ok {
			return
		}
		if _, err := path.Match(text, ""); err != nil {
			r.bad(n, where, "a pattern such as claude-opus-*", "a [ begins a set of characters and needs its ]")
			return
		}
		*into = text
	}
}

// models reads a pattern that some model must match, by its id or its class:
// one that none does would silently be about nothing.
func (r *reader) models(into *string) take {
	pattern := r.glob(into)
	return func(n *yaml.Node, path string) {
		pattern(n, path)
		if *into != "" && !known(*into) {
			r.bad(n, path, "a model, a class of models such as opus-4, or a pattern that matches one", meant(*into, alike(*into))...)
		}
	}
}

// alike are what an unknown pattern may have been meant to be: the patterns of
// families if it is one, else models and classes.
func alike(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return append(sim.Models(), classes()...)
	}
	var families []string
	for _, id := range sim.Models() {
		if parts := strings.Split(id, "-"); len(parts) > 2 {
			families = append(families, parts[0]+"-"+parts[1]+"-*")
		}
	}
	return families
}

func known(pattern string) bool {
	return slices.ContainsFunc(sim.Models(), func(id string) bool { return matches(pattern, id) })
}

// overlap reports whether two patterns have a model in common.
func overlap(a, b string) bool {
	return slices.ContainsFunc(sim.Models(), func(id string) bool { return matches(a, id) && matches(b, id) })
}

// matches reports whether a model is one of a pattern, or of a class.
func matches(pattern, id string) bool {
	ok, err := path.Match(pattern, id)
	return pattern == "" || ok && err == nil || pattern == claude.ModelClass(id)
}

func classes() []string {
	var all []string
	for _, id := range sim.Models() {
		all = append(all, claude.ModelClass(id))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
