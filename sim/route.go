package sim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// ask is a request that has been read and found the one who answers it.
type ask struct {
	r    *http.Request
	in   input
	id   string // what stands for the * in the endpoint's path
	told bool   // a script has decided: it is not checked
}

// endpoint is a method on a path and who answers it.
type endpoint struct {
	method string
	path   string    // * stands for one segment
	group  groupType // whose requests it counts among; "" for none
	answer func(*attempt, ask) outcome
}

// endpoints are the resources of the API that are simulated. Shapes and
// parameters: Go SDK v2.13.0, messagebatch.go, model.go, file.go and
// organization…ratelimit.go.
var endpoints = []endpoint{
	{http.MethodPost, "/v1/messages", "", nil}, // answered by attempt.messages; here so that its path is known
	{http.MethodPost, "/v1/messages/count_tokens", groupTokenCount, (*attempt).countTokens},
	{http.MethodPost, "/v1/messages/batches", groupBatch, (*attempt).createBatch},
	{http.MethodGet, "/v1/messages/batches", groupBatch, (*attempt).listBatches},
	{http.MethodGet, "/v1/messages/batches/*", groupBatch, (*attempt).oneBatch},
	{http.MethodDelete, "/v1/messages/batches/*", groupBatch, (*attempt).deleteBatch},
	{http.MethodPost, "/v1/messages/batches/*/cancel", groupBatch, (*attempt).cancelBatch},
	{http.MethodGet, "/v1/messages/batches/*/results", groupBatch, (*attempt).batchResults},
	{http.MethodGet, "/v1/models", "", (*attempt).listModels},
	{http.MethodGet, "/v1/models/*", "", (*attempt).oneModel},
	{http.MethodPost, "/v1/files", groupFiles, (*attempt).uploaded},
	{http.MethodGet, "/v1/files", groupFiles, (*attempt).listFiles},
	{http.MethodGet, "/v1/files/*", groupFiles, (*attempt).oneFile},
	{http.MethodDelete, "/v1/files/*", groupFiles, (*attempt).deleteFile},
	{http.MethodGet, "/v1/files/*/content", groupFiles, (*attempt).fileContent},
	{http.MethodGet, "/v1/organizations/rate_limits", "", (*attempt).organizationLimits},
	{http.MethodGet, "/v1/organizations/workspaces/*/rate_limits", "", (*attempt).workspaceLimits},
	{http.MethodPost, "/v1/complete", "", (*attempt).complete},
}

// match returns what stands for the * of the endpoint's path in path, and
// whether path is of that form.
func (e endpoint) match(path string) (id string, ok bool) {
	before, after, star := strings.Cut(e.path, "*")
	if !star {
		return "", path == e.path
	}
	id, ok = strings.CutPrefix(path, before)
	if ok {
		id, ok = strings.CutSuffix(id, after)
	}
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// route gives a request its proper answer. A scripted status 200 is not
// checked, because the script has decided.
func (t *attempt) route(r *http.Request, in input) (outcome, error) {
	path := r.URL.Path
	if path == "/api/hello" && (r.Method == http.MethodHead || r.Method == http.MethodGet) {
		return t.ok(map[string]string{"message": "hello"}), nil
	}
	told := t.scripted && (t.reply.Status == http.StatusOK || t.reply.Fault.Kind != "")
	if !told {
		if bad := t.unwelcome(r, in); bad != nil {
			return t.rejected(bad), nil
		}
	}
	if claude.PathOf(r.Method, path) == claude.Messages {
		return t.messages(r.Context(), in, told)
	}
	return t.resource(ask{r: r, in: in, told: told}), nil
}

// resource answers everything but messages.
func (t *attempt) resource(q ask) outcome {
	var allowed []string
	for _, e := range endpoints {
		id, ok := e.match(q.r.URL.Path)
		if !ok {
			continue
		}
		if e.method != q.r.Method {
			allowed = append(allowed, e.method)
			continue
		}
		if busy := t.pass(e.group); busy != nil && !q.told {
			return *busy
		}
		q.id = id
		return e.answer(t, q)
	}
	switch {
	case q.r.Method == http.MethodGet && isEventStream(q.r.URL.Path):
		return t.agentEvents(q.r)
	case q.told:
		return t.ok(struct{}{})
	case len(allowed) > 0: // that its type is the general one is a guess
		o := t.problem(http.StatusMethodNotAllowed, claude.InvalidRequest, "", "Method Not Allowed")
		o.header.Set("Allow", strings.Join(slices.Sorted(slices.Values(allowed)), ", "))
		return o
	}
	return t.problem(http.StatusNotFound, claude.NotFound, "", "Not found")
}

func (t *attempt) countTokens(q ask) outcome {
	if bad := t.unknownModel(q.in.Model); bad != nil && !q.told {
		return t.rejected(bad)
	}
	if bad := t.badPrompt(q.in); bad != nil && !q.told {
		return t.rejected(bad)
	}
	return t.ok(map[string]int{"input_tokens": q.in.inputTokens()})
}
