package scenario

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// A Flag is what the command line says over a file: it replaces what the file
// has at the same path. A line for the timeline is put before those of the
// file, and an entry of a list replaces all of the file's.
type Flag struct {
	Name  string // without dashes
	Path  string // of the key it sets, such as answers.tokens, limits, timeline
	Value string // as a file spells it; an entry of a list as models=opus-4,rpm=60
}

// apply reads the flags. What is wrong with them is about usage.
func (s *Scenario) apply(r *reader, flags []Flag) {
	inFile := s.Faults
	s.Faults = nil
	s.replaced(flags)
	keys := s.keys(r)
	for _, f := range flags {
		before := len(r.errs)
		r.at, r.lines = func(*yaml.Node) string { return "--" + f.Name }, nil
		if n := r.node(f); n != nil {
			r.section(keys)(n, "")
		}
		for _, e := range r.errs[before:] {
			f.own(e)
		}
	}
	s.Faults = append(s.Faults, inFile...)
}

// own makes an error about a key one about the flag.
func (f Flag) own(e *ekerr.Error) {
	if e.Code == ekerr.Story {
		return
	}
	e.Code = ekerr.Usage
	for _, path := range []string{f.Path + "[0]." + f.Name, f.Path + "[0]", f.Path} {
		if what := strings.Replace(e.What, path, "--"+f.Name, 1); what != e.What {
			e.What, e.At = what, ""
			return
		}
	}
}

// replaced forgets the lists of the file that flags have entries for.
func (s *Scenario) replaced(flags []Flag) {
	for _, f := range flags {
		switch f.Path {
		case "limits":
			s.Limits = nil
		case "capacity":
			s.Capacity = nil
		}
	}
}

// node is the tree of a file that says what the flag says; nil if it says
// nothing that can be read.
func (r *reader) node(f Flag) *yaml.Node {
	var n *yaml.Node
	switch f.Path {
	case "timeline":
		n = sequence(mapping("at", word(f.Value)))
	case "limits", "capacity":
		entry := r.entry(f)
		if entry == nil {
			return nil
		}
		n = sequence(entry)
	default:
		n = word(f.Value)
	}
	for _, key := range slices.Backward(strings.Split(f.Path, ".")) {
		n = mapping(key, n)
	}
	return n
}

// entry reads models=opus-4,rpm=60.
func (r *reader) entry(f Flag) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for pair := range strings.SplitSeq(f.Value, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			r.fail(n, ekerr.New(ekerr.Usage, "%q is not a key and a value", clip(pair)).Hint("--limits rpm=60,itpm=10k,models=opus-4"))
			return nil
		}
		n.Content = append(n.Content, word(strings.TrimSpace(key)), word(strings.TrimSpace(value)))
	}
	return n
}

func word(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

func mapping(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word(key), value}}
}

func sequence(item *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}
}
