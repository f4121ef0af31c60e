package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// route gives a request its proper answer. A scripted status 200 is not
// checked, because the script has decided.
func (t *attempt) route(r *http.Request, in input) outcome {
	path := r.URL.Path
	if path == "/api/hello" && (r.Method == http.MethodHead || r.Method == http.MethodGet) {
		return t.ok(map[string]string{"message": "hello"})
	}
	told := t.scripted && (t.reply.Status == http.StatusOK || t.reply.Fault.Kind != "")
	if !told {
		if bad := t.unwelcome(r, in); bad != nil {
			return t.rejected(bad)
		}
	}
	switch claude.PathOf(r.Method, path) {
	case claude.Messages:
		return t.messages(in, told)
	case claude.CountTokens:
		return t.countTokens(in, told)
	case claude.Batches:
		return t.createBatch(in, told)
	}
	return t.other(r, in, told)
}

// other answers what is not a path with a limit of its own.
func (t *attempt) other(r *http.Request, in input, told bool) outcome {
	path, get := r.URL.Path, r.Method == http.MethodGet
	id := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case get && path == "/v1/models":
		return t.listModels(r)
	case get && path == "/v1/models/"+id:
		return t.oneModel(id)
	case get && path == "/v1/messages/batches":
		return t.listBatches(r)
	case get && path == "/v1/messages/batches/"+id:
		return t.oneBatch(id)
	case r.Method == http.MethodPost && path == "/v1/complete":
		return t.complete(in, told)
	case isUpload(r):
		return t.uploaded(in)
	case get && isEventStream(path):
		return t.agentEvents(r)
	case told:
		return t.ok(struct{}{})
	}
	return t.problem(http.StatusNotFound, claude.NotFound, "", "Not found")
}

// unwelcome returns why a request is turned away before anyone looks at what
// it asks.
func (t *attempt) unwelcome(r *http.Request, in input) *reject {
	switch keys := t.api.cfg.Keys; {
	case in.broken != nil && in.broken.edge:
		return in.broken
	case t.key == "":
		return &reject{status: http.StatusUnauthorized, typ: claude.Authentication, message: "x-api-key header is required"}
	case keys != nil && !slices.Contains(keys, t.key):
		return &reject{status: http.StatusUnauthorized, typ: claude.Authentication, message: "invalid x-api-key"}
	}
	switch version := r.Header.Get("Anthropic-Version"); version {
	case "2023-06-01", "2026-10-21":
	case "":
		return invalid("anthropic-version: header is required")
	default:
		return invalid("anthropic-version: %q is not a valid version", version)
	}
	return in.broken
}

// unknownModel returns the answer for a model that does not exist, or nil.
func (t *attempt) unknownModel(model string) *reject {
	if model == "" {
		return invalid("model: Field required")
	}
	if !slices.Contains(t.api.cfg.Models, model) {
		return &reject{status: http.StatusNotFound, typ: claude.NotFound, message: "model: " + model}
	}
	return nil
}

func (t *attempt) countTokens(in input, told bool) outcome {
	if bad := t.unknownModel(in.Model); bad != nil && !told {
		return t.rejected(bad)
	}
	if !told && !isList(in.Messages) {
		return t.rejected(invalid("messages: Field required"))
	}
	return t.ok(map[string]int{"input_tokens": in.inputTokens()})
}

func (t *attempt) uploaded(in input) outcome {
	return t.ok(map[string]any{
		"id": "file_" + t.api.id(t.n), "type": "file", "filename": in.file.name,
		"mime_type": in.file.mime, "size_bytes": in.file.bytes,
		"created_at": rfc3339(t.began), "downloadable": false,
	})
}

// model is an entry of GET /v1/models. Context and output are the ones of
// section “Models”, platform.claude.com, 2026-11: one million and 128k but for
// the 4.5 generation.
type model struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Name      string `json:"display_name"`
	Created   string `json:"created_at"`
	MaxInput  int    `json:"max_input_tokens"`
	MaxOutput int    `json:"max_tokens"`
}

func modelOf(id string) model {
	m := model{Type: "model", ID: id, Created: "2026-01-01T00:00:00Z", MaxInput: 1_000_000, MaxOutput: 128_000}
	if strings.Contains(id, "-4-5") {
		m.MaxInput, m.MaxOutput = 200_000, 64_000
	}
	for word := range strings.SplitSeq(id, "-") {
		m.Name += strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):] + " "
	}
	m.Name = strings.TrimSpace(m.Name)
	return m
}

func (t *attempt) listModels(r *http.Request) outcome {
	var list []model
	for _, id := range t.api.cfg.Models {
		list = append(list, modelOf(id))
	}
	return page(t, r, list, func(m model) string { return m.ID })
}

func (t *attempt) oneModel(id string) outcome {
	if bad := t.unknownModel(id); bad != nil {
		return t.rejected(bad)
	}
	return t.ok(modelOf(id))
}

// page answers with a part of a list, cut by after_id, before_id and limit
// (default 20, “List models”, platform.claude.com).
func page[T any](t *attempt, r *http.Request, list []T, id func(T) string) outcome {
	q := r.URL.Query()
	limit := 20
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return t.rejected(invalid("limit: must be 1 to 1000"))
		}
		limit = n
	}
	find := func(want string) int { return slices.IndexFunc(list, func(v T) bool { return id(v) == want }) }
	if after := q.Get("after_id"); after != "" {
		list = list[find(after)+1:]
	}
	more := len(list) > limit
	if before := q.Get("before_id"); before != "" {
		list = list[:max(0, find(before))]
		more = len(list) > limit
		list = list[max(0, len(list)-limit):]
	}
	list = list[:min(limit, len(list))]
	out := map[string]any{"data": []T{}, "has_more": more, "first_id": nil, "last_id": nil}
	if len(list) > 0 {
		out["data"], out["first_id"], out["last_id"] = list, id(list[0]), id(list[len(list)-1])
	}
	return t.ok(out)
}

// isList reports whether raw is a JSON array with something in it.
func isList(raw json.RawMessage) bool {
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && len(list) > 0
}
