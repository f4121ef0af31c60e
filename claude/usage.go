package claude

import (
	"unsafe"

	"github.com/tidwall/gjson"
)

// Usage is what an answer has cost in tokens, as far as it is known. The
// input of a call is the sum of the first three.
type Usage struct {
	Input      int // neither read from the cache nor written to it
	CacheWrite int
	CacheRead  int
	Output     int  // produced so far
	Caches     bool // the fields of the cache were told: the sum is all of the input
}

// Known tells that something has been reported.
func (u Usage) Known() bool { return u != Usage{} }

// Plus returns the sum of what two attempts have cost.
func (u Usage) Plus(o Usage) Usage {
	return Usage{u.Input + o.Input, u.CacheWrite + o.CacheWrite, u.CacheRead + o.CacheRead, u.Output + o.Output, u.Caches || o.Caches}
}

// Merge takes over the fields that a usage object of the API names. In a
// stream they are totals so far, in message_delta as in message_start:
// overwritten, not added (“Streaming messages”, platform.claude.com, 2026-09-02).
// What is no such object changes nothing. It does not allocate.
func (u *Usage) Merge(object []byte) {
	text := unsafe.String(unsafe.SliceData(object), len(object)) // nothing of it is kept
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		if value.Type != gjson.Number || value.Num < 0 || value.Num > 1<<52 {
			return true
		}
		switch key.Str {
		case "input_tokens":
			u.Input = int(value.Num)
		case "cache_creation_input_tokens":
			u.CacheWrite, u.Caches = int(value.Num), true
		case "cache_read_input_tokens":
			u.CacheRead, u.Caches = int(value.Num), true
		case "output_tokens":
			u.Output = int(value.Num)
		}
		return true
	})
}
