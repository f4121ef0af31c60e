package sim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// types is the documented error.type of each status; see [typeOf] for others.
var types = map[int]claude.ErrorType{
	http.StatusBadRequest:            claude.InvalidRequest,
	http.StatusUnauthorized:          claude.Authentication,
	http.StatusPaymentRequired:       claude.Billing,
	http.StatusForbidden:             claude.Permission,
	http.StatusNotFound:              claude.NotFound,
	http.StatusConflict:              claude.Conflict,
	http.StatusRequestEntityTooLarge: claude.RequestTooLarge,
	http.StatusTooManyRequests:       claude.RateLimit,
	http.StatusInternalServerError:   claude.API,
	http.StatusGatewayTimeout:        claude.Timeout,
	529:                              claude.Overloaded,
}

// typeOf returns the error type of a status. That an undocumented one has the
// general type of its range is a guess.
func typeOf(status int) claude.ErrorType {
	if typ, ok := types[status]; ok {
		return typ
	}
	if status >= 500 {
		return claude.API
	}
	return claude.InvalidRequest
}

// statusOf returns the status an error type is answered with.
func statusOf(typ claude.ErrorType) int {
	for status, t := range types {
		if t == typ {
			return status
		}
	}
	return 529
}

// messages of errors that nobody worded.
var messages = map[claude.ErrorType]string{
	claude.Overloaded:     "Overloaded",
	claude.API:            "Internal server error",
	claude.Timeout:        "Request timed out",
	claude.RateLimit:      "This request would exceed your rate limit",
	claude.Authentication: "invalid x-api-key",
	claude.NotFound:       "Not found",
}

// envelope is the body of an error answer and of an error event.
type envelope struct {
	Type  string `json:"type"`
	Error struct {
		Type    claude.ErrorType `json:"type"`
		Message string           `json:"message"`
		Details *details         `json:"details"`
	} `json:"error"`
	RequestID string `json:"request_id"`
}

type details struct {
	Code claude.ErrorCode `json:"error_code"`
}

// envelope returns the error in Claude's shape.
func (t *attempt) envelope(typ claude.ErrorType, code claude.ErrorCode, message string) []byte {
	e := envelope{Type: "error", RequestID: t.requestID}
	e.Error.Type = typ
	e.Error.Message = cmp.Or(message, messages[typ], "The request failed: "+string(typ))
	if code != "" {
		e.Error.Details = &details{code}
	}
	return marshal(e)
}

// errorEvent is the frame of an ErrorEventAt.
func (t *attempt) errorEvent(f Fault) []byte {
	return event("error", t.envelope(cmp.Or(f.Type, claude.Overloaded), f.Code, f.Message))
}

// ok is a 200 with a JSON body.
func (t *attempt) ok(v any) outcome { return t.answer(http.StatusOK, marshal(v)) }

// problem is an error answer.
func (t *attempt) problem(status int, typ claude.ErrorType, code claude.ErrorCode, message string) outcome {
	return t.answer(status, t.envelope(typ, code, message))
}

// rejected is the answer to a request that is no proper one.
func (t *attempt) rejected(r *reject) outcome {
	if !r.edge {
		return t.problem(r.status, r.typ, r.code, r.message)
	}
	o := t.answer(r.status, marshal(map[string]any{"error": map[string]any{"type": r.typ, "message": r.message}}))
	o.header.Del("Request-Id")
	o.header.Del("Anthropic-Organization-Id")
	o.header.Del(headerWorkspace)
	return o
}

// failure is the error that a fault asks for, without its headers.
func (t *attempt) failure(f Fault) outcome {
	body := []byte(f.Body)
	if f.Body == "" {
		body = t.envelope(cmp.Or(f.Type, typeOf(f.Status)), f.Code, f.Message)
	}
	o := t.answer(f.Status, body)
	if f.Body != "" && !json.Valid(body) {
		o.header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	return o
}

// answer is a plain answer with the headers every answer has.
func (t *attempt) answer(status int, body []byte) outcome {
	h := make(http.Header, 24) // with those of the limits
	h.Set("Content-Type", "application/json")
	h.Set("Request-Id", t.requestID)
	t.identify(h)
	o := outcome{status: status, header: h}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		o.length, o.body = int64(len(body)), once(body)
	}
	return o
}

// stream is an event stream with the headers every answer has.
func (t *attempt) stream(body source) outcome {
	o := t.answer(http.StatusOK, nil)
	o.header.Set("Content-Type", "text/event-stream; charset=utf-8")
	o.header.Set("Cache-Control", "no-cache")
	o.length, o.body = -1, body
	return o
}

// event returns one server-sent event.
func event(name string, data []byte) []byte {
	out := make([]byte, 0, len(name)+len(data)+len("event: \ndata: \n\n"))
	out = append(append(out, "event: "...), name...)
	out = append(append(out, "\ndata: "...), data...)
	return append(out, "\n\n"...)
}

// marshal returns v as JSON. Everything given to it can be.
func marshal(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic("sim: " + err.Error())
	}
	return out
}

// unmarshalStrict is json.Unmarshal that refuses unknown keys.
func unmarshalStrict(data []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
