package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"
)

// YAML writes the resolved configuration as a file would have it, credentials
// hidden. With origins, every value has a comment that says where it was set.
func (r *Resolved) YAML(origins bool) ([]byte, error) {
	root := r.node(reflect.ValueOf(&r.Config).Elem(), "", origins)
	return yaml.Dump(root, yaml.WithLineWidth(-1))
}

// Tree returns the resolved configuration for an encoder such as JSON's,
// credentials hidden, durations and sizes as they are written in the file.
func (r *Resolved) Tree() any { return tree(reflect.ValueOf(r.Config)) }

// AllOrigins returns where each value was set, by path. Values that are lists or
// maps have one origin.
func (r *Resolved) AllOrigins() map[string]Origin {
	all := map[string]Origin{}
	for _, l := range leaves(&r.Config) {
		all[l.path] = r.Origin(l.path)
	}
	return all
}

func (r *Resolved) node(v reflect.Value, path string, origins bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			key := v.Type().Field(i).Tag.Get("yaml")
			n.Content = append(n.Content, plain(key), r.node(v.Field(i), join(path, key), origins))
		}
		return n
	}
	n = toNode(tree(v))
	if origins {
		n.LineComment = string(r.Origin(path))
	}
	return n
}

func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// toNode writes a tree in flow style: a list or map stays on the line of its
// key, where its origin fits behind it.
func toNode(t any) *yaml.Node {
	switch t := t.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, key := range slices.Sorted(maps.Keys(t)) {
			n.Content = append(n.Content, plain(key), toNode(t[key]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range t {
			n.Content = append(n.Content, toNode(item))
		}
		return n
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}
	default:
		return plain(fmt.Sprint(t))
	}
}

// tree turns a value into maps, lists, strings, numbers and booleans.
func tree(v reflect.Value) any {
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		text, _ := m.MarshalText() // ours do not fail
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			m[v.Type().Field(i).Tag.Get("yaml")] = tree(v.Field(i))
		}
		return m
	case reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = tree(it.Value())
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = tree(v.Index(i))
		}
		return list
	default:
		return v.Interface()
	}
}
