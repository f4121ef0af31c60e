package scenario

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// maxErrors are told at once. Who has more has given us another kind of file.
const maxErrors = 100

// reader takes values from a YAML tree and goes on after an error: whoever
// mends a file should do so once, not once per mistake.
type reader struct {
	at    func(*yaml.Node) string // where a node stands, for people
	lines []string                // of the file, for places inside a value; nil if there is none
	errs  ekerr.List

	conditions []holder // of the story, in order
}

// take puts the value n of the key at path where it belongs.
type take func(n *yaml.Node, path string)

// entry is how an item of a list is read, and judged once it has been.
type entry struct {
	keys  map[string]take
	check take
}

func newReader(name string, data []byte) *reader {
	return &reader{
		at:    func(n *yaml.Node) string { return place(name, n.Line, n.Column) },
		lines: strings.Split(string(data), "\n"),
	}
}

func place(name string, line, column int) string { return fmt.Sprintf("%s:%d:%d", name, line, column) }

// root returns the root of the only document in data, nil if there is none.
func (r *reader) root(data []byte) *yaml.Node {
	doc, err := document(data)
	if err != nil {
		r.syntax(err)
		return nil
	}
	if doc == nil || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

func document(data []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		return nil, cmp.Or(err, errors.New("there is more than one document; one is read"))
	}
	return &doc, nil
}

// syntax reports what the YAML parser says.
func (r *reader) syntax(err error) {
	e := ekerr.Wrap(ekerr.ScenarioSyntax, err, "this is not YAML")
	where := &yaml.Node{Line: 1, Column: 1}
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		e.Why = le.Message
		if le.Mark.Line > 0 {
			where = &yaml.Node{Line: le.Mark.Line, Column: le.Mark.Column}
		}
	}
	r.fail(where, e)
}

// section reads a mapping. A section without a value is an empty one: that is
// how it looks once all its lines are commented out.
func (r *reader) section(keys map[string]take) take {
	return func(n *yaml.Node, path string) {
		if isNull(n) || !r.plain(n) {
			return
		}
		if n.Kind != yaml.MappingNode {
			r.wrong(n, path, "keys below it")
			return
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			r.pair(n.Content[i], n.Content[i+1], path, keys, seen)
		}
	}
}

func (r *reader) pair(key, value *yaml.Node, path string, keys map[string]take, seen map[string]bool) {
	read, known := keys[key.Value]
	switch {
	case key.Kind != yaml.ScalarNode || key.Anchor != "":
		r.fail(key, ekerr.New(ekerr.ScenarioSyntax, "a key is a plain word"))
	case !known:
		r.unknown(key, path, keys)
	case seen[key.Value]:
		r.fail(key, ekerr.New(ekerr.ScenarioKey, "key %q appears twice%s", key.Value, under(path)).Hint("keep one of them"))
	default:
		seen[key.Value] = true
		read(value, join(path, key.Value))
	}
}

// items calls read for every item of a list.
func (r *reader) items(read take) take {
	return func(n *yaml.Node, path string) {
		if isNull(n) || !r.plain(n) {
			return
		}
		if n.Kind != yaml.SequenceNode {
			r.wrong(n, path, "a list")
			return
		}
		for i, item := range n.Content {
			read(item, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// list reads a list of mappings.
func list[T any](r *reader, into *[]T, of func(*T) entry) take {
	return r.items(func(n *yaml.Node, path string) {
		var item T
		e, before := of(&item), len(r.errs)
		r.section(e.keys)(n, path)
		if len(r.errs) == before {
			e.check(n, path)
		}
		*into = append(*into, item)
	})
}

// scalar returns the text of a single value.
func (r *reader) scalar(n *yaml.Node, path string) (string, bool) {
	switch {
	case !r.plain(n):
		return "", false
	case n.Kind != yaml.ScalarNode:
		r.wrong(n, path, "a single value")
		return "", false
	case isNull(n):
		r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s has no value", path).Hint("give it one, or take the line out"))
		return "", false
	}
	return n.Value, true
}

// plain refuses what would make one place in the file mean several.
func (r *reader) plain(n *yaml.Node) bool {
	if n.Kind != yaml.AliasNode && n.Anchor == "" {
		return true
	}
	r.fail(n, ekerr.New(ekerr.ScenarioSyntax, "anchors and aliases are not read here").Hint("write the value out"))
	return false
}

// isNull tells a value that is left out or written as null or ~. One from a
// flag has no tag and is what it says.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (r *reader) wrong(n *yaml.Node, path, want string) {
	got := map[yaml.Kind]string{yaml.MappingNode: "keys below it", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}[n.Kind]
	r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s has %s, want %s", cmp.Or(path, "the file"), got, want))
}

func (r *reader) unknown(key *yaml.Node, path string, keys map[string]take) {
	known := slices.Sorted(maps.Keys(keys))
	e := ekerr.New(ekerr.ScenarioKey, "unknown key %q%s", clip(key.Value), under(path))
	if e.Do = meant(key.Value, known); e.Do == nil {
		e = e.Hint("known here: %s", strings.Join(known, ", "))
	}
	r.fail(key, e)
}

// fail reports a mistake at n.
func (r *reader) fail(n *yaml.Node, e *ekerr.Error) {
	e.At = r.at(n)
	r.report(e)
}

func (r *reader) report(e *ekerr.Error) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, e)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func under(path string) string {
	if path == "" {
		return ""
	}
	return " under " + path
}

// clip keeps an error to one line.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}
