package sim

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// complete answers POST /v1/complete, the legacy text completions, plain or as
// a stream of "completion" events.
func (t *attempt) complete(q ask) outcome {
	in := q.in
	if bad := t.unknownModel(in.Model); bad != nil && !q.told {
		return t.rejected(bad)
	}
	if in.Limit == nil && !q.told {
		return t.rejected(invalid("max_tokens_to_sample: Field required"))
	}
	in.MaxTokens = in.Limit
	m := t.message(input{body: in.body, request: request{Model: in.Model, MaxTokens: in.MaxTokens, Prompt: in.Prompt}})
	var text block
	if len(m.blocks) > 0 {
		text = m.blocks[0]
	}
	stop := "stop_sequence"
	if m.stop == "max_tokens" {
		stop = "max_tokens"
	}
	id := "compl_" + t.api.id(t.n, 'c')
	object := func(text string, stop *string) completion {
		return completion{"completion", id, text, stop, m.model}
	}
	if !in.Stream {
		o := t.ok(object(text.text(), &stop))
		o.wait = t.api.cfg.FirstToken + time.Duration(text.pieces)*m.tokenTime
		return o
	}
	next := 0
	o := t.stream(func() (piece, bool) {
		next++
		switch {
		case next <= text.pieces:
			return piece{data: event("completion", marshal(object(text.piece(next-1), nil))), wait: m.tokenTime}, true
		case next == text.pieces+1:
			return piece{data: event("completion", marshal(object("", &stop)))}, true
		}
		return piece{}, false
	})
	o.wait = t.api.cfg.FirstToken
	return o
}

type completion struct {
	Type       string  `json:"type"`
	ID         string  `json:"id"`
	Text       string  `json:"completion"`
	StopReason *string `json:"stop_reason"`
	Model      string  `json:"model"`
}

// isEventStream reports whether path is one of the long event streams of the
// Managed Agents endpoints.
func isEventStream(path string) bool {
	return (strings.HasPrefix(path, "/v1/agents/") || strings.HasPrefix(path, "/v1/sessions/")) &&
		(strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/events/stream"))
}

// agentEvents answers with a stream of numbered events. The query says how
// many (n, default 10) and how far apart (every, a duration, default
// Config.TokenTime); neither is part of the API.
func (t *attempt) agentEvents(r *http.Request) outcome {
	n, every := 10, t.api.cfg.TokenTime
	var err error
	if text := r.URL.Query().Get("n"); text != "" {
		if n, err = strconv.Atoi(text); err != nil {
			return t.rejected(invalid("n: want a whole number"))
		}
	}
	if text := r.URL.Query().Get("every"); text != "" {
		if every, err = time.ParseDuration(text); err != nil {
			return t.rejected(invalid("every: want a duration"))
		}
	}
	next := 0
	return t.stream(func() (piece, bool) {
		if next >= n {
			return piece{}, false
		}
		next++
		id := "event_" + t.api.id(t.n, uint64(next))
		return piece{data: event("agent.message", marshal(map[string]any{"type": "agent.message", "id": id, "n": next})), wait: every}, true
	})
}
