package sim

import (
	"net/http"
	"slices"
	"sync"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// threadsBeta allows a request to leave its conversation with the API: a
// message thread (beta). Thread {"type":"create"} keeps the conversation under
// the id of the answer; with {"type":"continue","previous_message_id":…} a
// later request brings only what is new, and what the thread was created with,
// system and tools, stays. The tool runners of the official SDKs for Go 2.x and
// TypeScript 1.x work this way by default. Shapes and codes: Go SDK v2.13.0,
// betamessage.go, betamessagethread.go and its test.
const threadsBeta = "message-threads-2026-08-12"

// threadLink is the field thread of a request. The zero threadLink is none.
type threadLink struct{ Type, previous string }

const (
	threadCreate   = "create"
	threadContinue = "continue"
)

// conversation is a thread up to an answer.
type conversation struct {
	id                      string // of the answer
	organization, workspace string
	system                  []part
	tools                   []tool
	turns                   []turn
	bytes                   int  // of the bodies that these are parts of
	continued               bool // each answer can be continued once
}

// How much is remembered of threads, all organisations together: guesses. The
// oldest are forgotten first, which the SDKs answer with a new thread.
const (
	keepThreads     = 1_000
	keepThreadBytes = 256 << 20
)

// conversations are the threads that are kept, oldest first. The zero value is
// empty and ready. Safe for concurrent use.
type conversations struct {
	mu    sync.Mutex // guards all below, and what is in the list
	list  []*conversation
	bytes int
}

func (c *conversations) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list, c.bytes = nil, 0
}

// find returns the thread that ends with an answer, and whether that was
// continued; the former is nil if there is none.
func (c *conversations) find(id, organization, workspace string) (*conversation, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range slices.Backward(c.list) {
		if t.id == id && t.organization == organization && t.workspace == workspace {
			return t, t.continued
		}
	}
	return nil, false
}

// add keeps a thread. The one that it continues is kept by name only.
func (c *conversations) add(t *conversation, previous string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range c.list {
		if old.id == previous {
			c.bytes -= old.bytes
			old.continued, old.bytes, old.turns = true, 0, nil
		}
	}
	c.list, c.bytes = append(c.list, t), c.bytes+t.bytes
	for len(c.list) > keepThreads || c.bytes > keepThreadBytes && len(c.list) > 1 {
		c.bytes -= c.list[0].bytes
		c.list = slices.Delete(c.list, 0, 1)
	}
}

// unfold returns a request with the whole conversation that it continues.
func (t *attempt) unfold(in input) (input, *reject) {
	switch {
	case in.Thread.Type == "":
		return in, nil
	case !slices.Contains(in.betas, threadsBeta):
		return in, invalid("thread: Extra inputs are not permitted") // the words are a guess
	case in.Thread.Type == threadCreate:
		return in, nil
	case in.Thread.Type != threadContinue:
		return in, invalid("thread.type: Input should be 'create' or 'continue'")
	}
	c, continued := t.api.threads.find(in.Thread.previous, t.organization(), t.workspace())
	switch {
	case c == nil:
		return in, &reject{
			status: http.StatusNotFound, typ: claude.NotFound, code: "thread_not_found",
			message: "thread: there is no thread that ends with this message",
		}
	case continued:
		bad := invalid("thread: this message has been continued already")
		bad.code = "thread_already_continued"
		return in, bad
	}
	in.system, in.tools = c.system, c.tools
	in.turns = slices.Concat(c.turns, in.turns)
	in.threaded = c.bytes
	return in, nil
}

// keep remembers the conversation of a request that asks for it, with its
// answer. It is kept whole, though the answer may break off on its way.
func (t *attempt) keep(in input, m message) {
	if in.Thread.Type == "" {
		return
	}
	answer := raw(m.plain())
	var p parser
	t.api.threads.add(&conversation{
		id: m.id, organization: t.organization(), workspace: t.workspace(),
		system: in.system, tools: in.tools,
		turns: append(slices.Clip(in.turns), turn{
			role: "assistant", content: '[', parts: p.parts("content", answer.field("content")),
		}),
		bytes: in.threaded + len(in.body) + len(answer),
	}, in.Thread.previous)
}
