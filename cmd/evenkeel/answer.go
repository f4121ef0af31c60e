package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/evenkeel-dev/evenkeel"
	"github.com/evenkeel-dev/evenkeel/claude"
	"github.com/evenkeel-dev/evenkeel/cmd/internal/ekerr"
)

// printer writes an answer: its text to out, what there is to say about it to
// talk.
type printer struct {
	out, talk io.Writer
	json      bool
	open      bool // the text so far does not end with a line
}

// block is a content block, or the start of one.
type block struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// answer prints a plain answer.
func (p *printer) answer(body io.Reader) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var m struct {
		Content    []block `json:"content"`
		StopReason string  `json:"stop_reason"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return ekerr.Wrap(ekerr.StreamCut, err, "the answer is no message of the API")
	}
	if p.json {
		_, err := p.out.Write(append(data, '\n'))
		return err
	}
	for _, b := range m.Content {
		if err := p.text(b.Text); err != nil {
			return err
		}
	}
	return p.end(m.StopReason)
}

// event is what is read of the data of a server-sent event.
type event struct {
	Type         string `json:"type"`
	ContentBlock block  `json:"content_block"`
	Delta        struct {
		Type       string `json:"type"`
		Text       string `json:"text"`
		StopReason string `json:"stop_reason"`
	} `json:"delta"`
}

// events prints a stream as it comes. A stream that ends before its message
// does is an error.
func (p *printer) events(body io.Reader) error {
	lines := bufio.NewReader(body)
	stop := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return p.cut(err)
		}
		data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data:")
		if !ok {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return p.cut(err)
		}
		if e.Type == "error" {
			p.close()
			return streamError(data)
		}
		if err := p.event(e, strings.TrimSpace(data)); err != nil {
			return err
		}
		if e.Delta.StopReason != "" {
			stop = e.Delta.StopReason
		}
		if e.Type == "message_stop" {
			return p.end(stop)
		}
	}
}

func (p *printer) event(e event, data string) error {
	if p.json {
		_, err := fmt.Fprintln(p.out, data)
		return err
	}
	return p.text(e.ContentBlock.Text + e.Delta.Text)
}

func (p *printer) text(s string) error {
	if s == "" {
		return nil
	}
	p.open = !strings.HasSuffix(s, "\n")
	_, err := io.WriteString(p.out, s)
	return err
}

// close ends the last line of the text.
func (p *printer) close() {
	if p.open {
		p.open = false
		_, _ = io.WriteString(p.out, "\n") // the text before it has been written
	}
}

// end tells why an answer has stopped, where that is worth knowing.
func (p *printer) end(stop string) error {
	p.close()
	switch stop {
	case "max_tokens":
		fmt.Fprintln(p.talk, "note  the answer was cut at --max-tokens")
	case "refusal":
		fmt.Fprintln(p.talk, "note  the model refused to answer further")
	}
	return nil
}

// cut reports a stream that ended before its message did.
func (p *printer) cut(err error) error {
	p.close()
	if errors.Is(err, io.EOF) {
		err = evenkeel.ErrTruncated
	}
	if _, ok := errors.AsType[*evenkeel.Error](err); ok {
		return err
	}
	return ekerr.Wrap(ekerr.StreamCut, err, "the answer broke off before its end")
}

// streamError reports an error event.
func streamError(data string) error {
	e := claude.ParseErrorEvent([]byte(data))
	out := ekerr.New(ekerr.StreamCut, "the answer ended with an error: %s", e.Type)
	out.Why = e.Message
	return out
}

// refusedBy reports an answer that is an error. The upstream's message is for
// whoever typed the prompt, and for nobody else.
func refusedBy(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is of it
	e := claude.ParseError(data)
	code := ekerr.Rejected
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		code = ekerr.Credentials
	case s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || s >= 500:
		code = ekerr.Unavailable
	}
	out := ekerr.New(code, "the upstream answered %d %s", resp.StatusCode, cmp.Or(string(e.Type), http.StatusText(resp.StatusCode)))
	out.Why = e.Message
	if trail := resp.Header.Get(evenkeel.HeaderTrail); trail != "" {
		out = out.Hint("attempts: %s", trail)
	}
	if id := cmp.Or(resp.Header.Get("Request-Id"), e.RequestID); id != "" {
		out = out.Hint("request id for support: %s", id)
	}
	return out
}
