package sim

import (
	"slices"
	"strings"
	"time"
)

// serverTool is a tool that the API runs itself.
type serverTool struct {
	prefix string // of the type by which a request offers it
	name   string // by which the answer uses it
	input  string
	result string // type of the block with the result
	found  string // content of that block
}

// serverTools are those that the simulation can use; the others it leaves
// alone. Shapes: official Go SDK v1.84.0, message.go.
var serverTools = []serverTool{
	{
		"web_search_", "web_search", `{"query":"harbor tide"}`, "web_search_tool_result",
		`[{"type":"web_search_result","title":"Harbor","url":"https://example.com/harbor",` +
			`"encrypted_content":"c2ltdWxhdGVk","page_age":null}]`,
	},
	{
		"web_fetch_", "web_fetch", `{"url":"https://example.com/harbor"}`, "web_fetch_tool_result",
		`{"type":"web_fetch_result","url":"https://example.com/harbor","retrieved_at":null,"content":{"type":"document",` +
			`"title":"Harbor","source":{"type":"text","media_type":"text/plain","data":"The tide comes in."}}}`,
	},
	{
		"code_execution_20250522", "code_execution", `{"code":"print(1)"}`, "code_execution_tool_result",
		`{"type":"code_execution_result","stdout":"1\n","stderr":"","return_code":0,"content":[]}`,
	},
	{
		"code_execution_", "bash_code_execution", `{"command":"echo 1"}`, "bash_code_execution_tool_result",
		`{"type":"bash_code_execution_result","stdout":"1\n","stderr":"","return_code":0,"content":[]}`,
	},
}

// serverTool returns the tool the API uses for the answer: the first offered,
// if the client runs none and the request does not say none.
func (r request) serverTool() *serverTool {
	if r.ToolUse.Type == "none" || slices.ContainsFunc(r.tools, tool.isClients) {
		return nil
	}
	for _, t := range r.tools {
		for i := range serverTools {
			if strings.HasPrefix(t.Type, serverTools[i].prefix) {
				return &serverTools[i]
			}
		}
	}
	return nil
}

// pausedUse returns the use of a server tool at the end of the last message,
// sent back so that it goes on; nil if there is none.
func (r request) pausedUse() *part {
	if len(r.turns) == 0 {
		return nil
	}
	last := r.turns[len(r.turns)-1]
	if n := len(last.parts); last.role == "assistant" && n > 0 && last.parts[n-1].kind == "server_tool_use" {
		return &last.parts[n-1]
	}
	return nil
}

// runs adds the result of a server tool, and counts it.
func (t *attempt) runs(d *draft, s *serverTool, id string) {
	fixed := append(append([]byte(`{"type":"`), s.result...), `","tool_use_id":`...)
	fixed = append(append(append(appendString(fixed, id), `,"content":`...), s.found...), '}')
	d.add(block{kind: s.result, fixed: fixed})
	switch s.name {
	case "web_search":
		d.usage.Searches++
	case "web_fetch":
		d.usage.Fetches++
	default:
		const life = time.Hour // of a container; guess
		d.container = marshal(map[string]any{
			"id": "container_" + t.api.id(t.n, 'c'), "expires_at": rfc3339(t.began.Add(life)), "skills": nil,
		})
	}
}

// cites returns what a text cites of the results.
func (s *serverTool) cites() [][]byte {
	if s.name != "web_search" {
		return nil
	}
	return [][]byte{[]byte(`{"type":"web_search_result_location","cited_text":"The tide comes in.",` +
		`"url":"https://example.com/harbor","title":"Harbor","encrypted_index":"c2ltdWxhdGVk"}`)}
}
