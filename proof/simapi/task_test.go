package simapi

import (
	"context"
	"encoding/json"
	"testing"
)

// task is one thing that a client is asked to do.
type task struct {
	URL     string            `json:"url"`
	Key     string            `json:"key"`
	Retries int               `json:"retries"`    // that the client makes on its own
	Timeout int               `json:"timeout_ms"` // per attempt; 0 leaves the client's own
	Headers map[string]string `json:"headers"`

	Do     verb            `json:"do"`
	Params json.RawMessage `json:"params,omitempty"` // the body, in the API's own words
	ID     string          `json:"id,omitempty"`     // of a model, batch or file
	Name   string          `json:"name,omitempty"`   // of a file
	Limit  int             `json:"limit,omitempty"`  // entries per page
	Then   string          `json:"then,omitempty"`   // what the user says next
	Edit   bool            `json:"edit,omitempty"`   // change the thinking before it goes back
}

// verb names what to do.
type verb string

// The verbs.
const (
	doMessage      verb = "message"
	doStream       verb = "stream"        // with the helper that puts the message together
	doLoop         verb = "loop"          // the SDK's own tool runner, with the tool lookup
	doLoopStream   verb = "loop_stream"   // the same, streamed
	doConverse     verb = "converse"      // answer, go on with Then
	doConverseLive verb = "converse_live" // the same, streamed
	doCount        verb = "count"         // tokens
	doModels       verb = "models"        // all, page by page
	doModel        verb = "model"         //
	doBatchCreate  verb = "batch_create"  //
	doBatchGet     verb = "batch_get"     //
	doBatchList    verb = "batch_list"    // all, page by page
	doBatchCancel  verb = "batch_cancel"  //
	doBatchDelete  verb = "batch_delete"  //
	doBatchResults verb = "batch_results" // line by line
	doFileUpload   verb = "file_upload"   // Name, with the text Then
	doFileGet      verb = "file_get"      //
	doFileList     verb = "file_list"     // all, page by page
	doFileDelete   verb = "file_delete"   //
	doRateLimits   verb = "rate_limits"   // all, page by page
)

// seen is what a client made of the answers to a task.
type seen struct {
	Messages []message         `json:"messages"` // oldest first
	Deltas   deltas            `json:"deltas"`   // of the streams, as the helper reported them
	Inputs   []json.RawMessage `json:"inputs"`   // that the tool was run with
	Tokens   int               `json:"tokens"`
	Items    []item            `json:"items"`
	Failure  *failure          `json:"failure"`
}

// message is an answer as the client holds it.
type message struct {
	ID    string  `json:"id"`
	Model string  `json:"model"`
	Role  string  `json:"role"`
	Stop  string  `json:"stop_reason"`
	Block []block `json:"content"`
	Usage struct {
		Input      int `json:"input_tokens"`
		Output     int `json:"output_tokens"`
		CacheRead  int `json:"cache_read_input_tokens"`
		CacheWrite int `json:"cache_creation_input_tokens"`
	} `json:"usage"`
}

// block is a content block, of any type.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	ID        string          `json:"id"`
	ToolUseID string          `json:"tool_use_id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	Citations []citation      `json:"citations"`
	Results   json.RawMessage `json:"content"` // of a server tool
}

type citation struct {
	Type  string `json:"type"`
	Cited string `json:"cited_text"`
	URL   string `json:"url"`
}

// deltas are what the events of streams carried, put together.
type deltas struct {
	Text      string `json:"text"`
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
	JSON      string `json:"json"` // of all tools
	Citations int    `json:"citations"`
}

// item is an entry of a list, or a thing that was asked for by its id.
type item struct {
	ID     string         `json:"id"`
	Type   string         `json:"type"`
	Name   string         `json:"name"`   // display_name, filename; group of a rate limit
	Status string         `json:"status"` // processing_status; type of a result
	Counts map[string]int `json:"counts"` // request_counts; values of a rate limit
	Size   int            `json:"size"`   // size_bytes; max_input_tokens
	Text   string         `json:"text"`   // of a result that succeeded
	Error  string         `json:"error"`  // error.type of a result that did not
	URL    string         `json:"url"`    // results_url
}

// failure is the error that a client raised.
type failure struct {
	Class     string `json:"class"`
	Parents   string `json:"parents"` // classes it is one of, too, blank-separated; nearest first
	Status    int    `json:"status"`
	Type      string `json:"type"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
	Message   string `json:"message"` // error.message of the answer
	Text      string `json:"text"`    // what is printed
}

// driver makes one client do tasks, one after the other.
type driver interface {
	do(ctx context.Context, t task) (seen, error) // the error is the driver's own
}

// client is a program that must work unchanged.
type client struct {
	name  string
	sdk   sdk
	start func(t *testing.T) driver
}

// sdk tells apart whose documentation counts.
type sdk int

const (
	goSDK sdk = iota
	ts1       // @anthropic-ai/sdk 1.x
	ts0       // @anthropic-ai/sdk 0.x
	py
)

var clients = []client{
	{"Go SDK v2", goSDK, func(*testing.T) driver { return goSDK2{} }},
	{"Go SDK v1", goSDK, func(*testing.T) driver { return goSDK1{} }},
	{"@anthropic-ai/sdk 1.x", ts1, node("simapi1.mjs")},
	{"@anthropic-ai/sdk 0.x", ts0, node("simapi0.mjs")},
	{"Python on httpx", py, python("simapi.py")},
}

// forEach runs a test with every client, side by side.
func forEach(t *testing.T, test func(t *testing.T, c client, d driver)) {
	t.Parallel()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c, c.start(t))
		})
	}
}
