package evenkeel

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/evenkeel-dev/evenkeel/classify"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/stream"
)

// The codes of streams that end in an error event of ours.
const (
	CodeStreamCut  Code = "EK-STREAM-CUT"  // the answer ended before the message did: after content, or at each attempt
	CodeStreamIdle Code = "EK-STREAM-IDLE" // no byte came for longer than the idle limit
)

// messageStop is given to a message that has its stop reason when the stream
// ends: there is nothing more that it could bring, and the TypeScript SDK takes
// a message without it for none.
var messageStop = []byte("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")

// errorEvent is an event that official clients raise as an API error.
func errorEvent(kind claude.ErrorType, code Code, message, requestID string) []byte {
	type details struct {
		Code Code `json:"error_code"`
	}
	var e struct {
		Type  string `json:"type"`
		Error struct {
			Type    claude.ErrorType `json:"type"`
			Message string           `json:"message"`
			Details details          `json:"details"`
		} `json:"error"`
		RequestID *string `json:"request_id"`
	}
	e.Type, e.Error.Type, e.Error.Message, e.Error.Details = "error", kind, message, details{code}
	if requestID != "" {
		e.RequestID = &requestID
	}
	data, err := json.Marshal(e)
	if err != nil {
		panic("evenkeel: " + err.Error()) // strings can be marshalled
	}
	return frame(data)
}

func frame(data []byte) []byte {
	out := make([]byte, 0, len("event: error\ndata: \n\n")+len(data))
	out = append(out, "event: error\ndata: "...)
	return append(append(out, data...), "\n\n"...)
}

// broken is the error event of a stream that ended in a fault after content.
func (x *exchange) broken(f classify.Fault) []byte {
	if f == classify.FaultIdle {
		return errorEvent(claude.API, CodeStreamIdle, "The stream was silent for "+short(x.s.Timeouts.Idle)+
			", so it was given up; what has arrived is not the whole answer. Make the call again.", x.requestID)
	}
	return errorEvent(claude.API, CodeStreamCut,
		"The stream from the API ended before the message did; what has arrived is not the whole answer. Make the call again.", x.requestID)
}

// failed is the error event of a call that ended without an answer after its
// headers were out; nil if nobody is there to read it.
func (x *exchange) failed(err error) []byte {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	return errorEvent(e.Kind, e.Code, e.Error(), x.requestID)
}

// lateAnswer is the error event of an answer that is not the stream which was
// promised when the headers went out: the API's own error, if it is one.
func (x *exchange) lateAnswer(resp *http.Response) []byte {
	b := resp.Body.(*body)
	if b.at != nil {
		b.at.arm(time.Now(), limit{after: x.s.Timeouts.Idle, cause: ErrIdle, by: x.machine.Deadline(), late: ErrContent})
		defer b.at.disarm()
	}
	head, _ := io.ReadAll(io.LimitReader(b.src, errorBody)) // as far as it goes
	head = decoded(resp.Header, head)
	if isEventStream(resp.Header) {
		head = errorIn(head)
	}
	if claude.ParseError(head).Type != "" && json.Valid(head) {
		var line bytes.Buffer
		if json.Compact(&line, head) == nil { // an event's data is one line
			return frame(line.Bytes())
		}
	}
	return errorEvent(claude.API, CodeGaveUp, "The API answered "+resp.Status+" without a stream.", x.requestID)
}

// errorIn is the data of the error event that ends a stream; nil if none does.
func errorIn(events []byte) []byte {
	r := stream.NewReader(bytes.NewReader(events))
	r.Withhold = true
	_, _ = io.Copy(io.Discard, r) // it is in memory
	if r.State().Error.Type == "" {
		return nil
	}
	event, _ := r.Held()
	_, data := stream.Fields(event)
	return data
}
