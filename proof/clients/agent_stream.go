package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

var (
	errSilent = errors.New("no byte of the stream in time")
	errCut    = errors.New("the stream ended before the message did")
)

// watched is a body that ends when it is silent for too long. Any byte is a
// sign of life, those of pings included.
type watched struct {
	io.Reader
	silence time.Duration
	timer   *time.Timer
}

func watch(body io.Reader, silence time.Duration, cancel context.CancelCauseFunc) *watched {
	if silence == 0 {
		silence = 300 * time.Second
	}
	return &watched{body, silence, time.AfterFunc(silence, func() { cancel(errSilent) })}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.timer.Reset(w.silence)
	}
	if err != nil && !w.timer.Stop() && !errors.Is(err, io.EOF) {
		err = errSilent
	}
	return n, err
}

// message is an answer put together from its events.
type message struct {
	Content    []*block `json:"content"`
	StopReason string   `json:"stop_reason"`

	begun bool
	whole int  // blocks that are complete
	cut   bool // it broke off after one was
}

// block is a part of a message, as it goes back in the next request.
type block struct {
	Type     string          `json:"type"`
	Text     string          `json:"text,omitempty"`
	ID       string          `json:"id,omitempty"`
	Name     string          `json:"name,omitempty"`
	RawInput json.RawMessage `json:"input,omitempty"`

	// Thinking goes back untouched: it is bound to what came before it.
	Thinking  *string `json:"thinking,omitempty"`
	Signature string  `json:"signature,omitempty"`

	partial []byte
	input   map[string]any
}

func (m *message) text() string {
	var text strings.Builder
	for _, b := range m.Content {
		if b.Type == "text" {
			text.WriteString(b.Text)
		}
	}
	return text.String()
}

// readMessage reads a stream to its end. A failure before any block is whole
// is an error; a later one is a message that is cut.
func readMessage(body io.Reader) (*message, error) {
	m := &message{}
	err := m.read(bufio.NewReader(body))
	if err != nil && m.whole > 0 {
		m.cut = true
		return m, nil
	}
	return m, err
}

func (m *message) read(r *bufio.Reader) error {
	var data []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errCut // message_stop has not come
			}
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			continue
		}
		if len(line) > 0 || data == nil {
			continue // the event's name is in its data too; comments are nothing
		}
		if done, err := m.take(data); done || err != nil {
			return err
		}
		data = nil
	}
}

// event is what the data of any event may hold.
type event struct {
	Type    string   `json:"type"`
	Index   int      `json:"index"`
	Message *message `json:"message"`
	Block   *block   `json:"content_block"`
	Delta   struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		PartialJSON string `json:"partial_json"`
		Thinking    string `json:"thinking"`
		Signature   string `json:"signature"`
		StopReason  string `json:"stop_reason"`
	} `json:"delta"`
}

// take adds one event; done is true after the last.
func (m *message) take(data []byte) (done bool, err error) {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return false, fmt.Errorf("event %.200q: %w", data, err)
	}
	if e.Type == "message_start" {
		if m.begun {
			return false, errors.New("a second message_start")
		}
		m.begun = true
		return false, nil
	}
	switch e.Type {
	case "error":
		return false, fmt.Errorf("error event: %s", data)
	case "content_block_start":
		if !m.begun || e.Index != len(m.Content) || e.Block == nil {
			return false, fmt.Errorf("block %d begins after %d blocks", e.Index, len(m.Content))
		}
		m.Content = append(m.Content, e.Block)
	case "content_block_delta", "content_block_stop":
		if e.Index >= len(m.Content) {
			return false, fmt.Errorf("%s of block %d after %d blocks", e.Type, e.Index, len(m.Content))
		}
		return false, m.change(m.Content[e.Index], e)
	case "message_delta":
		m.StopReason = e.Delta.StopReason
	case "message_stop":
		return true, nil
	}
	return false, nil // pings, and events that are not known yet
}

// change applies a delta to a block, or its end.
func (m *message) change(b *block, e event) error {
	switch {
	case e.Type == "content_block_stop":
		m.whole++
		if b.Type != "tool_use" {
			return nil
		}
		if b.partial != nil {
			b.RawInput = b.partial
		}
		return json.Unmarshal(b.RawInput, &b.input)
	case e.Delta.Type == "text_delta":
		b.Text += e.Delta.Text
	case e.Delta.Type == "input_json_delta":
		b.partial = append(b.partial, e.Delta.PartialJSON...)
	case e.Delta.Type == "thinking_delta" && b.Thinking != nil:
		*b.Thinking += e.Delta.Thinking
	case e.Delta.Type == "signature_delta":
		b.Signature += e.Delta.Signature
	}
	return nil
}
