package sim

import (
	"strconv"
	"time"
)

// source yields the message as events:
//
//	message_start ping ( content_block_start content_block_delta* content_block_stop )*
//	message_delta message_stop
func (m message) source() source {
	w := &writer{message: m}
	return w.next
}

// writer writes a message down, an event at a time. Events are parts of a few
// larger buffers, none of which is used twice, so that an event costs no memory
// of its own and stays what it is.
type writer struct {
	message
	room  []byte
	stage int // 0 before message_start, 1 before ping, 2 in the blocks, 3 before message_stop, 4 past it
	block int // the one that comes next, or is being written
	delta int // how many of its events are out
}

// chunk is the size of a buffer, eventSize what most events fit in.
const (
	chunk     = 4096
	eventSize = 256
)

func (w *writer) next() (piece, bool) {
	if cap(w.room)-len(w.room) < eventSize {
		w.room = make([]byte, 0, chunk)
	}
	start := len(w.room)
	p := piece{}
	switch w.stage {
	case 0:
		w.room, w.stage = w.appendStart(w.room), 1
	case 1:
		w.stage = 2
		return piece{data: []byte(pingEvent), ping: true}, true
	case 2:
		if w.block < len(w.blocks) {
			p.tokens = w.appendBlock()
			break
		}
		w.room, w.stage = w.appendEnd(w.room), 3
	case 3:
		w.room, w.stage = append(w.room, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...), 4
	default:
		return piece{}, false
	}
	p.wait = time.Duration(p.tokens) * w.tokenTime
	p.data = w.room[start:len(w.room):len(w.room)]
	return p, true
}

// appendBlock writes the next event of the block, and returns the tokens that
// took.
func (w *writer) appendBlock() (tokens int) {
	b := &w.blocks[w.block]
	open := func(name string) {
		w.room = append(append(w.room, "event: content_block_"...), name...)
		w.room = append(append(w.room, "\ndata: {\"type\":\"content_block_"...), name...)
		w.room = strconv.AppendInt(append(w.room, `","index":`...), int64(w.block), 10)
	}
	switch w.delta {
	case 0:
		open("start")
		w.room = b.append(append(w.room, `,"content_block":`...), true)
		w.delta++
		if b.fixed != nil {
			tokens = b.pieces
		}
	case b.deltas() + 1:
		open("stop")
		w.block, w.delta = w.block+1, 0
	default:
		open("delta")
		w.room, tokens = b.appendDelta(append(w.room, `,"delta":`...), w.delta-1)
		w.delta++
	}
	w.room = append(w.room, "}\n\n"...)
	return tokens
}

// plain is the message as one JSON object.
func (m message) plain() []byte {
	size := chunk / 4
	for _, b := range m.blocks {
		size += 16*b.pieces + len(b.fixed)
	}
	to := m.append(make([]byte, 0, size), func(to []byte) []byte {
		for i, b := range m.blocks {
			if i > 0 {
				to = append(to, ',')
			}
			to = b.append(to, false)
		}
		return to
	})
	to = m.appendStop(append(to, ','))
	return append(m.usage.append(append(to, `,"usage":`...), false), '}')
}

func (m message) appendStart(to []byte) []byte {
	to = append(to, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
	to = m.append(to, func(to []byte) []byte { return to })
	to = append(to, `,"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":`...)
	u := m.usage
	u.Output, u.thinks = min(1, u.Output), false // what there is to count comes with message_delta
	u.Searches, u.Fetches = 0, 0
	return append(u.append(to, false), "}}\n\n"...)
}

// append appends a message object up to its content.
func (m message) append(to []byte, content func([]byte) []byte) []byte {
	to = append(append(append(to, `{"id":"`...), m.id...), `","type":"message","role":"assistant","model":`...)
	to = append(appendString(to, m.model), `,"content":[`...)
	return append(content(to), ']')
}

// appendStop appends why the message came to its end, and what it leaves
// behind.
func (m message) appendStop(to []byte) []byte {
	if m.container != nil {
		to = append(append(append(to, `"container":`...), m.container...), ',')
	}
	to = append(append(append(to, `"stop_reason":"`...), m.stop...), `","stop_sequence":`...)
	if m.stop == stopSequence {
		to = appendString(to, m.sequence)
	} else {
		to = append(to, "null"...)
	}
	to = append(to, `,"stop_details":`...)
	if m.stop == stopRefusal {
		return append(to, `{"type":"refusal","category":"general_harms","explanation":"This request was refused by the simulation."}`...)
	}
	return append(to, "null"...)
}

func (m message) appendEnd(to []byte) []byte {
	to = append(to, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	to = append(m.appendStop(to), `},"usage":`...)
	return append(m.usage.append(to, true), "}\n\n"...)
}
