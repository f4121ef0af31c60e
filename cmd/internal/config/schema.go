package config

import (
	"encoding"
	"reflect"
	"strings"
)

// Schema returns the JSON schema of the file, for editors. It is as strict as
// the reader about keys and choices; forms such as 30s are patterns.
func Schema() map[string]any {
	cfg := Default()
	s := schema(reflect.ValueOf(cfg), rules{})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "evenkeel configuration"
	return s
}

// patterns of the types that are written as text.
var patterns = map[reflect.Type]string{
	reflect.TypeFor[Duration](): `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`,
	reflect.TypeFor[Size]():     `^[0-9.]+ ?([kKMGT]i?)?[bB]?$`,
	reflect.TypeFor[Percent]():  `^[0-9.]+ ?%$`,
	reflect.TypeFor[Count]():    `^[0-9.]+[kKM]?$`,
}

// A value may come from a variable, whatever its type.
const referencePattern = `^.*\$\{.+\}.*$`

func schema(v reflect.Value, r rules) map[string]any {
	t := v.Type()
	if pattern, ok := patterns[t]; ok {
		s := map[string]any{"type": []string{"string", "integer"}, "pattern": pattern + "|" + referencePattern}
		return described(s, v, r)
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(t)); ok {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(v, r)
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": schema(reflect.New(t.Elem()).Elem(), rules{})}
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": schema(entryOf(t), rules{})}
	case reflect.Bool:
		return described(orReference("boolean"), v, r)
	case reflect.Int:
		return described(orReference("integer"), v, r)
	default:
		return described(map[string]any{"type": "string"}, v, r)
	}
}

func structSchema(v reflect.Value, r rules) map[string]any {
	properties := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		properties[f.Tag.Get("yaml")] = schema(v.Field(i), rulesOf(f, r))
	}
	return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// entryOf returns an entry of a list as it is before anything is read into it.
func entryOf(t reflect.Type) reflect.Value {
	entry := reflect.New(t.Elem())
	if d, ok := reflect.TypeAssert[defaulter](entry); ok {
		d.defaults()
	}
	return entry.Elem()
}

func orReference(kind string) map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": kind},
		map[string]any{"type": "string", "pattern": referencePattern},
	}}
}

func described(s map[string]any, v reflect.Value, r rules) map[string]any {
	if choices := strings.Fields(r.oneof); len(choices) > 0 {
		s["enum"] = choices
	}
	if r.min != "" {
		s["description"] = "from " + r.min + " to " + r.max
	}
	if dflt := tree(v); dflt != "" {
		s["default"] = dflt
	}
	return s
}
