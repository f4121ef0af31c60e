package claude

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Bounds of what is kept of an error answer. The longest message seen has
// about 700 bytes, the longest type 21 and code 40; what is longer is none.
const (
	maxErrorBody    = 64 << 10
	maxErrorMessage = 1 << 10
	maxErrorName    = 64
	maxRequestID    = 128
)

// ParseError reads the envelope of an error answer, in all the shapes in which
// it has been seen:
//
//   - the documented one, with details an object, null or absent
//     (“Claude API errors”, platform.claude.com, 2026-09-26);
//   - without top-level type and request_id: the 413 of the edge
//     (anthropics/anthropic-sdk-python#938);
//   - error as a bare string, or the inner object alone, as proxies write them;
//   - cut short: what stands before the cut is read;
//   - no JSON at all: the text is the message, as in the SDKs.
//
// It looks at the first 64 KiB. An answer of another API yields what it has in
// common with an envelope, which may be nothing. It never fails and the zero
// Error means that nothing is known.
//
// Message can quote the request, and prompts with it. It is there to be
// matched where the API has no code, and never to be logged.
func ParseError(body []byte) Error {
	body = bytes.TrimSpace(body[:min(len(body), maxErrorBody)])
	if len(body) == 0 {
		return Error{}
	}
	var e Error
	if body[0] == '{' {
		e = parseEnvelope(body)
	}
	if e == (Error{}) {
		e.Message = message(string(body[:min(len(body), maxErrorMessage+1)]))
	}
	return e
}

// ParseErrorEvent reads the data of an SSE event named error, which holds the
// same envelope as an error answer (“Streaming messages”, platform.claude.com,
// 2026-09-02). What [ParseError] says of Message holds here too.
func ParseErrorEvent(data []byte) Error { return ParseError(data) }

// parseEnvelope reads a JSON object token by token: that needs no more memory
// than its longest string, however it is nested, and reads the start of a
// body that was cut.
func parseEnvelope(body []byte) Error {
	r := reader{json.NewDecoder(bytes.NewReader(body))}
	var e, bare Error
	_, _ = r.Token() // the brace
	r.members(func(key string, v json.Token) (entered bool) {
		switch key {
		case "error":
			requestID := e.RequestID
			e = Error{RequestID: requestID}
			if v == json.Delim('{') {
				r.members(func(key string, v json.Token) bool { return r.inner(&e, key, v) })
				return true
			}
			e.Message = message(str(v))
		case "request_id":
			e.RequestID = name(str(v), maxRequestID)
		default:
			return r.inner(&bare, key, v)
		}
		return false
	})
	if e.Type == "" && e.Code == "" && e.Message == "" && bare.Type != "error" {
		bare.RequestID = e.RequestID
		return bare
	}
	return e
}

// inner takes one member of the error object.
func (r reader) inner(e *Error, key string, v json.Token) (entered bool) {
	switch key {
	case "type":
		e.Type = ErrorType(name(str(v), maxErrorName))
	case "message":
		e.Message = message(str(v))
	case "details":
		e.Code = ""
		if v != json.Delim('{') {
			return false
		}
		r.members(func(key string, v json.Token) bool {
			if key == "error_code" {
				e.Code = ErrorCode(name(str(v), maxErrorName))
			}
			return false
		})
		return true
	}
	return false
}

// reader walks a JSON document forwards.
type reader struct{ *json.Decoder }

// members calls member for each member of the object at hand and leaves the
// object. A member whose value is an object or array may enter it, and must
// then have left it; otherwise it is skipped.
func (r reader) members(member func(key string, v json.Token) (entered bool)) {
	for {
		key, err := r.Token()
		if err != nil || key == json.Delim('}') {
			return
		}
		v, err := r.Token()
		if err != nil {
			return
		}
		entered := member(str(key), v)
		if !entered && (v == json.Delim('{') || v == json.Delim('[')) {
			r.skip()
		}
	}
}

// skip leaves the object or array at hand.
func (r reader) skip() {
	for depth := 1; depth > 0; {
		t, err := r.Token()
		if err != nil {
			return
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// str is a token as a string; "" if it is none.
func str(t json.Token) string {
	s, _ := t.(string)
	return s
}

// name bounds a type, code or id: one that is cut could be taken for another.
func name(s string, most int) string {
	if len(s) > most {
		return ""
	}
	return strings.Clone(s)
}

// message bounds a text, and lets go of the longer one it came from.
func message(s string) string {
	return strings.Clone(strings.ToValidUTF8(cut(s, maxErrorMessage), "?"))
}
