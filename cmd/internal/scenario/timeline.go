package scenario

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
	"github.com/evenkeel-dev/evenkeel/sim"
)

// timeline reads the lines of the story.
func (s *Scenario) timeline(r *reader) take {
	return r.items(func(n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s is a single value, want at: and a line of the story", path).Hint("- at: %s", clip(n.Value)))
			return
		}
		told := false
		r.section(map[string]take{"at": func(n *yaml.Node, path string) {
			told = true
			s.Faults = append(s.Faults, r.story(n, path)...)
		}})(n, path)
		if !told && (n.Kind == yaml.MappingNode || isNull(n)) {
			r.fail(n, ekerr.New(ekerr.ScenarioValue, "%s does not say what happens", path).Hint("at: 10s overload 60%% for 20s"))
		}
	})
}

// story reads one line.
func (r *reader) story(n *yaml.Node, path string) []sim.Rule {
	text, ok := r.scalar(n, path)
	if !ok {
		return nil
	}
	rules, err := sim.ParseStory(text)
	if err == nil && len(rules) == 0 {
		err = &sim.StoryError{Line: 1, Column: 1, Problem: "the line says nothing"}
	}
	if err == nil {
		r.note(n, rules)
		return rules
	}
	for _, e := range StoryMistakes(text, err) {
		r.mistake(n, text, e)
	}
	return nil
}

// holder is a condition of the story, and what is wrong if there is nothing
// that it holds for.
type holder struct {
	sim.Rule
	empty *ekerr.Error
}

// note remembers the conditions among rules. Whether there is anything for them
// to hold for is known when all has been read.
func (r *reader) note(n *yaml.Node, rules []sim.Rule) {
	for _, rule := range rules {
		if rule.Models != "" && !known(rule.Models) {
			e := ekerr.New(ekerr.Story, "no model is matched by %q", clip(rule.Models))
			for _, hint := range meant(rule.Models, alike(rule.Models)) {
				e = e.Hint("%s", hint)
			}
			r.fail(n, e)
		}
		var e *ekerr.Error
		switch rule.Kind {
		case sim.Slots:
			e = ekerr.New(ekerr.Story, "there are no slots to take a share of").Hint("capacity: [{slots: 8}]")
		case sim.Others:
			e = ekerr.New(ekerr.Story, "there are no limits that others could take a share of").Hint("limits: [{rpm: 60}]")
		default:
			continue
		}
		e.At = r.at(n)
		if r.lines != nil {
			e.Exit = 10
		}
		r.conditions = append(r.conditions, holder{rule, e})
	}
}

// check reports the conditions that hold for nothing.
func (s *Scenario) check(r *reader) {
	for _, c := range r.conditions {
		slots := slices.ContainsFunc(s.Capacity, func(p sim.Capacity) bool { return p.Slots > 0 && overlap(p.Models, c.Models) })
		limits := slices.ContainsFunc(s.Limits, func(l sim.Limit) bool { return overlap(l.Models, c.Models) })
		if c.Kind == sim.Slots && !slots || c.Kind == sim.Others && !limits {
			r.report(c.empty)
		}
	}
}

// mistake reports e at the word of the value that it is about.
func (r *reader) mistake(n *yaml.Node, text string, e *ekerr.Error) {
	e.At = r.at(n)
	if r.lines != nil { // a file: an editor goes there
		e.Exit = 10
		if told, ok := errors.AsType[*sim.StoryError](e.Err); ok {
			e.At, e.Why = r.at(r.within(n, text, told)), ""
		}
	}
	r.report(e)
}

// within returns the place inside a value that a mistake is about. Where the
// file does not have the value as it reads, because it is folded or escaped,
// the value itself is the place.
func (r *reader) within(n *yaml.Node, text string, e *sim.StoryError) *yaml.Node {
	if e.Line != 1 || e.Column < 1 || e.Column > len(text)+1 || n.Line < 1 || n.Line > len(r.lines) {
		return n
	}
	before := text[:e.Column-1]
	line, column := []rune(r.lines[n.Line-1]), n.Column
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		column++
	}
	if column < 1 || column-1 > len(line) || !strings.HasPrefix(string(line[column-1:]), before) {
		return n
	}
	return &yaml.Node{Line: n.Line, Column: column + utf8.RuneCountInString(before)}
}

// StoryMistakes is the error of [sim.ParseStory] for a line, as the command line
// tells it: with the line, and a mark under the word.
func StoryMistakes(text string, err error) ekerr.List {
	var list ekerr.List
	for _, err := range all(err) {
		list = append(list, storyMistake(text, err))
	}
	return list
}

// all returns the errors that err joins.
func all(err error) []error {
	if several, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		return several.Unwrap()
	}
	return []error{err}
}

func storyMistake(text string, err error) *ekerr.Error {
	told, ok := errors.AsType[*sim.StoryError](err)
	if !ok {
		return &ekerr.Error{Code: ekerr.Story, What: err.Error(), Err: err}
	}
	e := &ekerr.Error{Code: ekerr.Story, What: told.Problem, Err: err}
	if told.Line == 1 {
		e.Why = ekerr.Mark(text, told.Column)
	}
	if told.Suggestion != "" {
		e = e.Hint("did you mean %q?", told.Suggestion)
	}
	return e
}
