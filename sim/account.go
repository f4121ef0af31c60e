package sim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/evenkeel-dev/evenkeel/claude"
)

// headerWorkspace names the workspace a request acts on. It is needed with
// keys that belong to none, and must match with those that do (Go SDK v2.13.0,
// messagebatch.go).
const headerWorkspace = "Anthropic-Workspace-Id"

// adminPaths is where only Admin keys are welcome, which are welcome nowhere
// else (“Rate Limits API”, platform.claude.com, 2026-08-22).
const adminPaths = "/v1/organizations/"

// unwelcome returns why a request is turned away before anyone looks at what
// it asks, or nil.
func (t *attempt) unwelcome(r *http.Request, in input) *reject {
	if in.broken != nil && in.broken.edge {
		return in.broken
	}
	if t.key == "" {
		return &reject{status: http.StatusUnauthorized, typ: claude.Authentication, message: "x-api-key header is required"}
	}
	if !t.authentic() {
		return &reject{status: http.StatusUnauthorized, typ: claude.Authentication, message: "invalid x-api-key"}
	}
	switch version := r.Header.Get("Anthropic-Version"); version {
	case "2023-06-01", "2026-10-21":
	case "":
		return invalid("anthropic-version: header is required")
	default:
		return invalid("anthropic-version: %q is not a valid version", version)
	}
	own, asked := t.ownWorkspace(), r.Header.Get(headerWorkspace)
	switch {
	case strings.HasPrefix(r.URL.Path, adminPaths) != t.isAdmin():
		return forbidden("Your API key does not have permission to use the specified resource")
	case own != "" && asked != "" && own != asked: // the status is a guess
		return forbidden("Your API key does not belong to the workspace that the request names")
	}
	return in.broken
}

func forbidden(message string) *reject {
	return &reject{status: http.StatusForbidden, typ: claude.Permission, message: message}
}

// authentic reports whether the attempt's key is one that exists.
func (t *attempt) authentic() bool {
	cfg := &t.api.cfg
	return t.key != "" && (cfg.Keys == nil || slices.Contains(cfg.Keys, t.key) || slices.Contains(cfg.AdminKeys, t.key))
}

// isAdmin reports whether the attempt's key is an Admin key.
func (t *attempt) isAdmin() bool {
	if admins := t.api.cfg.AdminKeys; admins != nil {
		return slices.Contains(admins, t.key)
	}
	return strings.HasPrefix(t.key, "sk-ant-admin")
}

// ownWorkspace returns the workspace the attempt's key belongs to; "" if it
// belongs to none.
func (t *attempt) ownWorkspace() string {
	if t.api.cfg.Workspace == nil || t.key == "" {
		return ""
	}
	return t.api.cfg.Workspace(t.key)
}

// workspace returns the workspace the attempt acts on: that of its key, else
// the one it names, else "", the default workspace.
func (t *attempt) workspace() string {
	return cmp.Or(t.ownWorkspace(), t.rec.Header.Get(headerWorkspace))
}

// identify sets the headers that say on whose behalf an answer is. They are
// absent before authentication.
func (t *attempt) identify(h http.Header) {
	if !t.authentic() {
		return
	}
	h.Set("Anthropic-Organization-Id", t.organization())
	if workspace := t.workspace(); workspace != "" {
		h.Set(headerWorkspace, workspace)
	}
}

// unknownModel returns the answer for a model that does not exist, or that the
// organisation must not use, or nil.
func (t *attempt) unknownModel(model string) *reject {
	switch {
	case model == "":
		return invalid("model: Field required")
	case !slices.Contains(t.api.cfg.Models, model):
		return missing("model: " + model)
	case t.api.forbids(model):
		return forbidden("Your organization does not have access to model: " + model)
	}
	return nil
}

// forbids reports whether a model is one that must not be used.
func (a *API) forbids(model string) bool {
	return slices.ContainsFunc(a.cfg.Forbidden, func(glob string) bool { return covers(glob, model) })
}

func missing(message string) *reject {
	return &reject{status: http.StatusNotFound, typ: claude.NotFound, message: message}
}
