package assemble

import (
	"strings"

	"github.com/evenkeel-dev/evenkeel/internal/rawjson"
)

// Request returns the body of a plain messages request as the one that asks
// for the same answer as a stream; all other bytes are as they were. It reports
// false for what is no such request: no JSON object, one that asks for a stream
// already, or one whose stream field stands twice or is no boolean.
func Request(body []byte) (streamed []byte, ok bool) {
	if !rawjson.Valid(body) {
		return nil, false
	}
	doc := string(body)
	fields, ok := rawjson.Parse(doc)
	if !ok || fields.Repeats("stream") {
		return nil, false
	}
	const field = `"stream":true`
	m, given := fields.Member("stream")
	switch {
	case given && (m.Raw == "false" || m.Raw == "null"):
		out := make([]byte, 0, len(body))
		out = append(append(out, body[:m.At]...), "true"...)
		return append(out, body[m.At+len(m.Raw):]...), true
	case given:
		return nil, false
	}
	brace := strings.IndexByte(doc, '{') + 1
	out := make([]byte, 0, len(body)+len(field)+1)
	out = append(append(out, body[:brace]...), field...)
	if len(fields) > 0 {
		out = append(out, ',')
	}
	return append(out, body[brace:]...), true
}
