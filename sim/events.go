package sim

import "time"

// size is the number of events a block has: start, deltas, stop.
func (b block) size() int { return 1 + b.deltas() + 1 }

func (b block) deltas() int {
	switch {
	case b.kind == "thinking" && b.omitted:
		return 1 // the signature
	case b.kind == "thinking":
		return b.pieces + 1
	case b.kind == "tool_use":
		return 1 + b.pieces // the API begins with an empty piece
	}
	return b.pieces
}

// source yields the message as events:
//
//	message_start ping ( content_block_start content_block_delta* content_block_stop )*
//	message_delta message_stop
func (m message) source() source {
	next := 0
	return func() (piece, bool) {
		p, ok := m.event(next)
		next++
		return p, ok
	}
}

// event returns the n-th event of the stream; false past the last.
func (m message) event(n int) (piece, bool) {
	switch n {
	case 0:
		return piece{data: m.startEvent()}, true
	case 1:
		return piece{data: []byte(pingEvent), ping: true}, true
	}
	n -= 2
	for i, b := range m.blocks {
		if n < b.size() {
			return b.event(i, n, m.tokenTime), true
		}
		n -= b.size()
	}
	switch n {
	case 0:
		return piece{data: m.deltaEvent()}, true
	case 1:
		return piece{data: event("message_stop", []byte(`{"type":"message_stop"}`))}, true
	}
	return piece{}, false
}

func (m message) startEvent() []byte {
	u := m.usage
	u.Output, u.Details = min(1, u.Output), nil // the final count comes with message_delta
	return event("message_start", marshal(struct {
		Type    string `json:"type"`
		Message any    `json:"message"`
	}{"message_start", m.object([]any{}, nil, u)}))
}

func (m message) deltaEvent() []byte {
	u := m.usage
	u.ByLife, u.ServiceTier = nil, ""
	type delta struct {
		StopReason   string  `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	}
	return event("message_delta", marshal(struct {
		Type  string `json:"type"`
		Delta delta  `json:"delta"`
		Usage usage  `json:"usage"`
	}{"message_delta", delta{StopReason: m.stop}, u}))
}

// event returns the n-th event of block i of a message.
func (b block) event(i, n int, tokenTime time.Duration) piece {
	switch n {
	case 0:
		return piece{data: event("content_block_start", marshal(struct {
			Type  string `json:"type"`
			Index int    `json:"index"`
			Block any    `json:"content_block"`
		}{"content_block_start", i, b.empty()}))}
	case b.size() - 1:
		return piece{data: event("content_block_stop", marshal(struct {
			Type  string `json:"type"`
			Index int    `json:"index"`
		}{"content_block_stop", i}))}
	}
	delta, tokens := b.delta(n - 1)
	return piece{data: event("content_block_delta", marshal(struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Delta any    `json:"delta"`
	}{"content_block_delta", i, delta})), wait: time.Duration(tokens) * tokenTime}
}

// delta returns the n-th delta of the block and how many tokens it took.
func (b block) delta(n int) (any, int) {
	switch b.kind {
	case "thinking":
		if b.omitted { // a long silence
			return signatureDelta{"signature_delta", b.signature}, b.pieces
		}
		if n == b.pieces {
			return signatureDelta{"signature_delta", b.signature}, 0
		}
		return thinkingDelta{"thinking_delta", b.piece(n)}, 1
	case "tool_use":
		if n == 0 {
			return inputDelta{"input_json_delta", ""}, 0
		}
		return inputDelta{"input_json_delta", b.piece(n - 1)}, 1
	}
	return textDelta{"text_delta", b.piece(n)}, 1
}

type textDelta struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type thinkingDelta struct {
	Type     string `json:"type"`
	Thinking string `json:"thinking"`
}

type signatureDelta struct {
	Type      string `json:"type"`
	Signature string `json:"signature"`
}

type inputDelta struct {
	Type string `json:"type"`
	JSON string `json:"partial_json"`
}
