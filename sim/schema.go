package sim

import (
	"maps"
	"slices"
)

// fill returns a value that superficially fits a JSON schema: every property
// of an object, one item of an array, the first of a choice.
func fill(schema map[string]any, depth int) any {
	if value, ok := schema["const"]; ok {
		return value
	}
	if choice, ok := schema["enum"].([]any); ok && len(choice) > 0 {
		return choice[0]
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if choice, ok := schema[key].([]any); ok && len(choice) > 0 {
			first, _ := choice[0].(map[string]any)
			return fill(first, depth+1)
		}
	}
	const deep = 8 // schemas may refer to themselves
	switch kindOf(schema) {
	case "string":
		return "harbor"
	case "integer", "number":
		if least, ok := schema["minimum"].(float64); ok {
			return least
		}
		return 1
	case "boolean":
		return true
	case "array":
		items, ok := schema["items"].(map[string]any)
		if !ok || depth > deep {
			return []any{}
		}
		return []any{fill(items, depth+1)}
	case "null":
		return nil
	}
	out := map[string]any{}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if property, ok := properties[name].(map[string]any); ok && depth <= deep {
			out[name] = fill(property, depth+1)
		}
	}
	return out
}

// kindOf returns the type of a schema, the first if it lists several.
func kindOf(schema map[string]any) string {
	if list, ok := schema["type"].([]any); ok && len(list) > 0 {
		kind, _ := list[0].(string)
		return kind
	}
	kind, _ := schema["type"].(string)
	return kind
}
