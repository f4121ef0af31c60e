package simapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
)

// The tool of all tests.
const (
	lookup       = "lookup"
	lookupSchema = `{"type":"object","properties":{"city":{"type":"string","description":"the name of the city"}},"required":["city"]}`
)

// transportClass names errors that are not the SDK's own.
func transportClass(err error, otherwise string) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "context.DeadlineExceeded"
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return "url.Error"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "io.ErrUnexpectedEOF"
	}
	return otherwise
}

// rawMessage reads a message that the SDK keeps as JSON.
func rawMessage(raw string) message {
	var m message
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		m.Stop = "unreadable: " + err.Error()
	}
	return m
}

// errorBody is the body of an error, for an SDK that leaves it to the caller.
type errorBody struct {
	Error struct {
		Message string
		Details struct {
			Code string `json:"error_code"`
		}
	}
}

// errorOf reads the body of an error; one that is no JSON says nothing.
func errorOf(raw string) (code, text string) {
	var b errorBody
	_ = json.Unmarshal([]byte(raw), &b)
	return b.Error.Details.Code, b.Error.Message
}
