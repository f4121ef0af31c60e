package config

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// decoder puts YAML nodes into the fields of a Config, and goes on after an
// error: a deploy should fail once, not once per mistake.
type decoder struct {
	at      func(*yaml.Node) string          // where a node stands, for people
	lookup  func(name string) (string, bool) // of ${VAR}; nil: no expansion
	origins map[string]Origin                // of every path that was set
	errs    ekerr.List
}

// rules are the tags of a field.
type rules struct {
	min, max, oneof string
	later           bool
}

func rulesOf(f reflect.StructField, parent rules) rules {
	return rules{
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), oneof: f.Tag.Get("oneof"),
		later: parent.later || f.Tag.Get("later") != "",
	}
}

// defaulter is implemented by entries of lists that do not start from zero.
type defaulter interface{ defaults() }

// leaf is a key that holds a value: a scalar, a list or a map of entries.
type leaf struct {
	path  string
	value reflect.Value // addressable
	rules rules
}

// leaves lists the keys of cfg in the order of the file.
func leaves(cfg *Config) []leaf {
	return appendLeaves(nil, reflect.ValueOf(cfg).Elem(), "", rules{})
}

func appendLeaves(all []leaf, v reflect.Value, path string, r rules) []leaf {
	if v.Kind() != reflect.Struct {
		return append(all, leaf{path, v, r})
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		all = appendLeaves(all, v.Field(i), join(path, f.Tag.Get("yaml")), rulesOf(f, r))
	}
	return all
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// parse returns the root of the only document in data, nil if there is none.
func parse(data []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var doc, more yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		return nil, cmp.Or(err, errors.New("there is more than one document; one is read"))
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		return doc.Content[0], nil
	}
	return nil, nil
}

// syntax reports what the YAML parser says.
func (d *decoder) syntax(source string, err error) {
	e := ekerr.Wrap(ekerr.ConfigSyntax, err, "this is not YAML")
	e.At = source
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		e.Why = le.Message
		if le.Mark.Line > 0 {
			e.At = fmt.Sprintf("%s:%d:%d", source, le.Mark.Line, le.Mark.Column)
		}
	}
	if strings.Contains(err.Error(), "flow") {
		e = e.Hint("write ${VAR} in quotes inside { }")
	}
	d.errs = append(d.errs, e)
}

// text puts the value of a variable or a flag into a key.
func (d *decoder) text(l leaf, text string) {
	switch kind := l.value.Kind(); {
	case kind == reflect.Slice && !strings.HasPrefix(strings.TrimSpace(text), "[") && l.value.Type().Elem().Kind() == reflect.String:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for part := range strings.SplitSeq(text, ",") {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSpace(part)})
		}
		d.value(l.value, n, l.path, l.rules)
	case kind == reflect.Slice || kind == reflect.Map:
		n, err := parse([]byte(text))
		if err != nil || n == nil {
			d.syntax(d.at(nil), cmp.Or(err, errors.New("want a list or a map in YAML")))
			return
		}
		d.value(l.value, n, l.path, l.rules)
	default:
		d.value(l.value, &yaml.Node{Kind: yaml.ScalarNode, Value: text}, l.path, l.rules)
	}
}

// value decodes n into v.
func (d *decoder) value(v reflect.Value, n *yaml.Node, path string, r rules) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, ekerr.New(ekerr.ConfigSyntax, "anchors and aliases are not read here").Hint("write the value out"))
		return
	}
	d.origins[path] = Origin(d.at(n))
	_, isText := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	switch kind := v.Kind(); {
	case !isText && kind == reflect.Struct:
		d.mapping(v, n, path, r)
	case !isText && kind == reflect.Map:
		d.entries(v, n, path, r)
	case !isText && kind == reflect.Slice:
		d.list(v, n, path, r)
	case n.Kind != yaml.ScalarNode:
		d.wrong(n, path, "a single value", n)
	default:
		d.scalar(v, n, path, r)
	}
}

func (d *decoder) mapping(v reflect.Value, n *yaml.Node, path string, r rules) {
	fields := map[string]int{}
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = i
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		i, ok := fields[key.Value]
		if !ok {
			d.unknown(key, path, slices.Sorted(maps.Keys(fields)))
			return
		}
		d.value(v.Field(i), value, join(path, key.Value), rulesOf(v.Type().Field(i), r))
	})
}

func (d *decoder) entries(v reflect.Value, n *yaml.Node, path string, r rules) {
	m := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node) {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(entry, value, join(path, key.Value), rules{later: r.later})
		m.SetMapIndex(reflect.ValueOf(key.Value), entry)
	})
	if m.Len() > 0 {
		v.Set(m)
	}
}

// pairs calls f for every pair of a mapping. No value at all is an empty one:
// that is how a section looks once all its lines are commented out.
func (d *decoder) pairs(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "keys below it", n)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "":
			d.fail(key, ekerr.New(ekerr.ConfigSyntax, "a key is a plain word"))
		case seen[key.Value]:
			d.fail(key, ekerr.New(ekerr.ConfigKey, "key %q appears twice%s", clip(key.Value), under(path)).Hint("keep one of them"))
		default:
			seen[key.Value] = true
			f(key, n.Content[i+1])
		}
	}
}

func (d *decoder) list(v reflect.Value, n *yaml.Node, path string, r rules) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "a list", n)
		return
	}
	var items reflect.Value
	if len(n.Content) > 0 {
		items = reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	} else {
		items = reflect.Zero(v.Type())
	}
	for i, item := range n.Content {
		if dflt, ok := reflect.TypeAssert[defaulter](items.Index(i).Addr()); ok {
			dflt.defaults()
		}
		d.value(items.Index(i), item, fmt.Sprintf("%s[%d]", path, i), rules{later: r.later})
	}
	v.Set(items)
}

func (d *decoder) scalar(v reflect.Value, n *yaml.Node, path string, r rules) {
	text := n.Value
	if isNull(n) {
		d.fail(n, ekerr.New(ekerr.ConfigType, "%s has no value", path).Hint("give it one, or take the line out"))
		return
	}
	if d.lookup != nil {
		var err *ekerr.Error
		if text, err = expand(text, d.lookup); err != nil {
			d.fail(n, err)
			return
		}
	}
	read := reflect.New(v.Type()).Elem()
	if err := setText(read, text); err != nil {
		d.fail(n, ekerr.New(ekerr.ConfigType, "%s is %s: %v", path, shown(v, text), err))
		return
	}
	if err := r.check(read, text); err != nil {
		d.fail(n, ekerr.New(ekerr.ConfigValue, "%s is %s: %v", path, shown(v, text), err))
		return
	}
	v.Set(read)
}

// setText reads text into v, which is a scalar.
func setText(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a whole number")
		}
		v.SetInt(int64(n))
	default:
		v.SetString(text)
	}
	return nil
}

// check tells whether v, read from text, is within the rules.
func (r rules) check(v reflect.Value, text string) error {
	if choices := strings.Fields(r.oneof); len(choices) > 0 && !slices.Contains(choices, text) {
		err := "want " + strings.Join(choices, " or ")
		if near := nearest(text, choices); near != "" {
			err += fmt.Sprintf("; did you mean %q?", near)
		}
		return errors.New(err)
	}
	if r.min != "" && order(v, r.min) < 0 || r.max != "" && order(v, r.max) > 0 {
		return fmt.Errorf("want %s to %s", r.min, r.max)
	}
	return nil
}

// order compares v with a bound from a tag. A bound that cannot be read is a
// bug in a tag.
func order(v reflect.Value, bound string) int {
	b := reflect.New(v.Type()).Elem()
	if err := setText(b, bound); err != nil {
		panic(fmt.Sprintf("config: bound %q of %v: %v", bound, v.Type(), err))
	}
	if v.CanFloat() {
		return cmp.Compare(v.Float(), b.Float())
	}
	return cmp.Compare(v.Int(), b.Int())
}

// shown quotes a value for an error; a credential is never shown.
func shown(v reflect.Value, text string) string {
	switch v.Interface().(type) {
	case Secret, StoreURL:
		return "not usable"
	}
	return strconv.Quote(clip(text))
}

// clip keeps an error to one line.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

// isNull tells a value left out or written as null or ~. A value of a variable or
// a flag has no tag and is what it says.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (d *decoder) wrong(n *yaml.Node, path, want string, got *yaml.Node) {
	what := map[yaml.Kind]string{yaml.MappingNode: "keys below it", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}[got.Kind]
	d.fail(n, ekerr.New(ekerr.ConfigType, "%s has %s, want %s", cmp.Or(path, "the file"), what, want))
}

func (d *decoder) unknown(key *yaml.Node, path string, siblings []string) {
	if len(d.errs) >= maxErrors {
		return
	}
	e := ekerr.New(ekerr.ConfigKey, "unknown key %q%s", clip(key.Value), under(path))
	if near := nearest(key.Value, siblings); near != "" {
		e = e.Hint("did you mean %q?", near)
	} else if home := homes(key.Value); len(home) > 0 {
		e = e.Hint("did you mean %s?", strings.Join(home, " or "))
	} else {
		slices.Sort(siblings)
		e = e.Hint("known here: %s", strings.Join(siblings, ", "))
	}
	d.fail(key, e)
}

// maxErrors are told at once. Who has more has given us another kind of file.
const maxErrors = 100

func (d *decoder) fail(n *yaml.Node, e *ekerr.Error) {
	if len(d.errs) >= maxErrors {
		return
	}
	e.At = d.at(n)
	d.errs = append(d.errs, e)
}

func under(path string) string {
	if path == "" {
		return ""
	}
	return " under " + path
}
