package simapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel-dev/evenkeel/sim"
)

// Answers about documents cite them, and the SDK gathers the citations from
// their deltas.
func TestMessage_citations(t *testing.T) {
	document := body{
		"type": "document", "title": "The register", "citations": body{"enabled": true},
		"source": body{"type": "text", "media_type": "text/plain", "data": "Valparaíso has 42 hills. It lies on the sea."},
	}
	about := ask(body{"messages": []any{body{"role": "user", "content": []any{
		document, body{"type": "text", "text": "How many hills are there?"},
	}}}})
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, do := range []verb{doMessage, doStream} {
			got := does(t, d, s.task(t, do, about))
			var cited []citation
			for _, b := range got.Messages[0].Block {
				cited = append(cited, b.Citations...)
			}
			if len(cited) == 0 {
				t.Errorf("%s: no citation in %q", do, got.Messages[0].types())
				continue
			}
			if c := cited[0]; c.Type != "char_location" || c.Cited == "" {
				t.Errorf("%s: got %+v, want a char_location with the text", do, c)
			}
			if do == doStream {
				checkDeltas(t, got.Messages[0], got.Deltas)
			}
		}
	})
}

// What a server tool did comes between the texts: its use, its input in pieces
// of JSON, and its result.
func TestMessage_webSearch(t *testing.T) {
	search := ask(body{"tools": []any{body{"type": "web_search_20250305", "name": "web_search"}}})
	forEach(t, func(t *testing.T, _ client, d driver) {
		s := newStage(t, sim.Config{OutputTokens: words})
		for _, do := range []verb{doMessage, doStream} {
			got := does(t, d, s.task(t, do, search))
			m := got.Messages[0]
			use := slices.IndexFunc(m.Block, func(b block) bool { return b.Type == "server_tool_use" })
			result := slices.IndexFunc(m.Block, func(b block) bool { return b.Type == "web_search_tool_result" })
			if use < 0 || result < use || m.Stop != "end_turn" {
				t.Errorf("%s: blocks %q stopped for %q, want a use and its result, and end_turn", do, m.types(), m.Stop)
				continue
			}
			var input struct{ Query string }
			if err := json.Unmarshal(m.Block[use].Input, &input); err != nil || input.Query == "" {
				t.Errorf("%s: input %s, want a query", do, m.Block[use].Input)
			}
			var pages []struct{ Type, URL, Title string }
			if err := json.Unmarshal(m.Block[result].Results, &pages); err != nil || len(pages) == 0 ||
				pages[0].Type != "web_search_result" || !strings.HasPrefix(pages[0].URL, "https://") {
				t.Errorf("%s: results %s, want pages with addresses", do, m.Block[result].Results)
			}
			if m.Block[result].ToolUseID != m.Block[use].ID || m.Block[use].ID == "" {
				t.Errorf("%s: the result is of %q, the use is %q", do, m.Block[result].ToolUseID, m.Block[use].ID)
			}
			if do == doStream {
				checkDeltas(t, m, got.Deltas)
			}
		}
	})
}
