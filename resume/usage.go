package resume

import (
	"math"
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// parseUsage reads a usage object; false for one that is too long to be one.
// None is an empty one.
func parseUsage(raw string) (rawjson.Object, bool) {
	if len(raw) > maxUsage {
		return nil, false
	}
	usage, _ := rawjson.Parse(strings.Clone(raw)) // without the event around it
	return usage, true
}

// overwrite takes cumulative counts over older ones. Null updates nothing.
func overwrite(usage *rawjson.Object, told rawjson.Object) {
	for _, field := range told {
		if field.Raw != "null" {
			usage.Set(field.Key, field.Raw)
		}
	}
}

// sum returns the usage of a message_delta with that of the cut attempt added.
// told is what the message_delta says, now all that the continuing attempt has
// said so far, before all of the cut one, as the caller knows it.
//
// What is told is told as a sum; what is not is added where the caller knows a
// smaller count, so that input billed twice shows.
func sum(before, now, told rawjson.Object) rawjson.Object {
	out := append(rawjson.Object(nil), told...)
	for _, field := range now {
		known := before.Get(field.Key)
		total := add(known, field.Raw, 0)
		if out.Has(field.Key) || counts(field.Raw) && total != known {
			out.Set(field.Key, total)
		}
	}
	for _, field := range before {
		if out.Has(field.Key) && !now.Has(field.Key) && counts(field.Raw) {
			out.Set(field.Key, field.Raw) // told as null
		}
	}
	return out
}

// deepest bounds how deep counts are nested; 2 is documented.
const deepest = 4

// add returns the sum of two counts, or of all counts in two objects. Anything
// else is as the later one says.
func add(a, b string, depth int) string {
	switch x, y, ok := integers(a, b); {
	case ok:
		return strconv.FormatInt(x+y, 10)
	case a == "" || a == "null" || depth == deepest:
		return b
	case b == "" || b == "null":
		return a
	}
	before, ok := rawjson.Parse(a)
	now, also := rawjson.Parse(b)
	if !ok || !also {
		return b
	}
	out := append(rawjson.Object(nil), now...)
	for _, field := range before {
		out.Set(field.Key, add(field.Raw, now.Get(field.Key), depth+1))
	}
	return string(out.Append(nil))
}

// integers reads two whole numbers whose sum is one, too.
func integers(a, b string) (x, y int64, ok bool) {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	return x, y, errX == nil && errY == nil && max(x, y) < math.MaxInt64/2 && min(x, y) >= 0
}

// counts tells that a value is a count, or an object of counts.
func counts(raw string) bool {
	return raw != "" && (raw[0] == '{' || '0' <= raw[0] && raw[0] <= '9')
}
